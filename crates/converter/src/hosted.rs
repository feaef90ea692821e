//! Tools that a vendor runs (search, code, fetch, MCP): who has which, and how each format spells them (conversion.md 8.6).

mod write;

use std::borrow::Cow;

pub(crate) use write::{mcp_servers, only_limit, write};

use crate::format::Format;
use crate::ir::{Request, Tool, ToolKind};
use crate::json::{Raw, Text, from_str};
use crate::target::Target;

/// What a hosted tool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    WebSearch,
    WebFetch,
    CodeExecution,
    Mcp,
    ToolSearch,
}

/// Start of the tool's type, by format. The longest rows stand first where one is the start of another.
const CAPABILITIES: &[(Format, &str, Capability)] = &[
    (Format::Responses, "web_search", Capability::WebSearch),
    (Format::Responses, "code_interpreter", Capability::CodeExecution),
    (Format::Responses, "mcp", Capability::Mcp),
    (Format::Responses, "tool_search", Capability::ToolSearch),
    (Format::Messages, "web_search_", Capability::WebSearch),
    (Format::Messages, "web_fetch_", Capability::WebFetch),
    (Format::Messages, "code_execution_", Capability::CodeExecution),
    (Format::Messages, "mcp_toolset", Capability::Mcp),
    (Format::Messages, "tool_search_tool_", Capability::ToolSearch),
    (Format::Gemini, "googleSearch", Capability::WebSearch),
    (Format::Gemini, "enterpriseWebSearch", Capability::WebSearch),
    (Format::Gemini, "urlContext", Capability::WebFetch),
    (Format::Gemini, "codeExecution", Capability::CodeExecution),
    (Format::Gemini, "mcpServers", Capability::Mcp),
    (Format::Chat, "web_search_options", Capability::WebSearch),
];

/// What a hosted tool's type does; `None`: nothing that another vendor has.
pub(crate) fn capability(format: Format, kind: &str) -> Option<Capability> {
    CAPABILITIES
        .iter()
        .find(|(of, prefix, _)| *of == format && kind.starts_with(prefix))
        .map(|row| row.2)
}

/// The capability of a declared tool.
pub(crate) fn of(tool: &Tool<'_>) -> Option<Capability> {
    match &tool.kind {
        ToolKind::Hosted { format, kind, .. } => capability(*format, kind),
        _ => None,
    }
}

crate::wire::object! {
    /// Web search and URL fetch, in the spelling of any format.
    pub(crate) struct Search {
        /// Only these.
        allowed_domains: Raw<'a> = "allowed_domains",
        /// Not these.
        blocked_domains: Raw<'a> = "blocked_domains",
        /// Gemini on Vertex: not these.
        exclude_domains: Raw<'a> = "excludeDomains" | "exclude_domains",
        /// Responses: filters.
        filters: Filters<'a> = "filters",
        /// Place.
        user_location: Raw<'a> = "user_location",
        /// low, medium, high.
        search_context_size: Text<'a> = "search_context_size",
        /// Most searches.
        max_uses: u64 = "max_uses",
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Its name.
        name: Cow<'a, str> = "name",
        /// Cache marker; the tool has it already.
        cache_control: Raw<'a> = "cache_control",
    }
    /// Responses: `filters`.
    pub(crate) struct Filters {
        /// Only these.
        allowed_domains: Raw<'a> = "allowed_domains",
        /// Not these.
        blocked_domains: Raw<'a> = "blocked_domains",
    }
    /// Chat: `user_location`.
    pub(crate) struct Location {
        /// approximate.
        kind: Cow<'a, str> = "type",
        /// Chat nests the place.
        approximate: Raw<'a> = "approximate",
    }
    /// An MCP server: Responses' `mcp`, an entry of Messages' `mcp_servers`, or of Gemini's `mcpServers`.
    pub(crate) struct Mcp {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Name of the server.
        label: Text<'a> = "server_label" | "name" | "mcp_server_name",
        /// Address.
        url: Text<'a> = "server_url" | "url",
        /// Gemini: address and headers.
        transport: Transport<'a> = "streamableHttpTransport" | "streamable_http_transport",
        /// Token.
        authorization: Text<'a> = "authorization" | "authorization_token",
        /// Headers (Responses).
        headers: Raw<'a> = "headers",
        /// Names, or a filter with names.
        allowed_tools: Raw<'a> = "allowed_tools",
        /// Messages: `tool_configuration`.
        tool_configuration: Filter<'a> = "tool_configuration",
        /// never, always, or a filter.
        require_approval: Raw<'a> = "require_approval",
        /// OpenAI's own connectors.
        connector_id: Raw<'a> = "connector_id",
        /// OpenAI's tunnels.
        tunnel_id: Raw<'a> = "tunnel_id",
        /// Messages: per tool settings.
        configs: Raw<'a> = "configs",
        /// Messages: settings of the rest.
        default_config: Raw<'a> = "default_config",
        /// Cache marker; the tool has it already.
        cache_control: Raw<'a> = "cache_control",
    }
    /// Which tools of an MCP server.
    pub(crate) struct Filter {
        /// Names (Messages).
        allowed_tools: Raw<'a> = "allowed_tools",
        /// Names (Responses).
        tool_names: Raw<'a> = "tool_names",
    }
    /// Gemini's transport.
    pub(crate) struct Transport {
        /// Address.
        url: Text<'a> = "url",
        /// Headers.
        headers: Raw<'a> = "headers",
    }
    /// Messages: settings of one MCP tool.
    pub(crate) struct Enabled {
        /// Whether it may be called.
        enabled: bool = "enabled",
    }
}

/// An MCP server as any format can write it.
pub(crate) struct Server<'a> {
    pub(crate) label: Text<'a>,
    pub(crate) url: Text<'a>,
    pub(crate) authorization: Option<Text<'a>>,
    pub(crate) headers: Option<Raw<'a>>,
    /// Names of the tools that may be used; `None`: all.
    pub(crate) allowed: Option<Vec<Cow<'a, str>>>,
}

/// Why an MCP server cannot go to another vendor.
pub(crate) enum NoServer {
    /// A connector, a tunnel, or no address: the tool is dropped.
    Unreachable,
    /// It asks for approvals, which no other format can express.
    Approval,
}

/// Reads the server of an MCP tool. Messages keeps the address apart from the tool, in `mcp_servers`.
pub(crate) fn server<'a>(tool: &Tool<'a>, request: &Request<'a>) -> Result<Server<'a>, NoServer> {
    let ToolKind::Hosted { json, format, .. } = &tool.kind else {
        return Err(NoServer::Unreachable);
    };
    let entry: Mcp<'a> = from_str(json.get()).map_err(|_| NoServer::Unreachable)?;
    let label = entry.label.clone().ok_or(NoServer::Unreachable)?;
    let (home, allowed) = match format {
        Format::Messages => {
            let servers: Vec<Mcp<'a>> = request
                .mcp_servers
                .and_then(|servers| from_str(servers.get()).ok())
                .unwrap_or_default();
            let home = servers
                .into_iter()
                .find(|server| server.label.as_ref() == Some(&label));
            let allowed = enabled_tools(&entry);
            (home.ok_or(NoServer::Unreachable)?, allowed)
        }
        _ => {
            let never = entry
                .require_approval
                .is_none_or(|approval| *format != Format::Responses || approval.get() == "\"never\"");
            // Responses asks for approval unless it is told not to.
            if !never || (*format == Format::Responses && entry.require_approval.is_none()) {
                return Err(NoServer::Approval);
            }
            (entry, None)
        }
    };
    let names = home.allowed_tools.and_then(names).or_else(|| {
        let filter = home.tool_configuration.as_ref()?;
        names(filter.allowed_tools?)
    });
    let (transport_url, transport_headers) = match home.transport {
        Some(transport) => (transport.url, transport.headers),
        None => (None, None),
    };
    Ok(Server {
        label,
        url: home.url.or(transport_url).ok_or(NoServer::Unreachable)?,
        authorization: home.authorization,
        headers: home.headers.or(transport_headers),
        allowed: allowed.or(names),
    })
}

/// A list of names, or a filter that holds one.
fn names(raw: Raw<'_>) -> Option<Vec<Cow<'_, str>>> {
    if let Ok(list) = from_str::<Vec<Cow<'_, str>>>(raw.get()) {
        return Some(list);
    }
    let filter: Filter<'_> = from_str(raw.get()).ok()?;
    from_str(filter.tool_names?.get()).ok()
}

/// Messages: the tools that are switched on one by one while the rest is off.
fn enabled_tools<'a>(entry: &Mcp<'a>) -> Option<Vec<Cow<'a, str>>> {
    let rest: Enabled<'_> = from_str(entry.default_config?.get()).ok()?;
    if rest.enabled != Some(false) {
        return None;
    }
    let mut list = Vec::new();
    let mut reader = crate::json::Reader::new(entry.configs.map_or("{}", Raw::get));
    let read = reader.object(|reader, name| {
        let one = <Enabled<'_> as crate::json::Read<'_>>::read(reader)?;
        if one.enabled == Some(true) {
            list.push(Cow::Owned(name.clone().into_owned()));
        }
        Ok(())
    });
    read.ok().map(|()| list)
}

/// Whether this upstream has the tool at all.
pub(crate) fn carried(capability: Capability, request: &Request<'_>, target: &Target<'_>) -> bool {
    let other = |wanted: Capability| request.tools.iter().any(|tool| of(tool) == Some(wanted));
    match (capability, target.format) {
        // Only OpenAI's search models search in Chat.
        (Capability::WebSearch, Format::Chat) => target.model.contains("-search"),
        (_, Format::Chat) => false,
        // Responses fetches as a part of its search.
        (Capability::WebFetch, Format::Responses) => !other(Capability::WebSearch),
        (Capability::ToolSearch, Format::Gemini) => false,
        _ => true,
    }
}
