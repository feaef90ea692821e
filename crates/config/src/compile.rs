//! Raw to compiled: a file or the environment becomes a [`Config`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ai_api_converter::{Dialect, Format};
use opm_core::Secret;
use serde_saphyr::Spanned;

use crate::Loaded;
use crate::base_url::BaseUrl;
use crate::config::{Channel, ClientKey, Config, Models, Origin, Rule, Strategy, Timeouts, Tls, Vendor};
use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::node::{Node, Placed, place};
use crate::section::{Reading, nearest};

const DEFAULT_MAX_BODY: usize = 32 << 20;
const DEFAULT_DRAIN: Duration = Duration::from_secs(300);
/// Shorter client keys can be guessed.
const MIN_KEY: usize = 20;

fn blank(origin: Origin) -> Config {
    let any = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    Config {
        origin,
        listen: any(8080),
        loopback_only: false,
        tls: None,
        metrics_listen: any(9090),
        max_body: DEFAULT_MAX_BODY,
        user_header: "user".into(),
        drain: DEFAULT_DRAIN,
        channels: Vec::new(),
        strategy: Strategy::default(),
        aliases: Vec::new(),
        rules: Vec::new(),
        keys: Vec::new(),
    }
}

/// Compiles a file's text.
#[must_use]
pub fn compile_file(path: &Path, source: &str, env: &Environment) -> Loaded {
    let mut config = blank(Origin::File(path.to_owned()));
    let root: Placed = match serde_saphyr::from_str(source) {
        Ok(root) => root,
        Err(error) => {
            let at = error.location().map(|at| {
                let number = |value: u64| usize::try_from(value).unwrap_or(1);
                (number(at.line()), number(at.column()), 1)
            });
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let message = first.split_once(": ").map_or(first, |(_, rest)| rest);
            let message = message
                .split_once(": ")
                .filter(|(head, _)| head.starts_with("line "))
                .map_or(message, |(_, rest)| rest);
            let message = message
                .split(", set DuplicateKeyPolicy")
                .next()
                .unwrap_or(message)
                .to_owned();
            let problem = Problem {
                severity: Severity::Error,
                code: "E001",
                message,
                at,
                help: None,
            };
            return Loaded {
                config: None,
                problems: vec![problem],
            };
        }
    };
    let mut reading = Reading {
        env,
        problems: Vec::new(),
    };
    let mut listen_given = false;
    file(&root, &mut config, &mut listen_given, &mut reading);
    let mut problems = reading.problems;
    env.check(&mut problems);
    from_env(&mut config, env, &mut problems);
    if config.channels.is_empty() && !problems.iter().any(|problem| problem.severity == Severity::Error) {
        problems.push(whole(
            Severity::Error,
            "E014",
            "no channel is configured",
            "add one under `channels:`",
        ));
    }
    guard_listener(&mut config, listen_given, &mut problems);
    Loaded::new(config, problems)
}

fn whole(severity: Severity, code: &'static str, message: &str, help: &str) -> Problem {
    Problem {
        severity,
        code,
        message: message.into(),
        at: None,
        help: Some(help.into()),
    }
}

/// Compiles the environment alone.
#[must_use]
pub fn compile_env(env: &Environment) -> Loaded {
    let mut problems = Vec::new();
    env.check(&mut problems);
    let mut channels = Vec::new();
    let mut add = |name: &str, vendor, url: &str, key: Option<&str>, models: &[&str]| {
        let globs = Models::Globs(models.iter().map(|glob| (*glob).to_owned()).collect());
        if let Ok(base_url) = BaseUrl::parse(url) {
            let keys = key.map(|key| Secret::new(key.to_owned())).into_iter().collect();
            channels.push(channel(name.into(), vendor, base_url, keys, globs));
        }
    };
    let google = env.set("GEMINI_API_KEY").or(env.set("GOOGLE_API_KEY"));
    let (openai, anthropic) = (env.set("OPENAI_API_KEY"), env.set("ANTHROPIC_API_KEY"));
    let own = env.set("OPENAI_DOMAIN").map(|domain| {
        let tls = env
            .set("OPENAI_TLS")
            .is_none_or(|value| !value.eq_ignore_ascii_case("false"));
        let port = env
            .set("OPENAI_PORT")
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        format!("{}://{domain}{port}", if tls { "https" } else { "http" })
    });
    if let Some(url) = &own {
        add(
            "env-openai",
            Vendor::OpenAi,
            url,
            openai,
            if anthropic.is_some() || google.is_some() {
                OPENAI_MODELS
            } else {
                &["*"]
            },
        );
    }
    let none = openai.is_none() && anthropic.is_none() && google.is_none() && own.is_none();
    if own.is_none() && (openai.is_some() || none) {
        add(
            "openai",
            Vendor::OpenAi,
            "https://api.openai.com",
            openai,
            OPENAI_MODELS,
        );
    }
    if anthropic.is_some() || none {
        add(
            "anthropic",
            Vendor::Anthropic,
            "https://api.anthropic.com",
            anthropic,
            &["claude*"],
        );
    }
    if google.is_some() || none {
        add(
            "gemini",
            Vendor::Gemini,
            "https://generativelanguage.googleapis.com",
            google,
            &["gemini*"],
        );
    }
    let keys = [openai, anthropic, google].into_iter().flatten().count();
    let mut config = blank(if keys == 0 && own.is_none() {
        Origin::Transparent
    } else {
        Origin::Environment(keys)
    });
    config.channels = channels;
    from_env(&mut config, env, &mut problems);
    guard_listener(&mut config, false, &mut problems);
    Loaded::new(config, problems)
}

/// Built-in model rule of OpenAI (architecture.md section 6).
const OPENAI_MODELS: &[&str] = &["gpt-*", "o1*", "o3*", "o4*", "chatgpt-*", "text-embedding-*"];

/// A channel with the defaults of its vendor.
fn channel(name: String, vendor: Vendor, base_url: BaseUrl, keys: Vec<Secret>, models: Models) -> Channel {
    let official = base_url.host == "api.openai.com";
    let formats = match vendor {
        Vendor::OpenAi if official => vec![Format::Responses, Format::Chat],
        Vendor::OpenAi => vec![Format::Chat],
        Vendor::Anthropic => vec![Format::Messages],
        Vendor::Gemini => vec![Format::Gemini],
    };
    Channel {
        name,
        vendor,
        formats,
        embeddings: vendor != Vendor::Anthropic,
        dialect: dialect_of(vendor, &base_url),
        base_url,
        keys,
        models,
        weight: 1,
        priority: 0,
        timeouts: Timeouts::default(),
        http1: false,
        headers: Vec::new(),
        default_max_tokens: None,
    }
}

/// What a host is known to do differently.
fn dialect_of(vendor: Vendor, url: &BaseUrl) -> Dialect {
    let host = url.host.as_str();
    match vendor {
        Vendor::OpenAi if host.ends_with("deepseek.com") => Dialect::DeepSeek,
        Vendor::OpenAi if host.ends_with("openrouter.ai") => Dialect::OpenRouter,
        Vendor::OpenAi if host.ends_with("googleapis.com") => Dialect::GoogleCompat,
        Vendor::Gemini if host.ends_with("aiplatform.googleapis.com") => Dialect::Vertex,
        _ => Dialect::Native,
    }
}

/// Variables that count beside a file too.
fn from_env(config: &mut Config, env: &Environment, problems: &mut Vec<Problem>) {
    let mut port = |name: &str| {
        let text = env.set(name)?;
        let port = text.parse::<u16>().ok();
        if port.is_none() {
            problems.push(whole(
                Severity::Error,
                "E008",
                &format!("{name} is not a port number"),
                "use a number between 1 and 65535",
            ));
        }
        port
    };
    if let Some(port) = port("PROXY_PORT") {
        config.listen.set_port(port);
    }
    if let Some(port) = port("METRICS_PORT") {
        config.metrics_listen.set_port(port);
    }
    if let Some(header) = env.set("USER_HEADER") {
        config.user_header = header.to_ascii_lowercase();
    }
    let limits = env
        .set("ENABLE_RATE_LIMITING")
        .is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
    let mut inactive = |name: &str| {
        problems.push(Problem {
            severity: Severity::Warning,
            code: "W001",
            message: format!("{name} is understood, but has no effect in this version"),
            at: None,
            help: None,
        });
    };
    if limits {
        inactive("ENABLE_RATE_LIMITING");
    }
    if env.set("REDIS_URL").is_some() {
        inactive("REDIS_URL");
    }
}

/// Provider keys that anybody on the network could use are kept to this machine (architecture.md section 5).
fn guard_listener(config: &mut Config, given: bool, problems: &mut Vec<Problem>) {
    let holds_keys = config.channels.iter().any(|channel| !channel.keys.is_empty());
    if !holds_keys || !config.keys.is_empty() || config.listen.ip().is_loopback() {
        return;
    }
    config.listen.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    config.loopback_only = true;
    if given {
        problems.push(whole(
            Severity::Warning,
            "W002",
            "channels hold provider keys but there are no client keys: only loopback clients are served",
            "add client keys under `keys:`",
        ));
    }
}

const TOP: &[&str] = &[
    "version",
    "server",
    "metrics",
    "admin",
    "storage",
    "shared",
    "defaults",
    "channels",
    "routes",
    "keys",
    "users",
    "convert",
    "cache",
    "observability",
];

fn file(root: &Placed, config: &mut Config, listen_given: &mut bool, r: &mut Reading<'_>) {
    let mut timeouts = Timeouts::default();
    let members = r.members(root, "the file");
    for (key, value) in members.iter().filter(|(key, _)| key.value == "defaults") {
        defaults(key, value, &mut timeouts, r);
    }
    for (key, value) in members {
        match key.value.as_str() {
            "version" => {
                if !matches!(value.value, Node::Int(1)) {
                    r.error(
                        "E004",
                        value,
                        "the version of this format is 1".into(),
                        Some("write `version: 1`".into()),
                    );
                }
            }
            "server" => server(value, config, listen_given, r),
            "metrics" => listen_only(value, "metrics", &mut config.metrics_listen, r),
            "channels" => channels(value, timeouts, config, r),
            "defaults" | "routes" | "keys" => {}
            "admin" | "storage" | "shared" | "users" | "convert" | "cache" | "observability" => {
                r.inactive(key)
            }
            _ => r.unknown(key, TOP),
        }
    }
    // These name channels, so they come last.
    for (key, value) in members {
        match key.value.as_str() {
            "routes" => routes(value, config, r),
            "keys" => keys(value, config, r),
            _ => {}
        }
    }
}

fn defaults(_key: &Spanned<String>, node: &Placed, timeouts: &mut Timeouts, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "defaults") {
        match key.value.as_str() {
            "timeouts" => read_timeouts(value, timeouts, r),
            "retry" | "breaker" => r.inactive(key),
            _ => r.unknown(key, &["timeouts", "retry", "breaker"]),
        }
    }
}

fn read_timeouts(node: &Placed, timeouts: &mut Timeouts, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "timeouts") {
        let target = match key.value.as_str() {
            "connect" => &mut timeouts.connect,
            "first_byte" => &mut timeouts.first_byte,
            "idle" => &mut timeouts.idle,
            "total" => {
                r.inactive(key);
                continue;
            }
            _ => {
                r.unknown(key, &["connect", "first_byte", "idle", "total"]);
                continue;
            }
        };
        if let Some(duration) = r.duration(value) {
            *target = duration;
        }
    }
}

fn address(node: &Placed, r: &mut Reading<'_>) -> Option<SocketAddr> {
    let text = r.text(node)?;
    let full = if let Some(port) = text.strip_prefix(':') {
        format!("0.0.0.0:{port}")
    } else {
        text.clone()
    };
    let full = full
        .strip_prefix("localhost:")
        .map_or(full.clone(), |port| format!("127.0.0.1:{port}"));
    let found = full.parse().ok();
    if found.is_none() {
        r.error(
            "E007",
            node,
            format!("`{text}` is not an address"),
            Some("write HOST:PORT, for example 0.0.0.0:8080".into()),
        );
    }
    found
}

fn listen_only(node: &Placed, what: &str, target: &mut SocketAddr, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, what) {
        match key.value.as_str() {
            "listen" => {
                if let Some(found) = address(value, r) {
                    *target = found;
                }
            }
            "per_key" | "per_user" => r.inactive(key),
            _ => r.unknown(key, &["listen", "per_key", "per_user"]),
        }
    }
}

fn server(node: &Placed, config: &mut Config, listen_given: &mut bool, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "server") {
        match key.value.as_str() {
            "listen" => {
                if let Some(found) = address(value, r) {
                    config.listen = found;
                    *listen_given = true;
                }
            }
            "max_body" => {
                if let Some(text) = r.text(value) {
                    match crate::units::bytes(&text) {
                        Some(bytes) => config.max_body = bytes,
                        None => r.error(
                            "E008",
                            value,
                            format!("`{text}` is not a size"),
                            Some("write 32MiB".into()),
                        ),
                    }
                }
            }
            "client_header" | "user_header" => {
                if let Some(name) = r.text(value) {
                    config.user_header = name.to_ascii_lowercase();
                }
            }
            "drain" => {
                if let Some(duration) = r.duration(value) {
                    config.drain = duration;
                }
            }
            "tls" => config.tls = tls(value, r),
            "trusted_proxies" => r.inactive(key),
            _ => r.unknown(
                key,
                &[
                    "listen",
                    "max_body",
                    "client_header",
                    "drain",
                    "tls",
                    "trusted_proxies",
                ],
            ),
        }
    }
}

fn tls(node: &Placed, r: &mut Reading<'_>) -> Option<Tls> {
    let (mut cert, mut private) = (None, None);
    for (key, value) in r.members(node, "tls") {
        match key.value.as_str() {
            "cert" => cert = readable(value, r),
            "key" => private = readable(value, r),
            _ => r.unknown(key, &["cert", "key"]),
        }
    }
    match (cert, private) {
        (Some(cert), Some(key)) => Some(Tls { cert, key }),
        _ => {
            r.error(
                "E005",
                node,
                "`tls` needs `cert` and `key`, two PEM files".into(),
                None,
            );
            None
        }
    }
}

/// The path of a file that exists and holds PEM.
fn readable(node: &Placed, r: &mut Reading<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(r.text(node)?);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.contains("-----BEGIN ") => Some(path),
        Ok(_) => {
            r.error("E010", node, "the file holds no PEM".into(), None);
            None
        }
        Err(error) => {
            r.error("E010", node, format!("the file cannot be read: {error}"), None);
            None
        }
    }
}

const CHANNEL: &[&str] = &[
    "name",
    "format",
    "base_url",
    "apis",
    "keys",
    "models",
    "weight",
    "priority",
    "timeouts",
    "dialect",
    "http",
    "headers",
    "default_max_tokens",
    "limits",
    "quirks",
    "cost_multiplier",
];
const VENDORS: &[(&str, Vendor)] = &[
    ("openai", Vendor::OpenAi),
    ("anthropic", Vendor::Anthropic),
    ("gemini", Vendor::Gemini),
];
const DIALECTS: &[(&str, Dialect)] = &[
    ("openai", Dialect::Native),
    ("anthropic", Dialect::Native),
    ("gemini", Dialect::Native),
    ("compat", Dialect::Compat),
    ("deepseek", Dialect::DeepSeek),
    ("openrouter", Dialect::OpenRouter),
    ("google-compat", Dialect::GoogleCompat),
    ("anthropic-2026-10-21", Dialect::Anthropic20261021),
    ("anthropic-compat", Dialect::AnthropicCompat),
    ("vertex", Dialect::Vertex),
];

fn channels(node: &Placed, timeouts: Timeouts, config: &mut Config, r: &mut Reading<'_>) {
    for element in r.elements(node, "channels") {
        if let Some((name_at, found)) = one_channel(element, timeouts, r) {
            if config.channels.iter().any(|known| known.name == found.name) {
                let (line, column, length) = name_at;
                r.problems.push(Problem {
                    severity: Severity::Error,
                    code: "E006",
                    message: format!("another channel is named `{}`", found.name),
                    at: Some((line, column, length)),
                    help: None,
                });
            }
            config.channels.push(found);
        }
    }
}

fn one_channel(
    node: &Placed,
    timeouts: Timeouts,
    r: &mut Reading<'_>,
) -> Option<((usize, usize, usize), Channel)> {
    let members = r.members(node, "a channel");
    let find = |name: &str| {
        members
            .iter()
            .find(|(key, _)| key.value == name)
            .map(|(_, value)| value)
    };
    for (key, _) in members {
        if !CHANNEL.contains(&key.value.as_str()) {
            r.unknown(key, CHANNEL);
        } else if matches!(key.value.as_str(), "limits" | "quirks" | "cost_multiplier") {
            r.inactive(key);
        }
    }
    let need = |name: &str, r: &mut Reading<'_>| {
        let found = find(name);
        if found.is_none() {
            r.error("E005", node, format!("a channel needs `{name}`"), None);
        }
        found
    };
    let name_node = need("name", r);
    let name = name_node.and_then(|node| r.text(node));
    let vendor = need("format", r).and_then(|node| r.word(node, VENDORS));
    let url = find("base_url");
    let base_url = match url {
        Some(node) => r.text(node).and_then(|text| match BaseUrl::parse(&text) {
            Ok(url) => Some(url),
            Err(why) => {
                r.error("E007", node, format!("`base_url` is not usable: {why}"), None);
                None
            }
        }),
        None => vendor.and_then(|vendor| BaseUrl::parse(default_url(vendor)).ok()),
    };
    let keys = find("keys").map(|node| secrets(node, r)).unwrap_or_default();
    let models = find("models").map_or(Some(Models::Globs(vec!["*".into()])), |node| models(node, r));
    let (name, vendor, base_url, models) = (name?, vendor?, base_url?, models?);
    let models = match (find("models"), vendor) {
        (None, Vendor::Anthropic) => Models::Globs(vec!["claude*".into()]),
        (None, Vendor::Gemini) => Models::Globs(vec!["gemini*".into()]),
        (None, Vendor::OpenAi) if base_url.host == "api.openai.com" => {
            Models::Globs(OPENAI_MODELS.iter().map(|glob| (*glob).to_owned()).collect())
        }
        _ => models,
    };
    let mut channel = channel(name, vendor, base_url, keys, models);
    channel.timeouts = timeouts;
    options(members, &mut channel, r);
    let at = name_node.map_or((1, 1, 1), place);
    Some((at, channel))
}

fn default_url(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::OpenAi => "https://api.openai.com",
        Vendor::Anthropic => "https://api.anthropic.com",
        Vendor::Gemini => "https://generativelanguage.googleapis.com",
    }
}

fn options(members: &[(Spanned<String>, Placed)], channel: &mut Channel, r: &mut Reading<'_>) {
    for (key, value) in members {
        match key.value.as_str() {
            "apis" => apis(value, channel, r),
            "weight" => {
                if let Some(weight) = r.number(value, 0..=1_000_000) {
                    channel.weight = u32::try_from(weight).unwrap_or(1);
                }
            }
            "priority" => {
                if let Some(priority) = r.number(value, -1_000_000..=1_000_000) {
                    channel.priority = priority;
                }
            }
            "timeouts" => read_timeouts(value, &mut channel.timeouts, r),
            "dialect" => {
                if let Some(dialect) = r.word(value, DIALECTS) {
                    channel.dialect = dialect;
                }
            }
            "http" => {
                if let Some(http1) = r.word(value, &[("auto", false), ("1.1", true)]) {
                    channel.http1 = http1;
                }
            }
            "headers" => {
                for (name, value) in r.members(value, "headers") {
                    if let Some(text) = r.text(value) {
                        channel.headers.push((name.value.to_ascii_lowercase(), text));
                    }
                }
            }
            "default_max_tokens" => {
                channel.default_max_tokens = r
                    .number(value, 1..=10_000_000)
                    .and_then(|tokens| u64::try_from(tokens).ok());
            }
            _ => {}
        }
    }
}

fn apis(node: &Placed, channel: &mut Channel, r: &mut Reading<'_>) {
    const WORDS: &[(&str, Option<Format>)] = &[
        ("chat", Some(Format::Chat)),
        ("responses", Some(Format::Responses)),
        ("embeddings", None),
    ];
    if channel.vendor != Vendor::OpenAi {
        r.error(
            "E004",
            node,
            "`apis` is only for channels of format openai".into(),
            None,
        );
        return;
    }
    let found: Vec<Option<Format>> = r
        .elements(node, "apis")
        .iter()
        .filter_map(|item| r.word(item, WORDS))
        .collect();
    channel.embeddings = found.contains(&None);
    channel.formats = found.into_iter().flatten().collect();
    // Responses is the fuller API where both are offered.
    channel.formats.sort_by_key(|format| *format != Format::Responses);
    if channel.formats.is_empty() && !channel.embeddings {
        r.error("E005", node, "`apis` must name at least one API".into(), None);
    }
}

/// Texts and `{ file: PATH }`; empty texts are absent keys.
fn secrets(node: &Placed, r: &mut Reading<'_>) -> Vec<Secret> {
    let mut list = Vec::new();
    for element in r.elements(node, "keys") {
        let text = match &element.value {
            Node::Map(_) => secret_file(element, r),
            _ => r.text(element),
        };
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            list.push(Secret::new(text.trim().to_owned()));
        }
    }
    list
}

fn secret_file(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let members = r.members(node, "a secret");
    let Some((_, path)) = members.iter().find(|(key, _)| key.value == "file") else {
        r.error(
            "E005",
            node,
            "a secret is a text or `{ file: PATH }`".into(),
            None,
        );
        return None;
    };
    let path_text = r.text(path)?;
    match std::fs::read_to_string(&path_text) {
        Ok(text) => Some(text),
        Err(error) => {
            r.error("E010", path, format!("the file cannot be read: {error}"), None);
            None
        }
    }
}

fn models(node: &Placed, r: &mut Reading<'_>) -> Option<Models> {
    match &node.value {
        Node::Map(members) => {
            let pairs = members
                .iter()
                .filter_map(|(key, value)| Some((key.value.clone(), r.text(value)?)));
            Some(Models::Map(pairs.collect()))
        }
        Node::List(_) | Node::Text(_) => Some(Models::Globs(r.texts(node))),
        other => {
            let text = format!("`models` is a list of names or a mapping, found {}", other.name());
            r.error("E003", node, text, None);
            None
        }
    }
}

const STRATEGIES: &[(&str, Strategy)] = &[
    ("weighted", Strategy::Weighted),
    ("round_robin", Strategy::RoundRobin),
    ("failover", Strategy::Failover),
];
/// Understood, but served as `weighted` until their counters exist.
const LATER: &[&str] = &["least_connections", "latency", "cost"];

fn strategy(node: &Placed, r: &mut Reading<'_>) -> Option<Strategy> {
    if let Node::Text(text) = &node.value
        && LATER.contains(&text.as_str())
    {
        r.warning(
            "W001",
            node,
            format!("`{text}` has no effect in this version; `weighted` is used"),
        );
        return Some(Strategy::Weighted);
    }
    r.word(node, STRATEGIES)
}

fn routes(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "routes") {
        match key.value.as_str() {
            "strategy" => config.strategy = strategy(value, r).unwrap_or_default(),
            "aliases" => {
                for (alias, model) in r.members(value, "aliases") {
                    if let Some(model) = r.text(model) {
                        config.aliases.push((alias.value.clone(), model));
                    }
                }
            }
            "rules" => {
                for element in r.elements(value, "rules") {
                    if let Some(found) = rule(element, config, r) {
                        config.rules.push(found);
                    }
                }
            }
            _ => r.unknown(key, &["strategy", "aliases", "rules"]),
        }
    }
}

fn rule(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Option<Rule> {
    let mut found = Rule {
        model: String::new(),
        channels: Vec::new(),
        models: Vec::new(),
        strategy: None,
    };
    for (key, value) in r.members(node, "a rule") {
        match key.value.as_str() {
            "match" => {
                for (key, value) in r.members(value, "match") {
                    match key.value.as_str() {
                        "model" => found.model = r.text(value).unwrap_or_default(),
                        "header" | "key" => r.inactive(key),
                        _ => r.unknown(key, &["model", "header", "key"]),
                    }
                }
            }
            "channels" => found.channels = channel_list(value, config, r),
            "models" => {
                for (name, model) in r.members(value, "models") {
                    let at = channel_number(&name.value, config);
                    match (at, r.text(model)) {
                        (Some(at), Some(model)) => found.models.push((at, model)),
                        (None, _) => unknown_channel(name, config, r),
                        _ => {}
                    }
                }
            }
            "strategy" => found.strategy = strategy(value, r),
            _ => r.unknown(key, &["match", "channels", "models", "strategy"]),
        }
    }
    (!found.model.is_empty()).then_some(found)
}

fn channel_number(name: &str, config: &Config) -> Option<usize> {
    config.channels.iter().position(|channel| channel.name == name)
}

fn unknown_channel<T: AsRef<str>>(at: &Spanned<T>, config: &Config, r: &mut Reading<'_>) {
    let name = at.value.as_ref();
    let known: Vec<&str> = config
        .channels
        .iter()
        .map(|channel| channel.name.as_str())
        .collect();
    let help = match nearest(name, &known) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("the channels are {}", known.join(", ")),
    };
    r.error("E012", at, format!("no channel is named `{name}`"), Some(help));
}

fn channel_list(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Vec<usize> {
    let mut list = Vec::new();
    for element in r.elements(node, "channels") {
        let Some(name) = r.text(element) else { continue };
        match channel_number(&name, config) {
            Some(at) => list.push(at),
            None => {
                let named = Spanned {
                    value: name,
                    referenced: element.referenced,
                    defined: element.defined,
                };
                unknown_channel(&named, config, r);
            }
        }
    }
    list
}

fn keys(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for element in r.elements(node, "keys") {
        if let Some(found) = client_key(element, config, r) {
            config.keys.push(found);
        }
    }
}

fn client_key(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Option<ClientKey> {
    let (mut name, mut secret, mut channels, mut models) = (None, None, None, Vec::new());
    for (key, value) in r.members(node, "a key") {
        match key.value.as_str() {
            "name" => name = r.text(value),
            "key" => {
                let text = if matches!(value.value, Node::Map(_)) {
                    secret_file(value, r)
                } else {
                    r.text(value)
                };
                secret = text.map(|text| text.trim().to_owned());
                if secret.as_ref().is_some_and(|text| text.len() < MIN_KEY) {
                    let help = Some("use at least 20 characters that nobody can guess".into());
                    r.error("E011", value, "the client key is too short".into(), help);
                }
            }
            "channels" => channels = Some(channel_list(value, config, r)),
            "models" => models = r.texts(value),
            "limits" | "budget" | "expires" | "hash" => r.inactive(key),
            _ => r.unknown(
                key,
                &[
                    "name", "key", "hash", "channels", "models", "limits", "budget", "expires",
                ],
            ),
        }
    }
    if name.is_none() || secret.is_none() {
        r.error("E005", node, "a client key needs `name` and `key`".into(), None);
    }
    Some(ClientKey {
        name: name?,
        key: Secret::new(secret?),
        channels,
        models,
    })
}
