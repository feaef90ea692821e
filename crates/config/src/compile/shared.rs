//! `shared:` and `REDIS_URL`: the store in which several instances count together.

use std::ops::RangeInclusive;
use std::time::Duration;

use opm_core::Secret;

use super::limit::POLICIES;
use super::secret::secret;
use crate::config::Config;
use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::limit::Shared;
use crate::node::Placed;
use crate::redis_url;
use crate::section::Reading;

const SHARED: &[&str] = &["redis_url", "namespace", "timeout", "instances", "on_failure"];
/// Every request that is limited may wait so long.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(5);
/// Characters of a namespace.
const LONGEST: usize = 64;

/// What the file says; its address may be missing.
pub(super) struct Draft {
    redis_url: Option<String>,
    namespace: String,
    timeout: Duration,
    instances: u64,
}

impl Default for Draft {
    fn default() -> Self {
        Draft {
            redis_url: None,
            namespace: "opm".to_owned(),
            timeout: Duration::from_millis(50),
            instances: 1,
        }
    }
}

pub(super) fn shared(node: &Placed, draft: &mut Draft, config: &mut Config, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "shared") {
        match key.value.as_str() {
            "redis_url" => draft.redis_url = url(value, r),
            "namespace" => {
                if let Some(name) = namespace(value, r) {
                    draft.namespace = name;
                }
            }
            "timeout" => draft.timeout = r.duration_in(value, TIMEOUTS).unwrap_or(draft.timeout),
            "instances" => {
                let number = r.number(value, 1..=1_000);
                draft.instances = number.and_then(|number| u64::try_from(number).ok()).unwrap_or(1);
            }
            "on_failure" => config.on_failure = r.word(value, POLICIES).unwrap_or_default(),
            _ => r.unknown(key, SHARED),
        }
    }
}

fn url(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let text = secret(node, r).filter(|text| !text.is_empty())?;
    if let Err((why, help)) = redis_url::check(&text) {
        r.error(
            "E007",
            node,
            format!("`redis_url` is not usable: {why}"),
            Some(help.into()),
        );
    }
    Some(text)
}

fn namespace(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let name = r.text(node)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=LONGEST).contains(&name.len()) && name.chars().all(fits) {
        return Some(name);
    }
    let help = Some("take 1 to 64 letters, digits, `-`, `_` or `.`".into());
    r.error("E004", node, format!("`{name}` is no namespace"), help);
    None
}

impl Draft {
    /// The shared store, at the address of the environment if the file has none.
    pub(super) fn finish(self, env: &Environment, problems: &mut Vec<Problem>) -> Option<Shared> {
        let of_env = || {
            let text = env.set("REDIS_URL")?;
            if let Err((why, help)) = redis_url::check(text) {
                problems.push(Problem {
                    severity: Severity::Error,
                    code: "E007",
                    message: format!("REDIS_URL is not usable: {why}"),
                    at: None,
                    help: Some(help.into()),
                });
            }
            Some(text.to_owned())
        };
        let url = self.redis_url.or_else(of_env)?;
        Some(Shared {
            redis_url: Secret::new(url),
            namespace: self.namespace,
            timeout: self.timeout,
            instances: self.instances,
        })
    }
}
