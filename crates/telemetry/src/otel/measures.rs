//! Histograms of the GenAI conventions. Their attributes come from the configuration, from fixed lists, and from upstreams, as far as
//! their names are few.

use std::collections::HashSet;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::semconv as name;
use crate::finished::Finished;

/// Names of models that upstreams report, at most; further ones are `other`.
const MODELS: usize = 256;
/// What stands for names that are not told apart.
const OTHER: &str = "other";

/// The instruments.
pub(super) struct Measures {
    duration: Histogram<f64>,
    tokens: Histogram<u64>,
    first_chunk: Histogram<f64>,
    /// We stand where the model server stands for our callers: this is what they saw of its speed. The other `gen_ai.server`
    /// instruments would repeat the client's.
    per_token: Histogram<f64>,
    /// Models that have answered so far.
    models: HashSet<String>,
}

impl Measures {
    pub(super) fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, buckets: &[f64], what: &'static str| {
            let builder = meter.f64_histogram(name).with_unit("s").with_description(what);
            builder.with_boundaries(buckets.to_vec()).build()
        };
        Measures {
            duration: seconds(
                name::OPERATION_DURATION,
                &name::SECONDS,
                "GenAI operation duration.",
            ),
            tokens: meter
                .u64_histogram(name::TOKEN_USAGE)
                .with_unit("{token}")
                .with_description("Number of input and output tokens used.")
                .with_boundaries(name::TOKENS.to_vec())
                .build(),
            first_chunk: seconds(
                name::OPERATION_FIRST_CHUNK,
                &name::SECONDS,
                "Time to receive the first chunk of a streamed answer.",
            ),
            per_token: seconds(
                name::TIME_PER_OUTPUT_TOKEN,
                &name::SECONDS_PER_TOKEN,
                "Time per output token generated after the first one.",
            ),
            models: HashSet::new(),
        }
    }

    pub(super) fn record(&mut self, request: &Finished) {
        let mut common = common(request);
        let answered = request.particulars.model.as_deref();
        common.extend(
            answered.map(|model| KeyValue::new(name::RESPONSE_MODEL, self.answering(model, &request.label))),
        );
        let mut with_error = common.clone();
        with_error.extend(request.error.map(|error| KeyValue::new(name::ERROR_TYPE, error)));
        self.duration.record(request.total.as_secs_f64(), &with_error);
        for (kind, count) in [("input", request.usage.input), ("output", request.usage.output)] {
            if let Some(count) = count {
                let mut attributes = common.clone();
                attributes.push(KeyValue::new(name::TOKEN_TYPE, kind));
                self.tokens.record(count, &attributes);
            }
        }
        let Some(first) = request.first_token.filter(|_| request.stream) else {
            return;
        };
        self.first_chunk.record(first.as_secs_f64(), &common);
        let more = request.usage.output.unwrap_or(0).saturating_sub(1);
        if more > 0 && request.error.is_none() {
            let rest = request.total.saturating_sub(first).as_secs_f64();
            self.per_token.record(rest / more as f64, &common);
        }
    }

    /// The model that answered, if it may be told: upstreams repeat what a client made up.
    fn answering(&mut self, model: &str, label: &str) -> String {
        let known = self.models.contains(model)
            || (label != OTHER && self.models.len() < MODELS && self.models.insert(model.to_owned()));
        if known { model } else { OTHER }.to_owned()
    }
}

fn common(request: &Finished) -> Vec<KeyValue> {
    let mut list = vec![
        KeyValue::new(name::OPERATION, request.operation),
        KeyValue::new(name::REQUEST_MODEL, request.label.clone()),
    ];
    if let Some(last) = request.attempts.last() {
        list.extend([
            KeyValue::new(name::PROVIDER, last.provider),
            KeyValue::new(name::CHANNEL, last.channel.clone()),
            KeyValue::new(name::SERVER_ADDRESS, last.server_address.clone()),
            KeyValue::new(name::SERVER_PORT, i64::from(last.server_port)),
        ]);
    }
    list
}
