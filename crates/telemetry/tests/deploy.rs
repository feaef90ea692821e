//! Dashboard and alert rules against the metric table: every name and label in them exists.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "deploy/promql.rs"]
mod promql;

use std::collections::BTreeSet;
use std::path::Path;

use opm_telemetry::METRICS;
use promql::Query;
use serde::Deserialize;
use serde_json::Value;

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    std::fs::read_to_string(root.join(path)).unwrap()
}

fn read(text: &str) -> Query {
    Query::read(text).unwrap_or_else(|why| panic!("{why}, in {text}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    _for: Option<String>,
    labels: Severity,
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Severity {
    severity: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
    action: String,
}

#[test]
fn alerts_use_metrics_and_labels_that_exist() {
    let rules: Rules = serde_saphyr::from_str(&file("prometheus/alerts.yaml")).unwrap();
    let mut names = BTreeSet::new();
    for rule in rules.groups.iter().flat_map(|group| &group.rules) {
        assert!(names.insert(&rule.alert), "{} is there twice", rule.alert);
        assert!(rule.alert.starts_with("Opm"), "{}", rule.alert);
        assert!(["page", "ticket"].contains(&rule.labels.severity.as_str()));
        let query = read(&rule.expr);
        for text in [&rule.annotations.summary, &rule.annotations.action] {
            assert_eq!(query.strangers(text, "$labels."), [""; 0], "{}", rule.alert);
            assert!(text.len() > 20, "{} says too little", rule.alert);
        }
    }
    assert!(rules.groups.iter().all(|group| group.name.starts_with("opm.")));
    assert!(names.len() >= 15);
}

#[test]
fn the_dashboard_uses_metrics_and_labels_that_exist_and_leaves_none_out() {
    let dashboard: Value = serde_json::from_str(&file("grafana/opm.json")).unwrap();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = read(target["expr"].as_str().unwrap());
            let legend = target["legendFormat"].as_str().unwrap();
            assert_eq!(query.strangers(legend, "{{"), [""; 0], "{}", panel["title"]);
            shown.extend(query.metrics.iter().map(|metric| metric.name));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            read(variable["definition"].as_str().unwrap());
            assert_eq!(variable["definition"], variable["query"]["query"]);
        }
    }
    let all: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, all, "every metric has its place on the dashboard");
}

#[test]
fn panels_have_their_own_ids_and_places() {
    let dashboard: Value = serde_json::from_str(&file("grafana/opm.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = &panel["title"];
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "the id of {title} is taken"
        );
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is too wide");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{title} covers another panel");
            }
        }
    }
}

#[test]
fn mistakes_in_a_query_are_found() {
    for (query, why) in [
        (
            "rate(opm_made_up_total[5m])",
            "there is no metric opm_made_up_total",
        ),
        ("rate(opm_attempts[5m])", "there is no metric opm_attempts"),
        ("rate(opm_attempts_total_bucket[5m])", "there is no metric"),
        ("rate(opm_overhead_seconds[5m])", "needs _bucket, _sum or _count"),
        ("opm_in_flight{model=\"m\"}", "opm_in_flight has no label model"),
        ("sum by (model) (opm_in_flight)", "nothing has the label model"),
        ("sum by (le) (opm_in_flight)", "nothing has the label le"),
        (
            "label_values(opm_in_flight, model)",
            "nothing has the label model",
        ),
        (
            "label_values(opm_made_up, model)",
            "there is no metric opm_made_up",
        ),
        ("increse(opm_attempts_total[5m])", "unknown function increse"),
        ("1 > 0", "no metric"),
    ] {
        let found = Query::read(query).unwrap_err();
        assert!(found.contains(why), "{query}: {found}");
    }
}

#[test]
fn a_good_query_is_read_with_all_that_stands_in_it() {
    let query = read(
        "histogram_quantile(0.99, sum by (channel, le) (rate(opm_time_to_first_token_seconds_bucket{channel=~\"a}\\\"|b\"}[5m]))) > 3e1 and opm_in_flight == bool 1",
    );
    let names: Vec<&str> = query.metrics.iter().map(|metric| metric.name).collect();
    assert_eq!(names, ["opm_time_to_first_token_seconds", "opm_in_flight"]);
    assert_eq!(
        query.strangers("{{channel}} {{le}} {{instance}} {{model}}", "{{"),
        ["model"]
    );
}
