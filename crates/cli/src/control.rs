//! The running gateway as the admin API sees it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ai_api_converter::Format;
use async_trait::async_trait;
use opm_admin::control::{
    Ask, AttemptView, BreakerState, CandidateView, ChannelOrigin, ChannelView, Control, Explanation, KeyView,
    Problem, Reloaded, SkippedView, State, Status, TestReport,
};
use opm_config::{Channel, ChannelState, Models, Origin, Strategy};
use opm_core::hint;
use opm_proxy::history::Trail;
use opm_proxy::net::upstream::Upstreams;
use opm_proxy::probe::{Probe, model_to_try};
use opm_proxy::{Parts, Snapshot};
use opm_routing::{ChannelLive, Millis, Parked, Skip, Standing, Wanted, World, plan};

use crate::live::LiveConfig;

/// The gateway, for the admin API.
pub(crate) struct Controls {
    pub(crate) configured: Arc<LiveConfig>,
    pub(crate) parts: Parts,
    /// Connections of channel tests; not those of the traffic.
    pub(crate) upstreams: Upstreams,
    /// Kind of store.
    pub(crate) storage: &'static str,
    pub(crate) started_at: i64,
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[async_trait]
impl Control for Controls {
    fn status(&self) -> Status {
        let snapshot = self.parts.snapshot.load();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            config: match &snapshot.config.origin {
                Origin::File(path) => path.display().to_string(),
                Origin::Environment(_) | Origin::Transparent => "the environment".to_owned(),
            },
            draining: self.parts.drain.is_draining(),
            in_flight: self.parts.drain.in_flight() as u64,
            revision: self.configured.revision(),
            storage: self.storage.to_owned(),
            channels: snapshot.config.channels.len(),
            keys_required: snapshot.config.keys_required,
        }
    }

    fn channels(&self) -> Vec<ChannelView> {
        let snapshot = self.parts.snapshot.load();
        let now = self.parts.now();
        let both = snapshot.config.channels.iter().zip(&snapshot.live);
        both.map(|(channel, live)| self.view(channel, live, now))
            .collect()
    }

    fn explain(&self, ask: &Ask) -> Explanation {
        let snapshot = self.parts.snapshot.load();
        let header = |name: &str| {
            let found = ask.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let key = ask.key.as_ref();
        let keys = &snapshot.config.keys;
        let found = key.and_then(|key| keys.iter().find(|known| known.id == *key || known.name == *key));
        let wanted = Wanted {
            model: &ask.model,
            format: ask
                .format
                .as_deref()
                .and_then(|format| format.parse().ok())
                .unwrap_or(Format::Chat),
            key: found,
            offer: opm_routing::Offer::Generation,
            header: &header,
            sticky: None,
            domain: None,
        };
        let now = self.parts.now();
        let world = World {
            channels: &snapshot.live,
            live: &self.parts.live,
            now,
        };
        if let (Some(key), None) = (key, found) {
            return Explanation {
                model: ask.model.clone(),
                refusal: Some(format!("there is no usable client key `{key}`")),
                ..Explanation::default()
            };
        }
        let planned = plan(&snapshot.config, &wanted, world, &mut rand::random::<f64>);
        let trail = Trail::of(
            &snapshot,
            &wanted,
            planned.as_ref().map_err(|(_, skipped)| skipped),
            now,
            0,
        );
        Explanation {
            refusal: planned.err().map(|(why, _)| why.to_string()),
            status: None,
            at: None,
            ..explanation(&trail, &snapshot)
        }
    }

    fn past(&self, request_id: &str) -> Option<Explanation> {
        let trail = self.parts.history.get(request_id)?;
        Some(explanation(&trail, &self.parts.snapshot.load()))
    }

    async fn reload(&self) -> Result<Reloaded, Vec<Problem>> {
        let done = self.configured.reload().map_err(|problems| views(&problems))?;
        self.refresh().await.map_err(|why| {
            vec![Problem {
                severity: opm_admin::control::Severity::Error,
                code: "store".to_owned(),
                message: why,
                line: None,
                column: None,
                help: None,
            }]
        })?;
        Ok(Reloaded {
            changed: done.changed,
            warnings: views(&done.warnings),
            needs_restart: done.needs_restart,
        })
    }

    async fn refresh(&self) -> Result<(), String> {
        let taken = self.configured.refresh().await;
        taken
            .map(|_| ())
            .map_err(|error| format!("the store cannot be read: {error}"))
    }

    async fn test(&self, channel: &str, model: Option<&str>) -> Option<TestReport> {
        let snapshot = self.parts.snapshot.load_full();
        let number = snapshot.config.channel_number(channel)?;
        let (channel, peer) = snapshot.channel(number)?;
        let probe = Probe {
            upstreams: &self.upstreams,
            channel,
            peer,
            key: (!channel.keys.is_empty()).then_some(0),
        };
        let models = probe.models("models").await.unwrap_or_default();
        let model = model
            .map(|model| channel.upstream_model(model).unwrap_or_else(|| model.to_owned()))
            .or_else(|| model_to_try(channel, &models));
        let mut report = TestReport {
            channel: channel.name.clone(),
            model: model.clone(),
            models,
            ..TestReport::default()
        };
        let Some(model) = model else {
            report.error = Some("the channel names no model and lists none: say which to ask for".to_owned());
            return Some(report);
        };
        let tested = probe.tiny(&model).await;
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        report.ok = tested.failure.is_none();
        report.status = tested.status;
        report.time_to_first_token_ms = tested.first_token.map(millis);
        report.total_ms = millis(tested.total);
        report.error = tested.failure.map(|failure| failure.message.into_owned());
        Some(report)
    }

    fn drain(&self) {
        self.parts.drain.start();
    }

    fn check_channel(&self, name: &str, definition: &str, keys: usize) -> Vec<Problem> {
        views(&self.configured.check_channel(name, definition, keys))
    }

    fn check_routes(&self, definition: &str) -> Vec<Problem> {
        views(&self.configured.check_routes(definition))
    }
}

impl Controls {
    fn view(&self, channel: &Channel, live: &ChannelLive, now: Millis) -> ChannelView {
        let standing = live.standing(now);
        let (requests, failures) = live.counts();
        let keys = channel.keys.iter().zip(live.parkings(now));
        ChannelView {
            name: channel.name.clone(),
            format: channel.vendor.as_str().to_owned(),
            apis: apis(channel),
            base_url: channel.base_url.display(),
            origin: self.origin(&channel.name),
            state: match channel.state {
                ChannelState::Enabled => State::Enabled,
                ChannelState::Draining => State::Draining,
                ChannelState::Disabled => State::Disabled,
            },
            weight: channel.weight,
            priority: channel.priority,
            models: models(channel),
            keys: keys
                .map(|(key, parked)| KeyView {
                    hint: hint(key.expose()),
                    parked_for_ms: parked.map(|(until, _)| until - now),
                    why: parked.map(|(_, why)| parked_word(why).to_owned()),
                })
                .collect(),
            breaker: match standing {
                Standing::Closed => BreakerState::Closed,
                Standing::HalfOpen => BreakerState::HalfOpen,
                Standing::Open(_) => BreakerState::Open,
            },
            retry_in_ms: match standing {
                Standing::Open(until) => Some(until.saturating_sub(now)),
                Standing::Closed | Standing::HalfOpen => None,
            },
            in_flight: live.in_flight() as u64,
            time_to_first_token_ms: whole(live.latency(now)),
            requests: Some(requests),
            failures: Some(failures),
        }
    }

    fn origin(&self, name: &str) -> ChannelOrigin {
        if self.configured.is_stored(name) {
            return ChannelOrigin::Store;
        }
        match self.parts.snapshot.load().config.origin {
            Origin::File(_) => ChannelOrigin::File,
            Origin::Environment(_) | Origin::Transparent => ChannelOrigin::Environment,
        }
    }
}

/// Milliseconds, if anything is known.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive time in milliseconds"
)]
fn whole(millis: f64) -> Option<u64> {
    (millis >= 0.5).then(|| millis.round() as u64)
}

fn views(problems: &[opm_config::Problem]) -> Vec<Problem> {
    problems.iter().map(Problem::from).collect()
}

fn apis(channel: &Channel) -> Vec<String> {
    let formats = channel.formats.iter().map(|format| format.as_str().to_owned());
    let embeddings = channel.embeddings.then(|| "embeddings".to_owned());
    formats.chain(embeddings).collect()
}

fn models(channel: &Channel) -> Vec<String> {
    match &channel.models {
        Models::Globs(globs) => globs.clone(),
        Models::Map(map) => {
            let pairs = map.iter();
            pairs
                .map(|(public, upstream)| format!("{public} -> {upstream}"))
                .collect()
        }
    }
}

fn parked_word(why: Parked) -> &'static str {
    match why {
        Parked::Limited => "rate_limited",
        Parked::Refused => "refused",
    }
}

/// A trail in words. Times of breakers and keys are those of the plan.
fn explanation(trail: &Trail, snapshot: &Snapshot) -> Explanation {
    let rule = trail.rule.and_then(|number| snapshot.config.rules.get(number));
    Explanation {
        model: trail.model.clone(),
        format: trail.format.map(|format| format.as_str().to_owned()),
        key: trail.key.clone(),
        strategy: trail.strategy.as_str().to_owned(),
        route: trail.rule.map(|number| match rule {
            Some(rule) => format!("rule {} ({})", number + 1, wish(&rule.matches)),
            None => format!("rule {}", number + 1),
        }),
        sticky: trail.sticky,
        last_resort: trail.last_resort,
        refusal: None,
        candidates: trail
            .candidates
            .iter()
            .enumerate()
            .map(|(at, (channel, model, format))| CandidateView {
                channel: channel.to_string(),
                model: model.clone(),
                format: format.as_str().to_owned(),
                reason: place_reason(at, trail, snapshot, channel, *format),
            })
            .collect(),
        skipped: trail
            .skipped
            .iter()
            .map(|(channel, why)| SkippedView {
                channel: channel.to_string(),
                reason: skip_reason(why, trail.planned),
            })
            .collect(),
        attempts: trail
            .attempts
            .iter()
            .map(|tried| AttemptView {
                channel: tried.channel.to_string(),
                outcome: tried.outcome.to_owned(),
                status: tried.status,
                ms: u64::try_from(tried.time.as_millis()).unwrap_or(u64::MAX),
            })
            .collect(),
        status: Some(trail.status),
        at: i64::try_from(trail.at).ok(),
    }
}

fn wish(wish: &opm_config::Match) -> String {
    let model = wish.model.iter().map(|glob| format!("model {glob}"));
    let headers = wish
        .headers
        .iter()
        .map(|(name, glob)| format!("header {name}: {glob}"));
    let key = wish.key.iter().map(|glob| format!("key {glob}"));
    model.chain(headers).chain(key).collect::<Vec<_>>().join(", ")
}

fn place_reason(at: usize, trail: &Trail, snapshot: &Snapshot, name: &str, format: Format) -> String {
    if trail.last_resort {
        return "nobody else could serve: the first to recover is tried all the same".to_owned();
    }
    if at == 0 && trail.sticky {
        return "it knows the conversation".to_owned();
    }
    let channel = snapshot
        .config
        .channels
        .iter()
        .find(|channel| channel.name == name);
    let (priority, weight) = channel.map_or((0, 1), |channel| (channel.priority, channel.weight));
    let spoken = if Some(format) == trail.format {
        "the caller's own format"
    } else {
        "converted"
    };
    let how = match trail.strategy {
        Strategy::Weighted => format!("by chance, weight {weight}"),
        Strategy::RoundRobin => format!("in turn, weight {weight}"),
        Strategy::Failover => "in the configured order".to_owned(),
        Strategy::LeastConnections => format!("fewest requests under way for weight {weight}"),
        Strategy::Latency => "lower recent time to first token of two".to_owned(),
    };
    format!("priority {priority}, {spoken}, {how}")
}

fn skip_reason(why: &Skip, planned: Millis) -> String {
    let seconds = |until: &Millis| until.saturating_sub(planned).div_ceil(1000);
    match why {
        Skip::NotInRoute => "the route names other channels".to_owned(),
        Skip::Model => "it does not serve the model".to_owned(),
        Skip::Key => "the client key is bound to other channels".to_owned(),
        Skip::Api => "it does not offer this API".to_owned(),
        Skip::State(state) => format!("it is {}", state.as_str()),
        Skip::Open(until) => format!("its breaker is open for {} s", seconds(until)),
        Skip::Parked(until, why) => {
            let word = parked_word(*why);
            format!("all its keys are parked ({word}) for {} s", seconds(until))
        }
    }
}
