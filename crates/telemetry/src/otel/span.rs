//! A finished request as spans: one for the request over all tries, one below it for each try.

use std::borrow::Cow;
use std::time::SystemTime;

use ai_api_converter::{Format, Usage};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, SpanData, SpanEvents, SpanLinks};

use super::parent::Parent;
use super::semconv as name;
use crate::finished::{Attempt, Finished};

/// Pico-dollars in a dollar.
const PICO: f64 = 1e12;

/// The trace that spans belong to, and their own ids.
pub(super) struct Trace<'t> {
    pub(super) id: TraceId,
    pub(super) parent: Option<Parent>,
    pub(super) ids: &'t dyn IdGenerator,
    pub(super) scope: &'t InstrumentationScope,
}

impl Trace<'_> {
    /// The spans of a request, the one of the whole request first.
    pub(super) fn spans(&self, request: &Finished) -> Vec<SpanData> {
        let own = self.ids.new_span_id();
        let mut spans = Vec::with_capacity(1 + request.attempts.len());
        let remote = self.parent.map_or(SpanId::INVALID, |parent| parent.span);
        let time = (request.started, request.started + request.total);
        let text = format!("{} {}", request.operation, request.model);
        let mut whole = self.span(own, remote, text.into(), time);
        whole.parent_span_is_remote = self.parent.is_some();
        whole.attributes = attributes(request);
        whole.status = status(request.error);
        spans.push(whole);
        for attempt in &request.attempts {
            let started = request.started + attempt.after;
            let text = format!("attempt {}", attempt.channel);
            let time = (started, started + attempt.time);
            let mut span = self.span(self.ids.new_span_id(), own, text.into(), time);
            span.attributes = attempt_attributes(attempt);
            span.status = status((!attempt.is_good()).then_some(attempt.outcome));
            spans.push(span);
        }
        spans
    }

    fn span(
        &self,
        id: SpanId,
        parent: SpanId,
        name: Cow<'static, str>,
        (start_time, end_time): (SystemTime, SystemTime),
    ) -> SpanData {
        let flags = TraceFlags::SAMPLED;
        SpanData {
            span_context: SpanContext::new(self.id, id, flags, false, TraceState::default()),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name,
            start_time,
            end_time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// What went wrong says `error.type`; the conventions want no second telling.
fn status(error: Option<&'static str>) -> Status {
    error.map_or(Status::Unset, |_| Status::error(""))
}

fn attributes(request: &Finished) -> Vec<KeyValue> {
    let mut list = vec![
        KeyValue::new(name::OPERATION, request.operation),
        KeyValue::new(name::REQUEST_MODEL, request.model.clone()),
        KeyValue::new(name::REQUEST_ID, request.request_id.clone()),
        KeyValue::new(name::CLIENT_FORMAT, request.format.as_str()),
        KeyValue::new(name::API, request.api),
        KeyValue::new(name::HTTP_STATUS, i64::from(request.status)),
        KeyValue::new(name::ATTEMPTS, whole(request.attempts.len())),
    ];
    if request.stream {
        list.push(KeyValue::new(name::REQUEST_STREAM, true));
    }
    if let Some(limit) = request.max_tokens {
        list.push(KeyValue::new(name::REQUEST_MAX_TOKENS, whole(limit)));
    }
    if let Some(time) = request.first_token.filter(|_| request.stream) {
        list.push(KeyValue::new(name::TIME_TO_FIRST_CHUNK, time.as_secs_f64()));
    }
    if let Some(error) = request.error {
        list.push(KeyValue::new(name::ERROR_TYPE, error));
    }
    if let Some(key) = &request.key {
        list.push(KeyValue::new(name::KEY_NAME, key.clone()));
    }
    if let Some(cost) = request.cost_pico_usd {
        list.push(KeyValue::new(name::COST, cost as f64 / PICO));
    }
    if let Some(last) = request.attempts.last() {
        list.push(KeyValue::new(name::CHANNEL, last.channel.clone()));
        place(last, &mut list);
    }
    tokens(&request.usage, &mut list);
    list
}

fn attempt_attributes(attempt: &Attempt) -> Vec<KeyValue> {
    let mut list = vec![
        KeyValue::new(name::CHANNEL, attempt.channel.clone()),
        KeyValue::new(name::OUTCOME, attempt.outcome),
    ];
    place(attempt, &mut list);
    if let Some(status) = attempt.status {
        list.push(KeyValue::new(name::HTTP_STATUS, i64::from(status)));
    }
    if !attempt.is_good() {
        list.push(KeyValue::new(name::ERROR_TYPE, attempt.outcome));
    }
    list
}

/// Where a try went.
fn place(attempt: &Attempt, list: &mut Vec<KeyValue>) {
    list.extend([
        KeyValue::new(name::PROVIDER, attempt.provider),
        KeyValue::new(name::SERVER_ADDRESS, attempt.server_address.clone()),
        KeyValue::new(name::SERVER_PORT, i64::from(attempt.server_port)),
        KeyValue::new(name::UPSTREAM_MODEL, attempt.model.clone()),
        KeyValue::new(name::UPSTREAM_FORMAT, attempt.format.as_str()),
    ]);
    let api = match attempt.format {
        Format::Chat => "chat_completions",
        Format::Responses => "responses",
        Format::Messages | Format::Gemini => return,
    };
    if attempt.provider == "openai" {
        list.push(KeyValue::new(name::OPENAI_API, api));
    }
}

fn tokens(usage: &Usage, list: &mut Vec<KeyValue>) {
    let counts = [
        (name::INPUT_TOKENS, usage.input),
        (name::OUTPUT_TOKENS, usage.output),
        (name::CACHE_READ_TOKENS, usage.cache_read),
        (name::CACHE_CREATION_TOKENS, usage.cache_write),
        (name::REASONING_TOKENS, usage.reasoning),
        (name::TEXT_INPUT_TOKENS, usage.input_text),
        (name::AUDIO_INPUT_TOKENS, usage.input_audio),
        (name::IMAGE_INPUT_TOKENS, usage.input_image),
        (name::TEXT_OUTPUT_TOKENS, usage.output_text),
        (name::AUDIO_OUTPUT_TOKENS, usage.output_audio),
    ];
    let known = counts
        .into_iter()
        .filter_map(|(name, count)| Some((name, count?)));
    list.extend(known.map(|(name, count)| KeyValue::new(name, whole(count))));
}

fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
