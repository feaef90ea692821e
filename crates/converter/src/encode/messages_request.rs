//! The IR to request bodies of Messages.

use super::parts::{
    NO_PARAMETERS, OPERATOR_NOTE, arguments_object, client_tools, lose, native_block, natives, restorable,
    upstream_name,
};
use crate::error::Error;
use crate::ir::{
    Block, CacheMark, Effort, Media, MediaKind, Member, OutputFormat, ReasoningDepth, Request, Role, Show,
    Source, State, TextBlock, Thought, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::profile::{Profile, Sampling, Thinking, profile};
use crate::report::{Class, Report};
use crate::schema;
use crate::target::{Options, Target};
use crate::{Dialect, Format};

/// Anthropic's smallest thinking budget, tokens.
const MIN_BUDGET: u64 = 1024;

pub(super) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(4096);
    let mut w = Writer::new(&mut out);
    let profile = profile(target.format, target.dialect, target.model);
    let plan = thinking_plan(request, &profile, options, report);
    w.begin_object();
    w.key("model").str(target.model);
    w.key("max_tokens").u64(plan.max_tokens);
    system(&mut w, request, report);
    messages(&mut w, request, target, &profile, report)?;
    tools(&mut w, request, target, &profile, &plan, report)?;
    thinking(&mut w, request, &profile, &plan);
    output_config(&mut w, request, &profile, &plan);
    sampling(&mut w, request, target, &profile, &plan, report)?;
    identity(&mut w, request, report)?;
    if request.stream {
        w.key("stream").bool(true);
    }
    natives(&mut w, request, target, report)?;
    w.end_object();
    Ok(out)
}

/// What is decided before anything is written: limits, thinking and forced tools depend on each other.
struct Plan {
    max_tokens: u64,
    thinking: Form,
    effort: Option<Effort>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Absent,
    Disabled,
    BetweenTools,
    Adaptive,
    Budget(u64),
}

fn thinking_plan(request: &Request<'_>, profile: &Profile, options: &Options, report: &mut Report) -> Plan {
    let default = options
        .default_max_tokens
        .map_or(profile.max_output, |limit| limit.min(profile.max_output));
    let mut max_tokens = request.max_output_tokens.unwrap_or(default);
    let asked = asked_effort(request);
    let adaptive = matches!(profile.thinking, Thinking::Adaptive | Thinking::Both);
    let off = request.reasoning.depth == ReasoningDepth::Off;
    let dynamic = request.reasoning.depth == ReasoningDepth::Dynamic;
    let path = Member::Effort.path(report.client());
    let mut effort = if off {
        None
    } else {
        asked.and_then(|effort| profile.nearest(effort))
    };
    let mut thinking = match profile.thinking {
        Thinking::No => {
            if asked.is_some_and(|effort| effort != Effort::None) || dynamic {
                report.dropped(path);
            }
            Form::Absent
        }
        _ if off && profile.can_disable => Form::Disabled,
        _ if off && profile.between_tools => Form::BetweenTools,
        _ if off => {
            effort = profile.efforts.first().copied();
            Form::Absent
        }
        _ if adaptive => match request.reasoning.depth {
            ReasoningDepth::Budget(budget) if profile.thinking == Thinking::Both && effort.is_none() => {
                Form::Budget(budget)
            }
            ReasoningDepth::Unset if asked.is_none() => Form::Absent,
            _ => Form::Adaptive,
        },
        _ => match (request.reasoning.depth, asked) {
            (ReasoningDepth::Budget(budget), _) => Form::Budget(budget),
            (_, Some(effort)) => Form::Budget(budget_of(effort)),
            (ReasoningDepth::Dynamic, None) => Form::Budget(budget_of(Effort::Medium)),
            _ => Form::Absent,
        },
    };
    if let (Some(asked), Some(given)) = (asked, effort)
        && asked != given
        && request.reasoning.depth != ReasoningDepth::Off
    {
        report.altered(path, asked.as_str(), given.as_str());
    }
    if let Form::Budget(budget) = thinking {
        thinking = budget_form(budget, request, &mut max_tokens, profile, report);
    }
    if matches!(thinking, Form::Budget(_)) {
        effort = None;
    }
    Plan {
        max_tokens,
        thinking,
        effort,
    }
}

/// A budget that fits below the output limit, or no thinking at all (conversion.md section 9, 8.5, 7.5).
fn budget_form(
    budget: u64,
    request: &Request<'_>,
    max_tokens: &mut u64,
    profile: &Profile,
    report: &mut Report,
) -> Form {
    let path = Member::Effort.path(report.client());
    let forced = matches!(
        request.tool_choice,
        Some(ToolChoice::Any | ToolChoice::Tool(_) | ToolChoice::Subset { required: true, .. })
    );
    if forced || open_loop_without_thinking(request) {
        report.dropped(path);
        return Form::Disabled;
    }
    let budget = budget.max(MIN_BUDGET);
    if request.max_output_tokens.is_none() || report.client() != Format::Messages {
        // The output limits of the other formats do not count thinking where the vendor's does.
        *max_tokens = (*max_tokens)
            .max(budget + MIN_BUDGET)
            .min(profile.max_output.max(*max_tokens));
    }
    if *max_tokens <= MIN_BUDGET {
        report.dropped(path);
        return Form::Disabled;
    }
    Form::Budget(budget.min(*max_tokens - 1))
}

/// The budget form demands that an open tool loop starts with a thinking block.
fn open_loop_without_thinking(request: &Request<'_>) -> bool {
    let mut turns = request.turns.iter().rev();
    if !matches!(turns.next(), Some(turn) if turn.role == Role::Tool) {
        return false;
    }
    let last = turns.find(|turn| turn.role == Role::Assistant);
    !last.is_some_and(|turn| {
        turn.blocks.iter().any(|block| matches!(block, Block::Thought(Thought { state: Some(state), .. }) if state.origin == Format::Messages))
    })
}

fn asked_effort(request: &Request<'_>) -> Option<Effort> {
    match request.reasoning.depth {
        ReasoningDepth::Effort(effort) => Some(effort),
        ReasoningDepth::Budget(tokens) => Some(super::chat_request::bucket(tokens)),
        ReasoningDepth::Off => Some(Effort::None),
        ReasoningDepth::Unset | ReasoningDepth::Dynamic => request.reasoning.effort,
    }
}

/// Levels as token budgets (conversion.md section 9; the numbers of Google's own OpenAI surface).
pub(super) fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1_024,
        Effort::Medium => 8_192,
        Effort::High => 24_576,
        Effort::XHigh => 32_000,
        Effort::Max => 48_000,
    }
}

fn cache(w: &mut Writer<'_>, mark: Option<CacheMark>) {
    match mark {
        None => {}
        Some(CacheMark::Short) => w
            .key("cache_control")
            .raw(Raw::of_const(r#"{"type":"ephemeral"}"#)),
        Some(CacheMark::Long) => w
            .key("cache_control")
            .raw(Raw::of_const(r#"{"type":"ephemeral","ttl":"1h"}"#)),
    }
}

fn system(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) {
    let json = matches!(request.output, OutputFormat::JsonObject);
    let texts: Vec<&TextBlock<'_>> = request
        .system
        .iter()
        .map(|block| &block.text)
        .filter(|block| !block.text.is_blank())
        .collect();
    if texts.is_empty() && !json {
        return;
    }
    w.key("system").array(|w| {
        for block in texts {
            text_block(w.item(), &block.text, block.cache);
        }
        if json {
            report.emulated(Member::Output.path(report.client()), "instruction");
            text_block(
                w.item(),
                &"Respond with a single JSON object and nothing else.".into(),
                None,
            );
        }
    });
}

fn text_block(w: &mut Writer<'_>, text: &Text<'_>, mark: Option<CacheMark>) {
    w.object(|w| {
        w.key("type").str("text");
        w.key("text").text(text);
        cache(w, mark);
    });
}

/// Writes turns; a user turn behind tool results joins them in one message, results first.
fn messages(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    w.key("messages").begin_array();
    let mut open = None;
    let mut written = 0usize;
    for (index, turn) in request.turns.iter().enumerate() {
        let role = match turn.role {
            Role::Assistant => Role::Assistant,
            Role::System if profile.mid_system && mid_system_fits(&request.turns, index) => Role::System,
            _ => Role::User,
        };
        let mut content = Vec::new();
        blocks(&mut Writer::new(&mut content), turn, role, target, report)?;
        if content.is_empty() {
            continue;
        }
        if open == Some(role) && role == Role::User {
            w.bytes().push(b',');
        } else {
            if open.is_some() {
                w.bytes().extend_from_slice(b"]}");
            }
            w.item().bytes().extend_from_slice(match role {
                Role::Assistant => br#"{"role":"assistant","content":["#,
                Role::System => br#"{"role":"system","content":["#,
                _ => br#"{"role":"user","content":["#,
            });
        }
        w.bytes().extend_from_slice(&content);
        open = Some(role);
        written += 1;
    }
    if open.is_some() {
        w.bytes().extend_from_slice(b"]}");
    }
    if written == 0 {
        w.item().raw(Raw::of_const(
            r#"{"role":"user","content":[{"type":"text","text":"(empty)"}]}"#,
        ));
    }
    w.end_array();
    prefill(request, profile, report)
}

/// System text may stand directly behind a user turn, at the end or in front of the assistant (conversion.md 5.2).
fn mid_system_fits(turns: &[Turn<'_>], index: usize) -> bool {
    let before = index
        .checked_sub(1)
        .and_then(|before| turns.get(before))
        .map(|turn| turn.role);
    let after = turns.get(index + 1).map(|turn| turn.role);
    matches!(before, Some(Role::User | Role::Tool)) && matches!(after, None | Some(Role::Assistant))
}

fn prefill(request: &Request<'_>, profile: &Profile, report: &mut Report) -> Result<(), Error> {
    let ends_with_assistant = request
        .turns
        .last()
        .is_some_and(|turn| turn.role == Role::Assistant);
    if !ends_with_assistant || profile.prefill || report.client() == Format::Messages {
        return Ok(());
    }
    let path = request
        .turns
        .last()
        .map(|turn| turn.path.clone())
        .unwrap_or_default();
    report.cannot_carry(path, Class::Must)
}

/// Comma-separated blocks of one turn.
fn blocks(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    role: Role,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let noted = turn.role == Role::System && role == Role::User;
    for block in &turn.blocks {
        match block {
            Block::Text(text) if text.text.is_blank() => {}
            Block::Text(text) if noted => {
                let text = format!("{OPERATOR_NOTE}{}", text.text.decode());
                text_block(next(w), &text.into(), None);
            }
            Block::Text(text) => text_block(next(w), &text.text, text.cache),
            Block::Refusal(text) if !text.is_blank() => text_block(next(w), text, None),
            Block::Refusal(_) => {}
            Block::Media(_) if role == Role::Assistant => {
                report.cannot_carry(turn.path.clone(), Class::Hint)?;
            }
            Block::Media(media) => media_block(w, media, &turn.path, report)?,
            Block::ToolCall(call) => tool_use(next(w), call, target),
            Block::ToolResult(result) => tool_result(w, result, &turn.path, report)?,
            Block::Thought(thought) => thought_block(w, thought, target, report),
            Block::Native(native) => native_block(native, report)?,
        }
    }
    Ok(())
}

/// A comma in front of every block but the first of this buffer.
fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

fn thought_block(w: &mut Writer<'_>, thought: &Thought<'_>, target: &Target<'_>, report: &mut Report) {
    match restorable(thought.state.as_ref(), target, report) {
        Some(State::Signature(signature)) => next(w).object(|w| {
            w.key("type").str("thinking");
            let texts: Vec<&Text<'_>> = thought.text.iter().collect();
            super::parts::joined(w.key("thinking"), &texts, "");
            w.key("signature").str(signature);
        }),
        Some(State::Redacted(data)) => next(w).object(|w| {
            w.key("type").str("redacted_thinking");
            w.key("data").str(data);
        }),
        Some(State::Native(json)) => next(w).raw(Raw(json)),
        // Thinking without a signature would be refused; it is never turned into text (conversion.md 7.5).
        _ => {}
    }
}

fn tool_use(w: &mut Writer<'_>, call: &ToolCall<'_>, target: &Target<'_>) {
    w.object(|w| {
        w.key("type").str("tool_use");
        w.key("id").str(&names::call_id(&call.id, Format::Messages));
        w.key("name")
            .str(&upstream_name(&call.name, call.namespace.as_deref(), target));
        arguments_object(w.key("input"), &call.arguments);
        cache(w, call.cache);
    });
}

fn tool_result(
    w: &mut Writer<'_>,
    result: &ToolResult<'_>,
    path: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let mut content = Vec::new();
    let mut inner = Writer::new(&mut content);
    if let Some(structured) = result.structured {
        text_block(&mut inner, &structured.get().into(), None);
    }
    for part in &result.parts {
        match part {
            Block::Text(text) if !text.text.is_empty() => {
                text_block(next(&mut inner), &text.text, text.cache)
            }
            Block::Media(media) => media_block(&mut inner, media, path, report)?,
            Block::Native(native) => native_block(native, report)?,
            _ => {}
        }
    }
    next(w).object(|w| {
        w.key("type").str("tool_result");
        w.key("tool_use_id")
            .str(&names::call_id(&result.call_id, Format::Messages));
        if !content.is_empty() {
            w.key("content").array(|w| w.bytes().extend_from_slice(&content));
        }
        if result.is_error {
            w.key("is_error").bool(true);
        }
        cache(w, result.cache);
    });
    Ok(())
}

fn media_block(w: &mut Writer<'_>, media: &Media<'_>, path: &str, report: &mut Report) -> Result<(), Error> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Audio | MediaKind::Video => return report.cannot_carry(path.to_owned(), Class::Must),
    };
    if let (MediaKind::Image, Source::Base64 { mime, .. }) = (media.kind, &media.source)
        && !matches!(
            mime.as_ref(),
            "image/jpeg" | "image/png" | "image/gif" | "image/webp"
        )
    {
        return report.cannot_carry(path.to_owned(), Class::Must);
    }
    if matches!(&media.source, Source::File { owner, .. } if *owner != Format::Messages) {
        return report.cannot_carry(path.to_owned(), Class::Must);
    }
    next(w).object(|w| {
        w.key("type").str(kind);
        w.key("source").object(|w| source(w, media));
        if let (Some(title), MediaKind::Document) = (&media.title, media.kind) {
            w.key("title").text(title);
        }
        cache(w, media.cache);
    });
    Ok(())
}

fn source(w: &mut Writer<'_>, media: &Media<'_>) {
    match &media.source {
        Source::Base64 { mime, data } if media.kind == MediaKind::Document && mime.starts_with("text/") => {
            w.key("type").str("text");
            w.key("media_type").str("text/plain");
            w.key("data").str(&decoded(data));
        }
        Source::Base64 { mime, data } => {
            w.key("type").str("base64");
            w.key("media_type").str(mime);
            w.key("data").text(data);
        }
        Source::Url { url, .. } => {
            w.key("type").str("url");
            w.key("url").text(url);
        }
        Source::File { id, .. } => {
            w.key("type").str("file");
            w.key("file_id").text(id);
        }
        Source::Text(text) => {
            w.key("type").str("text");
            w.key("media_type").str("text/plain");
            w.key("data").text(text);
        }
        Source::Blocks(blocks) => {
            w.key("type").str("content");
            w.key("content").array(|w| {
                for block in blocks {
                    if let Block::Text(text) = block {
                        text_block(w.item(), &text.text, text.cache);
                    }
                }
            });
        }
    }
}

/// Base64 of a plain text document as text.
fn decoded(data: &Text<'_>) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(data.decode().as_bytes())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    let tools = client_tools(request, report);
    if tools.is_empty() {
        undeclared_tools(w, request, target, report);
        return Ok(());
    }
    w.key("tools").array(|w| {
        for tool in &tools {
            tool_entry(w.item(), tool, target, profile, report);
        }
    });
    tool_choice(w, request, target, profile, plan, report)
}

/// A history with tool blocks needs `tools` (conversion.md 8.5): the names found there are declared, none may be called.
fn undeclared_tools(w: &mut Writer<'_>, request: &Request<'_>, target: &Target<'_>, report: &mut Report) {
    let mut used: Vec<String> = Vec::new();
    for block in request.turns.iter().flat_map(|turn| &turn.blocks) {
        if let Block::ToolCall(call) = block {
            let name = upstream_name(&call.name, call.namespace.as_deref(), target).into_owned();
            if !used.contains(&name) {
                used.push(name);
            }
        }
    }
    if used.is_empty() {
        return;
    }
    report.emulated(Member::Tools.path(report.client()), "history");
    w.key("tools").array(|w| {
        for name in &used {
            w.item().object(|w| {
                w.key("name").str(name);
                w.key("input_schema").raw(Raw::of_const(NO_PARAMETERS));
            });
        }
    });
    w.key("tool_choice").raw(Raw::of_const(r#"{"type":"none"}"#));
}

fn tool_entry(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) {
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    w.object(|w| {
        match &tool.kind {
            ToolKind::Custom { format } => {
                report.emulated(&tool.path, "shim");
                super::chat_request::shim(w, &name, tool, *format, "input_schema");
            }
            ToolKind::Function {
                parameters,
                openapi,
                strict,
            } => {
                w.key("name").str(&name);
                if let Some(description) = &tool.description {
                    w.key("description").text(description);
                }
                let strict = *strict == Some(true) && profile.structured_output;
                input_schema(w.key("input_schema"), *parameters, *openapi, strict);
                if strict {
                    w.key("strict").bool(true);
                }
            }
            ToolKind::Hosted { .. } => {}
        }
        cache(w, tool.cache);
    });
}

fn input_schema(w: &mut Writer<'_>, parameters: Option<Raw<'_>>, openapi: bool, strict: bool) {
    let Some(parameters) = parameters else {
        return w.raw(Raw::of_const(NO_PARAMETERS));
    };
    let rules = if openapi {
        schema::Profile::FromOpenApi
    } else {
        schema::Profile::AnthropicTool
    };
    let (schema, _) = schema::rewrite(parameters, rules);
    if strict {
        let (schema, _) = schema::rewrite(Raw(&schema), schema::Profile::AnthropicOutput);
        w.raw(Raw(&schema));
    } else {
        w.raw(Raw(&schema));
    }
}

fn tool_choice(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    let path = Member::ToolChoice.path(report.client());
    let forcible = profile.forced_tools && !matches!(plan.thinking, Form::Budget(_));
    let (kind, name) = match &request.tool_choice {
        None if request.parallel_tool_calls == Some(false) => ("auto", None),
        None => return Ok(()),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Auto | ToolChoice::Validated) => ("auto", None),
        Some(ToolChoice::Any | ToolChoice::Tool(_)) if !forcible => {
            report.cannot_carry(path, Class::Hint)?;
            ("auto", None)
        }
        Some(ToolChoice::Any) => ("any", None),
        Some(ToolChoice::Tool(name)) => ("tool", Some(upstream_name(name, None, target))),
        Some(ToolChoice::Subset { required, .. }) => {
            report.cannot_carry(path, Class::Hint)?;
            (if *required && forcible { "any" } else { "auto" }, None)
        }
        Some(ToolChoice::Hosted(_)) => return report.cannot_carry(path, Class::Must),
    };
    w.key("tool_choice").object(|w| {
        w.key("type").str(kind);
        if let Some(name) = &name {
            w.key("name").str(name);
        }
        if let Some(parallel) = request.parallel_tool_calls.filter(|_| kind != "none") {
            w.key("disable_parallel_tool_use").bool(!parallel);
        }
    });
    Ok(())
}

fn thinking(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, plan: &Plan) {
    let display = match request.reasoning.show {
        Show::Hidden => "omitted",
        Show::Summary | Show::Default => "summarized",
    };
    match plan.thinking {
        Form::Absent => {}
        Form::Disabled if profile.thinking == Thinking::No => {}
        Form::Disabled => w.key("thinking").raw(Raw::of_const(r#"{"type":"disabled"}"#)),
        Form::BetweenTools => w
            .key("thinking")
            .raw(Raw::of_const(r#"{"type":"between_tools"}"#)),
        Form::Adaptive => w.key("thinking").object(|w| {
            w.key("type").str("adaptive");
            w.key("display").str(display);
        }),
        Form::Budget(budget) => w.key("thinking").object(|w| {
            w.key("type").str("enabled");
            w.key("budget_tokens").u64(budget);
        }),
    }
}

fn output_config(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, plan: &Plan) {
    let schema = match &request.output {
        OutputFormat::JsonSchema { schema, openapi, .. } if profile.structured_output => {
            Some((*schema, *openapi))
        }
        _ => None,
    };
    if plan.effort.is_none() && schema.is_none() {
        return;
    }
    w.key("output_config").object(|w| {
        if let Some(effort) = plan.effort {
            w.key("effort").str(effort.as_str());
        }
        if let Some((schema, openapi)) = schema {
            w.key("format").object(|w| {
                w.key("type").str("json_schema");
                let plain = if openapi {
                    schema::Profile::FromOpenApi
                } else {
                    schema::Profile::Plain
                };
                let (plain, _) = schema::rewrite(schema, plain);
                let (schema, _) = schema::rewrite(Raw(&plain), schema::Profile::AnthropicOutput);
                w.key("schema").raw(Raw(&schema));
            });
        }
    });
}

fn sampling(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    let thinks = matches!(plan.thinking, Form::Budget(_) | Form::Adaptive);
    let takes = profile.sampling == Sampling::Full && target.dialect != Dialect::Anthropic20261021 && !thinks;
    match request.temperature {
        Some(value) if takes => {
            if value.get().parse::<f64>().is_ok_and(|value| value > 1.0) {
                report.altered(Member::Temperature.path(report.client()), value.get(), "1");
                w.key("temperature").u64(1);
            } else {
                w.key("temperature").raw(value);
            }
        }
        value => lose(report, value.is_some(), Member::Temperature, Class::Hint)?,
    }
    match request.top_p {
        // Anthropic's newer models refuse both at once; the temperature wins.
        Some(value) if takes && request.temperature.is_none() => w.key("top_p").raw(value),
        value => lose(report, value.is_some(), Member::TopP, Class::Hint)?,
    }
    match request.top_k {
        Some(value) if takes => w.key("top_k").raw(value),
        value => lose(report, value.is_some(), Member::TopK, Class::Hint)?,
    }
    lose(
        report,
        nonzero(request.frequency_penalty),
        Member::FrequencyPenalty,
        Class::Hint,
    )?;
    lose(
        report,
        nonzero(request.presence_penalty),
        Member::PresencePenalty,
        Class::Hint,
    )?;
    lose(report, request.seed.is_some(), Member::Seed, Class::Hint)?;
    lose(
        report,
        request.candidates.is_some_and(|count| count > 1),
        Member::Candidates,
        Class::Must,
    )?;
    lose(report, request.logprobs, Member::Logprobs, Class::Must)?;
    stop(w, request, report);
    Ok(())
}

pub(super) fn nonzero(value: Option<Raw<'_>>) -> bool {
    value.is_some_and(|value| value.get().parse::<f64>().is_ok_and(|value| value != 0.0))
}

fn stop(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) {
    for (index, _) in request
        .stop
        .iter()
        .enumerate()
        .filter(|(_, text)| text.is_blank())
    {
        report.dropped(format!("{}[{index}]", Member::Stop.path(report.client())));
    }
    if request.stop.iter().any(|text| !text.is_blank()) {
        w.key("stop_sequences").array(|w| {
            for text in request.stop.iter().filter(|text| !text.is_blank()) {
                w.item().text(text);
            }
        });
    }
}

fn identity(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    if let Some(user) = request.safety_identifier.as_ref().or(request.user.as_ref()) {
        w.key("metadata").object(|w| w.key("user_id").text(user));
    }
    match request.service_tier.as_deref() {
        Some("auto") => w.key("service_tier").str("auto"),
        Some("default" | "standard" | "standard_only") => w.key("service_tier").str("standard_only"),
        tier => lose(report, tier.is_some(), Member::Tier, Class::Hint)?,
    }
    cache(w, request.cache);
    lose(
        report,
        request.verbosity.is_some(),
        Member::Verbosity,
        Class::Hint,
    )
}
