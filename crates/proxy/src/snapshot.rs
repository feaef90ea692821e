//! What a request sees of the configuration: one immutable value, swapped as a whole.

use std::collections::HashSet;

use opm_config::{Channel, Config, Models};

use crate::net::peer::{Address, EndpointPeer, HttpVersion};

/// A configuration with everything that is made of it once.
pub struct Snapshot {
    /// The configuration.
    pub config: Config,
    peers: Vec<EndpointPeer>,
    /// Model names that may be metric labels.
    names: HashSet<String>,
}

impl Snapshot {
    /// Prepares a configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let peers = config.channels.iter().map(peer).collect();
        let mut names: HashSet<String> = config.aliases.iter().map(|(alias, _)| alias.clone()).collect();
        for channel in &config.channels {
            match &channel.models {
                Models::Globs(globs) => {
                    names.extend(globs.iter().filter(|name| !name.contains('*')).cloned())
                }
                Models::Map(map) => names.extend(
                    map.iter()
                        .map(|(name, _)| name)
                        .filter(|name| !name.contains('*'))
                        .cloned(),
                ),
            }
        }
        Snapshot { config, peers, names }
    }

    /// A channel and where it is.
    #[must_use]
    pub fn channel(&self, number: usize) -> Option<(&Channel, &EndpointPeer)> {
        Some((self.config.channels.get(number)?, self.peers.get(number)?))
    }

    /// The metric label of a model: its name if it is configured, `other` otherwise.
    #[must_use]
    pub fn model_label<'m>(&self, model: &'m str) -> &'m str {
        if self.names.contains(model) {
            model
        } else {
            "other"
        }
    }
}

/// TLS handshakes get this long on top of the TCP connection (promise P7).
const TLS: std::time::Duration = std::time::Duration::from_secs(5);

fn peer(channel: &Channel) -> EndpointPeer {
    let url = &channel.base_url;
    let version = if channel.http1 {
        HttpVersion::Http1
    } else {
        HttpVersion::Auto
    };
    let address = Address {
        host: url.host.clone(),
        port: url.port,
        tls: url.tls,
        version,
    };
    EndpointPeer::new(&address, channel.timeouts.connect, TLS)
}
