//! Is what somebody wants of a client key possible?

use ipnet::IpNet;
use opm_config::{moment, nearest};

use super::KeyError;

/// Characters of a name.
const LONGEST: usize = 100;

fn refuse<T>(member: &'static str, why: impl Into<String>, help: impl Into<String>) -> Result<T, KeyError> {
    Err(KeyError::Member {
        member,
        why: why.into(),
        help: help.into(),
    })
}

/// The trimmed name.
pub(super) fn name(text: &str) -> Result<String, KeyError> {
    let text = text.trim();
    let odd = text.chars().any(char::is_control);
    if text.is_empty() || text.chars().count() > LONGEST || odd {
        return refuse(
            "name",
            "it must have 1 to 100 characters, no control characters",
            "take a name that says who uses the key",
        );
    }
    if opm_core::client_key::parse(text).is_some() {
        return refuse("name", "it is a client key", "take a name that is no secret");
    }
    Ok(text.to_owned())
}

pub(super) fn channels(bound: &[String], known: &[String]) -> Result<(), KeyError> {
    if bound.is_empty() {
        return refuse(
            "channels",
            "the key could use no channel at all",
            "leave `channels` out for all channels",
        );
    }
    let Some(name) = bound.iter().find(|name| !known.contains(name)) else {
        return Ok(());
    };
    let words: Vec<&str> = known.iter().map(String::as_str).collect();
    let help = match nearest(name, &words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("the channels are {}", words.join(", ")),
    };
    refuse("channels", format!("no channel is named `{name}`"), help)
}

pub(super) fn models(globs: &[String]) -> Result<(), KeyError> {
    if globs
        .iter()
        .any(|glob| glob.trim().is_empty() || glob.len() > 256)
    {
        return refuse(
            "models",
            "a name must have 1 to 256 characters",
            "write names or globs: \"gpt-*\"",
        );
    }
    Ok(())
}

/// In the form in which they are kept: `10.0.0.0/8`.
pub(super) fn networks(texts: &[String]) -> Result<Vec<String>, KeyError> {
    let read = |text: &String| {
        let text = text.trim();
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()));
        match network {
            Some(network) => Ok(network.to_string()),
            None => refuse(
                "networks",
                format!("`{text}` is not a network"),
                "write 10.0.0.0/8, 2001:db8::/32 or one address",
            ),
        }
    };
    texts.iter().map(read).collect()
}

/// Unix seconds of a date or time that is still to come.
pub(super) fn expires(text: Option<&str>, now: i64) -> Result<Option<i64>, KeyError> {
    let Some(text) = text else { return Ok(None) };
    match moment(text) {
        Some(at) if at > now => Ok(Some(at)),
        Some(_) => refuse("expires", format!("`{text}` has passed"), "take a later time"),
        None => refuse(
            "expires",
            format!("`{text}` is not a date"),
            "write 2027-06-30 or 2027-06-30T12:00:00Z",
        ),
    }
}
