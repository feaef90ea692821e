//! What arrives at a collector, decoded.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ai_api_converter::decode::relayed_noting;
use ai_api_converter::{Format, Particulars, Usage};
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;
use crate::{Attempt, Finished, Metrics, Sink as _, Trace};

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes what is sent, and answers with its status once its gate is open.
#[derive(Debug)]
struct Collector {
    status: u16,
    taken: Mutex<Vec<Request<Bytes>>>,
    gate: (Mutex<bool>, Condvar),
}

#[derive(Clone, Debug)]
struct Client(Arc<Collector>);

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (open, changed) = &self.0.gate;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        self.0.taken.lock().unwrap().push(request);
        Ok(Response::builder().status(self.0.status).body(Bytes::new())?)
    }
}

impl Collector {
    fn new(status: u16, open: bool) -> Arc<Self> {
        Arc::new(Collector {
            status,
            taken: Mutex::default(),
            gate: (Mutex::new(open), Condvar::new()),
        })
    }

    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    fn bodies(&self, path: &str) -> Vec<Bytes> {
        let taken = self.taken.lock().unwrap();
        let wanted = taken.iter().filter(|request| request.uri().path() == path);
        wanted.map(|request| request.body().clone()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies("/otlp/v1/traces");
        let batches = bodies
            .into_iter()
            .map(|body| ExportTraceServiceRequest::decode(body).unwrap());
        let resources = batches.flat_map(|batch| batch.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Name, attributes and (count, sum) of every point of every histogram.
    fn points(&self) -> Vec<(String, BTreeMap<String, String>, u64, f64)> {
        let bodies = self.bodies("/otlp/v1/metrics");
        let batches = bodies
            .into_iter()
            .map(|body| ExportMetricsServiceRequest::decode(body).unwrap());
        let resources = batches.flat_map(|batch| batch.resource_metrics);
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        let mut points = Vec::new();
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let Some(Data::Histogram(histogram)) = metric.data else {
                panic!("{} is no histogram", metric.name);
            };
            for point in histogram.data_points {
                let attributes = texts(&point.attributes);
                points.push((metric.name.clone(), attributes, point.count, point.sum.unwrap()));
            }
        }
        points
    }
}

fn settings() -> Settings {
    Settings {
        endpoint: "http://collector:4318/otlp".into(),
        headers: vec![("x-token".into(), "secret".into())],
        traces: true,
        metrics: true,
        service_name: "gateway-of-tests".into(),
        service_version: "1.2.3",
        sampling: Sampling::default(),
    }
}

fn started() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn attempt(channel: &str, outcome: &'static str, after: u64, time: u64) -> Attempt {
    Attempt {
        span: NonZeroU64::new(after),
        channel: channel.into(),
        provider: "openai",
        model: "gpt-5.6-luna-2026".into(),
        format: Format::Chat,
        server_address: "api.openai.com".into(),
        server_port: 443,
        outcome,
        status: Some(if outcome == "ok" { 200 } else { 503 }),
        after: Duration::from_millis(after),
        time: Duration::from_millis(time),
    }
}

fn trace() -> Trace {
    Trace {
        id: 0xabc,
        parent: None,
        request: NonZeroU64::MAX,
        attempt: NonZeroU64::MIN,
        sampled: true,
    }
}

fn particulars(model: &str) -> Particulars {
    let answer = format!(
        r#"{{"id":"chatcmpl-1","model":"{model}","choices":[{{"finish_reason":"stop"}},{{"finish_reason":"length"}}]}}"#
    );
    let mut noted = Particulars::default();
    relayed_noting(&answer, Format::Chat, Some(&mut noted)).unwrap();
    noted
}

fn finished() -> Finished {
    Finished {
        request_id: "req_0123456789".into(),
        format: Format::Messages,
        api: "messages",
        operation: "chat",
        model: "smart".into(),
        label: "smart".into(),
        stream: true,
        max_tokens: Some(1_000),
        settings: ai_api_converter::settings(
            br#"{"temperature":0.5,"top_p":0.9,"top_k":40,"seed":7,"n":2,"stop":["x","y"],"service_tier":"flex",
                "frequency_penalty":0.1,"presence_penalty":0.2,"conversation":"conv_1"}"#,
        ),
        status: 200,
        error: None,
        started: started(),
        total: Duration::from_millis(2_500),
        first_token: Some(Duration::from_millis(500)),
        usage: Usage {
            input: Some(120),
            cache_read: Some(100),
            output: Some(41),
            ..Usage::default()
        },
        cost_pico_usd: Some(1_250_000_000),
        key: Some("team-a".into()),
        particulars: particulars("gpt-5.6-luna-2026-07-01"),
        trace: Some(trace()),
        tracestate: None,
        attempts: vec![
            attempt("first", "overloaded", 10, 90),
            attempt("second", "ok", 110, 2_390),
        ],
    }
}

fn send(collector: &Arc<Collector>, settings: &Settings, requests: Vec<Finished>) -> Metrics {
    let metrics = Metrics::new();
    let exporter = Exporter::start(settings, Client(Arc::clone(collector)), metrics.clone()).unwrap();
    requests
        .into_iter()
        .for_each(|request| exporter.finished(request));
    assert!(exporter.stop(PATIENCE), "the exporter did not stop in time");
    metrics
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let pairs = attributes
        .iter()
        .map(|pair| (pair.key.clone(), text(pair.value.as_ref())));
    pairs.collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::ArrayValue(list)) => {
            let texts: Vec<String> = list.values.iter().map(|value| text(Some(value))).collect();
            format!("{texts:?}")
        }
        other => panic!("{other:?}"),
    }
}

fn expect(attributes: &[KeyValue], wanted: &[(&str, &str)]) {
    let wanted: BTreeMap<String, String> = wanted
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(texts(attributes), wanted);
}

fn nanos(after: u64) -> u64 {
    let since = started().duration_since(UNIX_EPOCH).unwrap() + Duration::from_millis(after);
    u64::try_from(since.as_nanos()).unwrap()
}

#[test]
fn a_request_is_one_span_over_all_tries_with_a_span_below_it_for_each() {
    let collector = Collector::new(200, true);
    send(&collector, &settings(), vec![finished()]);
    let spans = collector.spans();
    let [whole, first, second] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!((whole.name.as_str(), whole.kind), ("chat smart", 3));
    assert_eq!(
        (whole.start_time_unix_nano, whole.end_time_unix_nano),
        (nanos(0), nanos(2_500))
    );
    assert!(whole.parent_span_id.is_empty() && whole.status.as_ref().is_none_or(|status| status.code == 0));
    expect(
        &whole.attributes,
        &[
            ("gen_ai.conversation.id", "conv_1"),
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.choice.count", "2"),
            ("gen_ai.request.frequency_penalty", "0.1"),
            ("gen_ai.request.max_tokens", "1000"),
            ("gen_ai.request.model", "smart"),
            ("gen_ai.request.presence_penalty", "0.2"),
            ("gen_ai.request.seed", "7"),
            ("gen_ai.request.stop_sequences", r#"["x", "y"]"#),
            ("gen_ai.request.stream", "true"),
            ("gen_ai.request.temperature", "0.5"),
            ("gen_ai.request.top_k", "40"),
            ("gen_ai.request.top_p", "0.9"),
            ("gen_ai.response.finish_reasons", r#"["stop", "length"]"#),
            ("gen_ai.response.id", "chatcmpl-1"),
            ("gen_ai.response.model", "gpt-5.6-luna-2026-07-01"),
            ("gen_ai.response.time_to_first_chunk", "0.5"),
            ("gen_ai.usage.cache_read.input_tokens", "100"),
            ("gen_ai.usage.input_tokens", "120"),
            ("gen_ai.usage.output_tokens", "41"),
            ("http.response.status_code", "200"),
            ("openai.api.type", "chat_completions"),
            ("openai.request.service_tier", "flex"),
            ("opm.api", "messages"),
            ("opm.attempts", "2"),
            ("opm.channel", "second"),
            ("opm.client.format", "messages"),
            ("opm.cost_usd", "0.00125"),
            ("opm.key.name", "team-a"),
            ("opm.request.id", "req_0123456789"),
            ("opm.upstream.format", "chat"),
            ("opm.upstream.model", "gpt-5.6-luna-2026"),
            ("server.address", "api.openai.com"),
            ("server.port", "443"),
        ],
    );
    assert_eq!(hex(&whole.trace_id), format!("{:032x}", 0xabc));
    assert_eq!(hex(&whole.span_id), "f".repeat(16));
    for (span, name, id) in [(first, "attempt first", 10), (second, "attempt second", 110)] {
        assert_eq!(
            (span.name.as_str(), hex(&span.span_id)),
            (name, format!("{id:016x}"))
        );
        assert_eq!(
            (&span.parent_span_id, &span.trace_id),
            (&whole.span_id, &whole.trace_id)
        );
    }
    assert_eq!(
        (second.start_time_unix_nano, second.end_time_unix_nano),
        (nanos(110), nanos(2_500))
    );
    let failed = texts(&first.attributes);
    assert_eq!(failed["error.type"], "overloaded");
    assert_eq!(failed["http.response.status_code"], "503");
    assert_eq!(first.status.as_ref().unwrap().code, 2);
    assert!(!texts(&second.attributes).contains_key("error.type"));
}

#[test]
fn the_collector_is_told_who_sends_and_gets_the_headers() {
    let collector = Collector::new(200, true);
    send(&collector, &settings(), vec![finished()]);
    let taken = collector.taken.lock().unwrap();
    let paths: Vec<&str> = taken.iter().map(|request| request.uri().path()).collect();
    assert_eq!(paths, ["/otlp/v1/traces", "/otlp/v1/metrics"]);
    for request in taken.iter() {
        assert_eq!(request.headers()["x-token"], "secret");
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    }
    let spans = ExportTraceServiceRequest::decode(taken[0].body().clone()).unwrap();
    let resource = spans.resource_spans[0].resource.clone().unwrap();
    let resource = texts(&resource.attributes);
    assert_eq!(resource["service.name"], "gateway-of-tests");
    assert_eq!(resource["service.version"], "1.2.3");
}

#[test]
fn measures_bear_the_names_of_the_conventions_and_only_configured_labels() {
    let collector = Collector::new(200, true);
    let unknown = Finished {
        model: "what-a-client-made-up".into(),
        label: "other".into(),
        ..finished()
    };
    send(&collector, &settings(), vec![finished(), unknown]);
    let points = collector.points();
    let found = |name: &str, model: &str, kind: Option<&str>| {
        let of = |point: &&(String, BTreeMap<String, String>, u64, f64)| {
            point.0 == name
                && point.1["gen_ai.request.model"] == model
                && point.1.get("gen_ai.token.type").map(String::as_str) == kind
        };
        let point = points
            .iter()
            .find(of)
            .unwrap_or_else(|| panic!("{name}: {points:?}"));
        (point.2, point.3)
    };
    for model in ["smart", "other"] {
        assert_eq!(found("gen_ai.client.operation.duration", model, None), (1, 2.5));
        assert_eq!(
            found("gen_ai.client.operation.time_to_first_chunk", model, None),
            (1, 0.5)
        );
        assert_eq!(
            found("gen_ai.server.time_per_output_token", model, None),
            (1, 0.05)
        );
        assert_eq!(
            found("gen_ai.client.token.usage", model, Some("input")),
            (1, 120.0)
        );
        assert_eq!(
            found("gen_ai.client.token.usage", model, Some("output")),
            (1, 41.0)
        );
    }
    let text = format!("{points:?}");
    assert!(!text.contains("made-up") && !text.contains("team-a"), "{text}");
}

#[test]
fn a_failed_request_names_its_class_and_has_no_first_chunk() {
    let collector = Collector::new(200, true);
    let failed = Finished {
        status: 529,
        error: Some("overloaded"),
        first_token: None,
        usage: Usage::default(),
        cost_pico_usd: None,
        particulars: Particulars::default(),
        attempts: vec![attempt("first", "overloaded", 10, 90)],
        ..finished()
    };
    send(&collector, &settings(), vec![failed]);
    let spans = collector.spans();
    let attributes = texts(&spans[0].attributes);
    assert_eq!(attributes["error.type"], "overloaded");
    assert_eq!(attributes["http.response.status_code"], "529");
    assert!(!attributes.contains_key("gen_ai.usage.input_tokens"));
    assert!(!attributes.keys().any(|name| name.starts_with("gen_ai.response.")));
    assert_eq!(spans[0].status.as_ref().unwrap().code, 2);
    let points = collector.points();
    let names: Vec<&str> = points.iter().map(|point| point.0.as_str()).collect();
    assert_eq!(names, ["gen_ai.client.operation.duration"]);
    assert_eq!(points[0].1["error.type"], "overloaded");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_callers_trace_goes_on_in_ours() {
    let collector = Collector::new(200, true);
    let traced = |sampled| Finished {
        trace: Some(Trace {
            parent: NonZeroU64::new(0xb7ad_6b71_6920_3331),
            sampled,
            ..trace()
        }),
        tracestate: Some("vendor=1,other=2".into()),
        ..finished()
    };
    send(&collector, &settings(), vec![traced(true), traced(false)]);
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "a caller that does not sample gets no spans");
    assert_eq!(hex(&spans[0].parent_span_id), "b7ad6b7169203331");
    assert!(spans.iter().all(|span| span.trace_state == "vendor=1,other=2"));
    let durations = collector.points();
    let durations = durations.iter().find(|point| point.0.ends_with("duration"));
    assert_eq!(durations.unwrap().2, 2, "measures count every request");
}

#[test]
fn what_is_wanted_of_a_request_depends_on_what_is_sent() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    for (traces, metrics, flags, place, particulars) in [
        (true, true, "01", true, true),
        (true, true, "00", true, true),
        (true, false, "01", true, true),
        (true, false, "00", true, false),
        (false, true, "01", false, true),
    ] {
        let settings = Settings {
            traces,
            metrics,
            ..settings()
        };
        let client = Client(Collector::new(200, true));
        let exporter = Exporter::start(&settings, client, Metrics::new()).unwrap();
        let following = exporter.begin(Some(&format!("{PARENT}-{flags}")));
        let case = format!("{traces} {metrics} {flags}");
        assert_eq!(
            (following.trace.is_some(), following.particulars),
            (place, particulars),
            "{case}"
        );
        let sampled = following.trace.map(|trace| trace.sampled);
        assert!(sampled.is_none_or(|sampled| sampled == (flags == "01")), "{case}");
        assert!(exporter.stop(PATIENCE));
    }
}

#[test]
fn models_that_upstreams_report_make_few_series() {
    let collector = Collector::new(200, true);
    let answered = |model: &str, label: &str| Finished {
        label: label.into(),
        particulars: particulars(model),
        ..finished()
    };
    let mut requests = vec![answered("real", "smart"), answered("made-up", "other")];
    requests.extend((0..400).map(|number| answered(&format!("model-{number}"), "smart")));
    requests.extend([answered("made-up", "smart"), answered("real", "other")]);
    let settings = Settings {
        traces: false,
        ..settings()
    };
    send(&collector, &settings, requests);
    let points = collector.points();
    let durations = points
        .iter()
        .filter(|point| point.0.ends_with("operation.duration"));
    let counts: BTreeMap<(&str, &str), u64> = durations
        .map(|(_, names, count, _)| {
            let key = (
                names["gen_ai.request.model"].as_str(),
                names["gen_ai.response.model"].as_str(),
            );
            (key, *count)
        })
        .collect();
    assert_eq!((counts[&("smart", "real")], counts[&("other", "real")]), (1, 1));
    assert_eq!(
        (counts[&("other", "other")], counts[&("smart", "other")]),
        (1, 400 - 255 + 1)
    );
    assert_eq!(counts.len(), 256 + 3);
}

#[test]
fn signals_that_are_switched_off_are_not_sent() {
    for (traces, metrics) in [(true, false), (false, true)] {
        let collector = Collector::new(200, true);
        let settings = Settings {
            traces,
            metrics,
            ..settings()
        };
        send(&collector, &settings, vec![finished()]);
        assert_eq!(collector.bodies("/otlp/v1/traces").is_empty(), !traces);
        assert_eq!(collector.bodies("/otlp/v1/metrics").is_empty(), !metrics);
    }
}

fn dropped(metrics: &Metrics) -> u64 {
    let text = metrics.render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("opm_otel_dropped_total "));
    line.unwrap().parse().unwrap()
}

#[test]
fn what_the_collector_refuses_is_counted() {
    let collector = Collector::new(400, true);
    let metrics = send(&collector, &settings(), vec![finished(), finished()]);
    assert_eq!(dropped(&metrics), 2);
}

#[test]
fn a_collector_that_hangs_holds_nobody_up_and_what_has_no_place_is_counted() {
    let collector = Collector::new(200, false);
    let metrics = Metrics::new();
    let settings = Settings {
        metrics: false,
        ..settings()
    };
    let exporter = Exporter::start(&settings, Client(Arc::clone(&collector)), metrics.clone()).unwrap();
    // Three spans each: a batch is at the collector, four wait, others are lost.
    let sent = 2_000;
    let begin = Instant::now();
    for _ in 0..sent {
        exporter.finished(finished());
    }
    let deadline = begin + PATIENCE;
    while dropped(&metrics) == 0 {
        assert!(Instant::now() < deadline, "nothing was dropped");
        std::thread::yield_now();
    }
    collector.open();
    assert!(exporter.stop(PATIENCE));
    let arrived = collector.spans().len() / 3;
    assert_eq!(arrived as u64 + dropped(&metrics), sent);
    assert!(arrived >= 4 * 170, "only {arrived} arrived");
}

#[test]
fn a_stop_does_not_wait_longer_than_it_may() {
    let collector = Collector::new(200, false);
    let exporter = Exporter::start(&settings(), Client(Arc::clone(&collector)), Metrics::new()).unwrap();
    exporter.finished(finished());
    assert!(!exporter.stop(Duration::from_millis(50)));
    collector.open();
}
