//! The IR to request bodies of Responses.

use super::chat_request::{
    MIN_OUTPUT, detail_word, effort, envelope, grammar, json_schema, openai_tier, parameters_of,
    result_string, safety_identifier, url,
};
use super::parts::{
    arguments_string, client_tools, joined, lose, native_block, natives, restorable, result_texts,
    upstream_name,
};
use crate::Format;
use crate::error::Error;
use crate::ir::{
    Arguments, Block, Media, MediaKind, Member, OutputFormat, ReasoningDepth, Request, Role, Show, Source,
    State, Thought, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::profile::{Profile, Sampling, profile};
use crate::report::{Class, Report};
use crate::target::{Options, Target};

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
    let alone = request.system.len() == 1 && request.system.iter().all(|block| block.text.cache.is_none());
    if let Some(block) = request.system.first().filter(|_| alone) {
        w.key("instructions").text(&block.text.text);
    }
    input(&mut w, request, !alone, target, report)?;
    tools(&mut w, request, target, report)?;
    limits(&mut w, request, &profile, report)?;
    reasoning(&mut w, request, &profile, report);
    text(&mut w, request);
    identity(&mut w, request);
    w.key("store")
        .bool(request.store.unwrap_or(false) && report.client() == Format::Responses);
    if request.stream {
        w.key("stream").bool(true);
    }
    natives(&mut w, request, target, report)?;
    w.end_object();
    Ok(out)
}

fn input(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    with_system: bool,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    w.key("input").begin_array();
    if with_system && !request.system.is_empty() {
        w.item().object(|w| {
            w.key("type").str("message");
            let developer =
                request.system.iter().any(|block| block.developer) || report.client() != Format::Chat;
            w.key("role").str(if developer { "developer" } else { "system" });
            w.key("content").array(|w| {
                for block in &request.system {
                    text_part(w.item(), &block.text.text, "input_text");
                }
            });
        });
    }
    for turn in &request.turns {
        match turn.role {
            Role::User | Role::System => message(w, turn, report)?,
            Role::Assistant => assistant(w, turn, target, report)?,
            Role::Tool => results(w, turn, report)?,
        }
    }
    w.end_array();
    Ok(())
}

fn text_part(w: &mut Writer<'_>, text: &Text<'_>, kind: &str) {
    w.object(|w| {
        w.key("type").str(kind);
        w.key("text").text(text);
    });
}

fn message(w: &mut Writer<'_>, turn: &Turn<'_>, report: &mut Report) -> Result<(), Error> {
    if turn.blocks.is_empty() {
        return Ok(());
    }
    let mut content = Vec::new();
    parts(&mut Writer::new(&mut content), &turn.blocks, &turn.path, report)?;
    if content.is_empty() {
        return Ok(());
    }
    w.item().object(|w| {
        w.key("type").str("message");
        w.key("role").str(match turn.role {
            Role::User => "user",
            _ if turn.developer || report.client() != Format::Chat => "developer",
            _ => "system",
        });
        w.key("content").array(|w| w.bytes().extend_from_slice(&content));
    });
    Ok(())
}

fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

/// Comma-separated input parts.
fn parts(w: &mut Writer<'_>, blocks: &[Block<'_>], path: &str, report: &mut Report) -> Result<(), Error> {
    for block in blocks {
        match block {
            Block::Text(text) => text_part(next(w), &text.text, "input_text"),
            Block::Refusal(text) => text_part(next(w), text, "input_text"),
            Block::Media(media) => media_part(w, media, path, report)?,
            Block::Native(native) => native_block(native, report)?,
            Block::ToolCall(_) | Block::ToolResult(_) | Block::Thought(_) => {}
        }
    }
    Ok(())
}

fn media_part(w: &mut Writer<'_>, media: &Media<'_>, path: &str, report: &mut Report) -> Result<(), Error> {
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::Base64 { .. } | Source::Url { .. }) => next(w).object(|w| {
            w.key("type").str("input_image");
            w.key("detail").str(media.detail.map_or("auto", detail_word));
            url(w.key("image_url"), &media.source);
        }),
        (MediaKind::Document, Source::Base64 { .. }) => next(w).object(|w| {
            w.key("type").str("input_file");
            match &media.title {
                Some(title) => w.key("filename").text(title),
                None => w.key("filename").str("document.pdf"),
            }
            url(w.key("file_data"), &media.source);
        }),
        (MediaKind::Document, Source::Url { url: address, .. }) => next(w).object(|w| {
            w.key("type").str("input_file");
            w.key("file_url").text(address);
        }),
        (
            kind,
            Source::File {
                id,
                owner: Format::Chat | Format::Responses,
            },
        ) => next(w).object(|w| {
            w.key("type").str(if kind == MediaKind::Image {
                "input_image"
            } else {
                "input_file"
            });
            if kind == MediaKind::Image {
                w.key("detail").str("auto");
            }
            w.key("file_id").text(id);
        }),
        (_, Source::Text(text)) => text_part(next(w), &envelope(media, text).into(), "input_text"),
        (_, Source::Blocks(blocks)) => parts(w, blocks, path, report)?,
        _ => report.cannot_carry(path.to_owned(), Class::Must)?,
    }
    Ok(())
}

/// One assistant turn is several items, in the order of its blocks. A text is a message with a string: the one shape of an
/// assistant message that needs no item id of OpenAI's own making.
fn assistant(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let followed = |index: usize| {
        turn.blocks.iter().skip(index + 1).any(|block| match block {
            Block::Text(text) => !text.text.is_empty(),
            Block::ToolCall(_) | Block::Refusal(_) => true,
            Block::Thought(Thought {
                state: Some(state), ..
            }) => matches!(state.state, State::Native(_)) && state.origin == target.format,
            _ => false,
        })
    };
    for (index, block) in turn.blocks.iter().enumerate() {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(text) => assistant_text(w, &text.text),
            Block::Refusal(text) => assistant_text(w, text),
            Block::ToolCall(call) => tool_call(w.item(), call, target),
            // OpenAI refuses a reasoning item without an item behind it (conversion.md 7.7).
            Block::Thought(thought) => thought_item(w, thought, followed(index), target, report),
            Block::Native(native) => native_block(native, report)?,
            Block::Media(_) => report.cannot_carry(turn.path.clone(), Class::Hint)?,
            Block::ToolResult(_) => {}
        }
    }
    Ok(())
}

fn assistant_text(w: &mut Writer<'_>, text: &Text<'_>) {
    w.item().object(|w| {
        w.key("type").str("message");
        w.key("role").str("assistant");
        w.key("content").text(text);
    });
}

fn thought_item(
    w: &mut Writer<'_>,
    thought: &Thought<'_>,
    followed: bool,
    target: &Target<'_>,
    report: &mut Report,
) {
    let (id, encrypted) = match restorable(thought.state.as_ref(), target, report) {
        Some(State::Reasoning { id, encrypted }) => (id, encrypted),
        Some(State::Native(json)) => return w.item().raw(Raw(json)),
        _ => return,
    };
    if !followed {
        return;
    }
    w.item().object(|w| {
        w.key("type").str("reasoning");
        if let Some(id) = id {
            w.key("id").str(id);
        }
        let parts = |w: &mut Writer<'_>, kind: &str, wanted: bool| {
            w.array(|w| {
                for text in thought.text.iter().filter(|_| wanted) {
                    w.item().object(|w| {
                        w.key("type").str(kind);
                        w.key("text").text(text);
                    });
                }
            });
        };
        parts(w.key("summary"), "summary_text", thought.summary);
        if !thought.summary && !thought.text.is_empty() {
            parts(w.key("content"), "reasoning_text", true);
        }
        w.key("encrypted_content").str(encrypted);
    });
}

fn tool_call(w: &mut Writer<'_>, call: &ToolCall<'_>, target: &Target<'_>) {
    let flat = upstream_name(&call.name, None, target);
    w.object(|w| {
        let custom = if let Arguments::Freeform(input) = &call.arguments {
            Some(input)
        } else {
            None
        };
        w.key("type").str(if custom.is_some() {
            "custom_tool_call"
        } else {
            "function_call"
        });
        w.key("call_id").str(&names::call_id(&call.id, Format::Responses));
        w.key("name").str(&flat);
        if let Some(namespace) = &call.namespace {
            w.key("namespace").str(namespace);
        }
        match custom {
            Some(input) => w.key("input").text(input),
            None => arguments_string(w.key("arguments"), &call.arguments),
        }
    });
}

fn results(w: &mut Writer<'_>, turn: &Turn<'_>, report: &mut Report) -> Result<(), Error> {
    for block in &turn.blocks {
        let Block::ToolResult(result) = block else {
            continue;
        };
        w.item().begin_object();
        w.key("type").str(if result.custom {
            "custom_tool_call_output"
        } else {
            "function_call_output"
        });
        w.key("call_id")
            .str(&names::call_id(&result.call_id, Format::Responses));
        if result.parts.iter().any(|part| matches!(part, Block::Media(_))) {
            let mut content = Vec::new();
            result_parts(&mut Writer::new(&mut content), result, &turn.path, report)?;
            w.key("output").array(|w| w.bytes().extend_from_slice(&content));
        } else {
            result_string(w.key("output"), result, false);
        }
        w.end_object();
    }
    Ok(())
}

fn result_parts(
    w: &mut Writer<'_>,
    result: &ToolResult<'_>,
    path: &str,
    report: &mut Report,
) -> Result<(), Error> {
    if result.is_error {
        let error = Text::from("ERROR: ");
        let mut texts = vec![&error];
        texts.extend(result_texts(result));
        w.begin_object();
        w.key("type").str("input_text");
        joined(w.key("text"), &texts, "");
        w.end_object();
        for part in result.parts.iter().filter(|part| matches!(part, Block::Media(_))) {
            parts(w, std::slice::from_ref(part), path, report)?;
        }
        return Ok(());
    }
    parts(w, &result.parts, path, report)
}

fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let tools = client_tools(request, report);
    if tools.is_empty() {
        return Ok(());
    }
    w.key("tools").array(|w| {
        for tool in &tools {
            tool_entry(w.item(), tool, target);
        }
    });
    if let Some(choice) = &request.tool_choice {
        tool_choice(w, choice, request, target, report)?;
    }
    if let Some(parallel) = request.parallel_tool_calls {
        w.key("parallel_tool_calls").bool(parallel);
    }
    Ok(())
}

fn tool_entry(w: &mut Writer<'_>, tool: &Tool<'_>, target: &Target<'_>) {
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    w.object(|w| match &tool.kind {
        ToolKind::Custom { format } => {
            w.key("type").str("custom");
            w.key("name").str(&name);
            if let Some(description) = &tool.description {
                w.key("description").text(description);
            }
            if let Some((syntax, definition)) = format.and_then(grammar) {
                w.key("format").object(|w| {
                    w.key("type").str("grammar");
                    w.key("syntax").text(&syntax);
                    w.key("definition").text(&definition);
                });
            }
        }
        ToolKind::Function {
            parameters,
            openapi,
            strict,
        } => {
            w.key("type").str("function");
            w.key("name").str(&name);
            if let Some(description) = &tool.description {
                w.key("description").text(description);
            }
            parameters_of(w.key("parameters"), *parameters, *openapi);
            // Responses is strict where nothing is said, the other formats are not.
            w.key("strict").bool(strict.unwrap_or(false));
        }
        ToolKind::Hosted { .. } => {}
    });
}

fn tool_choice(
    w: &mut Writer<'_>,
    choice: &ToolChoice<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let kind = |name: &str| {
        let custom = request
            .tools
            .iter()
            .any(|tool| tool.name == name && matches!(tool.kind, ToolKind::Custom { .. }));
        if custom { "custom" } else { "function" }
    };
    let named = |w: &mut Writer<'_>, name: &str| {
        w.object(|w| {
            w.key("type").str(kind(name));
            w.key("name").str(&upstream_name(name, None, target));
        });
    };
    match choice {
        ToolChoice::None => w.key("tool_choice").str("none"),
        ToolChoice::Auto | ToolChoice::Validated => w.key("tool_choice").str("auto"),
        ToolChoice::Any => w.key("tool_choice").str("required"),
        ToolChoice::Tool(name) => named(w.key("tool_choice"), name),
        ToolChoice::Subset { names, required } => w.key("tool_choice").object(|w| {
            w.key("type").str("allowed_tools");
            w.key("mode").str(if *required { "required" } else { "auto" });
            w.key("tools").array(|w| {
                for name in names {
                    named(w.item(), name);
                }
            });
        }),
        ToolChoice::Hosted(_) => lose(report, true, Member::ToolChoice, Class::Must)?,
    }
    Ok(())
}

fn limits(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    if let Some(limit) = request.max_output_tokens {
        let raised = limit.max(MIN_OUTPUT);
        if raised != limit {
            report.altered(
                Member::MaxTokens.path(report.client()),
                &limit.to_string(),
                &raised.to_string(),
            );
        }
        w.key("max_output_tokens").u64(raised);
    }
    let takes = profile.sampling == Sampling::Full
        || report.client() == Format::Chat
        || request.reasoning.depth == ReasoningDepth::Off;
    for (member, name, value) in [
        (Member::Temperature, "temperature", request.temperature),
        (Member::TopP, "top_p", request.top_p),
    ] {
        match value {
            Some(value) if takes => w.key(name).raw(value),
            value => lose(report, value.is_some(), member, Class::Hint)?,
        }
    }
    if request.logprobs {
        w.key("top_logprobs").u64(request.top_logprobs.unwrap_or(0));
    }
    include(w, request, report);
    lose(report, request.top_k.is_some(), Member::TopK, Class::Hint)?;
    lose(report, request.seed.is_some(), Member::Seed, Class::Hint)?;
    lose(
        report,
        super::messages_request::nonzero(request.frequency_penalty),
        Member::FrequencyPenalty,
        Class::Hint,
    )?;
    lose(
        report,
        super::messages_request::nonzero(request.presence_penalty),
        Member::PresencePenalty,
        Class::Hint,
    )?;
    lose(
        report,
        request.candidates.is_some_and(|count| count > 1),
        Member::Candidates,
        Class::Must,
    )?;
    lose(report, !request.stop.is_empty(), Member::Stop, Class::Must)
}

/// Encrypted reasoning is always asked for: it is what lets a conversation go on without stored state.
fn include(w: &mut Writer<'_>, request: &Request<'_>, report: &Report) {
    let encrypted = request.include_encrypted_reasoning || report.client() != Format::Responses;
    if !encrypted && !request.logprobs {
        return;
    }
    w.key("include").array(|w| {
        if encrypted {
            w.item().str("reasoning.encrypted_content");
        }
        if request.logprobs {
            w.item().str("message.output_text.logprobs");
        }
    });
}

fn reasoning(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, report: &mut Report) {
    let effort = effort(request, profile, report);
    let asked = !matches!(
        request.reasoning.depth,
        ReasoningDepth::Unset | ReasoningDepth::Off
    );
    let summary = request.reasoning.show == Show::Summary && asked;
    if effort.is_none() && !summary {
        return;
    }
    w.key("reasoning").object(|w| {
        if let Some(effort) = effort {
            w.key("effort").str(effort.as_str());
        }
        if summary {
            w.key("summary").str("auto");
        }
    });
}

fn text(w: &mut Writer<'_>, request: &Request<'_>) {
    if request.output == OutputFormat::Text && request.verbosity.is_none() {
        return;
    }
    w.key("text").object(|w| {
        match &request.output {
            OutputFormat::Text => {}
            OutputFormat::JsonObject => w.key("format").raw(Raw::of_const(r#"{"type":"json_object"}"#)),
            OutputFormat::JsonSchema { .. } => w.key("format").object(|w| {
                w.key("type").str("json_schema");
                json_schema(w, &request.output);
            }),
        }
        if let Some(verbosity) = &request.verbosity {
            w.key("verbosity").text(verbosity);
        }
    });
}

fn identity(w: &mut Writer<'_>, request: &Request<'_>) {
    if let Some(id) = request.safety_identifier.as_ref().or(request.user.as_ref()) {
        safety_identifier(w, id);
    }
    if let Some(key) = &request.cache_key {
        w.key("prompt_cache_key").text(key);
    }
    if let Some(metadata) = request.metadata {
        w.key("metadata").raw(metadata);
    }
    if let Some(tier) = &request.service_tier {
        w.key("service_tier").str(openai_tier(tier));
    }
}
