//! What the request encoders share: joining texts, tool arguments, losses of members that the IR carries.

use std::borrow::Cow;

use crate::error::Error;
use crate::format::{Dialect, Format};
use crate::ir::{Arguments, Block, Member, Request, Role, State, Tool, ToolResult};
use crate::json::{Kind, Raw, Reader, Text, Writer};
use crate::report::{Class, Report};
use crate::target::Target;

/// Member under which arguments that are no JSON object travel to formats that demand one (conversion.md 8.4).
pub(super) const RAW_ARGUMENTS: &str = "__raw_arguments";
/// What the text of a tool result says when its media had to be moved behind it.
pub(super) const ATTACHED: &str = "[media attached below]";
/// In front of a system text that must travel as a user text.
pub(super) const OPERATOR_NOTE: &str = "[System message from the application, not from the user]\n";
/// A function's parameters when none were declared.
pub(super) const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;

/// Writes one JSON string out of several texts.
pub(super) fn joined(w: &mut Writer<'_>, texts: &[&Text<'_>], separator: &str) {
    w.bytes().push(b'"');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            w.escape(separator);
        }
        w.text_inside(text);
    }
    w.bytes().push(b'"');
}

/// The texts of a block list, if it holds nothing else.
pub(super) fn only_texts<'b, 'a>(blocks: &'b [Block<'a>]) -> Option<Vec<&'b Text<'a>>> {
    blocks
        .iter()
        .map(|block| match block {
            Block::Text(text) if text.cache.is_none() => Some(&text.text),
            _ => None,
        })
        .collect()
}

/// The texts of a tool result; media are elsewhere.
pub(super) fn result_texts<'b, 'a>(result: &'b ToolResult<'a>) -> Vec<&'b Text<'a>> {
    let texts = result.parts.iter().filter_map(|block| match block {
        Block::Text(text) => Some(&text.text),
        _ => None,
    });
    texts.collect()
}

/// True if the JSON text is an object.
pub(crate) fn is_object(json: &str) -> bool {
    let mut reader = Reader::new(json);
    reader.kind() == Kind::Object && reader.skip().is_ok() && reader.finish().is_ok()
}

/// Writes arguments as a JSON object; what is no object travels inside one, and is reported.
pub(super) fn call_input(w: &mut Writer<'_>, arguments: &Arguments<'_>, path: &str, report: &mut Report) {
    let before = w.bytes().len();
    arguments_object(w, arguments);
    let wrapped = matches!(arguments, Arguments::Encoded(_))
        && w.bytes()
            .get(before..)
            .is_some_and(|written| written.starts_with(WRAPPED));
    if wrapped {
        report.emulated(path, RAW_ARGUMENTS);
    }
}

const WRAPPED: &[u8] = br#"{"__raw_arguments":"#;

/// Writes arguments as a JSON object (Messages, Gemini).
pub(crate) fn arguments_object(w: &mut Writer<'_>, arguments: &Arguments<'_>) {
    match arguments {
        Arguments::Object(raw) => w.raw(*raw),
        Arguments::Freeform(text) => w.object(|w| w.key("input").text(text)),
        Arguments::Encoded(text) => {
            let json = text.decode();
            let trimmed = json.trim();
            if trimmed.is_empty() || trimmed == "null" {
                w.raw(Raw::of_const("{}"));
            } else if is_object(trimmed) {
                w.raw(Raw(trimmed));
            } else {
                w.object(|w| w.key(RAW_ARGUMENTS).text(text));
            }
        }
    }
}

/// Writes arguments as a string (Chat, Responses).
pub(crate) fn arguments_string(w: &mut Writer<'_>, arguments: &Arguments<'_>) {
    match arguments {
        Arguments::Object(raw) => match raw_arguments(*raw) {
            Some(text) => w.text(&text),
            None => w.raw_as_str(*raw),
        },
        Arguments::Encoded(text) if text.is_blank() => w.str("{}"),
        Arguments::Encoded(text) => w.text(text),
        Arguments::Freeform(text) => {
            let mut inner = Vec::new();
            Writer::new(&mut inner).object(|w| w.key("input").text(text));
            w.str(&String::from_utf8_lossy(&inner));
        }
    }
}

/// The text inside `{"__raw_arguments": "…"}`.
pub(super) fn raw_arguments(raw: Raw<'_>) -> Option<Text<'_>> {
    if !raw.get().contains(RAW_ARGUMENTS) {
        return None;
    }
    let mut found = None;
    let mut others = false;
    let mut reader = Reader::new(raw.get());
    let read = reader.object(|reader, key| {
        if key == RAW_ARGUMENTS && reader.kind() == Kind::String {
            found = Some(reader.text()?);
            return Ok(());
        }
        others = true;
        reader.skip()
    });
    if read.is_ok() && !others { found } else { None }
}

/// The name of a tool at the upstream: namespaces are flattened, odd characters replaced.
pub(crate) fn upstream_name<'n>(name: &'n str, namespace: Option<&str>, target: &Target<'_>) -> Cow<'n, str> {
    match namespace {
        None => crate::names::tool_name(name, target.format),
        Some(namespace) => {
            let flat = format!("{namespace}__{name}");
            Cow::Owned(crate::names::tool_name(&flat, target.format).into_owned())
        }
    }
}

/// The upstream's name of a tool that is spoken of by its name alone (a forced one, a result's).
pub(super) fn declared_name<'n>(
    request: &'n Request<'_>,
    name: &'n str,
    target: &Target<'_>,
) -> Cow<'n, str> {
    let namespace = request
        .tools
        .iter()
        .find(|tool| tool.name == name)
        .and_then(|tool| tool.namespace.as_deref());
    upstream_name(name, namespace, target)
}

/// A conversation of Messages that ends with the assistant's words asks for their continuation, which nobody else promises
/// (conversion.md 5.6).
pub(super) fn prefill(request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    let last = request.turns.last();
    if report.client() == Format::Messages && last.is_some_and(|turn| turn.role == Role::Assistant) {
        report.cannot_carry("prefill", Class::Hint)?;
    }
    Ok(())
}

/// Participants' names exist in Chat only.
pub(super) fn names_lost(request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    for turn in request.turns.iter().filter(|turn| turn.name.is_some()) {
        report.cannot_carry(format!("{}.name", turn.path), Class::Inert)?;
    }
    Ok(())
}

/// Members that only Responses and Messages have on tools (conversion.md 8.1).
pub(super) fn tool_extras_lost(
    tool: &Tool<'_>,
    lost: &[(&'static str, bool)],
    report: &mut Report,
) -> Result<(), Error> {
    for (name, present) in lost {
        if *present {
            report.cannot_carry(format!("{}.{name}", tool.path), Class::Inert)?;
        }
    }
    Ok(())
}

/// Members that exist in both OpenAI formats under one name.
const OPENAI_SHARED: &[&str] = &["moderation", "prompt_cache_retention"];

fn is_openai(format: Format) -> bool {
    matches!(format, Format::Chat | Format::Responses)
}

/// Reports a member of the IR that the upstream's format does not have.
pub(super) fn lose(report: &mut Report, present: bool, member: Member, class: Class) -> Result<(), Error> {
    if !present {
        return Ok(());
    }
    report.cannot_carry(member.path(report.client()), class)
}

/// Members that only the client's format knows: written back to that format, reported towards the others.
pub(super) fn natives(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let (from, to) = (report.client(), target.format);
    for native in &request.natives {
        let shared = is_openai(from)
            && is_openai(to)
            && target.dialect == Dialect::Native
            && OPENAI_SHARED.contains(&native.path.as_ref());
        if from == to || shared {
            w.key(&native.path).raw(native.value);
        } else {
            report.cannot_carry(native.path.clone().into_owned(), native.class)?;
        }
    }
    Ok(())
}

/// What becomes of a thought at this upstream. Words without state are lost too: nobody takes another's thinking as text
/// (conversion.md 7.5).
pub(super) fn thought_state<'s, 'a>(
    thought: &'s crate::ir::Thought<'a>,
    target: &Target<'_>,
    report: &mut Report,
) -> Option<&'s State<'a>> {
    if thought.state.is_none() && !thought.text.is_empty() && target.dialect != Dialect::DeepSeek {
        report.state_dropped("foreign_origin");
    }
    restorable(thought.state.as_ref(), target, report)
}

/// What becomes of a state at this upstream.
pub(super) fn restorable<'s, 'a>(
    state: Option<&'s crate::ir::Opaque<'a>>,
    target: &Target<'_>,
    report: &mut Report,
) -> Option<&'s State<'a>> {
    let opaque = state?;
    if matches!(opaque.state, State::Plain) && opaque.domain.is_none() {
        if target.dialect != Dialect::DeepSeek {
            report.state_dropped("foreign_origin");
        }
        return None;
    }
    if opaque.origin != target.format {
        report.state_dropped("foreign_origin");
        return None;
    }
    if opaque.domain.is_some_and(|domain| domain != target.domain) {
        report.state_dropped("foreign_domain");
        return None;
    }
    report.states_restored += 1;
    Some(&opaque.state)
}

/// A block that only one format knows: as it came if that is the upstream's, else what the caller makes of it.
pub(super) fn own_block<'b>(
    native: &'b crate::ir::block::Native<'_>,
    target: &Target<'_>,
) -> Option<Raw<'b>> {
    (native.format == target.format).then_some(native.json)
}

/// A block that the upstream's format cannot take.
pub(super) fn native_block(native: &crate::ir::block::Native<'_>, report: &mut Report) -> Result<(), Error> {
    report.cannot_carry(
        native.path.clone(),
        if native.must { Class::Must } else { Class::Hint },
    )
}
