//! The IR to request bodies of Responses.

use super::chat_request::{
    MIN_OUTPUT, breakpoint, cache_key, detail_word, effort, envelope, envelope_ends, grammar, json_schema,
    knows_breakpoints, openai_tier, parameters_of, result_string, safety_identifier, url, validated_strict,
};
use super::parts::{
    arguments_object, arguments_string, declared_name, joined, lose, names_lost, native_block, natives,
    own_block, prefill, restorable, result_texts, thought_state, tool_extras_lost, upstream_name,
};
use crate::Format;
use crate::error::Error;
use crate::hosted::{self, Capability};
use crate::ir::{
    Arguments, Block, Media, MediaKind, Member, OutputFormat, ReasoningDepth, Request, Role, Show, Source,
    State, Summary, TextBlock, Thought, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::profile::{Profile, Sampling, profile};
use crate::report::{Class, Report};
use crate::shim::CallItem;
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
    identity(&mut w, request, report)?;
    caching(&mut w, request, target, report)?;
    others(request, report)?;
    if report.client() != Format::Responses || request.store.is_some() {
        w.key("store").bool(request.store.unwrap_or(false));
    }
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
                    text_part(w.item(), &block.text, target);
                }
            });
        });
    }
    for turn in &request.turns {
        match turn.role {
            Role::User | Role::System => message(w, turn, target, report)?,
            Role::Assistant => assistant(w, turn, request, target, report)?,
            Role::Tool => results(w, turn, request, target, report)?,
        }
    }
    w.end_array();
    names_lost(request, report)?;
    prefill(request, report)
}

fn text_part(w: &mut Writer<'_>, block: &TextBlock<'_>, target: &Target<'_>) {
    w.object(|w| {
        w.key("type").str("input_text");
        w.key("text").text(&block.text);
        breakpoint(w, block.cache, target);
    });
}

fn plain_part(w: &mut Writer<'_>, text: Text<'_>, target: &Target<'_>) {
    let block = TextBlock {
        text,
        ..TextBlock::default()
    };
    text_part(w, &block, target);
}

/// Blocks that are items of their own on this format, not parts of a message.
fn own_items(w: &mut Writer<'_>, blocks: &[Block<'_>], target: &Target<'_>) -> bool {
    let mut found = false;
    for block in blocks {
        if let Block::Native(native) = block
            && let Some(raw) = own_block(native, target)
        {
            w.item().raw(raw);
            found = true;
        }
    }
    found
}

fn message(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if turn.blocks.is_empty() {
        return Ok(());
    }
    let alone = turn
        .blocks
        .iter()
        .all(|block| matches!(block, Block::Native(native) if !native.path.contains(".content[")));
    if alone && own_items(w, &turn.blocks, target) {
        return Ok(());
    }
    let mut content = Vec::new();
    parts(
        &mut Writer::new(&mut content),
        &turn.blocks,
        &turn.path,
        target,
        report,
    )?;
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
fn parts(
    w: &mut Writer<'_>,
    blocks: &[Block<'_>],
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    for block in blocks {
        match block {
            Block::Text(text) => text_part(next(w), text, target),
            Block::Refusal(text) => plain_part(next(w), text.clone(), target),
            Block::Media(media) => media_part(w, media, path, target, report)?,
            Block::Native(native) => match own_block(native, target) {
                Some(raw) => next(w).raw(raw),
                None => native_block(native, report)?,
            },
            Block::ToolCall(_) | Block::ToolResult(_) | Block::Thought(_) => {}
        }
    }
    Ok(())
}

fn media_part(
    w: &mut Writer<'_>,
    media: &Media<'_>,
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
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
            breakpoint(w, media.cache, target);
        }),
        (MediaKind::Document, Source::Url { url: address, .. }) => next(w).object(|w| {
            w.key("type").str("input_file");
            w.key("file_url").text(address);
            breakpoint(w, media.cache, target);
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
        (_, Source::Text(text)) => {
            let block = TextBlock {
                text: envelope(media, text).into(),
                cache: media.cache,
                ..TextBlock::default()
            };
            text_part(next(w), &block, target);
        }
        (_, Source::Blocks(blocks)) => {
            let (open, close) = envelope_ends(media);
            plain_part(next(w), open.into(), target);
            parts(w, blocks, path, target, report)?;
            plain_part(next(w), close.into(), target);
        }
        _ => report.cannot_carry(path.to_owned(), Class::Must)?,
    }
    Ok(())
}

/// One assistant turn is several items, in the order of its blocks. A text is a message with a string: the one shape of an
/// assistant message that needs no item id of OpenAI's own making.
fn assistant(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let followed = |index: usize| {
        turn.blocks.iter().skip(index + 1).any(|block| match block {
            Block::Text(text) => !text.text.is_empty(),
            Block::ToolCall(_) | Block::Refusal(_) => true,
            _ => false,
        })
    };
    for (index, block) in turn.blocks.iter().enumerate() {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(text) => assistant_text(w, &text.text),
            Block::Refusal(text) => assistant_text(w, text),
            Block::ToolCall(call) => {
                restorable(call.state.as_ref(), target, report);
                tool_call(w.item(), call, request, target, report);
            }
            // OpenAI refuses a reasoning item without an item behind it (conversion.md 7.7).
            Block::Thought(thought) => thought_item(w, thought, followed(index), target, report),
            Block::Native(native) => match own_block(native, target) {
                Some(raw) => w.item().raw(raw),
                None => native_block(native, report)?,
            },
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
    if !followed {
        if thought.state.is_some() {
            report.state_dropped("edited_turn");
        }
        return;
    }
    let Some(State::Reasoning { id, encrypted }) = thought_state(thought, target, report) else {
        return;
    };
    w.item().object(|w| {
        w.key("type").str("reasoning");
        if let Some(id) = id {
            w.key("id").str(id);
        }
        w.key("summary").array(|w| {
            for text in &thought.text {
                w.item().object(|w| {
                    w.key("type").str("summary_text");
                    w.key("text").text(text);
                });
            }
        });
        w.key("encrypted_content").str(encrypted);
    });
}

/// The vendor-trained tool of this format that the request declares under the name of a call.
fn trained(name: &str, request: &Request<'_>) -> Option<CallItem> {
    let item = CallItem::of_tool(name)?;
    let declared = request.tools.iter().any(|tool| {
        matches!(&tool.kind, ToolKind::Hosted { format: Format::Responses, kind, .. } if CallItem::of_tool(kind) == Some(item))
    });
    declared.then_some(item)
}

fn tool_call(
    w: &mut Writer<'_>,
    call: &ToolCall<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &Report,
) {
    if let Some(item) = trained(&call.name, request) {
        let mut arguments = Vec::new();
        arguments_object(&mut Writer::new(&mut arguments), &call.arguments);
        let arguments = String::from_utf8_lossy(&arguments);
        let id = names::call_id(&call.id, Format::Responses);
        return w.object(|w| item.write(w, &id, Raw(&arguments), "completed"));
    }
    // Only Responses has namespaces; toolset members of Messages were flattened.
    let own = report.client() == Format::Responses;
    let flat = upstream_name(&call.name, call.namespace.as_deref().filter(|_| !own), target);
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
        if let Some(namespace) = call.namespace.as_ref().filter(|_| own) {
            w.key("namespace").str(namespace);
        }
        match custom {
            Some(input) => w.key("input").text(input),
            None => arguments_string(w.key("arguments"), &call.arguments),
        }
    });
}

fn results(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    for block in &turn.blocks {
        let Block::ToolResult(result) = block else {
            continue;
        };
        if let Some(item) = result.name.as_deref().and_then(|name| trained(name, request)) {
            trained_result(w.item(), item, result);
            continue;
        }
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
            result_parts(&mut Writer::new(&mut content), result, &turn.path, target, report)?;
            w.key("output").array(|w| w.bytes().extend_from_slice(&content));
        } else {
            result_string(w.key("output"), result, false);
        }
        w.end_object();
    }
    Ok(())
}

/// The output item of a vendor-trained tool.
fn trained_result(w: &mut Writer<'_>, item: CallItem, result: &ToolResult<'_>) {
    w.object(|w| {
        w.key("type").str(item.output_type());
        let id = names::call_id(&result.call_id, Format::Responses);
        w.key(if item == CallItem::LocalShell {
            "id"
        } else {
            "call_id"
        })
        .str(&id);
        let texts = result_texts(result);
        let screenshot = result.parts.iter().find_map(|part| match part {
            Block::Media(media) => Some(media),
            _ => None,
        });
        match (item, screenshot) {
            (CallItem::Computer, Some(media)) => w.key("output").object(|w| {
                w.key("type").str("computer_screenshot");
                match &media.source {
                    Source::File { id, .. } => w.key("file_id").text(id),
                    source => url(w.key("image_url"), source),
                }
            }),
            (CallItem::Shell, _) => {
                let text = texts.first().map(|text| text.decode()).unwrap_or_default();
                w.key("output").raw(Raw(&text));
            }
            _ if !texts.is_empty() => joined(w.key("output"), &texts, "\n"),
            _ => {}
        }
        if item == CallItem::ApplyPatch {
            w.key("status")
                .str(if result.is_error { "failed" } else { "completed" });
        }
    });
}

fn result_parts(
    w: &mut Writer<'_>,
    result: &ToolResult<'_>,
    path: &str,
    target: &Target<'_>,
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
            parts(w, std::slice::from_ref(part), path, target, report)?;
        }
        return Ok(());
    }
    parts(w, &result.parts, path, target, report)
}

fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if request.tools.is_empty() {
        return Ok(());
    }
    let searches = request
        .tools
        .iter()
        .any(|tool| hosted::of(tool) == Some(Capability::ToolSearch));
    let validated = matches!(request.tool_choice, Some(ToolChoice::Validated));
    let mut namespaces: Vec<&str> = Vec::new();
    w.key("tools").begin_array();
    for tool in &request.tools {
        if let Some(capability) = hosted::of(tool).filter(|_| report.client() != Format::Responses) {
            hosted::write(w.item(), tool, capability, request, target, report)?;
            continue;
        }
        if let Some(name) = tool
            .namespace
            .as_deref()
            .filter(|_| report.client() == Format::Responses)
        {
            if !namespaces.contains(&name) {
                namespaces.push(name);
                namespace(w.item(), name, request, target, validated, searches, report)?;
            }
            continue;
        }
        tool_entry(w.item(), tool, target, validated, searches, report)?;
    }
    w.end_array();
    if let Some(choice) = &request.tool_choice {
        tool_choice(w, choice, request, target, report)?;
    }
    if let Some(parallel) = request.parallel_tool_calls {
        w.key("parallel_tool_calls").bool(parallel);
    }
    if let Some(most) = request.max_tool_calls.or_else(|| hosted::only_limit(request)) {
        w.key("max_tool_calls").u64(most);
    }
    Ok(())
}

/// The functions of one namespace.
fn namespace(
    w: &mut Writer<'_>,
    name: &str,
    request: &Request<'_>,
    target: &Target<'_>,
    validated: bool,
    searches: bool,
    report: &mut Report,
) -> Result<(), Error> {
    w.begin_object();
    w.key("type").str("namespace");
    w.key("name").str(name);
    w.key("description").str("");
    w.key("tools").begin_array();
    for tool in request
        .tools
        .iter()
        .filter(|tool| tool.namespace.as_deref() == Some(name))
    {
        let inner = Tool {
            namespace: None,
            ..tool.clone()
        };
        tool_entry(w.item(), &inner, target, validated, searches, report)?;
    }
    w.end_array();
    w.end_object();
    Ok(())
}

fn tool_entry(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    validated: bool,
    searches: bool,
    report: &mut Report,
) -> Result<(), Error> {
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    tool_extras_lost(tool, &[("defer_loading", tool.defer && !searches)], report)?;
    let common = |w: &mut Writer<'_>| {
        if tool.defer && searches {
            w.key("defer_loading").bool(true);
        }
        if let Some(callers) = tool.callers {
            allowed_callers(w, callers);
        }
    };
    match &tool.kind {
        ToolKind::Hosted { json, .. } => w.raw(*json),
        ToolKind::Custom { format } => w.object(|w| {
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
            common(w);
        }),
        ToolKind::Function {
            parameters,
            openapi,
            strict,
        } => w.object(|w| {
            w.key("type").str("function");
            w.key("name").str(&name);
            if let Some(description) = &tool.description {
                w.key("description").text(description);
            }
            parameters_of(w.key("parameters"), *parameters, *openapi);
            // Responses is strict where nothing is said, the other formats are not.
            let checked = validated && validated_strict(*parameters, *openapi);
            if validated && !checked {
                report.dropped(Member::ToolChoice.path(report.client()));
            }
            w.key("strict").bool(checked || strict.unwrap_or(false));
            if let Some(schema) = tool.output_schema {
                w.key("output_schema").raw(schema);
            }
            common(w);
        }),
    }
    Ok(())
}

/// Who may call a tool: every code execution of Anthropic is OpenAI's `programmatic` (conversion.md 8.1).
fn allowed_callers(w: &mut Writer<'_>, callers: Raw<'_>) {
    let list: Vec<std::borrow::Cow<'_, str>> = crate::json::from_str(callers.get()).unwrap_or_default();
    let mut words: Vec<&str> = Vec::new();
    for caller in &list {
        let word = if caller.starts_with("code_execution") {
            "programmatic"
        } else {
            caller.as_ref()
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if words.is_empty() {
        return;
    }
    w.key("allowed_callers").array(|w| {
        for word in words {
            w.item().str(word);
        }
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
            w.key("name").str(&declared_name(request, name, target));
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
        ToolChoice::Hosted(word) => {
            let own = report.client() == Format::Responses;
            match hosted_type(request, word).filter(|_| !own) {
                Some(kind) => w.key("tool_choice").object(|w| w.key("type").str(kind)),
                None if own => w.key("tool_choice").object(|w| w.key("type").str(word)),
                None => lose(report, true, Member::ToolChoice, Class::Must)?,
            }
        }
    }
    Ok(())
}

/// The type of a hosted tool that is forced.
fn hosted_type(request: &Request<'_>, word: &str) -> Option<&'static str> {
    let tool = request.tools.iter().find(|tool| match &tool.kind {
        ToolKind::Hosted { kind, .. } => kind == word || tool.name == word,
        _ => false,
    })?;
    match hosted::of(tool)? {
        Capability::WebSearch | Capability::WebFetch => Some("web_search"),
        Capability::CodeExecution => Some("code_interpreter"),
        _ => None,
    }
}

fn limits(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    // Zero asks Anthropic to warm its cache only; here that is a switch of its own.
    let warm = request.max_output_tokens == Some(0) && report.client() == Format::Messages;
    if let Some(limit) = request.max_output_tokens.filter(|_| !warm) {
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
    let off =
        request.reasoning.depth == ReasoningDepth::Off && profile.efforts.contains(&crate::ir::Effort::None);
    let takes = profile.sampling == Sampling::Full || off || report.client() == Format::Responses;
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
    if report.client() == Format::Responses {
        if !request.include.is_empty() {
            w.key("include").array(|w| {
                for word in &request.include {
                    w.item().str(word);
                }
            });
        }
        return;
    }
    let encrypted = true;
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
    let own = report.client() == Format::Responses;
    let shown = match request.reasoning.show {
        Show::Summary => true,
        // Anthropic shows its thinking unless it is told not to.
        Show::Default => report.client() == Format::Messages,
        Show::Hidden => false,
    };
    let summary = if own {
        request.reasoning.summary
    } else {
        (shown && asked).then_some(Summary::Auto)
    };
    if effort.is_none() && summary.is_none() {
        return;
    }
    w.key("reasoning").object(|w| {
        if let Some(effort) = effort {
            w.key("effort").str(effort.as_str());
        }
        if let Some(summary) = summary {
            w.key("summary").str(summary.as_str());
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

fn identity(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    let own = report.client() == Format::Responses;
    match (&request.safety_identifier, &request.user) {
        (Some(id), _) => safety_identifier(w, id, report),
        (None, Some(user)) if !own => safety_identifier(w, user, report),
        _ => {}
    }
    match &request.user {
        Some(user) if own => w.key("user").text(user),
        user => {
            let lost = user.is_some() && request.safety_identifier.is_some();
            lose(report, lost, Member::User, Class::Inert)?;
        }
    }
    if let Some(key) = cache_key(request, report) {
        w.key("prompt_cache_key").text(&key);
    }
    if let Some(metadata) = request.metadata {
        w.key("metadata").raw(metadata);
    }
    if let Some(tier) = &request.service_tier {
        w.key("service_tier").str(openai_tier(tier));
    }
    Ok(())
}

/// OpenAI's request-wide caching controls, and what Anthropic's mean there.
fn caching(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if let Some(options) = request.cache_options {
        w.key("prompt_cache_options").raw(options);
        return Ok(());
    }
    let warm = request.max_output_tokens == Some(0) && report.client() == Format::Messages;
    let implicit = request.cache.is_some() && knows_breakpoints(target);
    let compared = request.compared_answer.as_ref();
    lose(
        report,
        request.cache.is_some() && !implicit,
        Member::Cache,
        Class::Inert,
    )?;
    if !warm && !implicit && compared.is_none() {
        return Ok(());
    }
    w.key("prompt_cache_options").object(|w| {
        if implicit {
            w.key("mode").str("implicit");
        }
        if let Some(id) = compared {
            let id = names::answer_id(&id.decode(), Format::Responses, "");
            w.key("comparison_response_id").str(&id);
        }
        if warm {
            w.key("prewarm").bool(true);
        }
    });
    Ok(())
}

/// What Responses has no member for.
fn others(request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    let text_only = request.modalities.iter().all(|kind| kind == "text");
    lose(report, !text_only, Member::Modalities, Class::Must)?;
    lose(report, request.speech.is_some(), Member::Speech, Class::Must)?;
    let code = request
        .tools
        .iter()
        .any(|tool| hosted::of(tool) == Some(Capability::CodeExecution));
    // The container's id goes with the tool that runs in it; an object also names skills.
    let id = request
        .container
        .is_some_and(|container| container.as_text().is_some());
    lose(
        report,
        request.container.is_some() && !(id && code),
        Member::Container,
        Class::Must,
    )
}
