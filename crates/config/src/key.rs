//! Who may call.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::limit::Limits;

/// A client key. The key itself is not kept: only what proves it.
#[derive(Clone, Debug)]
pub struct ClientKey {
    /// Id in the store; `static:NAME` for a key of the config file.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What a given key is compared with.
    pub proof: Proof,
    /// Channel numbers; `None`: all.
    pub channels: Option<Vec<usize>>,
    /// Model globs; empty: all.
    pub models: Vec<String>,
    /// Networks it may be used from; empty: all.
    pub networks: Vec<IpNet>,
    /// Seconds since 1970 from which on it is refused.
    pub expires: Option<i64>,
    /// Refused while false.
    pub enabled: bool,
    /// What may be used with it.
    pub limits: Limits,
}

/// How a key is recognized without keeping it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// SHA-256 of a static key.
    Digest([u8; 32]),
    /// HMAC-SHA-256 of an issued key under the pepper.
    Mac([u8; 32]),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Proof::Digest(_) => "Digest(…)",
            Proof::Mac(_) => "Mac(…)",
        })
    }
}

/// Why a known key may not be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefused {
    /// Switched off.
    Disabled,
    /// Its time is over.
    Expired,
    /// Not from this address.
    Network,
}

impl ClientKey {
    /// May the key be used now, from there?
    ///
    /// # Errors
    /// See [`KeyRefused`].
    pub fn check(&self, now: i64, from: Option<IpAddr>) -> Result<(), KeyRefused> {
        if !self.enabled {
            return Err(KeyRefused::Disabled);
        }
        if self.expires.is_some_and(|expires| now >= expires) {
            return Err(KeyRefused::Expired);
        }
        let inside = from.is_some_and(|from| self.networks.iter().any(|network| network.contains(&from)));
        if !self.networks.is_empty() && !inside {
            return Err(KeyRefused::Network);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_refused_when_it_is_off_late_or_elsewhere() {
        let key = ClientKey {
            id: "a".into(),
            name: "a".into(),
            proof: Proof::Digest([0; 32]),
            channels: None,
            models: Vec::new(),
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            expires: Some(100),
            enabled: true,
            limits: Limits::default(),
        };
        let inside: IpAddr = "10.1.2.3".parse().unwrap();
        assert_eq!(key.check(99, Some(inside)), Ok(()));
        assert_eq!(key.check(100, Some(inside)), Err(KeyRefused::Expired));
        assert_eq!(key.check(99, "192.0.2.1".parse().ok()), Err(KeyRefused::Network));
        assert_eq!(key.check(99, None), Err(KeyRefused::Network));
        let off = ClientKey {
            enabled: false,
            ..key
        };
        assert_eq!(off.check(99, Some(inside)), Err(KeyRefused::Disabled));
    }
}
