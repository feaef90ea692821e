//! The table against what is really exported.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ai_api_converter::{Format, Usage};

use super::*;

const BUDGET: BudgetGauges<'_> = BudgetGauges {
    limit: "key.budget",
    subject: "static:team",
    period: "month UTC",
    spent_pico_usd: 1_250_000_000_000,
    limit_pico_usd: 50_000_000_000_000,
};

/// A registry in which every metric has a series.
pub(crate) fn everything() -> Metrics {
    let metrics = Metrics::new();
    let channel: Arc<str> = "a".into();
    let meters = metrics.channel(&channel);
    let outcome = Outcome {
        format: Some(Format::Chat),
        api: "chat_completions",
        channel: Some(&meters),
        status: 200,
        total: Duration::from_millis(20),
        upstream: Duration::from_millis(19),
    };
    metrics.request(&outcome);
    meters.attempt("ok");
    meters.attempt("overloaded");
    let usage = Usage {
        input: Some(3),
        cache_read: Some(2),
        ..Usage::default()
    };
    meters.used("m", &usage, Some(1_500_000));
    let counted = Usage {
        input: Some(0),
        ..Usage::default()
    };
    meters.used("m", &counted, None);
    meters.used("m", &Usage::default(), None);
    meters.first_token(Duration::from_millis(30));
    metrics.stage(Stage::Route, Duration::from_micros(3));
    let open = ChannelGauges {
        breaker: Some(2),
        ..ChannelGauges::default()
    };
    let disabled = ChannelGauges::default();
    metrics.channels([("a", open), ("off", disabled)].into_iter());
    metrics.limit_exceeded(&"per-user".into());
    metrics.budget_crossed(&"monthly".into(), 80);
    metrics.budgets([BUDGET].into_iter());
    metrics.estimate_factor("m", 1.25);
    metrics
}

#[test]
fn the_table_names_exactly_what_is_exported_with_kind_labels_and_words() {
    let text = everything().render();
    let mut exported: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut help = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.insert(name.to_owned(), words.to_owned());
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let series = text
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_else(|| panic!("{name} has no series"));
            exported.insert(name.to_owned(), (kind.to_owned(), labels(series)));
        }
    }
    let wanted = METRICS.iter().map(|metric| {
        let short = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        assert_eq!(
            short != metric.name,
            metric.kind == Kind::Counter,
            "{}",
            metric.name
        );
        assert_eq!(
            help.get(short).map(String::as_str),
            Some(metric.help),
            "{}",
            metric.name
        );
        let shown = (metric.kind.as_str().to_owned(), metric.labels.join(","));
        (short.to_owned(), shown)
    });
    assert_eq!(exported, wanted.collect());
}

fn labels(series: &str) -> String {
    let Some((_, rest)) = series.split_once('{') else {
        return String::new();
    };
    let inside = rest.split_once('}').unwrap().0;
    let names = inside.split(',').map(|pair| pair.split_once('=').unwrap().0);
    names.filter(|name| *name != "le").collect::<Vec<_>>().join(",")
}

#[test]
fn tokens_and_costs_stand_under_channel_and_model() {
    let text = everything().render();
    for line in [
        "token_usage_total{channel=\"a\",model=\"m\",type=\"input\"} 3",
        "token_usage_total{channel=\"a\",model=\"m\",type=\"cached_input\"} 2",
        "opm_cost_usd_total{channel=\"a\",model=\"m\"} 0.0000015",
        "opm_unpriced_requests_total{channel=\"a\",model=\"m\"} 1",
        "opm_attempts_total{channel=\"a\",outcome=\"ok\"} 1",
        "opm_attempts_total{channel=\"a\",outcome=\"overloaded\"} 1",
        "rate_limit_exceeded_total{limit=\"per-user\"} 1",
        "opm_budget_crossed_total{limit=\"monthly\",percent=\"80\"} 1",
        "opm_budget_spent_usd{limit=\"key.budget\",subject=\"static:team\",period=\"month UTC\"} 1.25",
        "opm_budget_limit_usd{limit=\"key.budget\",subject=\"static:team\",period=\"month UTC\"} 50",
        "opm_estimate_factor{model=\"m\"} 1.25",
        "opm_breaker_state{channel=\"a\"} 2",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(
        !text.contains("type=\"reasoning\""),
        "a part that no answer had has no series"
    );
}

#[test]
fn handles_of_the_same_channel_count_together() {
    let metrics = Metrics::new();
    let channel: Arc<str> = "a".into();
    for meters in [metrics.channel(&channel), metrics.channel(&channel)] {
        meters.attempt("ok");
        meters.client_abort();
        meters.used("m", &Usage::default(), Some(500_000_000_000));
        let outcome = Outcome {
            format: Some(Format::Chat),
            api: "chat_completions",
            channel: Some(&meters),
            status: 200,
            total: Duration::from_millis(20),
            upstream: Duration::ZERO,
        };
        metrics.request(&outcome);
        metrics.request(&Outcome {
            status: 503,
            ..outcome.clone()
        });
        metrics.request(&outcome);
    }
    let text = metrics.render();
    for (class, count) in [("2xx", 4), ("5xx", 2)] {
        let line = format!(
            "http_requests_total{{format=\"chat\",api=\"chat_completions\",channel=\"a\",status_class=\"{class}\"}} {count}"
        );
        assert!(text.contains(&line), "{line} is missing:\n{text}");
    }
    assert!(
        text.contains("opm_attempts_total{channel=\"a\",outcome=\"ok\"} 2"),
        "{text}"
    );
    assert!(
        text.contains("opm_client_aborts_total{channel=\"a\"} 2"),
        "{text}"
    );
    assert!(
        text.contains("opm_cost_usd_total{channel=\"a\",model=\"m\"} 1.0"),
        "{text}"
    );
}

#[test]
fn streams_are_counted_while_they_are_open() {
    let metrics = Metrics::new();
    let open = metrics.stream();
    assert!(metrics.render().contains("opm_streams_open 1"));
    drop(open);
    assert!(metrics.render().contains("opm_streams_open 0"));
}

#[test]
fn without_a_shared_store_nobody_is_told_that_limits_are_alone() {
    let metrics = Metrics::new();
    assert!(metrics.render().contains("opm_limits_together 1"));
    let alone = LimitsGauges {
        together: false,
        outages: 2,
        instances: 3,
        corrections_dropped: 4,
        subjects: 5,
    };
    metrics.limits(&alone);
    let text = metrics.render();
    for line in [
        "opm_limits_together 0",
        "opm_limits_outages_total 2",
        "opm_limits_instances 3",
        "opm_limits_corrections_dropped_total 4",
        "opm_limits_subjects 5",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}

#[test]
fn the_ledger_is_shown_as_it_is_and_its_counters_never_fall() {
    let metrics = Metrics::new();
    let now = LedgerGauges {
        bytes: 1,
        backlog: 2,
        dropped: 3,
        write_errors: 4,
        sync_errors: 5,
        stalls: 6,
        failing: true,
        full: true,
        rows_stored: 7,
    };
    metrics.ledger(&now);
    metrics.ledger(&LedgerGauges {
        dropped: 1,
        failing: false,
        ..now
    });
    let text = metrics.render();
    for line in [
        "opm_ledger_bytes 1",
        "opm_ledger_backlog_records 2",
        "opm_ledger_dropped_total 3",
        "opm_ledger_write_errors_total 4",
        "opm_ledger_sync_errors_total 5",
        "opm_ledger_stalls_total 6",
        "opm_ledger_failing 0",
        "opm_ledger_full 1",
        "opm_usage_rows_stored_total 7",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}
