//! What the way back must remember of a converted request.

use std::collections::HashMap;

use crate::format::{Dialect, Format};
use crate::shim::CallItem;

/// Everything that response and stream conversion need from the request. Owned and small; one per attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Format of the client.
    pub client: Format,
    /// Format of the upstream.
    pub upstream: Format,
    /// Dialect of the upstream.
    pub dialect: Dialect,
    /// Signature domain of the channel.
    pub domain: u32,
    /// Model as the client named it.
    pub model: String,
    /// The client asked for a stream.
    pub stream: bool,
    /// Chat client: wants the usage chunk.
    pub include_usage: bool,
    /// Gemini client: wants thought parts.
    pub include_thoughts: bool,
    /// Gemini client: the stream is a JSON array.
    pub array: bool,
    /// Responses client: wants `encrypted_content` (asked by `include`, or `store` is false).
    pub include_encrypted: bool,
    /// Chat client: used `functions`.
    pub legacy_functions: bool,
    /// The request declared tools.
    pub declares_tools: bool,
    /// Tools whose upstream name differs from the client's: upstream name -> client's tool.
    pub tools: HashMap<String, ToolOrigin>,
    /// Responses client: members of the request that the answer echoes, as JSON members without braces (`"tools":[…],"temperature":1`).
    pub echo: String,
    /// Key of the seals.
    pub seal_key: Option<[u8; 32]>,
    /// The gateway's request id without prefix.
    pub request_id: String,
    /// Arrival time, seconds since 1970.
    pub now: u64,
    /// Estimated input tokens, for formats that state them at the start of a stream. Never 0; 1 where no stream was asked for.
    pub input_estimate: u64,
}

/// How a tool was declared by the client, where that differs from a plain function of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ToolOrigin {
    /// The client's name.
    pub name: String,
    /// Responses namespace.
    pub namespace: Option<String>,
    /// The client declared a custom tool with free text; the upstream sees a function with one `input` string.
    pub custom: bool,
    /// Responses client: the tool is vendor-trained (`local_shell`, `shell`, `apply_patch`, `computer`) and the upstream sees a shim
    /// function. Its call goes back as this item: [`CallItem::write`] with the function's arguments.
    ///
    /// For Messages clients nothing is needed: the shim of `bash`, `str_replace_based_edit_tool`, `memory` and `computer` has the
    /// tool's own name and input. Members of a toolset are shims `computer__left_click`: `name` is the member, `namespace` the
    /// toolset (`toolset_name` of the `tool_use`).
    pub item: Option<CallItem>,
}

impl Context {
    /// The context of a relay: enough to end the answer in the client's format.
    pub(crate) fn relay(options: crate::stream::RelayOptions) -> Context {
        Context {
            client: options.format,
            upstream: options.format,
            dialect: Dialect::Native,
            domain: 0,
            model: options.model,
            stream: true,
            include_usage: !options.hide_usage,
            include_thoughts: true,
            array: options.array,
            include_encrypted: true,
            legacy_functions: false,
            declares_tools: false,
            tools: HashMap::new(),
            echo: String::new(),
            seal_key: None,
            request_id: options.request_id,
            now: options.now,
            input_estimate: 1,
        }
    }

    /// The client's name of an upstream tool.
    #[must_use]
    pub fn tool_name<'n>(&'n self, upstream: &'n str) -> &'n str {
        self.tools
            .get(upstream)
            .map_or(upstream, |tool| tool.name.as_str())
    }

    /// The call item of Responses that a call of this upstream tool goes back as, if it is not an ordinary call.
    #[must_use]
    pub fn call_item(&self, upstream: &str) -> Option<CallItem> {
        self.tools.get(upstream).and_then(|tool| tool.item)
    }

    /// True if the client declared this upstream tool as a custom tool.
    #[must_use]
    pub fn is_custom(&self, upstream: &str) -> bool {
        self.tools.get(upstream).is_some_and(|tool| tool.custom)
    }
}
