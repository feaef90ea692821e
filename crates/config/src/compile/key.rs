//! `keys:`.

use opm_core::digest;

use super::limit;
use super::route::channel_list;
use super::secret;
use crate::config::Config;
use crate::key::{ClientKey, Proof};
use crate::limit::Limits;
use crate::node::Placed;
use crate::section::Reading;

/// Shorter client keys can be guessed.
const MIN_KEY: usize = 20;
const KEY: &[&str] = &[
    "name", "key", "hash", "channels", "models", "networks", "expires", "enabled", "limits", "budget",
];

pub(super) fn keys(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for element in r.elements(node, "keys") {
        if let Some(found) = client_key(element, config, r) {
            if config.keys.iter().any(|known| known.name == found.name) {
                let text = format!("another client key is named `{}`", found.name);
                r.error("E006", element, text, None);
            }
            if let Some(known) = config.keys.iter().find(|known| known.proof == found.proof) {
                let text = format!(
                    "the client key `{}` is the same secret: a request could be of either",
                    known.name
                );
                r.error("E006", element, text, Some("give each its own".into()));
            }
            config.keys.push(found);
        }
    }
}

fn client_key(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Option<ClientKey> {
    let (mut name, mut proof, mut channels, mut models) = (None, None, None, Vec::new());
    let (mut networks, mut expires, mut enabled) = (Vec::new(), None, true);
    let mut limits = Limits::default();
    for (key, value) in r.members(node, "a key") {
        match key.value.as_str() {
            "name" => name = label(value, r),
            "key" => proof = secret(value, r).or(proof),
            "hash" => proof = hash(value, r).or(proof),
            "channels" => channels = Some(channel_list(value, config, r)),
            "models" => models = r.texts(value),
            "networks" => networks = r.networks(value),
            "expires" => expires = moment(value, r),
            "enabled" => enabled = r.flag(value).unwrap_or(true),
            _ => {
                if !limit::member(key, value, &mut limits, r) {
                    r.unknown(key, KEY);
                }
            }
        }
    }
    if name.is_none() || proof.is_none() {
        r.error(
            "E005",
            node,
            "a client key needs `name`, and `key` or `hash`".into(),
            None,
        );
    }
    let name = name?;
    Some(ClientKey {
        id: format!("static:{name}"),
        name,
        proof: proof?,
        channels,
        models,
        networks,
        expires,
        enabled,
        limits,
    })
}

/// A name: what stands in logs and headers holds no control characters.
fn label(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let text = r.text(node)?;
    if text.chars().any(char::is_control) {
        r.error("E008", node, "a name holds no control characters".into(), None);
    }
    Some(text)
}

fn secret(node: &Placed, r: &mut Reading<'_>) -> Option<Proof> {
    let text = secret::secret(node, r)?;
    if text.len() < MIN_KEY {
        let help = Some("use at least 20 characters that nobody can guess".into());
        r.error("E011", node, "the client key is too short".into(), help);
    }
    Some(Proof::Digest(digest(&text)))
}

/// `sha256:` and 64 hexadecimal digits of the key's SHA-256.
fn hash(node: &Placed, r: &mut Reading<'_>) -> Option<Proof> {
    let text = r.text(node)?;
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64);
    let bytes = digits.and_then(|digits| {
        let pairs = (0..32).map(|at| u8::from_str_radix(digits.get(at * 2..at * 2 + 2)?, 16).ok());
        pairs.collect::<Option<Vec<u8>>>()?.try_into().ok()
    });
    if bytes.is_none() {
        let help = Some("write sha256: and 64 hexadecimal digits; `opm keys hash` prints them".into());
        r.error("E008", node, "the hash is not readable".into(), help);
    }
    bytes.map(Proof::Digest)
}

/// A date (the first moment of it, UTC) or an RFC 3339 time, as seconds since 1970.
fn moment(node: &Placed, r: &mut Reading<'_>) -> Option<i64> {
    let text = r.text(node)?;
    let found = crate::units::moment(&text);
    if found.is_none() {
        let help = Some("write 2027-06-30 or 2027-06-30T12:00:00Z".into());
        r.error("E008", node, format!("`{text}` is not a date"), help);
    }
    found
}
