//! The listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use opm_core::Secret;

use super::secret::secret;
use crate::config::{Config, Tls};
use crate::node::Placed;
use crate::section::Reading;

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

pub(super) fn metrics(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "metrics") {
        match key.value.as_str() {
            "listen" => config.metrics_listen = address(value, r).unwrap_or(config.metrics_listen),
            "per_key" | "per_user" => r.inactive(key),
            _ => r.unknown(key, &["listen", "per_key", "per_user"]),
        }
    }
}

/// What to do about a header that cannot name users.
pub(super) const USER_HEADER_HELP: &str = "name a header that says who asks, for example x-user-id";

/// The header that names users, or why it cannot be: what it holds stands in the ledger, the store and the log.
pub(super) fn user_header(name: &str) -> Result<String, &'static str> {
    const SECRET: [&str; 7] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-amz-security-token",
    ];
    let name = name.to_ascii_lowercase();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_letter) {
        return Err("is not the name of a header");
    }
    if SECRET.contains(&name.as_str()) {
        return Err("holds a secret, which would be recorded as the user's name");
    }
    Ok(name)
}

/// Shorter admin tokens can be guessed.
const MIN_TOKEN: usize = 16;

pub(super) fn admin(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "admin") {
        match key.value.as_str() {
            "listen" => {
                if let Some(found) = address(value, r) {
                    config.admin.listen = found;
                    config.admin.given = true;
                }
            }
            "token" => {
                let text = secret(value, r).filter(|text| !text.is_empty());
                if text.as_ref().is_some_and(|text| text.len() < MIN_TOKEN) {
                    let help = Some("use at least 16 characters that nobody can guess".into());
                    r.error("E011", value, "the admin token is too short".into(), help);
                }
                config.admin.token = text.map(Secret::new);
            }
            "dashboard" => r.inactive(key),
            _ => r.unknown(key, &["listen", "token", "dashboard"]),
        }
    }
}

pub(super) fn server(node: &Placed, config: &mut Config, listen_given: &mut bool, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "server") {
        match key.value.as_str() {
            "listen" => {
                if let Some(found) = address(value, r) {
                    config.listen = found;
                    *listen_given = true;
                }
            }
            "max_body" => {
                if let Some(bytes) = r.bytes(value) {
                    config.max_body = bytes;
                }
            }
            "client_header" | "user_header" => {
                if let Some(name) = r.text(value) {
                    match user_header(&name) {
                        Ok(name) => config.user_header = name,
                        Err(why) => r.error(
                            "E015",
                            value,
                            format!("`{name}` {why}"),
                            Some(USER_HEADER_HELP.into()),
                        ),
                    }
                }
            }
            "drain" => {
                if let Some(duration) = r.duration(value) {
                    config.drain = duration;
                }
            }
            "tls" => config.tls = tls(value, r),
            "trusted_proxies" => config.trusted_proxies = r.networks(value),
            "watch" => config.watch = r.flag(value).unwrap_or(true),
            _ => r.unknown(
                key,
                &[
                    "listen",
                    "max_body",
                    "client_header",
                    "drain",
                    "tls",
                    "trusted_proxies",
                    "watch",
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
