//! What a request sees of the configuration: one immutable value, swapped as a whole.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use http::HeaderName;
use opm_config::{Channel, Config, Models, Strategy};
use opm_routing::{ChannelLive, Live};
use opm_telemetry::{ChannelMetrics, Metrics};

use crate::metering::RuleBook;
use crate::net::peer::{Address, EndpointPeer, HttpVersion};
use crate::stage::authenticate::Keyring;

/// A configuration with everything that is made of it once.
pub struct Snapshot {
    /// The configuration.
    pub config: Config,
    /// The live sides of its channels, in its order.
    pub live: Vec<Arc<ChannelLive>>,
    /// Its client keys.
    pub keyring: Keyring,
    /// Its limits and prices.
    pub rules: RuleBook,
    /// The header in which clients name the user behind a key.
    pub user_header: Option<HeaderName>,
    /// Some route chooses by the number of requests under way.
    pub counts_requests: bool,
    peers: Vec<EndpointPeer>,
    /// Looked up at the first use of a channel.
    meters: Vec<OnceLock<ChannelMetrics>>,
    /// Model names that may be metric labels.
    names: HashSet<String>,
}

impl Snapshot {
    /// Prepares a configuration. Channels that keep their name keep their live state; `pepper` recognizes issued client keys.
    #[must_use]
    pub fn new(config: Config, live: &Live, pepper: Option<[u8; 32]>) -> Self {
        let live = live.adopt(&config);
        let keyring = Keyring::new(&config, pepper);
        let strategies = config.rules.iter().filter_map(|rule| rule.strategy);
        let counts_requests = strategies
            .chain([config.strategy])
            .any(|strategy| strategy == Strategy::LeastConnections);
        let peers = config.channels.iter().map(peer).collect();
        let meters = config.channels.iter().map(|_| OnceLock::new()).collect();
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
        let rules = RuleBook::new(&config);
        Snapshot {
            user_header: HeaderName::try_from(&config.user_header).ok(),
            config,
            rules,
            live,
            keyring,
            counts_requests,
            peers,
            meters,
            names,
        }
    }

    /// A channel and where it is.
    #[must_use]
    pub fn channel(&self, number: usize) -> Option<(&Channel, &EndpointPeer)> {
        Some((self.config.channels.get(number)?, self.peers.get(number)?))
    }

    /// The metrics of a channel.
    #[must_use]
    pub fn meters(&self, number: usize, metrics: &Metrics) -> Option<&ChannelMetrics> {
        let live = self.live.get(number)?;
        let meters = self.meters.get(number)?;
        Some(meters.get_or_init(|| metrics.channel(&live.name)))
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
    EndpointPeer::new(&address, channel.timeouts.connect, channel.timeouts.tls)
}
