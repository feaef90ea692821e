//! The IR to request bodies of Messages.

use super::chat_request::validated_strict;
use super::parts::{
    NO_PARAMETERS, OPERATOR_NOTE, call_input, declared_name, lose, names_lost, native_block, natives,
    own_block, restorable, thought_state, tool_extras_lost, upstream_name,
};
use crate::error::Error;
use crate::hosted::{self, Capability};
use crate::ir::{
    Block, CacheMark, Effort, Media, MediaKind, Member, OutputFormat, ReasoningDepth, Request, Role, Show,
    Source, State, TextBlock, Thought, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::profile::{Profile, Sampling, Thinking, profile};
use crate::report::{Class, Mode, Report};
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
    system(&mut w, request, &profile, report)?;
    messages(&mut w, request, target, &profile, &plan, report)?;
    tools(&mut w, request, target, &profile, &plan, report)?;
    thinking(&mut w, request, &profile, &plan, report);
    output_config(&mut w, request, &profile, &plan);
    sampling(&mut w, request, target, &profile, &plan, report)?;
    identity(&mut w, request, report)?;
    servers(&mut w, request, report)?;
    others(request, report)?;
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
    /// A tool that the model cannot be forced to call: it is asked to, in words.
    plea: Option<String>,
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
            // The client's own budget, where the model still takes one.
            ReasoningDepth::Budget(budget)
                if profile.thinking == Thinking::Both && report.client() == Format::Messages =>
            {
                effort = request
                    .reasoning
                    .effort
                    .and_then(|effort| profile.nearest(effort));
                Form::Budget(budget)
            }
            ReasoningDepth::Unset if asked.is_none() => Form::Absent,
            _ => Form::Adaptive,
        },
        _ => match (request.reasoning.depth, asked) {
            (ReasoningDepth::Budget(budget), _) => Form::Budget(budget),
            (_, Some(effort)) => Form::Budget(budget_of(effort)),
            // How much is left to the model, which has no word for that.
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
    if matches!(thinking, Form::Budget(_)) && report.client() != Format::Messages {
        effort = None;
    }
    let forcible = profile.forced_tools && !matches!(thinking, Form::Budget(_));
    Plan {
        max_tokens,
        thinking,
        effort,
        plea: if forcible { None } else { plea(request) },
    }
}

/// What is said to a model that cannot be forced to call a tool (conversion.md 8.5).
fn plea(request: &Request<'_>) -> Option<String> {
    match &request.tool_choice {
        Some(ToolChoice::Tool(name) | ToolChoice::Hosted(name)) => {
            Some(format!("{OPERATOR_NOTE}Call the tool {name} now."))
        }
        Some(ToolChoice::Any | ToolChoice::Subset { required: true, .. }) => {
            Some(format!("{OPERATOR_NOTE}Call one of the tools now."))
        }
        _ => None,
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

fn system(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let instruction = match &request.output {
        OutputFormat::JsonObject => Some("Respond with a single JSON object and nothing else.".to_owned()),
        OutputFormat::JsonSchema { schema, .. } if !profile.structured_output => Some(format!(
            "Respond with a single JSON value that matches this JSON Schema and nothing else:\n{}",
            schema.get()
        )),
        _ => None,
    };
    let texts: Vec<&TextBlock<'_>> = request
        .system
        .iter()
        .map(|block| &block.text)
        .filter(|block| !block.text.is_blank())
        .collect();
    if instruction.is_some() {
        if report.mode() == Mode::Strict {
            lose(report, true, Member::Output, Class::Hint)?;
        }
        report.emulated(Member::Output.path(report.client()), "instruction");
    }
    if texts.is_empty() && instruction.is_none() {
        return Ok(());
    }
    w.key("system").array(|w| {
        for block in texts {
            text_block(w.item(), &block.text, block.cache);
        }
        if let Some(text) = instruction {
            text_block(w.item(), &text.into(), None);
        }
    });
    Ok(())
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
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    w.key("messages").begin_array();
    let mut open = None;
    let mut written = 0usize;
    let order = order(request, profile, target);
    let last = order.last().map(|(index, _)| *index);
    for (index, role) in order {
        let Some(turn) = request.turns.get(index) else {
            continue;
        };
        let mut content = Vec::new();
        let mut inner = Writer::new(&mut content);
        let prefilled = last == Some(index) && role == Role::Assistant;
        blocks(&mut inner, turn, role, prefilled, target, plan, report)?;
        if content.is_empty() && turn.role == Role::User && !turn.blocks.iter().any(unsayable) {
            // A question without words is still a question; Anthropic refuses empty ones (conversion.md 5.5).
            text_block(&mut Writer::new(&mut content), &"(empty)".into(), None);
        }
        if content.is_empty() {
            continue;
        }
        if open == Some(role) && role != Role::Assistant {
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
    let extra = closing(request, profile, plan, report)?;
    if let Some(text) = extra {
        if open == Some(Role::User) {
            w.bytes().push(b',');
        } else {
            if open.is_some() {
                w.bytes().extend_from_slice(b"]}");
            }
            w.item()
                .bytes()
                .extend_from_slice(br#"{"role":"user","content":["#);
        }
        text_block(w, &text.into(), None);
        open = Some(Role::User);
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
    Ok(())
}

fn unsayable(block: &Block<'_>) -> bool {
    !matches!(block, Block::Text(_))
}

/// What must be said at the end: the plea for a tool, or a word behind an assistant turn that the model may not continue.
fn closing(
    request: &Request<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<Option<String>, Error> {
    let assistant = request.turns.last().filter(|turn| turn.role == Role::Assistant);
    if let Some(turn) = assistant.filter(|_| !profile.prefill && report.client() != Format::Messages) {
        report.cannot_carry(turn.path.clone(), Class::Must)?;
        return Ok(Some("Continue.".to_owned()));
    }
    Ok(plan
        .plea
        .clone()
        .filter(|_| assistant.is_none() && !request.tools.is_empty()))
}

/// The order in which turns are written, and as whom (conversion.md 5.2). System text may stand directly behind a user turn, if
/// nothing or the assistant follows; in front of a user turn it slides behind it. Everything else of it is said by the user, with
/// a note. Each run is judged by its neighbours alone, so later turns never move it.
fn order(request: &Request<'_>, profile: &Profile, target: &Target<'_>) -> Vec<(usize, Role)> {
    let turns = &request.turns;
    let says = |index: usize| turns.get(index).map(|turn| turn.role);
    let mut out: Vec<(usize, Role)> = Vec::with_capacity(turns.len());
    let mut index = 0;
    while let Some(turn) = turns.get(index) {
        if turn.role != Role::System {
            out.push((
                index,
                if turn.role == Role::Assistant {
                    Role::Assistant
                } else {
                    Role::User
                },
            ));
            index += 1;
            continue;
        }
        let mut end = index;
        while says(end) == Some(Role::System) {
            end += 1;
        }
        let run = index..end;
        let user = |role: Option<Role>| matches!(role, Some(Role::User | Role::Tool));
        let free = |role: Option<Role>| matches!(role, None | Some(Role::Assistant));
        let before = out.last().map(|(_, role)| *role);
        let able = profile.mid_system && target.dialect != Dialect::AnthropicCompat;
        if able && before == Some(Role::User) && free(says(end)) {
            out.extend(run.map(|index| (index, Role::System)));
        } else if able && before != Some(Role::User) && user(says(end)) && free(says(end + 1)) {
            out.push((end, Role::User));
            out.extend(run.map(|index| (index, Role::System)));
            end += 1;
        } else {
            out.extend(run.map(|index| (index, Role::User)));
        }
        index = end;
    }
    // Adjacent system turns are one message.
    out
}

/// Comma-separated blocks of one turn.
fn blocks(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    role: Role,
    prefilled: bool,
    target: &Target<'_>,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    let noted = turn.role == Role::System && role == Role::User;
    for (index, block) in turn.blocks.iter().enumerate() {
        match block {
            Block::Text(text) if text.text.is_blank() => {}
            // White space at the end of a beginning is refused (conversion.md 5.6).
            Block::Text(text) if prefilled && index + 1 == turn.blocks.len() => {
                let whole = text.text.decode();
                text_block(next(w), &whole.trim_end().to_owned().into(), text.cache);
            }
            Block::Text(text) if noted => {
                let text = format!("{OPERATOR_NOTE}{}", text.text.decode());
                text_block(next(w), &text.into(), noted_mark(block));
            }
            Block::Text(text) => text_block(next(w), &text.text, text.cache),
            Block::Refusal(text) if !text.is_blank() => text_block(next(w), text, None),
            Block::Refusal(_) => {}
            Block::Media(_) if role == Role::Assistant => {
                report.cannot_carry(turn.path.clone(), Class::Hint)?;
            }
            Block::Media(media) => media_block(w, media, &turn.path, report)?,
            Block::ToolCall(call) => {
                restorable(call.state.as_ref(), target, report);
                tool_use(next(w), call, &turn.path, target, report);
            }
            Block::ToolResult(result) => tool_result(w, result, &turn.path, report)?,
            // Thinking that is switched off takes the earlier thinking along (conversion.md 7.7).
            Block::Thought(_) if plan.thinking == Form::Disabled => {}
            Block::Thought(thought) => thought_block(w, thought, target, report),
            Block::Native(native) => match own_block(native, target) {
                Some(raw) => next(w).raw(raw),
                None => native_block(native, report)?,
            },
        }
    }
    Ok(())
}

fn noted_mark(block: &Block<'_>) -> Option<CacheMark> {
    match block {
        Block::Text(text) => text.cache,
        _ => None,
    }
}

/// A comma in front of every block but the first of this buffer.
fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

fn thought_block(w: &mut Writer<'_>, thought: &Thought<'_>, target: &Target<'_>, report: &mut Report) {
    match thought_state(thought, target, report) {
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
        // Thinking without a signature would be refused; it is never turned into text (conversion.md 7.5).
        _ => {}
    }
}

fn tool_use(w: &mut Writer<'_>, call: &ToolCall<'_>, path: &str, target: &Target<'_>, report: &mut Report) {
    let own = report.client() == Format::Messages;
    w.object(|w| {
        w.key("type").str("tool_use");
        w.key("id").str(&names::call_id(&call.id, Format::Messages));
        w.key("name").str(&upstream_name(
            &call.name,
            call.namespace.as_deref().filter(|_| !own),
            target,
        ));
        call_input(w.key("input"), &call.arguments, path, report);
        if let Some(toolset) = call.namespace.as_ref().filter(|_| own) {
            w.key("toolset_name").str(toolset);
        }
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
                    match block {
                        Block::Text(text) => text_block(w.item(), &text.text, text.cache),
                        Block::Media(inner) if inner.kind == MediaKind::Image => w.item().object(|w| {
                            w.key("type").str("image");
                            w.key("source").object(|w| source(w, inner));
                            cache(w, inner.cache);
                        }),
                        _ => {}
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
    if request.tools.is_empty() {
        undeclared_tools(w, request, target, report);
        return Ok(());
    }
    let searches = request
        .tools
        .iter()
        .any(|tool| hosted::of(tool) == Some(Capability::ToolSearch));
    let context = ToolContext {
        searches,
        validated: matches!(request.tool_choice, Some(ToolChoice::Validated)),
    };
    w.key("tools").begin_array();
    for tool in &request.tools {
        if let Some(capability) = hosted::of(tool).filter(|_| report.client() != Format::Messages) {
            hosted::write(w.item(), tool, capability, request, target, report)?;
            continue;
        }
        tool_extras_lost(
            tool,
            &[
                ("output_schema", tool.output_schema.is_some()),
                ("defer_loading", tool.defer && !searches),
            ],
            report,
        )?;
        tool_entry(w.item(), tool, target, profile, &context, report);
    }
    w.end_array();
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

/// What the entry of one tool must know of the others.
struct ToolContext {
    /// A tool search is declared: deferred tools may stay deferred.
    searches: bool,
    /// Gemini's VALIDATED mode.
    validated: bool,
}

fn tool_entry(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    profile: &Profile,
    context: &ToolContext,
    report: &mut Report,
) {
    if let ToolKind::Hosted { json, .. } = &tool.kind {
        return w.raw(*json);
    }
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
                // Gemini's VALIDATED means strict tools: where the schema allows it.
                let validated = context.validated && validated_strict(*parameters, *openapi);
                if context.validated && !validated {
                    report.dropped(Member::ToolChoice.path(report.client()));
                }
                let asked = *strict == Some(true) || validated;
                let strict = asked && profile.structured_output;
                if asked && !strict {
                    report.dropped(format!("{}.strict", tool.path));
                }
                input_schema(w.key("input_schema"), tool, *parameters, *openapi, strict, report);
                if strict {
                    w.key("strict").bool(true);
                }
            }
            ToolKind::Hosted { .. } => {}
        }
        if tool.defer && context.searches {
            w.key("defer_loading").bool(true);
        }
        if let Some(callers) = tool.callers {
            allowed_callers(w, callers, report);
        }
        cache(w, tool.cache);
    });
}

/// Who may call a tool: OpenAI's `programmatic` is Anthropic's code execution (conversion.md 8.1).
fn allowed_callers(w: &mut Writer<'_>, callers: Raw<'_>, report: &Report) {
    if report.client() == Format::Messages {
        return w.key("allowed_callers").raw(callers);
    }
    let list: Vec<std::borrow::Cow<'_, str>> = crate::json::from_str(callers.get()).unwrap_or_default();
    if list.is_empty() {
        return;
    }
    w.key("allowed_callers").array(|w| {
        for caller in &list {
            w.item().str(match caller.as_ref() {
                "programmatic" => "code_execution_20260521",
                other => other,
            });
        }
    });
}

fn input_schema(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    parameters: Option<Raw<'_>>,
    openapi: bool,
    strict: bool,
    report: &mut Report,
) {
    let Some(parameters) = parameters else {
        return w.raw(Raw::of_const(NO_PARAMETERS));
    };
    let plain = if openapi {
        schema::rewrite(parameters, schema::Profile::FromOpenApi).0
    } else {
        parameters.get().into()
    };
    let (schema, united) = schema::rewrite(Raw(&plain), schema::Profile::AnthropicTool);
    if united {
        // A union at the root is refused: its branches became one object (conversion.md 11.6).
        report.emulated(&format!("{}.parameters", tool.path), "object");
    }
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
        Some(ToolChoice::Any | ToolChoice::Tool(_) | ToolChoice::Hosted(_)) if !forcible => {
            report.cannot_carry(path, Class::Hint)?;
            ("auto", None)
        }
        Some(ToolChoice::Any) => ("any", None),
        Some(ToolChoice::Tool(name)) => ("tool", Some(declared_name(request, name, target))),
        Some(ToolChoice::Subset { required, .. }) => {
            report.cannot_carry(path, Class::Hint)?;
            (if *required && forcible { "any" } else { "auto" }, None)
        }
        Some(ToolChoice::Hosted(word)) => match hosted_name(request, word) {
            Some(name) => ("tool", Some(name.into())),
            None => return report.cannot_carry(path, Class::Must),
        },
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

/// The name of a hosted tool that is forced; tools of the client's own format keep theirs.
fn hosted_name(request: &Request<'_>, word: &str) -> Option<String> {
    let tool = request.tools.iter().find(|tool| match &tool.kind {
        ToolKind::Hosted { format, kind, .. } => {
            kind == word
                || tool.name == word
                || (hosted::of(tool).is_some() && hosted::of(tool) == hosted::capability(*format, word))
        }
        _ => false,
    })?;
    match (&tool.kind, hosted::of(tool)) {
        (
            ToolKind::Hosted {
                format: Format::Messages,
                ..
            },
            _,
        ) => Some(tool.name.clone().into_owned()),
        (_, Some(Capability::WebSearch)) => Some("web_search".to_owned()),
        (_, Some(Capability::WebFetch)) => Some("web_fetch".to_owned()),
        (_, Some(Capability::CodeExecution)) => Some("code_execution".to_owned()),
        _ => None,
    }
}

/// Beta of the switch that lets a thinking block go whose prefix changed, instead of refusing the request.
const BINDING_BETA: &str = "thinking-binding-controls-2026-08-01";

fn thinking(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, plan: &Plan, report: &mut Report) {
    let display = match request.reasoning.show {
        Show::Hidden => Some("omitted"),
        Show::Summary => Some("summarized"),
        Show::Default => (report.client() != Format::Messages).then_some("summarized"),
    };
    // Converted history loses its prefix more easily than the vendor's own (conversion.md 7.5).
    let binding = profile.preserved_thinking
        && report.client() != Format::Messages
        && request.turns.iter().flat_map(|turn| &turn.blocks).any(restored);
    if binding {
        report.beta(BINDING_BETA);
    }
    let bind = |w: &mut Writer<'_>| {
        if binding {
            w.key("block_binding")
                .raw(Raw::of_const(r#"{"prefix_mismatch_behavior":"drop_block"}"#));
        }
    };
    match plan.thinking {
        Form::Absent if binding && plan.effort.is_none() => {
            // The model thinks by default; the switch needs a form to stand in.
            w.key("thinking").object(|w| {
                w.key("type").str("adaptive");
                bind(w);
            });
        }
        Form::Absent => {}
        Form::Disabled if profile.thinking == Thinking::No => {}
        Form::Disabled => w.key("thinking").raw(Raw::of_const(r#"{"type":"disabled"}"#)),
        Form::BetweenTools => w
            .key("thinking")
            .raw(Raw::of_const(r#"{"type":"between_tools"}"#)),
        Form::Adaptive => w.key("thinking").object(|w| {
            w.key("type").str("adaptive");
            if let Some(display) = display {
                w.key("display").str(display);
            }
            bind(w);
        }),
        Form::Budget(budget) => w.key("thinking").object(|w| {
            w.key("type").str("enabled");
            w.key("budget_tokens").u64(budget);
        }),
    }
}

/// A thinking block of Anthropic that goes back.
fn restored(block: &Block<'_>) -> bool {
    matches!(block, Block::Thought(Thought { state: Some(state), .. }) if state.origin == Format::Messages)
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
                    schema::rewrite(schema, schema::Profile::FromOpenApi).0
                } else {
                    schema.get().into()
                };
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
    let own = report.client() == Format::Messages;
    match request.top_p {
        // Anthropic's newer models refuse both at once; the temperature wins.
        Some(value) if takes && (own || request.temperature.is_none()) => w.key("top_p").raw(value),
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
    let logprobs = request.logprobs || request.top_logprobs.is_some_and(|top| top > 0);
    lose(report, logprobs, Member::Logprobs, Class::Must)?;
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
    let both = request.safety_identifier.is_some() && request.user.is_some();
    lose(report, both, Member::User, Class::Inert)?;
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

/// MCP servers and the container stand beside the tools that use them.
fn servers(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    if report.client() == Format::Messages {
        if let Some(servers) = request.mcp_servers {
            w.key("mcp_servers").raw(servers);
        }
        if let Some(container) = request.container {
            w.key("container").raw(container);
        }
        return Ok(());
    }
    hosted::mcp_servers(w, request, report);
    Ok(())
}

/// What Messages has no member for.
fn others(request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    let text_only = request.modalities.iter().all(|kind| kind == "text");
    lose(report, !text_only, Member::Modalities, Class::Must)?;
    lose(report, request.speech.is_some(), Member::Speech, Class::Must)?;
    lose(report, request.metadata.is_some(), Member::Metadata, Class::Inert)?;
    lose(
        report,
        request.cache_key.is_some(),
        Member::CacheKey,
        Class::Inert,
    )?;
    lose(
        report,
        request.cache_options.is_some(),
        Member::CacheOptions,
        Class::Inert,
    )?;
    match (report.client(), request.store) {
        // Whoever asks Responses to store an answer wants it back by its id.
        (Format::Responses, Some(true)) => report.dropped(Member::Store.path(Format::Responses)),
        (_, store) => lose(report, store.is_some(), Member::Store, Class::Inert)?,
    }
    let uses = request
        .tools
        .iter()
        .filter(|tool| matches!(tool.kind, ToolKind::Hosted { .. }))
        .count();
    let limited = request.tools.iter().any(|tool| {
        matches!(
            hosted::of(tool),
            Some(Capability::WebSearch | Capability::WebFetch)
        )
    });
    let carried = uses == 1 && limited;
    lose(
        report,
        request.max_tool_calls.is_some() && !carried,
        Member::ToolCalls,
        Class::Hint,
    )?;
    names_lost(request, report)
}
