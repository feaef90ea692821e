//! Windows over a restart: what was used before this process started is counted again. Pure.
//!
//! Nothing is counted earlier than it happened, so that no trailing window is over its limit.

use std::collections::HashMap;

use opm_ledger::{Outcome, Settled};
use opm_limits::{Charge, Dimension, Limiter, Window};

use super::rules::{GONE, Ruled, Who};
use crate::snapshot::Snapshot;

/// What was used by one caller, of one model, at one channel.
#[derive(Clone, Copy, Debug)]
pub struct Used<'u> {
    /// Id of the client key.
    pub key: &'u str,
    /// The user behind it.
    pub user: &'u str,
    /// The model as the client named it.
    pub model: &'u str,
    /// The channel.
    pub channel: &'u str,
    /// When it was used or later, milliseconds since 1970.
    pub at_ms: u64,
    /// Tokens, with those that may have been used unseen.
    pub tokens: u64,
    /// Tries: for limits of requests each is one.
    pub requests: u64,
}

impl<'u> From<&'u Settled> for Used<'u> {
    /// A row of the ledger, counted as the store counts it.
    fn from(settled: &'u Settled) -> Self {
        let row = &settled.row;
        let ended = matches!(
            row.outcome,
            Outcome::Finished | Outcome::Crashed | Outcome::Aborted
        );
        // Nothing counts a try that failed before the model worked; one that it may have worked for is counted, and so is the next.
        let worked = ended || row.counted() > 0;
        // When a later attempt began is not kept.
        let is_first = row.attempt <= 1;
        Used {
            key: &row.key,
            user: &row.user,
            model: &row.model,
            channel: &row.channel,
            at_ms: if is_first { row.started_ms } else { row.at_ms },
            tokens: row.counted(),
            requests: u64::from(worked),
        }
    }
}

/// Brings what was used to the limits in force.
pub struct Past<'p> {
    snapshot: &'p Snapshot,
    limiter: &'p Limiter,
    now_ms: u64,
    /// Numbers of the channels.
    channels: HashMap<&'p str, usize>,
}

impl<'p> Past<'p> {
    /// For the limits of a snapshot.
    #[must_use]
    pub fn new(snapshot: &'p Snapshot, limiter: &'p Limiter, now_ms: u64) -> Self {
        let config = &snapshot.config;
        let channels = config.channels.iter().enumerate();
        Past {
            snapshot,
            limiter,
            now_ms,
            channels: channels
                .map(|(number, channel)| (channel.name.as_str(), number))
                .collect(),
        }
    }

    /// Counts it in the windows that concern it: those of one length, or all.
    pub fn add(&self, used: &Used<'_>, only: Option<Window>) {
        let rules = &self.snapshot.rules;
        let who = rules.who(used.key, used.user, used.model);
        for ruled in rules.of_request(&who) {
            self.count(ruled, &who, used, only);
        }
        // Empty: it was never sent.
        if !used.channel.is_empty() {
            let number = self.channels.get(used.channel).copied().unwrap_or(GONE);
            for ruled in rules.of_channel(&who, (number, used.channel)) {
                self.count(ruled, &who, used, only);
            }
        }
    }

    fn count(&self, ruled: &Ruled, who: &Who<'_>, used: &Used<'_>, only: Option<Window>) {
        let rule = &ruled.rule;
        let counts = rule.window().is_some() && (only.is_none() || rule.window() == only);
        let amount = match rule.dimension() {
            Dimension::Tokens if counts => used.tokens,
            Dimension::Requests if counts => used.requests,
            _ => return,
        };
        let subjects = who.subjects(used.channel);
        let charge = Charge::new(rule, &subjects, amount);
        self.limiter.restore(&charge, used.at_ms, self.now_ms);
    }
}

#[cfg(test)]
mod tests;
