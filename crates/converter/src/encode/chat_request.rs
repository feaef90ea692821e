//! The IR to request bodies of Chat Completions.

use super::parts::{
    ATTACHED, NO_PARAMETERS, arguments_string, declared_name, joined, lose, names_lost, native_block,
    natives, only_texts, own_block, prefill, restorable, result_texts, thought_state, tool_extras_lost,
    upstream_name,
};
use crate::error::Error;
use crate::hosted::{self, Capability};
use crate::ir::{
    Arguments, Block, CacheMark, Detail, Effort, Media, MediaKind, Member, OutputFormat, ReasoningDepth,
    Request, Role, Source, State, TextBlock, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::profile::{Profile, Sampling, profile};
use crate::report::{Class, Report};
use crate::schema;
use crate::target::{Options, Target};
use crate::{Dialect, Format};

/// OpenAI refuses smaller output limits (conversion.md 10.3).
pub(super) const MIN_OUTPUT: u64 = 16;

pub(super) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    _options: &Options,
    report: &mut Report,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(4096);
    let mut w = Writer::new(&mut out);
    let profile = profile(target.format, target.dialect, target.model);
    w.begin_object();
    w.key("model").str(target.model);
    w.key("messages");
    messages(&mut w, request, target, &profile, report)?;
    tools(&mut w, request, target, &profile, report)?;
    limits(&mut w, request, target, &profile, report)?;
    sampling(&mut w, request, &profile, target, report)?;
    reasoning(&mut w, request, target, &profile, report);
    output(&mut w, request);
    spoken(&mut w, request, target, report)?;
    identity(&mut w, request, target, report)?;
    caching(&mut w, request, target, report)?;
    if request.stream {
        w.key("stream").bool(true);
        w.key("stream_options")
            .raw(Raw::of_const(r#"{"include_usage":true}"#));
    }
    natives(&mut w, request, target, report)?;
    w.end_object();
    Ok(out)
}

fn system_role(developer: bool, target: &Target<'_>, profile: &Profile, report: &Report) -> &'static str {
    let same = report.client() == Format::Chat;
    let wanted = if same { developer } else { profile.reasoning };
    if wanted && target.dialect == Dialect::Native {
        "developer"
    } else {
        "system"
    }
}

fn messages(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    w.begin_array();
    if !request.system.is_empty() {
        let role = system_role(
            request.system.iter().any(|block| block.developer),
            target,
            profile,
            report,
        );
        w.item().begin_object();
        w.key("role").str(role);
        let texts: Vec<&TextBlock<'_>> = request.system.iter().map(|block| &block.text).collect();
        text_content(w.key("content"), &texts, target);
        w.end_object();
    }
    for turn in &request.turns {
        match turn.role {
            Role::System => system(w, turn, target, profile, report),
            Role::User => user(w, turn, target, report)?,
            Role::Assistant => assistant(w, turn, target, report)?,
            Role::Tool => results(w, turn, target, report)?,
        }
    }
    w.end_array();
    if report.client() != Format::Chat {
        names_lost(request, report)?;
    }
    prefill(request, report)
}

/// One text is a string. Several are parts, or one joined string for servers that know no parts there.
fn text_content(w: &mut Writer<'_>, texts: &[&TextBlock<'_>], target: &Target<'_>) {
    let plain: Vec<&Text<'_>> = texts.iter().map(|block| &block.text).collect();
    let marked = texts.iter().any(|block| block.cache.is_some()) && !target.dialect.is_compat();
    if plain.len() == 1 && !marked || target.dialect.is_compat() {
        return joined(w, &plain, "\n\n");
    }
    w.array(|w| {
        for block in texts {
            text_part(w.item(), block, target);
        }
    });
}

fn text_part(w: &mut Writer<'_>, block: &TextBlock<'_>, target: &Target<'_>) {
    w.object(|w| {
        w.key("type").str("text");
        w.key("text").text(&block.text);
        breakpoint(w, block.cache, target);
    });
}

/// Prompt cache markers exist on OpenAI's own API from gpt-5.6 on. A long lifetime of another vendor is no reason to pay for
/// OpenAI's long one (conversion.md 10.5).
pub(super) fn breakpoint(w: &mut Writer<'_>, mark: Option<CacheMark>, target: &Target<'_>) {
    if mark.is_some() && knows_breakpoints(target) {
        w.key("prompt_cache_breakpoint")
            .raw(Raw::of_const(r#"{"mode":"explicit"}"#));
    }
}

/// Prompt cache controls: gpt-5.6 and later on OpenAI's own API.
pub(super) fn knows_breakpoints(target: &Target<'_>) -> bool {
    let model = target.model.rsplit('/').next().unwrap_or(target.model);
    let new = |version: &str| model.starts_with(&format!("gpt-{version}"));
    target.dialect == Dialect::Native && (new("5.6") || new("6"))
}

fn system(w: &mut Writer<'_>, turn: &Turn<'_>, target: &Target<'_>, profile: &Profile, report: &Report) {
    let texts: Vec<&TextBlock<'_>> = turn.blocks.iter().filter_map(as_text).collect();
    w.item().object(|w| {
        w.key("role")
            .str(system_role(turn.developer, target, profile, report));
        text_content(w.key("content"), &texts, target);
    });
}

fn as_text<'b, 'a>(block: &'b Block<'a>) -> Option<&'b TextBlock<'a>> {
    match block {
        Block::Text(text) => Some(text),
        _ => None,
    }
}

fn user(w: &mut Writer<'_>, turn: &Turn<'_>, target: &Target<'_>, report: &mut Report) -> Result<(), Error> {
    w.item().begin_object();
    w.key("role").str("user");
    match only_texts(&turn.blocks) {
        Some(texts) if texts.len() == 1 || (target.dialect.is_compat() && !texts.is_empty()) => {
            joined(w.key("content"), &texts, "\n\n");
        }
        _ => parts(w.key("content"), &turn.blocks, &turn.path, target, report)?,
    }
    if let Some(name) = turn.name.as_ref().filter(|_| report.client() == Format::Chat) {
        w.key("name").text(name);
    }
    w.end_object();
    Ok(())
}

fn parts(
    w: &mut Writer<'_>,
    blocks: &[Block<'_>],
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    w.begin_array();
    for block in blocks {
        match block {
            Block::Text(text) => text_part(w.item(), text, target),
            Block::Media(media) => media_part(w, media, path, target, report)?,
            Block::Native(native) => match own_block(native, target) {
                Some(raw) => w.item().raw(raw),
                None => native_block(native, report)?,
            },
            Block::Refusal(text) => {
                w.item().object(|w| {
                    w.key("type").str("text");
                    w.key("text").text(text);
                });
            }
            Block::ToolCall(_) | Block::ToolResult(_) | Block::Thought(_) => {}
        }
    }
    w.end_array();
    Ok(())
}

fn media_part(
    w: &mut Writer<'_>,
    media: &Media<'_>,
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    match (&media.kind, &media.source) {
        (MediaKind::Image, Source::Base64 { .. } | Source::Url { .. }) => {
            w.item().object(|w| {
                w.key("type").str("image_url");
                w.key("image_url").object(|w| {
                    url(w.key("url"), &media.source);
                    if let Some(detail) = media.detail {
                        w.key("detail").str(detail_word(detail));
                    }
                });
            });
        }
        (MediaKind::Audio, Source::Base64 { mime, data }) => {
            let Some(format) = audio_format(mime) else {
                return report.cannot_carry(path.to_owned(), Class::Must);
            };
            w.item().object(|w| {
                w.key("type").str("input_audio");
                w.key("input_audio").object(|w| {
                    w.key("data").text(data);
                    w.key("format").str(format);
                });
            });
        }
        (MediaKind::Document, Source::Base64 { .. }) => {
            w.item().object(|w| {
                w.key("type").str("file");
                w.key("file").object(|w| {
                    match &media.title {
                        Some(title) => w.key("filename").text(title),
                        None => w.key("filename").str("document.pdf"),
                    }
                    url(w.key("file_data"), &media.source);
                });
                breakpoint(w, media.cache, target);
            });
        }
        (
            // Images have no file ids in Chat.
            MediaKind::Document,
            Source::File {
                id,
                owner: Format::Chat | Format::Responses,
            },
        ) => {
            w.item().object(|w| {
                w.key("type").str("file");
                w.key("file").object(|w| w.key("file_id").text(id));
                breakpoint(w, media.cache, target);
            });
        }
        (_, Source::Text(text)) => {
            let text = TextBlock {
                text: envelope(media, text).into(),
                cache: media.cache,
                ..TextBlock::default()
            };
            text_part(w.item(), &text, target);
        }
        (_, Source::Blocks(blocks)) => {
            let (open, close) = envelope_ends(media);
            plain_part(w, &open);
            for block in blocks {
                match block {
                    Block::Text(text) => text_part(w.item(), text, target),
                    Block::Media(inner) => media_part(w, inner, path, target, report)?,
                    Block::Native(native) => native_block(native, report)?,
                    _ => {}
                }
            }
            plain_part(w, close);
        }
        _ => report.cannot_carry(path.to_owned(), Class::Must)?,
    }
    Ok(())
}

/// What Chat calls a sound; it takes two kinds.
fn audio_format(mime: &str) -> Option<&'static str> {
    match mime.split(';').next().unwrap_or_default() {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Some("wav"),
        "audio/mp3" | "audio/mpeg" | "audio/mpeg3" => Some("mp3"),
        _ => None,
    }
}

/// A plain text document in a readable envelope (conversion.md 6.1).
pub(super) fn envelope(media: &Media<'_>, text: &Text<'_>) -> String {
    let (open, close) = envelope_ends(media);
    format!("{open}\n{}\n{close}", text.decode())
}

/// First and last line of the envelope.
pub(super) fn envelope_ends(media: &Media<'_>) -> (String, &'static str) {
    let title = media.title.as_ref().map(Text::decode).unwrap_or_default();
    (format!("<document title=\"{title}\">"), "</document>")
}

fn plain_part(w: &mut Writer<'_>, text: &str) {
    w.item().object(|w| {
        w.key("type").str("text");
        w.key("text").str(text);
    });
}

/// An address, or a data URL.
pub(super) fn url(w: &mut Writer<'_>, source: &Source<'_>) {
    match source {
        Source::Base64 { mime, data } => {
            w.bytes().extend_from_slice(b"\"data:");
            w.escape(mime);
            w.bytes().extend_from_slice(b";base64,");
            w.text_inside(data);
            w.bytes().push(b'"');
        }
        Source::Url { url, .. } => w.text(url),
        Source::File { id, .. } => w.text(id),
        Source::Text(_) | Source::Blocks(_) => w.str(""),
    }
}

pub(super) fn detail_word(detail: Detail) -> &'static str {
    match detail {
        Detail::Low => "low",
        Detail::High => "high",
        Detail::Auto => "auto",
        Detail::Original => "original",
    }
}

fn assistant(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let texts: Vec<&Text<'_>> = turn
        .blocks
        .iter()
        .filter_map(|block| as_text(block).map(|text| &text.text))
        .collect();
    let calls: Vec<&ToolCall<'_>> = turn
        .blocks
        .iter()
        .filter_map(|block| {
            if let Block::ToolCall(call) = block {
                Some(call)
            } else {
                None
            }
        })
        .collect();
    let refusal = turn.blocks.iter().find_map(|block| {
        if let Block::Refusal(text) = block {
            Some(text)
        } else {
            None
        }
    });
    for block in &turn.blocks {
        match block {
            Block::Native(native) if own_block(native, target).is_none() => native_block(native, report)?,
            Block::Media(_) => report.cannot_carry(turn.path.clone(), Class::Hint)?,
            _ => {}
        }
    }
    if texts.is_empty() && calls.is_empty() && refusal.is_none() {
        // A turn of which only foreign reasoning is left has nothing to say here.
        report_thoughts(turn, target, report);
        return Ok(());
    }
    w.item().begin_object();
    w.key("role").str("assistant");
    if !texts.is_empty() {
        joined(w.key("content"), &texts, "");
    } else if target.dialect.is_compat() {
        w.key("content").str("");
    } else if refusal.is_none() {
        w.key("content").null();
    }
    if let Some(refusal) = refusal {
        w.key("refusal").text(refusal);
    }
    thoughts(w, turn, target, !calls.is_empty(), report);
    if !calls.is_empty() {
        w.key("tool_calls").array(|w| {
            for call in calls {
                tool_call(w.item(), call, target, report);
            }
        });
    }
    w.end_object();
    Ok(())
}

fn report_thoughts(turn: &Turn<'_>, target: &Target<'_>, report: &mut Report) {
    for block in &turn.blocks {
        if let Block::Thought(thought) = block {
            thought_state(thought, target, report);
        }
    }
}

/// DeepSeek wants the reasoning of turns with calls back; nobody else takes it.
fn thoughts(w: &mut Writer<'_>, turn: &Turn<'_>, target: &Target<'_>, has_calls: bool, report: &mut Report) {
    report_thoughts(turn, target, report);
    if target.dialect != Dialect::DeepSeek || !has_calls {
        return;
    }
    let mut texts: Vec<&Text<'_>> = Vec::new();
    for block in &turn.blocks {
        if let Block::Thought(thought) = block
            && thought
                .state
                .as_ref()
                .is_none_or(|state| matches!(state.state, State::Plain))
        {
            texts.extend(thought.text.iter());
        }
    }
    joined(w.key("reasoning_content"), &texts, "\n");
}

fn tool_call(w: &mut Writer<'_>, call: &ToolCall<'_>, target: &Target<'_>, report: &mut Report) {
    if let Some(opaque) = &call.state {
        restorable(Some(opaque), target, report);
    }
    let name = upstream_name(&call.name, call.namespace.as_deref(), target);
    w.object(|w| {
        let id = names::call_id(&call.id, Format::Chat);
        w.key("id").str(&id);
        match &call.arguments {
            Arguments::Freeform(input) if target.dialect == Dialect::Native => {
                w.key("type").str("custom");
                w.key("custom").object(|w| {
                    w.key("name").str(&name);
                    w.key("input").text(input);
                });
            }
            arguments => {
                w.key("type").str("function");
                w.key("function").object(|w| {
                    w.key("name").str(&name);
                    arguments_string(w.key("arguments"), arguments);
                });
            }
        }
    });
}

/// Tool messages, and behind the whole run one user message with the media that they cannot hold.
fn results(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut hoisted: Vec<(&ToolResult<'_>, &Media<'_>)> = Vec::new();
    for block in &turn.blocks {
        let Block::ToolResult(result) = block else {
            continue;
        };
        let media = result.parts.iter().filter_map(|part| {
            if let Block::Media(media) = part {
                Some(media)
            } else {
                None
            }
        });
        let before = hoisted.len();
        hoisted.extend(media.map(|media| (result, media)));
        w.item().object(|w| {
            w.key("role").str("tool");
            w.key("tool_call_id")
                .str(&names::call_id(&result.call_id, Format::Chat));
            result_string(w.key("content"), result, hoisted.len() > before);
        });
    }
    if hoisted.is_empty() {
        return Ok(());
    }
    w.item().begin_object();
    w.key("role").str("user");
    w.key("content").begin_array();
    for (result, media) in hoisted {
        w.item().object(|w| {
            w.key("type").str("text");
            w.key("text").str(&format!(
                "[media from tool call {}]",
                names::call_id(&result.call_id, Format::Chat)
            ));
        });
        media_part(w, media, &turn.path, target, report)?;
    }
    w.end_array();
    w.end_object();
    Ok(())
}

/// A result as one string.
pub(super) fn result_string(w: &mut Writer<'_>, result: &ToolResult<'_>, media: bool) {
    if let Some(structured) = result.structured {
        return w.raw_as_str(structured);
    }
    let error = Text::from("ERROR: ");
    let attached = Text::from(ATTACHED);
    let mut texts = result_texts(result);
    if media {
        texts.push(&attached);
    }
    w.bytes().push(b'"');
    if result.is_error {
        w.text_inside(&error);
    }
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            w.escape("\n");
        }
        w.text_inside(text);
    }
    w.bytes().push(b'"');
}

fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let (searches, tools): (Vec<&Tool<'_>>, Vec<_>) = request
        .tools
        .iter()
        .partition(|tool| hosted::of(tool) == Some(Capability::WebSearch));
    if let Some(tool) = searches.first() {
        match &tool.kind {
            ToolKind::Hosted {
                format: Format::Chat,
                json,
                ..
            } => w.key("web_search_options").raw(*json),
            _ => hosted::write(
                w.key("web_search_options"),
                tool,
                Capability::WebSearch,
                request,
                target,
                report,
            )?,
        }
    }
    if tools.is_empty() {
        if let Some(ToolChoice::Hosted(_)) = &request.tool_choice {
            lose(report, true, Member::ToolChoice, Class::Must)?;
        }
        return Ok(());
    }
    let validated = matches!(request.tool_choice, Some(ToolChoice::Validated));
    w.key("tools").begin_array();
    for tool in &tools {
        tool_extras_lost(
            tool,
            &[
                ("defer_loading", tool.defer),
                ("allowed_callers", tool.callers.is_some()),
                ("output_schema", tool.output_schema.is_some()),
            ],
            report,
        )?;
        tool_entry(w.item(), tool, target, validated, report);
    }
    w.end_array();
    if let Some(choice) = &request.tool_choice {
        tool_choice(w, choice, request, target, report)?;
    }
    match request.parallel_tool_calls {
        Some(parallel) if profile.parallel_switch => w.key("parallel_tool_calls").bool(parallel),
        parallel => lose(report, parallel == Some(false), Member::Parallel, Class::Hint)?,
    }
    Ok(())
}

/// Gemini's VALIDATED means strict tools: where the schema allows it (conversion.md 8.5).
pub(super) fn validated_strict(parameters: Option<Raw<'_>>, openapi: bool) -> bool {
    let Some(parameters) = parameters else {
        return false;
    };
    let rules = if openapi {
        schema::Profile::FromOpenApi
    } else {
        schema::Profile::Parameters
    };
    schema::is_openai_strict(Raw(&schema::rewrite(parameters, rules).0))
}

fn tool_entry(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    validated: bool,
    report: &mut Report,
) {
    if let ToolKind::Hosted { json, .. } = &tool.kind {
        return w.raw(*json);
    }
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    w.object(|w| match &tool.kind {
        ToolKind::Custom { format } if target.dialect == Dialect::Native => {
            w.key("type").str("custom");
            w.key("custom").object(|w| {
                w.key("name").str(&name);
                if let Some(description) = &tool.description {
                    w.key("description").text(description);
                }
                if let Some(grammar) = format.and_then(grammar) {
                    w.key("format").object(|w| {
                        w.key("type").str("grammar");
                        w.key("grammar").object(|w| {
                            w.key("syntax").text(&grammar.0);
                            w.key("definition").text(&grammar.1);
                        });
                    });
                }
            });
        }
        ToolKind::Custom { format } => {
            report.emulated(&tool.path, "shim");
            w.key("type").str("function");
            w.key("function")
                .object(|w| shim(w, &name, tool, *format, "parameters"));
        }
        ToolKind::Function {
            parameters,
            openapi,
            strict,
        } => {
            w.key("type").str("function");
            w.key("function").object(|w| {
                w.key("name").str(&name);
                if let Some(description) = &tool.description {
                    w.key("description").text(description);
                }
                parameters_of(w.key("parameters"), *parameters, *openapi);
                let wanted = if validated && validated_strict(*parameters, *openapi) {
                    Some(true)
                } else {
                    *strict
                };
                if validated && wanted != Some(true) {
                    report.dropped(Member::ToolChoice.path(report.client()));
                }
                match wanted {
                    Some(strict) if !target.dialect.is_compat() => w.key("strict").bool(strict),
                    Some(true) => report.dropped(format!("{}.strict", tool.path)),
                    _ => {}
                }
            });
        }
        ToolKind::Hosted { .. } => {}
    });
}

/// A schema as OpenAI and Anthropic take it: an object at the root.
pub(super) fn parameters_of(w: &mut Writer<'_>, parameters: Option<Raw<'_>>, openapi: bool) {
    let Some(parameters) = parameters else {
        return w.raw(Raw::of_const(NO_PARAMETERS));
    };
    let profile = if openapi {
        schema::Profile::FromOpenApi
    } else {
        schema::Profile::Parameters
    };
    let (schema, _) = schema::rewrite(parameters, profile);
    w.raw(Raw(&schema));
}

/// Syntax and definition of a custom tool's grammar.
pub(super) fn grammar(format: Raw<'_>) -> Option<(Text<'_>, Text<'_>)> {
    crate::wire::object! {
        /// A grammar.
        pub(crate) struct Grammar {
            /// lark or regex.
            syntax: Text<'a> = "syntax",
            /// The grammar.
            definition: Text<'a> = "definition",
        }
    }
    let grammar: Grammar<'_> = crate::json::from_str(format.get()).ok()?;
    Some((grammar.syntax?, grammar.definition?))
}

/// A free text tool as a function with one string (conversion.md 8.1).
pub(super) fn shim(w: &mut Writer<'_>, name: &str, tool: &Tool<'_>, format: Option<Raw<'_>>, schema: &str) {
    w.key("name").str(name);
    let mut description = tool
        .description
        .as_ref()
        .map(|text| text.decode().into_owned())
        .unwrap_or_default();
    if let Some((syntax, definition)) = format.and_then(grammar) {
        let (syntax, definition) = (syntax.decode(), definition.decode());
        description.push_str(&format!(
            "\nThe input must match this {syntax} grammar:\n{definition}"
        ));
    }
    w.key("description").str(&description);
    w.key(schema).raw(Raw::of_const(
        r#"{"type":"object","properties":{"input":{"type":"string","description":"the free text input of the tool"}},"required":["input"],"additionalProperties":false}"#,
    ));
}

fn tool_choice(
    w: &mut Writer<'_>,
    choice: &ToolChoice<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let custom = |name: &str| {
        request
            .tools
            .iter()
            .any(|tool| tool.name == name && matches!(tool.kind, ToolKind::Custom { .. }))
    };
    match choice {
        ToolChoice::None => w.key("tool_choice").str("none"),
        ToolChoice::Auto | ToolChoice::Validated => w.key("tool_choice").str("auto"),
        ToolChoice::Any => w.key("tool_choice").str("required"),
        ToolChoice::Tool(name) => w.key("tool_choice").object(|w| {
            let kind = if custom(name) && target.dialect == Dialect::Native {
                "custom"
            } else {
                "function"
            };
            w.key("type").str(kind);
            w.key(kind)
                .object(|w| w.key("name").str(&declared_name(request, name, target)));
        }),
        ToolChoice::Subset { names, required } if target.dialect == Dialect::Native => {
            w.key("tool_choice").object(|w| {
                w.key("type").str("allowed_tools");
                w.key("allowed_tools").object(|w| {
                    w.key("mode").str(if *required { "required" } else { "auto" });
                    w.key("tools").array(|w| {
                        for name in names {
                            let kind = if custom(name) { "custom" } else { "function" };
                            w.item().object(|w| {
                                w.key("type").str(kind);
                                w.key(kind)
                                    .object(|w| w.key("name").str(&declared_name(request, name, target)));
                            });
                        }
                    });
                });
            });
        }
        ToolChoice::Subset { required, .. } => {
            lose(report, true, Member::ToolChoice, Class::Hint)?;
            w.key("tool_choice")
                .str(if *required { "required" } else { "auto" });
        }
        ToolChoice::Hosted(_) => lose(report, true, Member::ToolChoice, Class::Must)?,
    }
    Ok(())
}

fn limits(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    // Zero asks Anthropic to warm its cache only.
    let warm = request.max_output_tokens == Some(0) && report.client() == Format::Messages;
    lose(report, warm, Member::MaxTokens, Class::Must)?;
    if let Some(limit) = request.max_output_tokens.filter(|_| !warm) {
        let raised = if target.dialect == Dialect::Native {
            limit.max(MIN_OUTPUT)
        } else {
            limit
        };
        if raised != limit {
            report.altered(
                Member::MaxTokens.path(report.client()),
                &limit.to_string(),
                &raised.to_string(),
            );
        }
        let name = if target.dialect.is_compat() {
            "max_tokens"
        } else {
            "max_completion_tokens"
        };
        w.key(name).u64(raised);
    }
    if !request.stop.is_empty() && !profile.stop {
        lose(report, true, Member::Stop, Class::Must)?;
    } else if !request.stop.is_empty() {
        for (index, _) in request.stop.iter().enumerate().skip(4) {
            report.dropped(format!("{}[{index}]", Member::Stop.path(report.client())));
        }
        w.key("stop").array(|w| {
            for stop in request.stop.iter().take(4) {
                w.item().text(stop);
            }
        });
    }
    if let Some(candidates) = request.candidates.filter(|count| *count > 1) {
        w.key("n").u64(candidates);
    }
    Ok(())
}

/// Kinds of output: text is what everybody does, and sound is what some OpenAI models do.
fn spoken(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let other = request
        .modalities
        .iter()
        .any(|kind| !matches!(kind.as_ref(), "text" | "audio"));
    lose(report, other, Member::Modalities, Class::Must)?;
    let audio = request.modalities.iter().any(|kind| kind == "audio");
    if audio && target.dialect.is_compat() {
        lose(report, true, Member::Modalities, Class::Must)?;
    }
    if audio && !target.dialect.is_compat() {
        w.key("modalities").array(|w| {
            for kind in &request.modalities {
                w.item().str(kind);
            }
            if report.client() != Format::Chat && request.modalities.len() == 1 {
                // OpenAI speaks what it also writes.
                w.item().str("text");
            }
        });
    }
    match &request.speech {
        Some(speech) if audio && !target.dialect.is_compat() => w.key("audio").object(|w| {
            w.key("voice")
                .str(&speech.voice.as_ref().map_or("alloy".into(), Text::decode));
            w.key("format").str(speech.format.as_deref().unwrap_or("wav"));
        }),
        Some(_) => lose(report, true, Member::Speech, Class::Must)?,
        None if audio && report.client() != Format::Chat => w
            .key("audio")
            .raw(Raw::of_const(r#"{"voice":"alloy","format":"wav"}"#)),
        None => {}
    }
    Ok(())
}

/// OpenAI's request-wide caching controls.
fn caching(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    lose(
        report,
        request.compared_answer.is_some(),
        Member::Compared,
        Class::Inert,
    )?;
    let knows = knows_breakpoints(target) || report.client() == Format::Chat;
    match request.cache_options {
        Some(options) if knows => {
            let mut members = Vec::new();
            let mut reader = crate::json::Reader::new(options.get());
            // The decoder has read it as JSON; what is no object has no members.
            let _ = reader.object(|reader, name| {
                members.push((name.clone(), reader.raw()?));
                Ok(())
            });
            w.key("prompt_cache_options").object(|w| {
                for (name, value) in &members {
                    if matches!(name.as_ref(), "mode" | "ttl") {
                        w.key(name).raw(*value);
                    } else {
                        report.dropped(format!("prompt_cache_options.{name}"));
                    }
                }
            });
        }
        options => lose(report, options.is_some(), Member::CacheOptions, Class::Inert)?,
    }
    if request.cache.is_some() && knows {
        w.key("prompt_cache_options")
            .raw(Raw::of_const(r#"{"mode":"implicit"}"#));
        return Ok(());
    }
    lose(report, request.cache.is_some(), Member::Cache, Class::Inert)
}

fn sampling(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let off =
        matches!(request.reasoning.depth, ReasoningDepth::Off) && profile.efforts.contains(&Effort::None);
    let takes = profile.sampling == Sampling::Full || off || report.client() == Format::Chat;
    for (member, name, value) in [
        (Member::Temperature, "temperature", request.temperature),
        (Member::TopP, "top_p", request.top_p),
        (
            Member::FrequencyPenalty,
            "frequency_penalty",
            request.frequency_penalty,
        ),
        (
            Member::PresencePenalty,
            "presence_penalty",
            request.presence_penalty,
        ),
    ] {
        match value {
            Some(value) if takes => w.key(name).raw(value),
            Some(_) => lose(report, true, member, Class::Hint)?,
            None => {}
        }
    }
    if let Some(seed) = request.seed {
        w.key("seed").raw(seed);
    }
    match request.top_k {
        Some(top_k) if target.dialect.is_compat() => w.key("top_k").raw(top_k),
        top_k => lose(report, top_k.is_some(), Member::TopK, Class::Hint)?,
    }
    if request.logprobs {
        w.key("logprobs").bool(true);
        if let Some(top) = request.top_logprobs {
            w.key("top_logprobs").u64(top);
        }
    }
    Ok(())
}

/// The level for an OpenAI upstream (conversion.md section 9).
pub(super) fn effort(request: &Request<'_>, profile: &Profile, report: &mut Report) -> Option<Effort> {
    let wanted = match request.reasoning.depth {
        ReasoningDepth::Unset | ReasoningDepth::Dynamic => request.reasoning.effort?,
        ReasoningDepth::Off => Effort::None,
        ReasoningDepth::Effort(effort) => effort,
        ReasoningDepth::Budget(tokens) => bucket(tokens),
    };
    let given = profile.nearest(wanted);
    let path = Member::Effort.path(report.client());
    match given {
        Some(given) if given != wanted => report.altered(path, wanted.as_str(), given.as_str()),
        None if wanted != Effort::None => report.dropped(path),
        _ => {}
    }
    given
}

/// A token budget as a level.
pub(super) fn bucket(tokens: u64) -> Effort {
    match tokens {
        0 => Effort::None,
        1..=2_048 => Effort::Low,
        2_049..=12_288 => Effort::Medium,
        12_289..=28_672 => Effort::High,
        _ => Effort::XHigh,
    }
}

fn reasoning(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) {
    let mut effort = effort(request, profile, report);
    if profile.tools_need_responses && target.dialect == Dialect::Native && !request.tools.is_empty() {
        // OpenAI refuses tools with reasoning here (conversion.md fact 6).
        if effort != Some(Effort::None) && profile.efforts.contains(&Effort::None) {
            report.altered(
                Member::Effort.path(report.client()),
                effort.map_or("", Effort::as_str),
                "none",
            );
            effort = Some(Effort::None);
        }
    }
    if let Some(effort) = effort {
        w.key("reasoning_effort").str(effort.as_str());
    }
}

fn output(w: &mut Writer<'_>, request: &Request<'_>) {
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => w
            .key("response_format")
            .raw(Raw::of_const(r#"{"type":"json_object"}"#)),
        OutputFormat::JsonSchema { .. } => w.key("response_format").object(|w| {
            w.key("type").str("json_schema");
            w.key("json_schema").object(|w| json_schema(w, &request.output));
        }),
    }
}

/// Name, schema and strictness as both OpenAI formats spell them.
pub(super) fn json_schema(w: &mut Writer<'_>, output: &OutputFormat<'_>) {
    let OutputFormat::JsonSchema {
        name,
        description,
        schema,
        openapi,
        strict,
    } = output
    else {
        return;
    };
    let (rewritten, _) = if *openapi {
        schema::rewrite(*schema, schema::Profile::FromOpenApi)
    } else {
        (schema.get().into(), false)
    };
    match name {
        Some(name) => w.key("name").text(name),
        None => w.key("name").str("response"),
    }
    if let Some(description) = description {
        w.key("description").text(description);
    }
    w.key("schema").raw(Raw(&rewritten));
    w.key("strict")
        .bool(strict.unwrap_or_else(|| name.is_none() && schema::is_openai_strict(Raw(&rewritten))));
}

fn identity(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let native = target.dialect == Dialect::Native;
    if let Some(verbosity) = &request.verbosity {
        if native {
            w.key("verbosity").text(verbosity)
        } else {
            lose(report, true, Member::Verbosity, Class::Hint)?
        }
    }
    if let Some(user) = &request.user {
        w.key("user").text(user);
    }
    match &request.safety_identifier {
        Some(id) if native => safety_identifier(w, id, report),
        id => lose(report, id.is_some(), Member::SafetyIdentifier, Class::Inert)?,
    }
    match cache_key(request, report) {
        Some(key) if native => w.key("prompt_cache_key").text(&key),
        _ => lose(
            report,
            request.cache_key.is_some(),
            Member::CacheKey,
            Class::Inert,
        )?,
    }
    match request.metadata {
        Some(metadata) if native => w.key("metadata").raw(metadata),
        metadata => lose(report, metadata.is_some(), Member::Metadata, Class::Inert)?,
    }
    match &request.service_tier {
        Some(tier) if native && knows_tier(tier) => w.key("service_tier").str(openai_tier(tier)),
        tier => lose(report, tier.is_some(), Member::Tier, Class::Hint)?,
    }
    match request.store {
        // Whoever asks Responses to store an answer wants it back by its id.
        Some(store) if report.client() == Format::Responses => {
            if store {
                report.dropped(Member::Store.path(Format::Responses));
            }
        }
        Some(store) if native => w.key("store").bool(store),
        store => lose(report, store.is_some(), Member::Store, Class::Inert)?,
    }
    lose(
        report,
        request.max_tool_calls.is_some(),
        Member::ToolCalls,
        Class::Hint,
    )?;
    lose(
        report,
        request.container.is_some(),
        Member::Container,
        Class::Must,
    )
}

/// Tiers of Chat.
fn knows_tier(tier: &str) -> bool {
    matches!(
        openai_tier(tier),
        "auto" | "default" | "flex" | "scale" | "priority" | "fast"
    )
}

/// Claude Code's user ids end in the session, which is what its prompts have in common (conversion.md 4.3).
pub(super) fn cache_key<'a>(request: &Request<'a>, report: &Report) -> Option<Text<'a>> {
    if request.cache_key.is_some() {
        return request.cache_key.clone();
    }
    if report.client() != Format::Messages {
        return None;
    }
    let id = request.safety_identifier.as_ref()?.decode();
    let (_, session) = id.split_once("_session_")?;
    (!session.is_empty()).then(|| session.to_owned().into())
}

/// OpenAI's own identities pass. Anthropic's are free text: what is not at most 64 word characters is hashed, always the same way
/// (conversion.md 4.3, 7.8).
pub(super) fn safety_identifier(w: &mut Writer<'_>, id: &Text<'_>, report: &Report) {
    let text = id.decode();
    let word = text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if word || report.client() != Format::Messages {
        return w.key("safety_identifier").text(id);
    }
    w.key("safety_identifier")
        .str(&names::sha256_hex(text.as_bytes()));
}

/// Anthropic's and Gemini's tiers in OpenAI's words.
pub(super) fn openai_tier(tier: &str) -> &str {
    match tier {
        "standard_only" | "standard" => "default",
        other => other,
    }
}
