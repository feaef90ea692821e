//! One attempt of a request, as it is stored.

use std::sync::{Arc, LazyLock};

use crate::budget::BudgetPeriod;

/// One name per variant: the one in the store, the API and on the command line.
macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            /// All of them.
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            /// Its name in the store, in lower case.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$variant => $name),*
                }
            }

            /// The same, to be bound to many rows without a copy for each.
            pub(crate) fn text(self) -> &'static Arc<str> {
                static TEXTS: [LazyLock<Arc<str>>; $type::ALL.len()] = [$(LazyLock::new(|| $name.into())),*];
                let [first, ..] = &TEXTS;
                TEXTS.get(self as usize).unwrap_or(first)
            }

            /// The one of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name)
            }
        }
    };
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// The client has its answer.
    Answered,
    /// Another attempt followed.
    Retried,
    /// The client got an error.
    Failed,
    /// The stream broke off after its first bytes.
    Cut,
    /// The client left.
    ClientGone,
    /// The process died while it ran.
    Crashed,
    /// The gateway let go of it: a panic, or the deadline of a drain.
    Aborted,
}

named!(AttemptOutcome {
    Answered = "answered",
    Retried = "retried",
    Failed = "failed",
    Cut = "cut",
    ClientGone = "client_gone",
    Crashed = "crashed",
    Aborted = "aborted",
});

impl AttemptOutcome {
    /// True if its request failed. A client that left has only itself to ask; an attempt that another followed settles nothing.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            AttemptOutcome::Failed
            | AttemptOutcome::Cut
            | AttemptOutcome::Crashed
            | AttemptOutcome::Aborted => true,
            AttemptOutcome::Answered | AttemptOutcome::Retried | AttemptOutcome::ClientGone => false,
        }
    }

    /// True if it ended its request: every request has exactly one such attempt.
    #[must_use]
    pub fn is_settled(self) -> bool {
        self != AttemptOutcome::Retried
    }
}

/// Does the provider bill an attempt?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Billed {
    /// No: it never reached the model.
    No,
    /// Yes: the provider counted tokens.
    Yes,
    /// Probably: the model may have worked before the failure.
    Estimated,
}

named!(Billed {
    No = "no",
    Yes = "yes",
    Estimated = "estimated",
});

/// Where the counters of an attempt come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// The channel counted all that is known.
    Reported,
    /// It counted some; the missing ones are estimates.
    Partial,
    /// All are estimates.
    Estimated,
}

named!(UsageSource {
    Reported = "reported",
    Partial = "partial",
    Estimated = "estimated",
});

/// One attempt. Texts longer than 256 bytes are cut and NUL characters replaced when it is stored: they come from clients, and a
/// batch must not fail for one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Id of the request.
    pub request_id: Arc<str>,
    /// Number of the attempt in its request; 0 if no channel was tried. With `request_id` it makes the row unique.
    pub attempt: i64,
    /// Unix milliseconds at which its request was accepted.
    pub started_ms: i64,
    /// Unix milliseconds of its end.
    pub at_ms: i64,
    /// Id of the client key; empty without one.
    pub key_id: Arc<str>,
    /// The user behind the client key; empty without one.
    pub user: Arc<str>,
    /// The model as the client named it.
    pub model: Arc<str>,
    /// The model as the channel was asked for it.
    pub upstream_model: Arc<str>,
    /// Name of the channel; empty if none was tried.
    pub channel: Arc<str>,
    /// Format of the client.
    pub format: Arc<str>,
    /// Format of the channel; empty if none was tried.
    pub upstream_format: Arc<str>,
    /// HTTP status that the client got, for an attempt that was retried the channel's; 0 without one.
    pub status: i64,
    /// Tokens read, cached ones included.
    pub input: i64,
    /// Tokens generated, reasoning included.
    pub output: i64,
    /// Part of `input` that was read from a prompt cache.
    pub cached_input: i64,
    /// Part of `input` that was written to a prompt cache.
    pub cache_write: i64,
    /// Part of `output` that is reasoning.
    pub reasoning: i64,
    /// Cost in 10^-12 US dollars; `None` if the model's price is unknown.
    pub cost_pico_usd: Option<i64>,
    /// Tokens that limits count of it, where that is more than `input` and `output`: what may have been used unseen; else 0. Not
    /// read back.
    pub held: i64,
    /// Money that budgets count of it, pico-USD, where that is more than it costs; else 0. Only added to them, not kept.
    pub held_cost: i64,
    /// Does the provider bill it?
    pub billed: Billed,
    /// Where the counters come from.
    pub source: UsageSource,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Milliseconds to the first content; `None` if none came.
    pub ttft_ms: Option<i64>,
    /// Milliseconds to the end.
    pub total_ms: i64,
    /// The budgets that its cost counts against; not read back.
    pub budgets: Arc<[BudgetPeriod]>,
}

impl UsageRow {
    /// The most tokens that a row says of a kind: more than any request has, and sums of rows stay far below what a column holds.
    pub const MOST_TOKENS: i64 = 1_000_000_000_000;
    /// The most that a row costs, in pico-USD: a million dollars.
    pub const MOST_COST: i64 = 1_000_000_000_000_000_000;

    /// What budgets count of it; `None`: its price is unknown.
    pub(crate) fn spent(&self) -> Option<i64> {
        let held = Some(self.held_cost).filter(|held| *held > 0);
        self.cost_pico_usd.max(held)
    }

    /// True if not all of its counters come from the channel.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.source != UsageSource::Reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_one_name() {
        for outcome in AttemptOutcome::ALL.iter().copied() {
            assert_eq!(AttemptOutcome::from_name(outcome.as_str()), Some(outcome));
        }
        assert_eq!(AttemptOutcome::from_name("ok"), None);
    }

    #[test]
    fn a_request_fails_by_our_or_the_channels_doing_only() {
        let failures: Vec<_> = AttemptOutcome::ALL
            .iter()
            .filter(|outcome| outcome.is_failure())
            .collect();
        let expected = [
            AttemptOutcome::Failed,
            AttemptOutcome::Cut,
            AttemptOutcome::Crashed,
            AttemptOutcome::Aborted,
        ];
        assert_eq!(failures, expected.iter().collect::<Vec<_>>());
    }
}
