//! What the two OpenAI formats have in common on the way in.

use std::borrow::Cow;

use crate::error::Error;
use crate::ir::request::Native;
use crate::ir::{CacheMark, Detail, Effort, Opaque, Reasoning, ReasoningDepth, Show, State, ToolChoice};
use crate::json::{Raw, Text, from_str};
use crate::names;
use crate::report::Class;
use crate::seal;
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
pub(super) fn reasoning(effort: Option<&str>, show: Show) -> Reasoning {
    let depth = match effort.and_then(Effort::parse) {
        None => ReasoningDepth::Unset,
        Some(Effort::None) => ReasoningDepth::Off,
        Some(effort) => ReasoningDepth::Effort(effort),
    };
    Reasoning {
        depth,
        effort: None,
        show,
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

/// A call id and the seal that rode on it, which [`crate::unseal`] opens.
pub(super) fn call_id(id: Cow<'_, str>) -> (Cow<'_, str>, Option<Opaque<'static>>) {
    let (bare, seal) = names::strip_seal(&id);
    let Some(seal) = seal else { return (id, None) };
    let state = sealed(Cow::Owned(seal.to_owned()));
    (Cow::Owned(bare.to_owned()), Some(state))
}

/// Opaque data in a slot of the client's own format: a seal, which [`crate::unseal`] opens, or the vendor's own state wrapped by
/// `own`.
pub(super) fn opaque<'a>(
    data: Cow<'a, str>,
    own: impl FnOnce(Cow<'a, str>) -> Option<Opaque<'a>>,
) -> Option<Opaque<'a>> {
    if data.starts_with(seal::MARK) {
        Some(sealed(data))
    } else {
        own(data)
    }
}

/// A seal that is still closed. Whose it is shows when it is opened.
fn sealed(data: Cow<'_, str>) -> Opaque<'_> {
    Opaque {
        origin: crate::Format::Chat,
        domain: None,
        state: State::Sealed(data),
    }
}

/// Google's signature on a tool call of its OpenAI-compatible surface.
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
    let own = |signature| {
        Some(Opaque {
            origin: crate::Format::Gemini,
            domain: None,
            state: State::CallSignature(signature),
        })
    };
    opaque(signature, own)
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
