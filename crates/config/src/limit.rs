//! Limits and budgets, as they are configured. What counts and decides is the limiter.

use std::fmt;
use std::time::Duration;

use crate::units::{shown_count, shown_decimal, shown_duration};

/// What a limit counts apart: each value has the limit for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The client key.
    Key,
    /// The person behind it: the user header, else the body's user field.
    User,
    /// The model as the client names it.
    Model,
    /// The channel.
    Channel,
}

impl Subject {
    /// The word in the config file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::Key => "key",
            Subject::User => "user",
            Subject::Model => "model",
            Subject::Channel => "channel",
        }
    }
}

/// How tokens and money are reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// An upper bound, to which the upstream request is held: never over.
    #[default]
    Strict,
    /// The likely cost, topped up while the answer streams; the request goes upstream as it is.
    Estimate,
}

/// What happens while the shared store of limits does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Each instance admits its share.
    #[default]
    Local,
    /// Nothing is admitted.
    Deny,
    /// Everything is admitted, and counted later.
    Allow,
}

/// Numbers that a subject may not exceed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Tokens, input and output, in any trailing window of this length.
    pub tokens: Option<(u64, Duration)>,
    /// Requests in any trailing minute.
    pub requests: Option<u64>,
    /// Requests at the same time.
    pub concurrent: Option<u64>,
    /// Money by calendar period.
    pub budgets: Vec<Budget>,
    /// How tokens are reserved.
    pub mode: Mode,
    /// Without the shared store; not for budgets, which have their own.
    pub on_failure: OnFailure,
}

/// The length of a budget's period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// A day of its time zone.
    Day,
    /// A month of its time zone.
    Month,
}

/// Money per day or month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// In 10^-12 US dollars.
    pub pico_usd: u64,
    /// How long it has to last.
    pub per: Per,
    /// IANA name of the time zone whose midnights count.
    pub zone: String,
    /// Percentages whose crossing is reported.
    pub warn_at: Vec<u8>,
    /// Requests are refused when it is used up; otherwise only reported.
    pub blocks: bool,
    /// How money is reserved.
    pub mode: Mode,
    /// Without the shared store; `Deny` unless it only warns.
    pub on_failure: OnFailure,
}

/// As people say it: `50 USD per month`.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Day => "day",
            Per::Month => "month",
        };
        write!(f, "{} USD per {per}", shown_decimal(self.pico_usd, 12))?;
        if self.zone != "UTC" {
            write!(f, " of {}", self.zone)?;
        }
        f.write_str(if self.blocks { "" } else { ", warning only" })
    }
}

/// Which requests a limit concerns. Empty lists: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Names of client keys.
    pub keys: Vec<String>,
    /// Globs of users.
    pub users: Vec<String>,
    /// Globs of models as clients name them.
    pub models: Vec<String>,
    /// Names of channels.
    pub channels: Vec<String>,
}

/// An entry of `limits:`, or `users:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name: what errors and `rate_limit_exceeded_total{limit}` show, followed by what is counted (`NAME.tokens`).
    pub name: String,
    /// What is counted apart. Empty: all its requests together.
    pub by: Vec<Subject>,
    /// Whom it concerns.
    pub scope: Scope,
    /// How much.
    pub limits: Limits,
}

impl Limits {
    /// True if nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_none()
            && self.requests.is_none()
            && self.concurrent.is_none()
            && self.budgets.is_empty()
    }
}

/// As people say it: `200k tokens per 1h, 600 requests per minute, 20 at a time`; `nothing` if nothing is limited.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self
            .tokens
            .map(|(tokens, window)| format!("{} tokens per {}", shown_count(tokens), shown_duration(window)));
        let requests = self
            .requests
            .map(|requests| format!("{} requests per minute", shown_count(requests)));
        let concurrent = self
            .concurrent
            .map(|concurrent| format!("{} at a time", shown_count(concurrent)));
        let budgets = self.budgets.iter().map(ToString::to_string);
        let counted = [tokens, requests, concurrent].into_iter().flatten();
        let all: Vec<String> = counted.chain(budgets).collect();
        f.write_str(if all.is_empty() { "nothing" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

/// How limits are shared by several instances.
#[derive(Clone, PartialEq, Eq)]
pub struct Shared {
    /// `redis://…` or `rediss://…`; may hold a password.
    pub redis_url: opm_core::Secret,
    /// What all keys begin with; instances that share limits have the same.
    pub namespace: String,
    /// How long a request waits for the store before the policies decide.
    pub timeout: Duration,
    /// How many instances there are at least: what `local` divides by while the store has not told of more.
    pub instances: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("namespace", &self.namespace)
            .field("timeout", &self.timeout)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_in_words() {
        let budget = Budget {
            pico_usd: 50_250_000_000_000,
            per: Per::Month,
            zone: "UTC".into(),
            warn_at: Vec::new(),
            blocks: true,
            mode: Mode::Strict,
            on_failure: OnFailure::Deny,
        };
        let watched = Budget {
            per: Per::Day,
            zone: "Asia/Shanghai".into(),
            blocks: false,
            ..budget.clone()
        };
        let limits = Limits {
            tokens: Some((200_000, Duration::from_secs(3600))),
            requests: Some(600),
            concurrent: Some(20),
            budgets: vec![budget, watched],
            ..Limits::default()
        };
        assert_eq!(
            limits.to_string(),
            "200k tokens per 1h, 600 requests per minute, 20 at a time, 50.25 USD per month, 50.25 USD per day of Asia/Shanghai, \
             warning only"
        );
        assert_eq!(Limits::default().to_string(), "nothing");
    }
}
