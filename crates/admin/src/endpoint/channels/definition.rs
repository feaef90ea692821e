//! A channel's definition as it was sent: what is kept, and what must not be in it.

use opm_core::Secret;
use opm_store::{SealedSecret, StoredChannel, Vault, VaultError};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::object::{Object, read_member};
use crate::refusal::Refusal;

/// Bytes of a definition.
const LARGEST: usize = 64 * 1024;
/// Provider keys of one channel.
const MOST_KEYS: usize = 1_000;
/// Words in the names of headers that carry credentials: those belong into `keys`, where they are sealed, or into the config file.
const CREDENTIALS: [&str; 8] = [
    "auth",
    "key",
    "token",
    "secret",
    "password",
    "cookie",
    "credential",
    "session",
];

/// A channel that is to be stored.
#[derive(Debug)]
pub(super) struct Draft {
    /// JSON text without name and keys.
    pub(super) definition: String,
    given: Option<Vec<Secret>>,
    kept: Vec<SealedSecret>,
}

impl Draft {
    /// Reads a body from which the name was taken out already.
    pub(super) fn read(
        name: &str,
        mut body: Object,
        former: Option<&StoredChannel>,
    ) -> Result<Self, Refusal> {
        check_name(name)?;
        let given = body.remove("keys").map(|keys| provider_keys(&keys)).transpose()?;
        check_headers(&body)?;
        let definition = body.text();
        if definition.len() > LARGEST {
            return Err(Refusal::invalid("the definition is larger than 64 KiB"));
        }
        let kept = match former {
            Some(former) if given.is_none() => kept(&body, former)?,
            _ => Vec::new(),
        };
        Ok(Draft {
            definition,
            given,
            kept,
        })
    }

    /// How many provider keys it will have.
    pub(super) fn keys(&self) -> usize {
        self.given.as_ref().map_or(self.kept.len(), Vec::len)
    }

    /// Seals its provider keys.
    pub(super) fn seal(self, name: &str, vault: &Vault, now: i64) -> Result<StoredChannel, VaultError> {
        let provider_keys = match self.given {
            Some(given) => {
                let sealed = given.iter().map(|key| vault.seal(name, key));
                sealed.collect::<Result<Vec<_>, _>>()?
            }
            None => self.kept,
        };
        Ok(StoredChannel {
            name: name.to_owned(),
            definition: self.definition,
            provider_keys,
            updated_at: now,
        })
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&name.len()) && name.chars().all(fits) && name != "." && name != ".." {
        return Ok(());
    }
    Err(
        Refusal::invalid("the name of a channel has 1 to 64 letters, digits, `.`, `_` or `-`")
            .help("take another name, for example openai-eu"),
    )
}

fn provider_keys(value: &RawValue) -> Result<Vec<Secret>, Refusal> {
    let texts: Vec<String> = read_member("keys", value)?;
    if texts.len() > MOST_KEYS {
        return Err(Refusal::invalid("`keys`: at most 1000 provider keys"));
    }
    let mut keys: Vec<Secret> = Vec::with_capacity(texts.len());
    for (at, text) in texts.into_iter().enumerate() {
        let text = text.trim();
        if text.starts_with("${") {
            return Err(
                Refusal::invalid(format!("`keys.[{at}]`: variables are not resolved here"))
                    .help("send the provider key itself; it is sealed before it is stored"),
            );
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::invalid(format!("`keys.[{at}]`: not a provider key"))
                .help("a provider key has visible ASCII characters only"));
        }
        if !keys.iter().any(|known| known.expose() == text) {
            keys.push(Secret::new(text.to_owned()));
        }
    }
    Ok(keys)
}

fn check_headers(body: &Object) -> Result<(), Refusal> {
    // What is no object of texts is refused by the check of the whole.
    let Ok(Some(headers)) = body.member::<Object>("headers") else {
        return Ok(());
    };
    let carries = |name: &&str| {
        let name = name.to_ascii_lowercase();
        CREDENTIALS.iter().any(|word| name.contains(word))
    };
    match headers.names().find(carries) {
        Some(name) => Err(
            Refusal::invalid(format!("`headers`: `{name}` carries a credential"))
                .help("put the provider's key under `keys`: there it is sealed and never shown; other secrets of a channel belong into the config file"),
        ),
        None => Ok(()),
    }
}

/// The stored provider keys, if the channel stays where it is: otherwise a new address could be sent keys that nobody can read here.
fn kept(body: &Object, former: &StoredChannel) -> Result<Vec<SealedSecret>, Refusal> {
    if former.provider_keys.is_empty() {
        return Ok(Vec::new());
    }
    let before = Object::read(former.definition.as_bytes()).unwrap_or_default();
    let place = |object: &Object| -> Result<(Option<String>, Option<String>), Refusal> {
        Ok((object.member("format")?, object.member("base_url")?))
    };
    if place(body)? == place(&before)? {
        return Ok(former.provider_keys.clone());
    }
    Err(Refusal::invalid("`keys` is missing: `format` or `base_url` changed, and stored provider keys do not move to another address")
        .help("send `keys` again, or `\"keys\": []` for none"))
}

/// Do these routes name the channel?
pub(super) fn names_channel(routes: &str, name: &str) -> bool {
    #[derive(Deserialize)]
    struct Routes {
        #[serde(default)]
        rules: Vec<Rule>,
    }
    #[derive(Deserialize)]
    struct Rule {
        #[serde(default)]
        channels: Vec<String>,
        #[serde(default)]
        models: Object,
    }
    let Ok(routes) = serde_json::from_str::<Routes>(routes) else {
        return false;
    };
    let names = |rule: &Rule| {
        rule.channels.iter().any(|channel| channel == name) || rule.models.names().any(|known| known == name)
    };
    routes.rules.iter().any(names)
}
