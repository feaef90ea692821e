//! `limits:` and `users:`: limits of more than one client key or channel.

use std::time::Duration;

use super::limit::{Draft, LIMITS, budgets, member};
use crate::config::Config;
use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::limit::{Limit, Limits, Scope, Subject};
use crate::node::{Node, Placed, one_or_more};
use crate::section::{Reading, nearest};
use crate::units::COUNT_MAX;

const SUBJECTS: [Subject; 4] = [Subject::Key, Subject::User, Subject::Model, Subject::Channel];
const OWN: [&str; 7] = ["name", "by", "keys", "users", "models", "channels", "budget"];
/// What the limits of `users:` are called.
const USERS: &str = "users";
/// What the limits under `keys`, `channels` and `users` are called in answers and metrics.
const RESERVED: [&str; 3] = ["key", "channel", USERS];
/// Characters of a name: it is part of a metric's label.
const LONGEST: usize = 40;

/// The list `limits:`.
pub(super) fn list(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for element in r.elements(node, "limits") {
        let Some(found) = entry(element, config, r) else {
            continue;
        };
        if config.limits.iter().any(|known| known.name == found.name) {
            let text = format!("another limit is named `{}`", found.name);
            r.error("E006", element, text, None);
        }
        config.limits.push(found);
    }
}

fn entry(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Option<Limit> {
    let (mut name, mut by, mut scope, mut money) = (None, Vec::new(), Scope::default(), None);
    let mut draft = Draft::default();
    let members = r.members(node, "a limit");
    for (key, value) in members {
        match key.value.as_str() {
            "name" => name = limit_name(value, r),
            "by" => by = subjects(value, r),
            "keys" => scope.keys = keys(value, config, r),
            "users" => scope.users = globs(value, r),
            "models" => scope.models = globs(value, r),
            "channels" => scope.channels = channels(value, config, r),
            "budget" => money = Some(budgets(value, r)),
            _ => {
                if !draft.take(key, value, r) {
                    r.unknown(key, &[&OWN, LIMITS].concat());
                }
            }
        }
    }
    let is_map = matches!(node.value, Node::Map(_));
    if is_map && !members.iter().any(|(key, _)| key.value == "name") {
        let help = Some("take one for error messages and metrics: name: free-models".into());
        r.error("E005", node, "a limit needs `name`".into(), help);
    }
    if is_map && !draft.is_given() && money.is_none() {
        let help = Some("give `tpm`, `rpm`, `concurrent` or `budget`".into());
        r.error("E005", node, "the limit limits nothing".into(), help);
    }
    let mut limits = draft.finish(r);
    limits.budgets = money.unwrap_or_default();
    Some(Limit {
        name: name?,
        by,
        scope,
        limits,
    })
}

fn limit_name(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let name = r.text(node)?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !(1..=LONGEST).contains(&name.len()) || !name.bytes().all(fits) {
        let help = Some("take 1 to 40 of a-z, 0-9, `_` and `-`".into());
        r.error("E004", node, format!("`{name}` is no name for a limit"), help);
        return None;
    }
    if RESERVED.contains(&name.as_str()) {
        let text =
            format!("`{name}` is taken: limits under `keys`, `channels` and `users` are called like this");
        r.error("E006", node, text, Some("take another name".into()));
        return None;
    }
    Some(name)
}

fn subjects(node: &Placed, r: &mut Reading<'_>) -> Vec<Subject> {
    let words = SUBJECTS.map(|subject| (subject.as_str(), subject));
    let mut found = Vec::new();
    for node in one_or_more(node) {
        match r.word(node, &words) {
            Some(subject) if !found.contains(&subject) => found.push(subject),
            _ => {}
        }
    }
    found
}

/// An empty pattern fits nothing that comes.
fn globs(node: &Placed, r: &mut Reading<'_>) -> Vec<String> {
    names(node, r, |text, item, r| {
        if text.is_empty() {
            let help = Some("write names or patterns: \"gpt-*\"".into());
            r.error("E004", item, "an empty name fits nothing".into(), help);
        }
    })
}

/// Texts, each looked at in its place.
fn names(
    node: &Placed,
    r: &mut Reading<'_>,
    mut look: impl FnMut(&str, &Placed, &mut Reading<'_>),
) -> Vec<String> {
    let mut found = Vec::new();
    for item in one_or_more(node) {
        let Some(text) = r.text(item) else { continue };
        look(&text, item, r);
        found.push(text);
    }
    found
}

/// Names of client keys. More of them may be in the store.
fn keys(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Vec<String> {
    let known: Vec<&str> = config.keys.iter().map(|key| key.name.as_str()).collect();
    names(node, r, |name, item, r| {
        if config.storage.is_none() && !known.contains(&name) {
            let near = nearest(name, &known).map(|known| format!("; did you mean `{known}`?"));
            let near = near.unwrap_or_default();
            r.warning("W004", item, format!("no client key is named `{name}`{near}"));
        }
    })
}

/// Names of channels. With a store more of them may come.
fn channels(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Vec<String> {
    let known: Vec<&str> = config
        .channels
        .iter()
        .map(|channel| channel.name.as_str())
        .collect();
    names(node, r, |name, item, r| {
        if known.contains(&name) {
            return;
        }
        let near = nearest(name, &known).map(|known| format!("did you mean `{known}`?"));
        if config.storage.is_none() {
            let help = near.unwrap_or_else(|| format!("the channels are {}", known.join(", ")));
            r.error("E012", item, format!("no channel is named `{name}`"), Some(help));
        } else {
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            r.warning(
                "W004",
                item,
                format!("no channel of the file is named `{name}`{near}"),
            );
        }
    })
}

/// `users:`; true if it has `limits`.
pub(super) fn users(node: &Placed, config: &mut Config, r: &mut Reading<'_>) -> bool {
    let (mut found, mut limited) = (Limits::default(), false);
    for (key, value) in r.members(node, "users") {
        if !member(key, value, &mut found, r) {
            r.unknown(key, &["limits", "budget"]);
        }
        limited |= key.value == "limits" && !matches!(value.value, Node::Null);
    }
    if !found.is_empty() {
        config.limits.push(of_users(found));
    }
    limited
}

fn of_users(limits: Limits) -> Limit {
    Limit {
        name: USERS.to_owned(),
        by: vec![Subject::Key, Subject::User],
        scope: Scope::default(),
        limits,
    }
}

/// `ENABLE_RATE_LIMITING`: tokens per user, unless the file says something else of them.
pub(super) fn users_of_env(config: &mut Config, given: bool, env: &Environment, problems: &mut Vec<Problem>) {
    const DEFAULT_TOKENS: u64 = 1000;
    const DEFAULT_MINUTES: u64 = 60;
    const MOST_MINUTES: u64 = 31 * 24 * 60;
    let Some(on) = env.set("ENABLE_RATE_LIMITING") else {
        return;
    };
    let mut wrong = |code, message: String, help: String| {
        problems.push(Problem {
            severity: Severity::Error,
            code,
            message,
            at: None,
            help: Some(help),
        });
    };
    match on.to_ascii_lowercase().as_str() {
        "true" | "1" => {}
        "false" | "0" => return,
        _ => {
            return wrong(
                "E004",
                "ENABLE_RATE_LIMITING is neither true nor false".into(),
                "write true or false".into(),
            );
        }
    }
    let mut number = |name: &str, default: u64, most: u64| {
        let Some(text) = env.set(name) else { return default };
        let found = crate::units::count(text).filter(|number| (1..=most).contains(number));
        found.unwrap_or_else(|| {
            wrong(
                "E008",
                format!("{name} is not a usable number"),
                format!("use a whole number between 1 and {most}"),
            );
            default
        })
    };
    let tokens = number("MAX_TOKENS", DEFAULT_TOKENS, COUNT_MAX);
    let minutes = number("RATE_LIMIT_WINDOW_MIN", DEFAULT_MINUTES, MOST_MINUTES);
    if given {
        return;
    }
    if !config.limits.iter().any(|limit| limit.name == USERS) {
        config.limits.push(of_users(Limits::default()));
    }
    for limit in config.limits.iter_mut().filter(|limit| limit.name == USERS) {
        limit.limits.tokens = Some((tokens, Duration::from_secs(minutes * 60)));
        limit.limits.on_failure = config.on_failure;
    }
}
