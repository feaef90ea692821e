//! What the two OpenAI formats have in common on the way in.

use std::borrow::Cow;

use super::intake::Intake;
use crate::error::Error;
use crate::ir::request::Native;
use crate::ir::{CacheMark, Detail, Effort, Opaque, Reasoning, ReasoningDepth, Show, State, ToolChoice};
use crate::json::{Raw, Text, from_str};
use crate::report::Class;
use crate::wire::Extra;
use crate::wire::chat::{CacheBreakpoint, Choice};

/// Request members that the IR has no place for, with their class; members of no row are hints.
pub(super) fn natives<'a>(extra: Extra<'a>, classes: &[(&str, Class)]) -> Vec<Native<'a>> {
    let known = |path: &str| {
        classes
            .iter()
            .find(|(name, _)| *name == path)
            .map_or(Class::Hint, |(_, class)| *class)
    };
    let present = extra.into_iter().filter(|(_, value)| !value.is_null());
    present
        .map(|(path, value)| Native {
            class: known(&path),
            path,
            value,
        })
        .collect()
}

/// `tool_choice` and `function_call`.
pub(super) fn tool_choice<'a>(raw: Raw<'a>) -> Result<Option<ToolChoice<'a>>, Error> {
    if let Some(word) = raw.as_text() {
        return Ok(match word.decode().as_ref() {
            "none" => Some(ToolChoice::None),
            "auto" => Some(ToolChoice::Auto),
            "required" | "any" => Some(ToolChoice::Any),
            _ => None,
        });
    }
    let choice: Choice<'a> = from_str(raw.get())?;
    Ok(choice_of(choice))
}

fn choice_of(choice: Choice<'_>) -> Option<ToolChoice<'_>> {
    let subset = |mode: Option<Cow<'_, str>>, tools: Option<Vec<Choice<'_>>>| -> (bool, Vec<String>) {
        let names = tools
            .unwrap_or_default()
            .into_iter()
            .filter_map(|tool| choice_name(tool).map(Cow::into_owned));
        (mode.is_some_and(|mode| mode == "required"), names.collect())
    };
    match choice.kind.as_deref() {
        Some("allowed_tools") => {
            let (required, names) = match choice.allowed_tools {
                Some(allowed) => subset(allowed.mode, allowed.tools),
                None => subset(choice.mode, choice.tools),
            };
            Some(ToolChoice::Subset {
                names: names.into_iter().map(Cow::Owned).collect(),
                required,
            })
        }
        Some("function" | "custom") | None => choice_name(choice).map(ToolChoice::Tool),
        Some(hosted) => Some(ToolChoice::Hosted(Cow::Owned(hosted.to_owned()))),
    }
}

fn choice_name(choice: Choice<'_>) -> Option<Cow<'_, str>> {
    let nested = choice.function.or(choice.custom).and_then(|named| named.name);
    nested.or(choice.name)
}

/// Reasoning level as a word.
pub(super) fn reasoning(effort: Option<&str>, show: Show, path: &str, intake: &Intake) -> Reasoning {
    let level = effort.and_then(Effort::parse);
    if level.is_none() && effort.is_some() {
        intake.lose(path.to_owned(), Class::Hint);
    }
    let depth = match level {
        None => ReasoningDepth::Unset,
        Some(Effort::None) => ReasoningDepth::Off,
        Some(effort) => ReasoningDepth::Effort(effort),
    };
    Reasoning {
        depth,
        show,
        ..Reasoning::default()
    }
}

/// A cache marker's lifetime.
pub(super) fn cache_mark(marker: Option<&CacheBreakpoint<'_>>) -> Option<CacheMark> {
    marker.map(|marker| match marker.ttl.as_deref() {
        Some("12h" | "1h" | "24h") => CacheMark::Long,
        _ => CacheMark::Short,
    })
}

/// Image detail.
pub(super) fn detail(word: Option<&str>) -> Option<Detail> {
    match word? {
        "low" => Some(Detail::Low),
        "high" => Some(Detail::High),
        "original" => Some(Detail::Original),
        _ => Some(Detail::Auto),
    }
}

/// Google's signature on a tool call of an answer of its OpenAI-compatible surface.
pub(crate) fn google_signature(extra: Option<Raw<'_>>) -> Option<Opaque<'_>> {
    crate::wire::object! {
        /// `extra_content`.
        pub(crate) struct ExtraContent {
            /// Google's part.
            google: Google<'a> = "google",
        }
        /// `extra_content.google`.
        pub(crate) struct Google {
            /// Signature.
            thought_signature: Cow<'a, str> = "thought_signature",
        }
    }
    let extra: ExtraContent<'_> = from_str(extra?.get()).ok()?;
    let signature = extra.google?.thought_signature?;
    Some(Opaque {
        origin: crate::Format::Gemini,
        domain: None,
        state: State::CallSignature(signature),
    })
}

/// A string or a list of strings.
pub(super) fn strings(raw: Option<Raw<'_>>) -> Result<Vec<Text<'_>>, Error> {
    match raw {
        None => Ok(Vec::new()),
        Some(raw) => match raw.as_text() {
            Some(text) => Ok(vec![text]),
            None => from_str(raw.get()),
        },
    }
}
