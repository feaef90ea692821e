//! What a newcomer sees when the gateway starts.

use std::fmt::Write as _;

use opm_config::{Config, Models, Origin};
use opm_core::hint;

/// The start-up text.
pub(crate) fn welcome(config: &Config) -> String {
    let mut out = String::new();
    let source = match &config.origin {
        Origin::File(path) => path.display().to_string(),
        Origin::Environment(keys) => format!(
            "no config file: using {keys} key{} from the environment",
            if *keys == 1 { "" } else { "s" }
        ),
        Origin::Transparent => {
            "no config file, no keys: each caller's own key goes to its provider".to_owned()
        }
    };
    let _ = writeln!(out, "opm {}  {source}", env!("CARGO_PKG_VERSION"));
    for channel in &config.channels {
        let models = match &channel.models {
            Models::Globs(globs) => globs.join(", "),
            Models::Map(map) => map
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        };
        let key = channel
            .keys
            .first()
            .map_or_else(|| "caller's own".to_owned(), |key| hint(key.expose()));
        let url = channel.base_url.display();
        let _ = writeln!(
            out,
            "  channel {:<12} {url:<44} models {models:<28} key {key}",
            channel.name
        );
    }
    if config.channels.len() > 1 {
        let strategy = config.strategy.as_str();
        let _ = writeln!(
            out,
            "  order   {strategy} among channels of equal priority, the caller's own format first"
        );
    }
    if config.loopback_only {
        let _ = writeln!(
            out,
            "  ! no client keys configured: only loopback clients are served (add some under `keys:`)"
        );
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let shown = |address: std::net::SocketAddr| {
        if address.ip().is_unspecified() {
            format!("127.0.0.1:{}", address.port())
        } else {
            address.to_string()
        }
    };
    let (proxy, metrics) = (shown(config.listen), shown(config.metrics_listen));
    let _ = writeln!(
        out,
        "  proxy   {scheme}://{proxy}   POST /v1/chat/completions  /v1/responses  /v1/messages  /v1beta/models/…:generateContent"
    );
    let _ = writeln!(out, "  metrics http://{metrics}/metrics");
    out
}

/// A request to try, for a model that is served.
pub(crate) fn example(config: &Config, model: &str) -> String {
    format!(
        "  try     curl http://{}/v1/messages -d '{{\"model\":\"{model}\",\"max_tokens\":64,\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}'\n",
        config.listen
    )
}
