//! What is counted of one channel: handles that are looked up once, so that a request only adds to them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ai_api_converter::Usage;
use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::dollars::Dollars;
use crate::labels::{AttemptLabels, ChannelLabels, ModelLabels, TokenLabels};
use crate::metrics::{Buckets, seconds};
use crate::registering::Registering;

/// The outcome that most attempts have.
const OK: &str = "ok";

/// The families that have a label for the channel.
#[derive(Clone)]
pub(crate) struct ChannelFamilies {
    attempts: Family<AttemptLabels, Counter>,
    first_token: Family<ChannelLabels, Histogram, Buckets>,
    client_aborts: Family<ChannelLabels, Counter>,
    upstream_cuts: Family<ChannelLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<ModelLabels, Dollars>,
    unpriced: Family<ModelLabels, Counter>,
}

impl ChannelFamilies {
    pub(crate) fn new(registering: &mut Registering) -> Self {
        let buckets: Buckets = seconds;
        ChannelFamilies {
            attempts: registering.add("opm_attempts_total", Family::default()),
            first_token: registering.add(
                "opm_time_to_first_token_seconds",
                Family::new_with_constructor(buckets),
            ),
            client_aborts: registering.add("opm_client_aborts_total", Family::default()),
            upstream_cuts: registering.add("opm_upstream_cuts_total", Family::default()),
            tokens: registering.add("token_usage_total", Family::default()),
            cost: registering.add("opm_cost_usd_total", Family::default()),
            unpriced: registering.add("opm_unpriced_requests_total", Family::default()),
        }
    }

    pub(crate) fn channel(&self, channel: &Arc<str>) -> ChannelMetrics {
        let labels = ChannelLabels {
            channel: Arc::clone(channel),
        };
        let ok = AttemptLabels {
            channel: Arc::clone(channel),
            outcome: OK,
        };
        ChannelMetrics {
            channel: Arc::clone(channel),
            ok: self.attempts.get_or_create_owned(&ok),
            first_token: self.first_token.get_or_create_owned(&labels),
            client_aborts: self.client_aborts.get_or_create_owned(&labels),
            upstream_cuts: self.upstream_cuts.get_or_create_owned(&labels),
            ended: RwLock::default(),
            models: RwLock::default(),
            families: self.clone(),
        }
    }
}

/// The metrics of one channel.
pub struct ChannelMetrics {
    channel: Arc<str>,
    ok: Counter,
    first_token: Histogram,
    client_aborts: Counter,
    upstream_cuts: Counter,
    /// A handful: a search takes less time than a hash.
    ended: RwLock<Vec<(Alike, Ended)>>,
    models: RwLock<HashMap<Arc<str>, ModelMetrics>>,
    families: ChannelFamilies,
}

/// What the series of requests that ended at a channel are told apart by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alike {
    pub(crate) format: &'static str,
    pub(crate) api: &'static str,
    pub(crate) status_class: &'static str,
}

/// The series of requests that ended alike.
pub(crate) struct Ended {
    pub(crate) count: Counter,
    pub(crate) time: Histogram,
}

/// The series of a model. What an answer may not have gets one only once there is some.
struct ModelMetrics {
    model: Arc<str>,
    input: Counter,
    output: Counter,
    cached_input: OnceLock<Counter>,
    cache_write: OnceLock<Counter>,
    reasoning: OnceLock<Counter>,
    cost: OnceLock<Dollars>,
    unpriced: OnceLock<Counter>,
}

impl ChannelMetrics {
    /// The name of the channel.
    #[must_use]
    pub fn channel(&self) -> &Arc<str> {
        &self.channel
    }

    /// Records a try: `ok`, `broken`, `client_gone`, or the class of its failure.
    pub fn attempt(&self, outcome: &'static str) {
        if outcome == OK {
            self.ok.inc();
            return;
        }
        let labels = AttemptLabels {
            channel: Arc::clone(&self.channel),
            outcome,
        };
        self.families.attempts.get_or_create(&labels).inc();
    }

    /// Records the time from sending the request to the first content.
    pub fn first_token(&self, time: Duration) {
        self.first_token.observe(time.as_secs_f64());
    }

    /// Records a client that left before it had all of its answer.
    pub fn client_abort(&self) {
        self.client_aborts.inc();
    }

    /// Records an answer that the upstream broke off after it had begun.
    pub fn upstream_cut(&self) {
        self.upstream_cuts.inc();
    }

    /// Records what an answer has used: its tokens, and what they cost in millionths of a millionth of a US dollar; `None`: no price
    /// is known. `model` must come from the configuration.
    pub fn used(&self, model: &str, usage: &Usage, pico_usd: Option<u64>) {
        self.with_model(model, |found| {
            found.input.inc_by(usage.input.unwrap_or(0));
            found.output.inc_by(usage.output.unwrap_or(0));
            for (series, r#type, count) in [
                (&found.cached_input, "cached_input", usage.cache_read),
                (&found.cache_write, "cache_write", usage.cache_write),
                (&found.reasoning, "reasoning", usage.reasoning),
            ] {
                if let Some(count) = count.filter(|count| *count > 0) {
                    let series = series.get_or_init(|| self.tokens(&found.model, r#type));
                    series.inc_by(count);
                }
            }
            let labels = || ModelLabels {
                channel: Arc::clone(&self.channel),
                model: Arc::clone(&found.model),
            };
            match pico_usd {
                Some(pico) => {
                    let cost = || self.families.cost.get_or_create_owned(&labels());
                    found.cost.get_or_init(cost).add(pico);
                }
                // What nobody counts has no price that could be given.
                None if usage.is_empty() => {}
                None => {
                    let unpriced = || self.families.unpriced.get_or_create_owned(&labels());
                    found.unpriced.get_or_init(unpriced).inc();
                }
            }
        });
    }

    /// Records a request that ended here.
    pub(crate) fn ended(
        &self,
        alike: Alike,
        make: impl FnOnce(&Arc<str>) -> Ended,
        add: impl FnOnce(&Ended),
    ) {
        let known = self.ended.read();
        if let Some((_, ended)) = known.iter().find(|(known, _)| *known == alike) {
            return add(ended);
        }
        drop(known);
        let made = make(&self.channel);
        add(&made);
        let mut known = self.ended.write();
        if !known.iter().any(|(known, _)| *known == alike) {
            known.push((alike, made));
        }
    }

    fn tokens(&self, model: &Arc<str>, r#type: &'static str) -> Counter {
        let labels = TokenLabels {
            channel: Arc::clone(&self.channel),
            model: Arc::clone(model),
            r#type,
        };
        self.families.tokens.get_or_create_owned(&labels)
    }

    fn with_model(&self, model: &str, record: impl FnOnce(&ModelMetrics)) {
        if let Some(found) = self.models.read().get(model) {
            return record(found);
        }
        let name: Arc<str> = model.into();
        let made = ModelMetrics {
            input: self.tokens(&name, "input"),
            output: self.tokens(&name, "output"),
            model: Arc::clone(&name),
            cached_input: OnceLock::new(),
            cache_write: OnceLock::new(),
            reasoning: OnceLock::new(),
            cost: OnceLock::new(),
            unpriced: OnceLock::new(),
        };
        record(self.models.write().entry(name).or_insert(made));
    }
}
