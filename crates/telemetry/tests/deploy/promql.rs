//! As much of PromQL as the names in it need.

use std::collections::BTreeSet;

use opm_telemetry::{Kind, Metric, metric_named};

/// Functions and aggregations that our files use.
const FUNCTIONS: &[&str] = &[
    "absent",
    "avg",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "avg_over_time",
    "min_over_time",
    "rate",
    "sum",
];
const WORDS: &[&str] = &["and", "bool", "offset", "or", "unless"];
/// Words in front of a list of labels.
const LISTS: &[&str] = &["by", "group_left", "group_right", "ignoring", "on", "without"];
/// Labels that Prometheus adds to every series.
const TARGET: &[&str] = &["instance", "job"];

/// What an expression talks about.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Its metrics, in order.
    pub(crate) metrics: Vec<&'static Metric>,
    /// Labels of lists; they must belong to some metric of the expression.
    labels: BTreeSet<String>,
    /// It reads the buckets of a histogram, which have `le`.
    buckets: bool,
}

impl Query {
    /// Reads an expression, or a `label_values` of Grafana; what does not exist is an error.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut query = Query::default();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            rest = match next {
                '"' => after_text(rest),
                '{' => query.matchers(rest)?,
                '[' => rest.split_once(']').ok_or("open [")?.1,
                '0'..='9' => rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
                _ if is_name(next) => query.word(rest)?,
                _ => &rest[next.len_utf8()..],
            };
        }
        if query.metrics.is_empty() {
            return Err("no metric".into());
        }
        match query.labels.iter().find(|label| !query.has(label)) {
            Some(label) => Err(format!("nothing has the label {label}")),
            None => Ok(query),
        }
    }

    fn word<'t>(&mut self, rest: &'t str) -> Result<&'t str, String> {
        let (word, rest) = name(rest);
        let after = rest.trim_start();
        if LISTS.contains(&word) {
            let inside = after.strip_prefix('(').and_then(|after| after.split_once(')'));
            let (inside, rest) = inside.ok_or("a list is missing")?;
            self.labels
                .extend(inside.split(',').map(|label| label.trim().to_owned()));
            return Ok(rest);
        }
        if word == "label_values" {
            let inside = after.strip_prefix('(').and_then(|after| after.strip_suffix(')'));
            let (metric, label) = inside
                .and_then(|inside| inside.split_once(','))
                .ok_or("no label")?;
            self.labels.insert(label.trim().to_owned());
            self.metric(metric.trim())?;
            return Ok("");
        }
        let is_call = after.starts_with('(') || after.starts_with("by ");
        if is_call && !FUNCTIONS.contains(&word) && !WORDS.contains(&word) {
            return Err(format!("unknown function {word}"));
        }
        if !is_call && !WORDS.contains(&word) {
            self.metric(word)?;
        }
        Ok(rest)
    }

    fn metric(&mut self, word: &str) -> Result<(), String> {
        if let Some(metric) = metric_named(word) {
            if metric.kind == Kind::Histogram {
                return Err(format!("{word} needs _bucket, _sum or _count"));
            }
            self.metrics.push(metric);
            return Ok(());
        }
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().find_map(|part| word.strip_suffix(part));
        let metric = whole
            .and_then(metric_named)
            .filter(|metric| metric.kind == Kind::Histogram)
            .ok_or_else(|| format!("there is no metric {word}"))?;
        self.buckets |= word.ends_with("_bucket");
        self.metrics.push(metric);
        Ok(())
    }

    /// Label matchers belong to the metric in front of them.
    fn matchers<'t>(&mut self, rest: &'t str) -> Result<&'t str, String> {
        let metric = self.metrics.last().ok_or("matchers without a metric")?;
        let mut rest = &rest[1..];
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(behind) = rest.strip_prefix('}') {
                return Ok(behind);
            }
            let (label, behind) = name(rest);
            if !metric.labels.contains(&label) && !TARGET.contains(&label) {
                return Err(format!("{} has no label {label}", metric.name));
            }
            rest = after_text(&behind[behind.find('"').ok_or("a matcher without a text")?..]);
        }
    }

    fn has(&self, label: &str) -> bool {
        TARGET.contains(&label)
            || (label == "le" && self.buckets)
            || self.metrics.iter().any(|metric| metric.labels.contains(&label))
    }

    /// Labels that stand behind `mark` in a text for people, and in no metric of the expression.
    pub(crate) fn strangers<'t>(&self, text: &'t str, mark: &str) -> Vec<&'t str> {
        let labels = text.split(mark).skip(1).map(|piece| name(piece).0);
        labels.filter(|label| !self.has(label)).collect()
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The name at the begin of a text, and what follows.
fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !is_name(c)).unwrap_or(text.len()))
}

/// What stands behind a quoted text.
fn after_text(text: &str) -> &str {
    let mut escaped = false;
    let closes = |c: char| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    };
    text[1..].split_once(closes).map_or("", |(_, rest)| rest)
}
