//! Between decoder and encoder: what is checked once for all formats, and what the way back must remember.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::context::{Context, ToolOrigin};
use crate::encode;
use crate::error::{Error, ErrorKind};
use crate::estimate::Estimator;
use crate::format::Format;
use crate::ir::{Block, Media, MediaKind, Request, Role, Show, Source as MediaSource, ToolKind, Turn};
use crate::json::Text;
use crate::marks;
use crate::media;
use crate::names;
use crate::report::{Class, Mode, Report};
use crate::target::{Options, Source, Target};
use crate::tools;

/// Checks and repairs the conversation: every call has its result, results stand in call order right behind their turn, tool names
/// are unique (conversion.md 5.4, 8.1).
///
/// # Errors
/// Orphan results, missing results, duplicate tool names, no turn at all.
pub(crate) fn prepare(
    request: &mut Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if request.turns.is_empty() && request.system.is_empty() {
        let at = match report.client() {
            Format::Responses => "/input",
            Format::Gemini => "/contents",
            Format::Chat | Format::Messages => "/messages",
        };
        return Err(Error::at(ErrorKind::Invalid, at, "the conversation is empty"));
    }
    for loss in std::mem::take(&mut request.losses) {
        report.cannot_carry(loss.path, loss.class)?;
    }
    unique_tools(request)?;
    tools::settle(request, target, report)?;
    for turn in &mut request.turns {
        for block in &mut turn.blocks {
            images(block, &turn.path, report)?;
        }
    }
    name_calls(request, report.client() == Format::Responses);
    pair(request, report)?;
    marks::settle(request, target.format, report);
    Ok(())
}

/// The declared type of an image is what its first bytes show: vendors refuse the other (conversion.md 6.1).
fn images(block: &mut Block<'_>, path: &str, report: &mut Report) -> Result<(), Error> {
    match block {
        Block::ToolResult(result) => {
            for part in &mut result.parts {
                images(part, path, report)?;
            }
        }
        Block::Media(Media {
            kind: MediaKind::Image,
            source: MediaSource::Base64 { mime, data },
            ..
        }) => {
            let head = data.head(16);
            match media::sniff(&head).filter(|found| found.starts_with("image/")) {
                Some(found) if found != mime => {
                    report.altered(path, mime, found);
                    *mime = Cow::Borrowed(found);
                }
                None if !mime.starts_with("image/") => report.cannot_carry(path.to_owned(), Class::Must)?,
                _ => {}
            }
        }
        _ => {}
    }
    Ok(())
}

fn unique_tools(request: &Request<'_>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for tool in &request.tools {
        let hosted = matches!(tool.kind, ToolKind::Hosted { .. });
        if !hosted && !seen.insert((tool.namespace.as_deref(), tool.name.as_ref())) {
            let at = format!(
                "/{}",
                tool.path.replace('[', "/").replace(']', "").replace('.', "/")
            );
            return Err(Error::at(
                ErrorKind::Invalid,
                at,
                "another tool has the same name",
            ));
        }
    }
    Ok(())
}

/// Gives calls and results without ids synthetic ones: results are matched by name and order (conversion.md 8.3).
/// `only`: a result without id answers the only open call of its name, and none if there are two.
fn name_calls(request: &mut Request<'_>, only: bool) {
    let mut open: Vec<(String, String)> = Vec::new();
    for (turn_index, turn) in request.turns.iter_mut().enumerate() {
        for (index, block) in turn.blocks.iter_mut().enumerate() {
            match block {
                Block::ToolCall(call) if call.id.is_empty() => {
                    let place = format!("{turn_index}.{index}");
                    let id = format!(
                        "{}{}",
                        names::SYNTHETIC_CALL,
                        names::hash(&[place.as_bytes(), call.name.as_bytes()], 16)
                    );
                    open.push((call.name.clone().into_owned(), id.clone()));
                    call.id = Cow::Owned(id);
                }
                Block::ToolCall(call) => {
                    open.push((call.name.clone().into_owned(), call.id.clone().into_owned()))
                }
                Block::ToolResult(result) if result.call_id.is_empty() => {
                    let name = result.name.as_deref();
                    let fits = |(known, _): &(String, String)| name.is_none_or(|name| name == known);
                    let found = open.iter().position(fits);
                    let several = open.iter().filter(|call| fits(call)).count() > 1;
                    if let Some(found) = found.filter(|_| !(only && several)) {
                        result.call_id = Cow::Owned(open.remove(found).1);
                    }
                }
                Block::ToolResult(result) => open.retain(|(_, id)| *id != result.call_id),
                _ => {}
            }
        }
    }
}

/// Moves every result behind the turn that called for it, in call order; what stood between comes after (conversion.md 5.4).
fn pair<'a>(request: &mut Request<'a>, report: &mut Report) -> Result<(), Error> {
    if !request.turns.iter().any(|turn| turn.blocks.iter().any(is_tool)) {
        return Ok(());
    }
    let turns = std::mem::take(&mut request.turns);
    let mut results: Results<'a> = HashMap::new();
    let mut rest: Vec<Turn<'a>> = Vec::with_capacity(turns.len());
    let mut between: Option<String> = None;
    for mut turn in turns {
        if turn.role == Role::Tool {
            if let Some(path) = between.take() {
                // What stood between a call and its result comes after it.
                report.emulated(&path, "order");
            }
            for block in turn.blocks.drain(..) {
                if let Block::ToolResult(result) = &block {
                    let id = result.call_id.clone().into_owned();
                    results
                        .entry(id)
                        .or_default()
                        .push_back((block, turn.path.clone()));
                }
            }
        } else {
            let calls = turn
                .blocks
                .iter()
                .any(|block| matches!(block, Block::ToolCall(_)));
            between = if calls || rest.is_empty() {
                None
            } else {
                between.or(Some(turn.path.clone()))
            };
            rest.push(turn);
        }
    }
    let last = rest.len();
    for (index, turn) in rest.into_iter().enumerate() {
        let ids: Vec<String> = turn
            .blocks
            .iter()
            .filter_map(|block| {
                if let Block::ToolCall(call) = block {
                    Some(call.id.clone().into_owned())
                } else {
                    None
                }
            })
            .collect();
        let path = turn.path.clone();
        request.turns.push(turn);
        answers(request, &ids, path, index + 1 == last, &mut results, report)?;
    }
    orphans(&results, report)
}

/// Call id -> results in order: an id may come again in a later turn.
type Results<'a> = HashMap<String, VecDeque<(Block<'a>, String)>>;

fn is_tool(block: &Block<'_>) -> bool {
    matches!(block, Block::ToolCall(_) | Block::ToolResult(_))
}

fn answers<'a>(
    request: &mut Request<'a>,
    ids: &[String],
    path: String,
    last: bool,
    results: &mut Results<'a>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut blocks = Vec::with_capacity(ids.len());
    let mut missing = Vec::new();
    let mut place = None;
    for id in ids {
        match results.get_mut(id).and_then(VecDeque::pop_front) {
            Some((block, at)) => {
                place.get_or_insert(at);
                blocks.push(block);
            }
            None => missing.push(id.clone()),
        }
    }
    // A conversation may end with open calls only if nothing was answered: then it is a prefill, not a broken pair.
    let open_end = last && blocks.is_empty();
    if !missing.is_empty() && !open_end {
        if report.mode() != Mode::Lenient {
            let at = format!("/{}", path.replace('[', "/").replace(']', ""));
            let ids: Vec<&str> = missing.iter().map(|id| id.get(..64).unwrap_or(id)).collect();
            let text = format!("these tool calls have no result: {}", ids.join(", "));
            return Err(Error::at(ErrorKind::Invalid, at, text));
        }
        for id in missing {
            report.emulated(&path, "result");
            blocks.push(synthetic_result(id));
        }
    }
    if !blocks.is_empty() {
        let path = place.unwrap_or(path);
        request.turns.push(Turn {
            role: Role::Tool,
            developer: false,
            name: None,
            blocks,
            path,
        });
    }
    Ok(())
}

fn synthetic_result<'a>(id: String) -> Block<'a> {
    let text = crate::ir::TextBlock {
        text: Text::from("no result was provided"),
        ..Default::default()
    };
    Block::ToolResult(crate::ir::ToolResult {
        call_id: Cow::Owned(id),
        name: None,
        parts: vec![Block::Text(text)],
        is_error: true,
        structured: None,
        custom: false,
        cache: None,
    })
}

fn orphans(results: &Results<'_>, report: &mut Report) -> Result<(), Error> {
    let mut left: Vec<(&str, &str)> = results
        .iter()
        .flat_map(|(id, queue)| queue.iter().map(move |(_, path)| (path.as_str(), id.as_str())))
        .collect();
    left.sort_unstable();
    let Some((path, id)) = left.first() else {
        return Ok(());
    };
    if report.mode() == Mode::Lenient {
        for (path, _) in left {
            report.dropped(path.to_owned());
        }
        return Ok(());
    }
    let at = format!("/{}", path.replace('[', "/").replace(']', ""));
    let id = id.get(..64).unwrap_or(id);
    let text = format!("the tool result `{id}` answers no tool call of the conversation");
    Err(Error::at(ErrorKind::Invalid, at, text))
}

/// What the way back needs.
pub(crate) fn context(
    request: &Request<'_>,
    source: &Source<'_>,
    target: &Target<'_>,
    options: &Options,
    body: &str,
) -> Context {
    // Gemini shows thoughts only to who asks for them.
    let shown = request.reasoning.show == Show::Summary;
    Context {
        client: source.format,
        upstream: target.format,
        dialect: target.dialect,
        domain: target.domain,
        model: request.model.clone().into_owned(),
        stream: request.stream,
        include_usage: request.include_usage,
        include_thoughts: source.format != Format::Gemini || shown,
        array: source.array,
        // The gateway stores nothing: without the sealed state a tool loop would lose its reasoning (conversion.md 4.2).
        include_encrypted: true,
        legacy_functions: request.legacy_functions,
        declares_tools: !request.tools.is_empty(),
        tools: tool_origins(request, target),
        echo: if source.format == Format::Responses {
            echo(body)
        } else {
            String::new()
        },
        seal_key: options.seal_key,
        request_id: options.request_id.clone(),
        now: options.now,
        // Only streams need it, and it is the most expensive part of the way there.
        input_estimate: if request.stream || source.stream {
            Estimator::of_request(request).max(1)
        } else {
            1
        },
    }
}

fn tool_origins(request: &Request<'_>, target: &Target<'_>) -> HashMap<String, ToolOrigin> {
    let mut map = HashMap::new();
    for tool in &request.tools {
        let custom = matches!(tool.kind, ToolKind::Custom { .. });
        if matches!(tool.kind, ToolKind::Hosted { .. }) {
            continue;
        }
        let upstream = encode::upstream_name(&tool.name, tool.namespace.as_deref(), target);
        if custom || tool.item.is_some() || tool.namespace.is_some() || upstream != tool.name {
            let namespace = tool.namespace.clone().map(Cow::into_owned);
            let name = tool.name.clone().into_owned();
            map.insert(
                upstream.into_owned(),
                ToolOrigin {
                    name,
                    namespace,
                    custom,
                    item: tool.item,
                },
            );
        }
    }
    map
}

/// Request members that a Responses answer repeats (conversion.md 12.1).
const ECHOED: &[&str] = &[
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// The echoed members as they came, and the defaults of those that SDKs need.
fn echo(body: &str) -> String {
    let mut found: HashMap<String, &str> = HashMap::new();
    let mut reader = crate::json::Reader::new(body);
    // The body was decoded before, so it reads without errors; if not, the defaults stand.
    let _ = reader.object(|reader, key| {
        let raw = reader.raw()?;
        if let Some(name) = ECHOED.iter().find(|name| *name == key)
            && !raw.is_null()
        {
            found.insert((*name).to_owned(), raw.get());
        }
        Ok(())
    });
    let mut out = String::new();
    for name in ECHOED {
        let default = match *name {
            "parallel_tool_calls" => Some("true"),
            "tool_choice" => Some("\"auto\""),
            "tools" => Some("[]"),
            "metadata" => Some("{}"),
            "temperature" | "top_p" => Some("1.0"),
            "truncation" => Some("\"disabled\""),
            "text" => Some(r#"{"format":{"type":"text"}}"#),
            "instructions" | "max_output_tokens" => Some("null"),
            "reasoning" => Some(r#"{"effort":null,"summary":null}"#),
            _ => None,
        };
        if let Some(value) = found.get(*name).copied().or(default) {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(&format!("\"{name}\":{value}"));
        }
    }
    out.push_str(r#","previous_response_id":null,"store":false"#);
    out
}
