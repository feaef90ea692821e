//! The environment: everything the gateway reads of it, named in one table.

use std::collections::BTreeMap;

use crate::diagnostic::{Problem, Severity};
use crate::section::nearest;

/// Variables, as an argument: nothing else in the project reads the process environment.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Variables from pairs.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Environment(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    /// The process's own.
    #[must_use]
    pub fn process() -> Self {
        Environment::new(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// A variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A variable that is set to something.
    pub(crate) fn set(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Unknown variables with our prefix are typing errors.
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        let known: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
        for name in self
            .0
            .keys()
            .filter(|name| name.starts_with("OPM_") && !known.contains(&name.as_str()))
        {
            problems.push(Problem {
                severity: Severity::Error,
                code: "E013",
                message: format!("unknown environment variable `{name}`"),
                at: None,
                help: nearest(name, &known).map(|known| format!("did you mean `{known}`?")),
            });
        }
    }
}

/// What is read, and what it means.
pub const VARIABLES: &[(&str, &str)] = &[
    ("OPENAI_API_KEY", "without a file: a channel for api.openai.com"),
    (
        "ANTHROPIC_API_KEY",
        "without a file: a channel for api.anthropic.com",
    ),
    (
        "GEMINI_API_KEY",
        "without a file: a channel for generativelanguage.googleapis.com",
    ),
    ("GOOGLE_API_KEY", "the same as GEMINI_API_KEY"),
    (
        "OPENAI_DOMAIN",
        "without a file: host of the channel `env-openai`",
    ),
    ("OPENAI_PORT", "port of the channel `env-openai`"),
    ("OPENAI_TLS", "`false`: the channel `env-openai` is plain HTTP"),
    ("PROXY_PORT", "port of the proxy listener; wins over the file"),
    ("METRICS_PORT", "port of the metrics listener; wins over the file"),
    (
        "ENABLE_RATE_LIMITING",
        "`true`: token limit per client key and user; `users.limits` of the file wins",
    ),
    ("RATE_LIMIT_WINDOW_MIN", "its window in minutes, 60"),
    ("MAX_TOKENS", "its tokens per window and user, 1000"),
    ("USER_HEADER", "header that names the user, `user`"),
    ("REDIS_URL", "shared limits; `shared.redis_url` of the file wins"),
    (
        "SSL_CERT_FILE",
        "PEM file of the authorities to trust at providers and Redis, in place of the system's",
    ),
    (
        "OTEL_SDK_DISABLED",
        "true: nothing is sent to a collector, whatever the file says",
    ),
    ("OTEL_TRACES_EXPORTER", "none: no traces are sent"),
    ("OTEL_METRICS_EXPORTER", "none: no metrics are sent"),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OpenTelemetry collector, HTTP; the file wins",
    ),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "headers for it: name=value,name=value",
    ),
    (
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "only HTTP with protobuf is spoken; gRPC is warned about",
    ),
    (
        "OTEL_SERVICE_NAME",
        "name of this service there, `opm`; the file wins",
    ),
    (
        "OTEL_TRACES_SAMPLER",
        "always_on, always_off, traceidratio, or parentbased_ before one of these; parentbased_always_on",
    ),
    (
        "OTEL_TRACES_SAMPLER_ARG",
        "share of traces for traceidratio, 0 to 1",
    ),
    ("RUST_LOG", "log filter"),
    ("OPM_LOG", "form of the log: auto, pretty or json"),
    ("OPM_DEMO_LISTEN", "where `opm demo` listens"),
    ("OPM_ADMIN_TOKEN", "token of the admin API"),
    (
        "OPM_STORAGE_URL",
        "the store: sqlite:./opm.db or postgres://…; `storage.url` of the file wins",
    ),
    ("OPM_KEY_PEPPER", "pepper of stored client keys"),
    ("OPM_MASTER_KEY", "encrypts stored provider keys"),
];
