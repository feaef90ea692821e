//! What the answer encoders share: seals in their slots, citations, argument strings.

use crate::context::Context;
use crate::format::Format;
use crate::ir::{Arguments, Opaque, State};
use crate::json::{Text, Writer};
use crate::seal;

pub(crate) use super::parts::{arguments_object, arguments_string};

/// The text for a client's slot: the vendor's own state where client and upstream speak the same format, else a seal.
pub(crate) fn slot(state: &Opaque<'_>, context: &Context) -> Option<String> {
    match &state.state {
        // Plain reasoning text carries itself.
        State::Plain if context.client == Format::Chat => None,
        state if context.client == context.upstream => native(state),
        _ => Some(seal::seal(state, context.seal_key.as_ref())),
    }
}

/// The state as its own vendor spells it.
fn native(state: &State<'_>) -> Option<String> {
    match state {
        State::Signature(text)
        | State::Redacted(text)
        | State::CallSignature(text)
        | State::PartSignature(text)
        | State::Reasoning { encrypted: text, .. } => Some(text.clone().into_owned()),
        State::Plain => None,
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
