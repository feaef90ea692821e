//! What the answer encoders share: seals in their slots, citations, argument strings.

use crate::context::Context;
use crate::format::Format;
use crate::ir::{Arguments, Block, Candidate, Opaque, State, Thought};
use crate::json::{Text, Writer};
use crate::seal::{self, layout};

pub(crate) use super::parts::{arguments_object, arguments_string};

/// The text for a client's slot: the vendor's own state where client and upstream speak the same format, else a seal.
pub(crate) fn slot(state: &Opaque<'_>, context: &Context) -> Option<String> {
    match &state.state {
        // Plain reasoning text carries itself.
        State::Plain if context.client == Format::Chat => None,
        state if context.client == context.upstream => native(state),
        // What would not be opened again is not worth its bytes.
        _ => Some(seal::seal(state, context.seal_key.as_ref())).filter(|seal| seal.len() <= seal::MAX_TEXT),
    }
}

/// The same for a thought, whose parts the client's format may not be able to keep apart: then they go into the seal.
pub(crate) fn thought_slot(thought: &Thought<'_>, context: &Context) -> Option<String> {
    let state = thought.state.as_ref()?;
    let split = matches!(state.state, State::Reasoning { .. })
        && !thought.text.is_empty()
        && (thought.text.len() > 1 || !thought.summary);
    if !split {
        return slot(state, context);
    }
    let segment = [layout::Segment::thought(thought)];
    let domain = state.domain.unwrap_or(0);
    let key = context.seal_key.as_ref();
    Some(layout::seal(&segment, state.origin, domain, true, key))
}

/// The seal of a signature that belongs to the text behind it.
pub(crate) fn text_slot(state: &Opaque<'_>, context: &Context) -> Option<String> {
    slot(&of_text(state), context)
}

/// The seal of a signature that ends a turn.
pub(crate) fn tail_slot(state: &Opaque<'_>, context: &Context) -> Option<String> {
    let mut state = state.clone();
    if let State::PartSignature(signature) = state.state {
        state.state = State::TailSignature(signature);
    }
    slot(&state, context)
}

/// A text's signature as a state that stands in front of the text.
pub(crate) fn of_text<'a>(state: &Opaque<'a>) -> Opaque<'a> {
    let mut state = state.clone();
    if let State::PartSignature(signature) = state.state {
        state.state = State::TextSignature(signature);
    }
    state
}

/// The thought with which a Gemini turn ends: an empty part that only carries a signature.
pub(crate) fn tail<'c, 'a>(candidate: &'c Candidate<'a>) -> Option<&'c Opaque<'a>> {
    let (Block::Thought(thought), before) = candidate.blocks.split_last()? else {
        return None;
    };
    let state = thought.state.as_ref()?;
    let said = before.iter().any(|block| !matches!(block, Block::Thought(_)));
    let empty = matches!(state.state, State::PartSignature(_)) && thought.text.is_empty();
    (said && empty).then_some(state)
}

/// The state as its own vendor spells it.
fn native(state: &State<'_>) -> Option<String> {
    match state {
        State::Signature(text)
        | State::Redacted(text)
        | State::CallSignature(text)
        | State::PartSignature(text)
        | State::TextSignature(text)
        | State::TailSignature(text)
        | State::Reasoning { encrypted: text, .. } => Some(text.clone().into_owned()),
        State::Plain | State::Native(_) | State::Sealed(_) => None,
    }
}

/// The input of a custom tool that the upstream saw as a function with one string.
pub(crate) fn custom_input<'a>(arguments: &Arguments<'a>) -> Text<'a> {
    match arguments {
        Arguments::Freeform(text) => text.clone(),
        Arguments::Object(raw) => input_member(raw.get())
            .unwrap_or_else(|| raw.get().to_owned())
            .into(),
        Arguments::Encoded(text) => {
            let json = text.decode();
            input_member(&json)
                .unwrap_or_else(|| json.clone().into_owned())
                .into()
        }
    }
}

fn input_member(json: &str) -> Option<String> {
    let mut reader = crate::json::Reader::new(json);
    let mut found = None;
    let read = reader.object(|reader, key| {
        if key == "input" && reader.kind() == crate::json::Kind::String {
            found = Some(reader.text()?.decode().into_owned());
            return Ok(());
        }
        reader.skip()
    });
    read.ok()?;
    found
}

/// Writes `reasoning_details` of Chat.
pub(crate) fn reasoning_detail(w: &mut Writer<'_>, seal: &str, index: usize) {
    w.object(|w| {
        w.key("type").str("reasoning.encrypted");
        w.key("data").str(seal);
        w.key("format").str("gateway-v1");
        w.key("index").u64(index as u64);
    });
}
