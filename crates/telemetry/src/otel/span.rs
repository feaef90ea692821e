//! A finished request as spans: one for the request over all tries, one below it for each try.

use std::borrow::Cow;
use std::time::SystemTime;

use ai_api_converter::{Format, Particulars, Settings, Usage};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};

use super::semconv as name;
use crate::finished::{Attempt, Finished};
use crate::trace::Trace;

/// Pico-dollars in a dollar.
const PICO: f64 = 1e12;

/// The spans of a request, the one of the whole request first.
pub(super) fn spans(trace: &Trace, request: &Finished, scope: &InstrumentationScope) -> Vec<SpanData> {
    let state = request.tracestate.as_deref();
    let made = Made {
        trace,
        state: state.and_then(|text| text.parse().ok()).unwrap_or_default(),
        scope,
    };
    let mut spans = Vec::with_capacity(1 + request.attempts.len());
    spans.push(made.whole(request));
    spans.extend(
        request
            .attempts
            .iter()
            .map(|attempt| made.attempt(attempt, (request.operation, request.started))),
    );
    spans
}

/// What all spans of a request have in common.
struct Made<'m> {
    trace: &'m Trace,
    state: TraceState,
    scope: &'m InstrumentationScope,
}

impl Made<'_> {
    fn whole(&self, request: &Finished) -> SpanData {
        let (own, parent) = (self.trace.request.get().into(), self.trace.parent);
        let remote = parent.map_or(SpanId::INVALID, |span| span.get().into());
        let time = (request.started, request.started + request.total);
        let text = format!("{} {}", request.operation, request.model);
        SpanData {
            parent_span_is_remote: parent.is_some(),
            attributes: attributes(request),
            status: status(request.error),
            ..self.span(own, remote, text.into(), time)
        }
    }

    fn attempt(&self, attempt: &Attempt, (operation, begin): (&str, SystemTime)) -> SpanData {
        let id = attempt.span.map(|span| span.get().into());
        let id = id.unwrap_or_else(|| RandomIdGenerator::default().new_span_id());
        let parent = self.trace.request.get().into();
        let started = begin + attempt.after;
        let text = format!("attempt {}", attempt.channel);
        SpanData {
            attributes: attempt_attributes(attempt, operation),
            status: status((!attempt.is_good()).then_some(attempt.outcome)),
            ..self.span(id, parent, text.into(), (started, started + attempt.time))
        }
    }

    fn span(
        &self,
        id: SpanId,
        parent: SpanId,
        name: Cow<'static, str>,
        (start_time, end_time): (SystemTime, SystemTime),
    ) -> SpanData {
        let (trace, state) = (TraceId::from(self.trace.id), self.state.clone());
        SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, state),
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
        place(last, request.operation, &mut list);
        if last.provider == "openai" {
            tiers(request, &mut list);
        }
    }
    asked(&request.settings, &mut list);
    said(&request.particulars, &mut list);
    tokens(&request.usage, &mut list);
    list
}

/// How the client wanted to be answered.
fn asked(settings: &Settings, list: &mut Vec<KeyValue>) {
    let numbers = [
        (name::REQUEST_TEMPERATURE, settings.temperature),
        (name::REQUEST_TOP_P, settings.top_p),
        (name::REQUEST_TOP_K, settings.top_k),
        (name::REQUEST_FREQUENCY_PENALTY, settings.frequency_penalty),
        (name::REQUEST_PRESENCE_PENALTY, settings.presence_penalty),
    ];
    add(list, numbers);
    // The conventions want a count of choices only where there is more than one.
    let choices = settings.choices.filter(|count| *count != 1);
    add(
        list,
        [
            (name::REQUEST_SEED, settings.seed),
            (name::REQUEST_CHOICES, choices),
        ],
    );
    if !settings.stop_sequences.is_empty() {
        let stops = settings.stop_sequences.iter().cloned().map(StringValue::from);
        let stops = Value::Array(Array::String(stops.collect()));
        list.push(KeyValue::new(name::REQUEST_STOPS, stops));
    }
    if let Some(conversation) = &settings.conversation {
        list.push(KeyValue::new(name::CONVERSATION, conversation.clone()));
    }
}

/// The service tiers of OpenAI. Of answers those are known that have a price of their own.
fn tiers(request: &Finished, list: &mut Vec<KeyValue>) {
    if let Some(tier) = &request.settings.service_tier {
        list.push(KeyValue::new(name::OPENAI_REQUEST_TIER, tier.clone()));
    }
    if let Some(tier) = request.usage.tier {
        list.push(KeyValue::new(name::OPENAI_RESPONSE_TIER, tier.as_str()));
    }
}

fn attempt_attributes(attempt: &Attempt, operation: &str) -> Vec<KeyValue> {
    let mut list = vec![
        KeyValue::new(name::CHANNEL, attempt.channel.clone()),
        KeyValue::new(name::OUTCOME, attempt.outcome),
    ];
    place(attempt, operation, &mut list);
    if let Some(status) = attempt.status {
        list.push(KeyValue::new(name::HTTP_STATUS, i64::from(status)));
    }
    if !attempt.is_good() {
        list.push(KeyValue::new(name::ERROR_TYPE, attempt.outcome));
    }
    list
}

/// Where a try went.
fn place(attempt: &Attempt, operation: &str, list: &mut Vec<KeyValue>) {
    list.extend([
        KeyValue::new(name::PROVIDER, attempt.provider),
        KeyValue::new(name::SERVER_ADDRESS, attempt.server_address.clone()),
        KeyValue::new(name::SERVER_PORT, i64::from(attempt.server_port)),
        KeyValue::new(name::UPSTREAM_MODEL, short(&attempt.model)),
        KeyValue::new(name::UPSTREAM_FORMAT, attempt.format.as_str()),
    ]);
    let api = match attempt.format {
        Format::Chat => "chat_completions",
        Format::Responses => "responses",
        Format::Messages | Format::Gemini => return,
    };
    if attempt.provider == "openai" && operation == "chat" {
        list.push(KeyValue::new(name::OPENAI_API, api));
    }
}

/// What the answer said of itself.
fn said(particulars: &Particulars, list: &mut Vec<KeyValue>) {
    let texts = [
        (name::RESPONSE_ID, &particulars.id),
        (name::RESPONSE_MODEL, &particulars.model),
    ];
    let known = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.clone()?)));
    list.extend(known.map(|(name, text)| KeyValue::new(name, text)));
    let reasons: Vec<StringValue> = particulars
        .finishes()
        .map(|reason| reason.to_owned().into())
        .collect();
    if !reasons.is_empty() {
        let reasons = Value::Array(Array::String(reasons));
        list.push(KeyValue::new(name::FINISH_REASONS, reasons));
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
    let known = counts.map(|(name, count)| (name, count.map(whole)));
    add(list, known);
}

/// Adds what is known.
fn add<T: Into<Value>, const N: usize>(list: &mut Vec<KeyValue>, known: [(&'static str, Option<T>); N]) {
    let known = known.into_iter();
    list.extend(known.filter_map(|(name, value)| Some(KeyValue::new(name, value?))));
}

/// A name that callers make up with a glob, as the other names cut short: a collector refuses what is too large with all beside it.
fn short(name: &str) -> String {
    const LONGEST: usize = 256;
    name.get(..name.floor_char_boundary(LONGEST))
        .unwrap_or_default()
        .to_owned()
}

fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
