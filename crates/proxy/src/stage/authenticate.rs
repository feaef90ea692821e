//! Who calls: the client key among the given credentials, and the credential that may be passed through.

use std::collections::HashMap;
use std::net::IpAddr;

use ai_api_converter::{Failure, FailureClass};
use opm_config::{ClientKey, Config, KeyRefused, Proof};
use opm_core::client_key;

use super::credential::Credential;

/// Finds client keys without keeping them: by SHA-256 for those of the file, by HMAC under the pepper for those of the store.
#[derive(Debug, Default)]
pub struct Keyring {
    digests: HashMap<[u8; 32], usize>,
    macs: HashMap<[u8; 32], usize>,
    pepper: Option<[u8; 32]>,
}

impl Keyring {
    /// A keyring for the keys of a configuration.
    #[must_use]
    pub fn new(config: &Config, pepper: Option<[u8; 32]>) -> Self {
        let mut ring = Keyring {
            pepper,
            ..Keyring::default()
        };
        for (number, key) in config.keys.iter().enumerate() {
            match key.proof {
                Proof::Digest(digest) => ring.digests.insert(digest, number),
                Proof::Mac(mac) => ring.macs.insert(mac, number),
            };
        }
        ring
    }

    /// The number of the key that this text is. A mistyped issued key is refused by its checksum, without any look-up.
    fn find(&self, text: &str) -> Option<usize> {
        let issued = text.starts_with(client_key::PREFIX);
        if issued && client_key::parse(text).is_none() {
            return None;
        }
        let look = |map: &HashMap<[u8; 32], usize>, proof: [u8; 32]| {
            let (known, number) = map.get_key_value(&proof)?;
            client_key::same(known, &proof).then_some(*number)
        };
        let mac = self
            .pepper
            .as_ref()
            .filter(|_| issued)
            .map(|pepper| client_key::mac(pepper, text));
        mac.and_then(|mac| look(&self.macs, mac))
            .or_else(|| look(&self.digests, opm_core::digest(text)))
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caller<'c> {
    /// The client key, where keys are needed.
    pub(crate) key: Option<&'c ClientKey>,
    /// The caller's own credential, for channels without keys.
    pub(crate) credential: Option<&'c Credential>,
}

/// Authenticates the caller. `now` in seconds since 1970.
pub(crate) fn authenticate<'c>(
    config: &'c Config,
    ring: &Keyring,
    given: &'c [Credential],
    now: i64,
    from: Option<IpAddr>,
) -> Result<Caller<'c>, Failure> {
    if !config.keys_required {
        return Ok(Caller {
            key: None,
            credential: given.first(),
        });
    }
    for credential in given {
        let found = ring
            .find(&credential.value)
            .and_then(|number| config.keys.get(number));
        if let Some(key) = found {
            key.check(now, from).map_err(refused)?;
            return Ok(Caller {
                key: Some(key),
                credential: given.iter().find(|other| other.value != credential.value),
            });
        }
    }
    Err(Failure::new(
        FailureClass::Auth,
        if given.is_empty() {
            "No API key was given. Send one in Authorization, x-api-key, api-key or x-goog-api-key."
        } else {
            "The API key is not known here."
        },
    ))
}

fn refused(why: KeyRefused) -> Failure {
    match why {
        KeyRefused::Disabled => Failure::new(FailureClass::Auth, "The API key is disabled."),
        KeyRefused::Expired => Failure::new(FailureClass::Auth, "The API key has expired."),
        KeyRefused::Network => Failure::new(
            FailureClass::Permission,
            "The API key may not be used from this address.",
        ),
    }
}
