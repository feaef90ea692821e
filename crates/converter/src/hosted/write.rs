//! Hosted tools in the spelling of an upstream.

use std::borrow::Cow;

use super::{Capability, Location, Search, Server, server};
use crate::error::Error;
use crate::format::{Dialect, Format};
use crate::ir::{Request, Tool, ToolKind};
use crate::json::{Raw, Writer, from_str};
use crate::report::{Class, Report};
use crate::target::Target;

/// Beta header of Messages' MCP connector.
const MCP_BETA: &str = "mcp-client-2025-11-20";

/// Writes a hosted tool of another format as an entry of this upstream's tools. The caller has made sure with
/// [`super::carried`] that there is such an entry.
///
/// # Errors
/// A setting of the tool that the upstream lacks, in strict mode.
pub(crate) fn write(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    capability: Capability,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let ToolKind::Hosted { json, .. } = &tool.kind else {
        return Ok(());
    };
    match capability {
        Capability::WebSearch | Capability::WebFetch => {
            let search: Search<'_> = from_str(json.get()).unwrap_or_default();
            self::search(w, tool, &search, capability, request, target, report)
        }
        Capability::CodeExecution => {
            code(w, request, target);
            Ok(())
        }
        Capability::ToolSearch => {
            w.raw(Raw::of_const(match target.format {
                Format::Messages => {
                    r#"{"type":"tool_search_tool_bm25_20251119","name":"tool_search_tool_bm25"}"#
                }
                _ => r#"{"type":"tool_search"}"#,
            }));
            Ok(())
        }
        Capability::Mcp => {
            if let Ok(server) = server(tool, request) {
                mcp(w, &server, target, report);
            }
            Ok(())
        }
    }
}

fn code(w: &mut Writer<'_>, request: &Request<'_>, target: &Target<'_>) {
    match target.format {
        Format::Messages => w.raw(Raw::of_const(
            r#"{"type":"code_execution_20250825","name":"code_execution"}"#,
        )),
        Format::Gemini => w.raw(Raw::of_const(r#"{"codeExecution":{}}"#)),
        _ => w.object(|w| {
            w.key("type").str("code_interpreter");
            match request.container.and_then(Raw::as_text) {
                Some(id) => w.key("container").text(&id),
                None => w.key("container").raw(Raw::of_const(r#"{"type":"auto"}"#)),
            }
        }),
    }
}

fn search(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    search: &Search<'_>,
    capability: Capability,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let filters = search.filters.as_ref();
    let allowed = search
        .allowed_domains
        .or_else(|| filters.and_then(|filters| filters.allowed_domains));
    let blocked = search
        .blocked_domains
        .or(search.exclude_domains)
        .or_else(|| filters.and_then(|filters| filters.blocked_domains));
    let fetch = capability == Capability::WebFetch;
    let place = search.user_location.and_then(place);
    let mut lost: Vec<&str> = Vec::new();
    let mut lose = |present: bool, name: &'static str| {
        if present {
            lost.push(name);
        }
    };
    match target.format {
        Format::Messages => {
            lose(search.search_context_size.is_some(), "search_context_size");
            // Anthropic takes one of the two lists.
            lose(allowed.is_some() && blocked.is_some(), "blocked_domains");
            let uses = search
                .max_uses
                .or(request.max_tool_calls.filter(|_| hosted_count(request) == 1));
            w.object(|w| {
                let (kind, name) = if fetch {
                    ("web_fetch_20250910", "web_fetch")
                } else {
                    ("web_search_20250305", "web_search")
                };
                w.key("type").str(kind);
                w.key("name").str(name);
                if let Some(uses) = uses {
                    w.key("max_uses").u64(uses);
                }
                match (allowed, blocked) {
                    (Some(allowed), _) => w.key("allowed_domains").raw(allowed),
                    (None, Some(blocked)) => w.key("blocked_domains").raw(blocked),
                    (None, None) => {}
                }
                location(w, place, target.format);
            });
        }
        Format::Responses => {
            lose(blocked.is_some(), "blocked_domains");
            lose(search.max_uses.is_some() && hosted_count(request) > 1, "max_uses");
            w.object(|w| {
                w.key("type").str("web_search");
                if let Some(allowed) = allowed {
                    w.key("filters").object(|w| w.key("allowed_domains").raw(allowed));
                }
                location(w, place, target.format);
                if let Some(size) = &search.search_context_size {
                    w.key("search_context_size").text(size);
                }
            });
        }
        Format::Gemini => {
            let vertex = target.dialect == Dialect::Vertex && !fetch;
            lose(allowed.is_some(), "allowed_domains");
            lose(blocked.is_some() && !vertex, "blocked_domains");
            lose(search.max_uses.is_some(), "max_uses");
            lose(place.is_some(), "user_location");
            lose(search.search_context_size.is_some(), "search_context_size");
            w.object(|w| {
                w.key(if fetch { "urlContext" } else { "googleSearch" })
                    .object(|w| {
                        if let Some(blocked) = blocked.filter(|_| vertex) {
                            w.key("excludeDomains").raw(blocked);
                        }
                    });
            });
        }
        Format::Chat => {
            lose(allowed.is_some(), "allowed_domains");
            lose(blocked.is_some(), "blocked_domains");
            lose(search.max_uses.is_some(), "max_uses");
            w.object(|w| {
                location(w, place, target.format);
                if let Some(size) = &search.search_context_size {
                    w.key("search_context_size").text(size);
                }
            });
        }
    }
    let others = search.extra.iter().filter(|(_, value)| !value.is_null());
    for name in lost.into_iter().chain(others.map(|(name, _)| name.as_ref())) {
        report.cannot_carry(format!("{}.{name}", tool.path), Class::Hint)?;
    }
    Ok(())
}

/// The members of an approximate location, without its type.
fn place(raw: Raw<'_>) -> Option<Vec<(Cow<'_, str>, Raw<'_>)>> {
    let outer: Location<'_> = from_str(raw.get()).ok()?;
    let members = match outer.approximate {
        Some(inner) => from_str::<Location<'_>>(inner.get()).ok()?.extra,
        None => outer.extra,
    };
    let known = ["city", "country", "region", "timezone"];
    let kept = members
        .into_iter()
        .filter(|(name, value)| known.contains(&name.as_ref()) && !value.is_null());
    Some(kept.collect())
}

fn location(w: &mut Writer<'_>, place: Option<Vec<(Cow<'_, str>, Raw<'_>)>>, format: Format) {
    let Some(members) = place.filter(|members| !members.is_empty()) else {
        return;
    };
    let inside = |w: &mut Writer<'_>| {
        for (name, value) in &members {
            w.key(name).raw(*value);
        }
    };
    w.key("user_location").object(|w| {
        w.key("type").str("approximate");
        if format == Format::Chat {
            w.key("approximate").object(inside);
        } else {
            inside(w);
        }
    });
}

/// How many hosted tools the request declares.
pub(super) fn hosted_count(request: &Request<'_>) -> usize {
    let hosted = |tool: &&Tool<'_>| matches!(tool.kind, ToolKind::Hosted { .. });
    request.tools.iter().filter(hosted).count()
}

fn mcp(w: &mut Writer<'_>, server: &Server<'_>, target: &Target<'_>, report: &mut Report) {
    match target.format {
        Format::Responses => w.object(|w| {
            w.key("type").str("mcp");
            w.key("server_label").text(&server.label);
            w.key("server_url").text(&server.url);
            if let Some(token) = &server.authorization {
                w.key("authorization").text(token);
            }
            if let Some(headers) = server.headers {
                w.key("headers").raw(headers);
            }
            if let Some(names) = &server.allowed {
                w.key("allowed_tools").array(|w| {
                    for name in names {
                        w.item().str(name);
                    }
                });
            }
            w.key("require_approval").str("never");
        }),
        Format::Messages => {
            report.beta(MCP_BETA);
            w.object(|w| {
                w.key("type").str("mcp_toolset");
                w.key("mcp_server_name").text(&server.label);
                if let Some(names) = &server.allowed {
                    w.key("default_config").raw(Raw::of_const(r#"{"enabled":false}"#));
                    w.key("configs").object(|w| {
                        for name in names {
                            w.key(name).raw(Raw::of_const(r#"{"enabled":true}"#));
                        }
                    });
                }
            });
        }
        _ => w.object(|w| {
            w.key("mcpServers").array(|w| {
                w.item().object(|w| {
                    w.key("name").text(&server.label);
                    w.key("streamableHttpTransport").object(|w| {
                        w.key("url").text(&server.url);
                        headers(w, server);
                    });
                });
            });
        }),
    }
}

/// Gemini takes the token as a header.
fn headers(w: &mut Writer<'_>, server: &Server<'_>) {
    match (&server.authorization, server.headers) {
        (None, None) => {}
        (None, Some(headers)) => w.key("headers").raw(headers),
        (Some(token), headers) => w.key("headers").object(|w| {
            let mut reader = crate::json::Reader::new(headers.map_or("{}", Raw::get));
            // Headers that are no object were refused by the client's own vendor.
            let _ = reader.object(|reader, name| {
                let value = reader.raw()?;
                w.key(name).raw(value);
                Ok(())
            });
            w.key("Authorization").str(&format!("Bearer {}", token.decode()));
        }),
    }
}

/// Messages names the servers of its MCP toolsets at the top level of the request.
pub(crate) fn mcp_servers(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) {
    let servers: Vec<Server<'_>> = request
        .tools
        .iter()
        .filter(|tool| super::of(tool) == Some(Capability::Mcp))
        .filter_map(|tool| server(tool, request).ok())
        .collect();
    if servers.is_empty() {
        return;
    }
    w.key("mcp_servers").array(|w| {
        for server in &servers {
            w.item().object(|w| {
                w.key("type").str("url");
                w.key("url").text(&server.url);
                w.key("name").text(&server.label);
                let bearer = server.authorization.clone().or_else(|| bearer(server.headers?));
                if let Some(token) = &bearer {
                    w.key("authorization_token").text(token);
                }
            });
        }
    });
    report.beta(MCP_BETA);
}

/// The token of an `Authorization: Bearer` header.
fn bearer(headers: Raw<'_>) -> Option<crate::json::Text<'_>> {
    let mut found = None;
    let mut reader = crate::json::Reader::new(headers.get());
    let _ = reader.object(|reader, name| {
        let value = reader.raw()?;
        if name.eq_ignore_ascii_case("authorization") {
            found = value.as_text().map(|text| text.decode());
        }
        Ok(())
    });
    let token = found?.strip_prefix("Bearer ")?.to_owned();
    Some(token.into())
}

/// Anthropic limits one tool, OpenAI all together: the same if there is but one hosted tool (conversion.md 8.6).
pub(crate) fn only_limit(request: &Request<'_>) -> Option<u64> {
    let mut hosted = request
        .tools
        .iter()
        .filter(|tool| matches!(tool.kind, ToolKind::Hosted { .. }));
    let (only, more) = (hosted.next()?, hosted.next());
    let ToolKind::Hosted { json, .. } = &only.kind else {
        return None;
    };
    if more.is_some() {
        return None;
    }
    from_str::<Search<'_>>(json.get()).ok()?.max_uses
}
