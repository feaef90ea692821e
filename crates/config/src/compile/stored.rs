//! What is made at run time and kept as JSON text: channels, routes, and the limits of client keys.

use opm_core::Secret;
use serde_saphyr::{Location, Spanned};

use super::{channel, limit, not_yaml, route};
use crate::config::{Config, Strategy};
use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::limit::{Limits, OnFailure};
use crate::node::{Node, Placed, place};
use crate::section::Reading;

/// A channel that was made at run time: its definition has the members of a channel in the file, without name and keys.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// JSON text.
    pub definition: String,
    /// Its keys.
    pub keys: Vec<Secret>,
}

/// Adds what was made at run time to a configuration: channels, then routes (JSON text with the members of `routes:`). What is
/// wrong is left out and said; `${…}` is never resolved here.
#[must_use]
pub fn add_stored(config: &mut Config, channels: &[Named], routes: Option<&str>) -> Vec<Problem> {
    let env = Environment::default();
    let policy = config.on_failure;
    let mut problems = Vec::new();
    for named in channels {
        match stored(&named.definition, &env, policy, |node, r| {
            channel::stored(node, named, config, r)
        }) {
            Ok(Some(found)) => config.channels.push(found),
            Ok(None) => {}
            Err(more) => problems.extend(more),
        }
    }
    if let Some(text) = routes {
        let mut changed = Config {
            strategy: Strategy::default(),
            aliases: Vec::new(),
            rules: Vec::new(),
            ..config.clone()
        };
        let read = |node: &Placed, r: &mut Reading<'_>| {
            route::routes(node, &mut changed, r);
            Some(())
        };
        match stored(text, &env, policy, read) {
            Ok(_) => *config = changed,
            Err(more) => problems.extend(more),
        }
    }
    problems
}

fn stored<T>(
    text: &str,
    env: &Environment,
    on_failure: OnFailure,
    read: impl FnOnce(&Placed, &mut Reading<'_>) -> Option<T>,
) -> Result<Option<T>, Vec<Problem>> {
    let root: Placed = serde_saphyr::from_str(text).map_err(|error| vec![not_yaml(&error)])?;
    let mut reading = Reading::new(env, text);
    reading.on_failure = on_failure;
    let found = read(&root, &mut reading);
    let broken = reading
        .problems
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    if broken { Err(reading.problems) } else { Ok(found) }
}

impl Config {
    /// [`stored_limits`] of a client key of this configuration's store: what they do not say is as the file says.
    ///
    /// # Errors
    /// As [`stored_limits`].
    pub fn stored_limits(&self, limits: Option<&str>, budget: Option<&str>) -> Result<Limits, Vec<Problem>> {
        read_limits(limits, budget, self.on_failure)
    }
}

/// Limits that were made at run time: JSON texts with the members of `limits` and of `budget` (one or a list) in the file.
///
/// # Errors
/// Every problem; its message begins with a JSON pointer: `/limits/tpm: …`, `/budget/0/usd: …`.
pub fn stored_limits(limits: Option<&str>, budget: Option<&str>) -> Result<Limits, Vec<Problem>> {
    read_limits(limits, budget, OnFailure::default())
}

fn read_limits(
    limits: Option<&str>,
    budget: Option<&str>,
    on_failure: OnFailure,
) -> Result<Limits, Vec<Problem>> {
    let mut found = Limits::default();
    let mut problems = Vec::new();
    let texts = [("limits", limits), ("budget", budget)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        let key = Spanned {
            value: name.to_owned(),
            referenced: Location::UNKNOWN,
            defined: Location::UNKNOWN,
        };
        let root: Placed = match serde_saphyr::from_str(text) {
            Ok(root) => root,
            Err(error) => {
                problems.push(pointed(not_yaml(&error), Some(format!("/{name}"))));
                continue;
            }
        };
        let env = Environment::default();
        let mut reading = Reading::new(&env, text);
        reading.on_failure = on_failure;
        limit::member(&key, &root, &mut found, &mut reading);
        let more = reading.problems.into_iter();
        problems.extend(more.map(|problem| {
            let at = problem.at.and_then(|at| pointer(&root, at, &format!("/{name}")));
            pointed(problem, at)
        }));
    }
    let broken = problems.iter().any(|problem| problem.severity == Severity::Error);
    if broken { Err(problems) } else { Ok(found) }
}

/// With its place as a JSON pointer: a member of a larger text has no lines worth naming.
fn pointed(problem: Problem, pointer: Option<String>) -> Problem {
    let message = match pointer {
        Some(pointer) => format!("{pointer}: {}", problem.message),
        None => problem.message,
    };
    Problem {
        message,
        at: None,
        ..problem
    }
}

/// The JSON pointer of what stands at a place, or of the member whose name stands there.
fn pointer(node: &Placed, at: (usize, usize, usize), path: &str) -> Option<String> {
    if place(node) == at {
        return Some(path.to_owned());
    }
    match &node.value {
        Node::Map(members) => members.iter().find_map(|(key, value)| {
            let name = key.value.replace('~', "~0").replace('/', "~1");
            let path = format!("{path}/{name}");
            if place(key) == at {
                return Some(path);
            }
            pointer(value, at, &path)
        }),
        Node::List(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(number, item)| pointer(item, at, &format!("{path}/{number}")))
        }
        Node::Null | Node::Bool(_) | Node::Int(_) | Node::Float(_) | Node::Text(_) => None,
    }
}
