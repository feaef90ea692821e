//! `limits` and `budget`, wherever they stand.

use std::time::Duration;

use serde_saphyr::Spanned;

use crate::limit::{Budget, Limits, Mode, OnFailure, Per};
use crate::node::{Node, Placed, one_or_more};
use crate::section::{Reading, nearest};

/// The members of `limits`.
pub(super) const LIMITS: &[&str] = &["tpm", "window", "rpm", "concurrent", "mode", "on_failure"];
const BUDGET: &[&str] = &["usd", "per", "tz", "at", "action", "mode", "on_failure"];

/// `tpm` without `window` is what its name says.
const WINDOW: Duration = Duration::from_secs(60);
/// What the limiter can slide over.
pub(super) const WINDOWS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(31 * 86_400);
/// Decimals of a US dollar that are kept: picodollars.
const PLACES: usize = 12;
/// From a millionth of a dollar to what the limiter counts exactly.
const AMOUNTS: std::ops::RangeInclusive<u64> = 1_000_000..=9_007_199_000_000_000_000;
/// Percentages that are reported where nothing is said.
const WARN_AT: [u8; 2] = [80, 100];

const MODES: &[(&str, Mode)] = &[("strict", Mode::Strict), ("estimate", Mode::Estimate)];
pub(super) const POLICIES: &[(&str, OnFailure)] = &[
    ("local", OnFailure::Local),
    ("deny", OnFailure::Deny),
    ("allow", OnFailure::Allow),
];
const PERIODS: &[(&str, Per)] = &[("day", Per::Day), ("month", Per::Month)];
const ACTIONS: &[(&str, bool)] = &[("block", true), ("warn", false)];

/// Members of `limits` as they are met.
#[derive(Default)]
pub(super) struct Draft<'n> {
    found: Limits,
    window: Option<(&'n Spanned<String>, Duration)>,
    on_failure: Option<OnFailure>,
    /// Members that limit something were given, readable or not.
    tokens_given: bool,
    given: bool,
}

impl<'n> Draft<'n> {
    /// Takes a member in; false if it is none of [`LIMITS`].
    pub(super) fn take(&mut self, key: &'n Spanned<String>, value: &Placed, r: &mut Reading<'_>) -> bool {
        let name = key.value.as_str();
        self.given |= matches!(name, "tpm" | "rpm" | "concurrent");
        match name {
            "tpm" => {
                self.tokens_given = true;
                self.found.tokens = r.count(value).map(|tokens| (tokens, WINDOW));
            }
            "window" => self.window = Some((key, r.duration_in(value, WINDOWS).unwrap_or(WINDOW))),
            "rpm" => self.found.requests = r.count(value),
            "concurrent" => self.found.concurrent = r.count(value),
            "mode" => self.found.mode = r.word(value, MODES).unwrap_or_default(),
            "on_failure" => self.on_failure = r.word(value, POLICIES),
            _ => {
                // Somebody meant something by it.
                self.given = true;
                return false;
            }
        }
        true
    }

    /// True if something is limited, or was meant to be.
    pub(super) fn is_given(&self) -> bool {
        self.given
    }

    pub(super) fn finish(self, r: &mut Reading<'_>) -> Limits {
        let mut found = self.found;
        if let Some((key, window)) = self.window {
            if !self.tokens_given {
                let help = Some(
                    "add `tpm`, the tokens that may be used within it; `rpm` is always per minute".into(),
                );
                r.error(
                    "E005",
                    key,
                    "`window` is the window of `tpm`, which is missing".into(),
                    help,
                );
            }
            found.tokens = found.tokens.map(|(tokens, _)| (tokens, window));
        }
        found.on_failure = self.on_failure.unwrap_or(r.on_failure);
        found
    }
}

/// Takes `limits` or `budget` in; false if the member is neither.
pub(super) fn member(key: &Spanned<String>, value: &Placed, found: &mut Limits, r: &mut Reading<'_>) -> bool {
    match key.value.as_str() {
        "limits" => {
            let budgets = std::mem::take(&mut found.budgets);
            *found = Limits {
                budgets,
                ..limits(value, r)
            };
        }
        "budget" => found.budgets = budgets(value, r),
        _ => return false,
    }
    true
}

/// The value of `limits`.
fn limits(node: &Placed, r: &mut Reading<'_>) -> Limits {
    let mut draft = Draft::default();
    for (key, value) in r.members(node, "limits") {
        if !draft.take(key, value, r) {
            r.unknown(key, LIMITS);
        }
    }
    if matches!(node.value, Node::Map(_)) && !draft.is_given() {
        let help = Some("give `tpm`, `rpm` or `concurrent`".into());
        r.error("E005", node, "`limits` limits nothing".into(), help);
    }
    draft.finish(r)
}

/// The value of `budget`: one, or a list.
pub(super) fn budgets(node: &Placed, r: &mut Reading<'_>) -> Vec<Budget> {
    let mut found: Vec<Budget> = Vec::new();
    for node in one_or_more(node) {
        let Some(budget) = budget(node, r) else { continue };
        // They would be one counter, charged twice.
        if found
            .iter()
            .any(|known| (known.per, &known.zone) == (budget.per, &budget.zone))
        {
            let help = Some("one is enough: `at` reports the way to it".into());
            r.error(
                "E006",
                node,
                "another budget has this period and time zone".into(),
                help,
            );
        }
        found.push(budget);
    }
    found
}

fn budget(node: &Placed, r: &mut Reading<'_>) -> Option<Budget> {
    let (mut pico_usd, mut per, mut on_failure) = (None, None, None);
    let (mut zone, mut warn_at, mut blocks, mut mode) =
        (Some("UTC".to_owned()), WARN_AT.to_vec(), true, Mode::Strict);
    let members = r.members(node, "budget");
    for (key, value) in members {
        match key.value.as_str() {
            "usd" => pico_usd = r.decimal(value, PLACES, AMOUNTS),
            "per" => per = r.word(value, PERIODS),
            "tz" => zone = time_zone(value, r),
            "at" => warn_at = percentages(value, r),
            "action" => blocks = r.word(value, ACTIONS).unwrap_or(true),
            "mode" => mode = r.word(value, MODES).unwrap_or_default(),
            "on_failure" => on_failure = r.word(value, POLICIES),
            _ => r.unknown(key, BUDGET),
        }
    }
    let missing = |name: &&str| !members.iter().any(|(key, _)| key.value == *name);
    let missing: Vec<&str> = ["usd", "per"].into_iter().filter(missing).collect();
    if matches!(node.value, Node::Map(_)) && !missing.is_empty() {
        let text = format!("a budget needs `{}`", missing.join("` and `"));
        r.error("E005", node, text, Some("write { usd: 50, per: month }".into()));
    }
    // Money that must not be spent is not spent unseen.
    let policy = if blocks { OnFailure::Deny } else { OnFailure::Allow };
    Some(Budget {
        pico_usd: pico_usd?,
        per: per?,
        zone: zone?,
        warn_at,
        blocks,
        mode,
        on_failure: on_failure.unwrap_or(policy),
    })
}

/// The name of a time zone that is known, as the data base of time zones writes it.
fn time_zone(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let text = r.text(node)?;
    let zone = jiff::tz::TimeZone::get(&text).ok();
    if let Some(name) = zone.as_ref().and_then(jiff::tz::TimeZone::iana_name) {
        return Some(name.to_owned());
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let help = match nearest(&text, &known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "write an IANA name, for example Asia/Shanghai or UTC".to_owned(),
    };
    r.error(
        "E004",
        node,
        format!("no time zone is named `{text}`"),
        Some(help),
    );
    None
}

/// Percentages, the smallest first.
fn percentages(node: &Placed, r: &mut Reading<'_>) -> Vec<u8> {
    let found = one_or_more(node).iter().filter_map(|node| r.percent(node));
    let mut found: Vec<u8> = found.filter_map(|percent| u8::try_from(percent).ok()).collect();
    found.sort_unstable();
    found.dedup();
    found
}
