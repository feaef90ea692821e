//! docs/metrics.md is the metric table in words. `OPM_WRITE_DOCS=1 cargo test -p opm-telemetry --test docs` writes it anew.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::fmt::Write as _;
use std::path::Path;

use opm_telemetry::{Kind, LABELS, METRICS};

const INTRO: &str = "# Metrics

Prometheus reads them at `metrics.listen` (`http://localhost:9090/metrics`). Names, kinds and labels are API. A dashboard for Grafana
is [`deploy/grafana/opm.json`](../deploy/grafana/opm.json), alert rules are
[`deploy/prometheus/alerts.yaml`](../deploy/prometheus/alerts.yaml).

This page is written by `OPM_WRITE_DOCS=1 cargo test -p opm-telemetry --test docs`.
";

const OTEL: &str = "
## OpenTelemetry

With `observability.otlp.endpoint` (or `OTEL_EXPORTER_OTLP_ENDPOINT`) finished requests go to a collector by OTLP over HTTP. Names follow
the [conventions for generative AI](https://github.com/open-telemetry/semantic-conventions-genai), which are not stable yet.

- One span for each request that named a model, `{operation} {model}`, over all attempts; one below it for each attempt,
  `attempt {channel}`. The caller's `traceparent` is the parent, and its sampled flag decides unless `OTEL_TRACES_SAMPLER` says otherwise.
- The upstream gets a `traceparent` that names the span of the attempt, in all formats; a request of a caller without a trace begins one.
  The caller's `tracestate` goes with it. `headers` of a channel can replace both. Without spans (no collector, `traces: false`) nothing is
  made up: the caller's own headers pass to upstreams of its own format, and to no other.
- `gen_ai.response.id`, `.model` and `.finish_reasons` are the upstream's own words (`tool_calls`, `end_turn`, `MAX_TOKENS`; of Responses the
  reason why an answer is incomplete, else its status), also where the client is told others. What is not known of an answer that broke
  off is left out.
- Settings of the request stand in `gen_ai.request.*` (temperature, `top_p`, `top_k`, penalties, seed, stop sequences, several choices),
  `gen_ai.conversation.id` and `openai.request.service_tier`, as the client states them.
- Attributes beside those of the conventions: `opm.request.id`, `opm.client.format`, `opm.api`, `opm.key.name`, `opm.cost_usd`,
  `opm.attempts`, `opm.channel`, `opm.upstream.model`, `opm.upstream.format`, and `opm.outcome` of an attempt. `error.type` is the class
  of the failure, as in `opm_attempts_total`.
- Histograms: `gen_ai.client.operation.duration`, `gen_ai.client.token.usage`, `gen_ai.client.operation.time_to_first_chunk`,
  `gen_ai.server.time_per_output_token`. The model that was asked for is a configured name or `other`. The one that answered
  (`gen_ai.response.model`) is named if it has answered a request for a configured name, 256 of them at most; further ones are `other`.
- Prompts, answers, users and keys are never sent.
";

fn page() -> String {
    let mut page = INTRO.to_owned();
    page.push_str("\n| metric | kind | labels | |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (metric.kind.as_str(), labels.join(", "));
        writeln!(
            page,
            "| `{}` | {kind} | {labels} | {} |",
            metric.name, metric.help
        )
        .unwrap();
    }
    page.push_str("\n| label | |\n|---|---|\n");
    for (label, what) in LABELS {
        writeln!(page, "| `{label}` | {what} |").unwrap();
    }
    page.push_str(OTEL);
    page
}

#[test]
fn the_page_of_metrics_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    if std::env::var_os("OPM_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page(),
        "docs/metrics.md is not current; write it with OPM_WRITE_DOCS=1"
    );
}

#[test]
fn every_label_is_explained_and_used() {
    for metric in METRICS {
        for label in metric.labels {
            assert!(
                LABELS.iter().any(|(known, _)| known == label),
                "{label} of {} is not explained",
                metric.name
            );
        }
    }
    for (label, _) in LABELS {
        assert!(
            METRICS.iter().any(|metric| metric.labels.contains(label)),
            "nothing has {label}"
        );
    }
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    for metric in METRICS {
        assert!(!metric.help.contains('|'), "{} would break its row", metric.name);
        let (name, kind) = (metric.name, metric.kind);
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        let old = ["http_", "token_usage_", "rate_limit_exceeded_"];
        assert!(
            name.starts_with("opm_") || old.iter().any(|prefix| name.starts_with(prefix)),
            "{name}"
        );
        assert!(
            kind != Kind::Histogram || name.ends_with("_seconds"),
            "{name} has no unit"
        );
    }
}
