//! Chunks of Chat Completions, with what the servers that speak it add or spell differently.

use std::borrow::Cow;

use super::super::{Few, Whole, event};
use crate::decode::ChatLogprobs;
use crate::json::{Kind, Raw, Read, Reader, Text};
use crate::wire::Content;

event! {
    /// A chunk.
    pub(super) struct Chunk {
        /// Id.
        pub(super) id: Cow<'a, str> = "id",
        /// Model.
        pub(super) model: Cow<'a, str> = "model",
        /// Seconds.
        pub(super) created: Whole = "created",
        /// Choices.
        pub(super) choices: Few<Choice<'a>> = "choices",
        /// Usage.
        pub(super) usage: Raw<'a> = "usage",
        /// Tier.
        pub(super) service_tier: Cow<'a, str> = "service_tier",
        /// Fingerprint.
        pub(super) system_fingerprint: Text<'a> = "system_fingerprint",
        /// In-band error.
        pub(super) error: Raw<'a> = "error",
        /// OpenAI's noise against those who measure lengths.
        pub(super) obfuscation: Text<'a> = "obfuscation",
    }

    /// A choice.
    pub(super) struct Choice {
        /// Number.
        pub(super) index: Whole = "index",
        /// What is new.
        pub(super) delta: Delta<'a> = "delta",
        /// What is new in a stream of `/v1/completions`, which knows no deltas.
        pub(super) text: Text<'a> = "text",
        /// Why it ended.
        pub(super) finish_reason: Cow<'a, str> = "finish_reason",
        /// Log probabilities.
        pub(super) logprobs: Box<ChatLogprobs<'a>> = "logprobs",
        /// Usage, where some servers put it.
        pub(super) usage: Raw<'a> = "usage",
    }

    /// A delta.
    pub(super) struct Delta {
        /// Text; some servers send parts.
        pub(super) content: Content<'a, Part<'a>> = "content",
        /// Refusal.
        pub(super) refusal: Text<'a> = "refusal",
        /// Reasoning text.
        pub(super) reasoning: Text<'a> = "reasoning_content" | "reasoning",
        /// Reasoning in pieces, with state.
        pub(super) reasoning_details: Vec<Detail<'a>> = "reasoning_details",
        /// Calls.
        pub(super) tool_calls: Vec<ToolCall<'a>> = "tool_calls",
        /// Call, old form.
        pub(super) function_call: Box<Function<'a>> = "function_call",
        /// Citations.
        pub(super) annotations: Vec<Annotation<'a>> = "annotations",
        /// Google's signature.
        pub(super) extra_content: Raw<'a> = "extra_content",
    }

    /// A part.
    pub(super) struct Part {
        /// Text.
        pub(super) text: Text<'a> = "text",
        /// Reasoning (Mistral).
        pub(super) thinking: Vec<Part<'a>> = "thinking",
    }

    /// `reasoning_details[]` (OpenRouter; ours too).
    pub(super) struct Detail {
        /// Text.
        pub(super) text: Text<'a> = "text",
        /// Opaque data.
        pub(super) data: Cow<'a, str> = "data",
    }

    /// A fragment of a tool call.
    pub(super) struct ToolCall {
        /// Number.
        pub(super) index: Whole = "index",
        /// Id.
        pub(super) id: Cow<'a, str> = "id",
        /// Function.
        pub(super) function: Function<'a> = "function",
        /// Custom tool.
        pub(super) custom: Custom<'a> = "custom",
        /// Google's signature.
        pub(super) extra_content: Raw<'a> = "extra_content",
    }

    /// Name and arguments of a function.
    pub(super) struct Function {
        /// Name.
        pub(super) name: Cow<'a, str> = "name",
        /// Arguments; some servers send the object itself.
        pub(super) arguments: Arguments<'a> = "arguments",
    }

    /// Name and input of a custom tool.
    pub(super) struct Custom {
        /// Name.
        pub(super) name: Cow<'a, str> = "name",
        /// Input.
        pub(super) input: Text<'a> = "input",
    }

    /// An annotation.
    pub(super) struct Annotation {
        /// Web source.
        pub(super) url_citation: UrlCitation<'a> = "url_citation",
    }

    /// A web source.
    pub(super) struct UrlCitation {
        /// Address.
        pub(super) url: Text<'a> = "url",
        /// Title.
        pub(super) title: Text<'a> = "title",
        /// Range.
        pub(super) start_index: Whole = "start_index",
        /// Range.
        pub(super) end_index: Whole = "end_index",
    }
}

impl Choice<'_> {
    /// The number of its answer.
    pub(super) fn number(&self) -> u32 {
        let index = self.index.and_then(|index| index.0).unwrap_or(0);
        u32::try_from(index).unwrap_or(0)
    }
}

impl<'a> Chunk<'a> {
    /// The text of a chunk that says nothing else, and the number of its answer.
    pub(super) fn only_text(&self) -> Option<(u32, &Text<'a>)> {
        let choices = self.choices.as_ref().filter(|choices| choices.more.is_empty())?;
        let choice = choices.first.as_ref()?;
        let finished = choice
            .finish_reason
            .as_ref()
            .is_some_and(|reason| !reason.is_empty());
        let counted = self.usage.is_some() || choice.usage.is_some() || choice.logprobs.is_some();
        if finished || counted || self.error.is_some() {
            return None;
        }
        let Some(delta) = &choice.delta else {
            return Some((choice.number(), choice.text.as_ref()?));
        };
        let Some(Content::Text(text)) = &delta.content else {
            return None;
        };
        let alone = Delta {
            content: delta.content.clone(),
            ..Delta::default()
        };
        (*delta == alone).then_some((choice.number(), text))
    }
}

/// Arguments as text, however they were sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arguments<'a>(pub(super) Text<'a>);

impl<'a> Read<'a> for Arguments<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, crate::Error> {
        if reader.kind() == Kind::String {
            return reader.text().map(Arguments);
        }
        Ok(Arguments(reader.raw()?.get().into()))
    }
}
