//! Raw to compiled: a file or the environment becomes a [`Config`].

mod channel;
mod key;
mod limit;
mod listeners;
mod observability;
mod price;
mod resilience;
mod route;
mod scope;
mod secret;
mod server;
mod shared;
mod storage;
mod stored;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use opm_core::Secret;

use crate::Loaded;
use crate::base_url::BaseUrl;
use crate::config::{Admin, Config, Ledger, Models, Origin, Retention, Strategy, Timeouts, Vendor};
use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::limit::OnFailure;
use crate::node::{Node, Placed};
use crate::observability::Otlp;
use crate::resilience::{Breaker, Retry};
use crate::section::Reading;

pub use stored::{Named, add_stored, stored_limits};

const DEFAULT_MAX_BODY: usize = 32 << 20;
const DEFAULT_DRAIN: Duration = Duration::from_secs(300);

/// What `defaults:` gives to every channel.
#[derive(Clone, Copy, Default)]
pub(super) struct Defaults {
    timeouts: Timeouts,
    breaker: Breaker,
}

/// What else has to be known of a file before the environment is asked.
#[derive(Default)]
struct Given {
    /// It has `server.listen`.
    listen: bool,
    /// It has `users.limits`.
    user_limits: bool,
    /// Its `shared`.
    shared: shared::Draft,
}

fn blank(origin: Origin) -> Config {
    let any = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    Config {
        origin,
        listen: any(8080),
        loopback_only: false,
        tls: None,
        metrics_listen: any(9090),
        admin: Admin {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081),
            given: false,
            token: None,
        },
        storage: None,
        watch: true,
        trusted_proxies: Vec::new(),
        max_body: DEFAULT_MAX_BODY,
        user_header: "user".into(),
        drain: DEFAULT_DRAIN,
        channels: Vec::new(),
        strategy: Strategy::default(),
        aliases: Vec::new(),
        rules: Vec::new(),
        retry: Retry::default(),
        keys: Vec::new(),
        revoked_keys: Vec::new(),
        keys_required: false,
        limits: Vec::new(),
        shared: None,
        on_failure: OnFailure::default(),
        prices: None,
        ledger: Ledger::default(),
        retention: Retention::default(),
        otlp: Otlp::default(),
    }
}

/// Compiles a file's text.
#[must_use]
pub fn compile_file(path: &Path, source: &str, env: &Environment) -> Loaded {
    let mut config = blank(Origin::File(path.to_owned()));
    let root: Placed = match serde_saphyr::from_str(source) {
        Ok(root) => root,
        Err(error) => {
            return Loaded {
                config: None,
                problems: vec![not_yaml(&error)],
            };
        }
    };
    let mut reading = Reading::new(env, source);
    let mut given = Given::default();
    let of_env = storage::from_env(&mut config, env);
    file(&root, &mut config, &mut given, &mut reading);
    let mut problems = reading.problems;
    problems.sort_by_key(|problem| problem.at);
    problems.extend(of_env);
    env.check(&mut problems);
    let listen_given = given.listen;
    from_env(&mut config, given, env, &mut problems);
    if config.channels.is_empty()
        && config.storage.is_none()
        && !problems.iter().any(|problem| problem.severity == Severity::Error)
    {
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

/// What the YAML reader says, in our words.
fn not_yaml(error: &serde_saphyr::Error) -> Problem {
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
        .unwrap_or(message);
    Problem {
        severity: Severity::Error,
        code: "E001",
        message: message.to_owned(),
        at,
        help: None,
    }
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
    let tls = match env.set("OPENAI_TLS").map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(_) => {
            let text = "OPENAI_TLS is neither true nor false";
            problems.push(whole(Severity::Error, "E004", text, "write true or false"));
            true
        }
    };
    let mut channels = Vec::new();
    let mut add = |name: &str, vendor, url: &str, key: Option<&str>, models: &[&str]| {
        let globs = Models::Globs(models.iter().map(|glob| (*glob).to_owned()).collect());
        match BaseUrl::parse(url) {
            Ok(base_url) => {
                let keys = key.map(|key| Secret::new(key.to_owned())).into_iter().collect();
                channels.push(channel::new(name.into(), vendor, base_url, keys, globs));
            }
            Err(why) => problems.push(whole(
                Severity::Error,
                "E007",
                &format!("OPENAI_DOMAIN and OPENAI_PORT give no address: {why}"),
                "set OPENAI_DOMAIN to a host name and OPENAI_PORT to a number",
            )),
        }
    };
    let google = env.set("GEMINI_API_KEY").or(env.set("GOOGLE_API_KEY"));
    let (openai, anthropic) = (env.set("OPENAI_API_KEY"), env.set("ANTHROPIC_API_KEY"));
    let own = env.set("OPENAI_DOMAIN").map(|domain| {
        let scheme = if tls { "https" } else { "http" };
        let port = env
            .set("OPENAI_PORT")
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        format!("{scheme}://{domain}{port}")
    });
    if let Some(url) = &own {
        add(
            "env-openai",
            Vendor::OpenAi,
            url,
            openai,
            if anthropic.is_some() || google.is_some() {
                channel::OPENAI_MODELS
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
            channel::OPENAI_MODELS,
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
    problems.extend(storage::from_env(&mut config, env));
    from_env(&mut config, Given::default(), env, &mut problems);
    guard_listener(&mut config, false, &mut problems);
    Loaded::new(config, problems)
}

/// Variables that count beside a file too.
fn from_env(config: &mut Config, given: Given, env: &Environment, problems: &mut Vec<Problem>) {
    let mut port = |name: &str| {
        let text = env.set(name)?;
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
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
    if config.admin.token.is_none() {
        config.admin.token = env
            .set("OPM_ADMIN_TOKEN")
            .map(|token| Secret::new(token.to_owned()));
    }
    listeners::check(config, problems);
    if let Some(header) = env.set("USER_HEADER") {
        match server::user_header(header) {
            Ok(name) => config.user_header = name,
            Err(why) => problems.push(whole(
                Severity::Error,
                "E015",
                &format!("USER_HEADER {why}"),
                server::USER_HEADER_HELP,
            )),
        }
    }
    observability::from_env(&mut config.otlp, env, problems);
    config.shared = given.shared.finish(env, problems);
    scope::users_of_env(config, given.user_limits, env, problems);
}

/// Provider keys that anybody on the network could use are kept to this machine (architecture.md section 5). Where client keys
/// may stand in a store, the gateway itself decides, once it has looked.
fn guard_listener(config: &mut Config, given: bool, problems: &mut Vec<Problem>) {
    config.keys_required = !config.keys.is_empty();
    if config.storage.is_none() && config.keep_to_loopback() && given {
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
    "limits",
    "prices",
    "convert",
    "cache",
    "observability",
];

fn file(root: &Placed, config: &mut Config, given: &mut Given, r: &mut Reading<'_>) {
    let mut defaults = Defaults::default();
    let members = r.members(root, "the file");
    // What others fall back to comes first.
    for (key, value) in members {
        match key.value.as_str() {
            "defaults" => resilience::defaults(value, &mut defaults, config, r),
            "shared" => shared::shared(value, &mut given.shared, config, r),
            _ => {}
        }
    }
    r.on_failure = config.on_failure;
    for (key, value) in members {
        match key.value.as_str() {
            "version" => version(value, r),
            "server" => server::server(value, config, &mut given.listen, r),
            "metrics" => server::metrics(value, config, r),
            "admin" => server::admin(value, config, r),
            "storage" => storage::storage(value, config, r),
            "channels" => channel::channels(value, defaults, config, r),
            "prices" => price::prices(value, config, r),
            "users" => given.user_limits = scope::users(value, config, r),
            "defaults" | "shared" | "routes" | "keys" | "limits" => {}
            "observability" => observability::observability(value, config, r),
            "convert" | "cache" => r.inactive(key),
            _ => r.unknown(key, TOP),
        }
    }
    // These name channels, and limits name client keys, so they come last.
    for (key, value) in members {
        match key.value.as_str() {
            "routes" => route::routes(value, config, r),
            "keys" => key::keys(value, config, r),
            _ => {}
        }
    }
    for (_, value) in members.iter().filter(|(key, _)| key.value == "limits") {
        scope::list(value, config, r);
    }
}

fn version(node: &Placed, r: &mut Reading<'_>) {
    if !matches!(node.value, Node::Int(1)) {
        let help = Some("write `version: 1`".into());
        r.error("E004", node, "the version of this format is 1".into(), help);
    }
}
