//! Two listeners on one address share it without a word, and each gets some of the other's requests.

use std::net::SocketAddr;

use super::whole;
use crate::config::Config;
use crate::diagnostic::{Problem, Severity};

const SHARED: &str = "E007";
const UNSERVED: &str = "W007";

/// Says which listeners would share an address. An admin API that nobody gave an address is not served then.
pub(super) fn check(config: &Config, problems: &mut Vec<Problem>) {
    let mut say = |code, one: &str, other: &str, help: &str| {
        let severity = if code == SHARED {
            Severity::Error
        } else {
            Severity::Warning
        };
        let text = format!("{one} and {other} would listen on the same address");
        problems.push(whole(severity, code, &text, help));
    };
    let (proxy, metrics, admin) = (config.listen, config.metrics_listen, config.admin.listen);
    if overlap(proxy, metrics) {
        say(SHARED, "the proxy", "the metrics", "give them different ports");
    }
    for (name, address) in [("the proxy", proxy), ("the metrics", metrics)] {
        if !overlap(address, admin) || !has_admin(config) {
            continue;
        }
        if config.admin.given {
            say(SHARED, name, "the admin API", "give them different ports");
        } else {
            let help = "the admin API is not served: give it another port with `admin.listen`";
            say(UNSERVED, name, "the admin API", help);
        }
    }
}

/// The admin API may be served: somebody has given it an address, or there is a token for it.
fn has_admin(config: &Config) -> bool {
    config.admin.given || config.admin.token.is_some() || config.storage.is_some()
}

/// The same port, and one address is the other's or stands for all.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    // 0 is any free port.
    one.port() == other.port() && one.port() != 0 && (all || one.ip() == other.ip())
}

impl Config {
    /// The address of the admin API is the proxy's or the metrics' too.
    #[must_use]
    pub fn admin_is_taken(&self) -> bool {
        [self.listen, self.metrics_listen]
            .into_iter()
            .any(|address| overlap(address, self.admin.listen))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_address_for_all_overlaps_with_each_of_its_port() {
        let overlap = |one: &str, other: &str| super::overlap(one.parse().unwrap(), other.parse().unwrap());
        for (one, other) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("10.0.0.1:80", "[::]:80"),
        ] {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        assert!(!overlap("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
    }
}
