//! The configured limits as rules of the limiter, found by whom they concern.

use std::collections::HashMap;
use std::sync::Arc;

use opm_config::{Budget, Config, Limit, Limits, Per, Scope, Subject, matches_glob};
use opm_ledger::Prices;
use opm_limits::{
    AtLimit, Dimension, Every, Mode, OnFailure, Over, Period, Rule, RuleProblem, SubjectKind, SubjectKinds,
    Subjects, Window,
};

/// Requests are limited by the minute.
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// Who makes a request, as limits and the ledger know it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Who<'w> {
    /// Id of the client key; empty without one.
    pub(crate) key: &'w str,
    /// Its name.
    pub(crate) key_name: &'w str,
    /// The user; empty if nobody is named.
    pub(crate) user: &'w str,
    /// The model as the client names it.
    pub(crate) model: &'w str,
}

impl<'w> Who<'w> {
    /// For whom limits count its try at a channel.
    pub(crate) fn subjects(&self, channel: &'w str) -> Subjects<'w> {
        Subjects {
            key: Some(self.key),
            user: Some(self.user),
            model: Some(self.model),
            channel: Some(channel),
        }
    }
}

/// A rule, and the period of its budget.
#[derive(Clone, Debug)]
pub(crate) struct Ruled {
    pub(crate) rule: Arc<Rule>,
    /// `None`: it is no budget.
    pub(crate) budget: Option<Calendar>,
}

/// The period of a budget, and its name (`month UTC`).
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    pub(crate) period: Period,
    pub(crate) name: String,
}

/// The rules of a configuration, and its prices.
#[derive(Clone, Debug, Default)]
pub struct RuleBook {
    /// By id of the client key.
    keys: HashMap<String, Vec<Ruled>>,
    /// By number of the channel.
    channels: Vec<Vec<Ruled>>,
    /// Those of `limits:` and `users:`.
    general: Vec<General>,
    /// Of client keys, those that are revoked too, by id.
    names: HashMap<String, String>,
    /// One of them is a budget.
    budgets: bool,
    pub(crate) prices: Prices,
}

#[derive(Clone, Debug)]
struct General {
    scope: Scope,
    /// It concerns channels, which are only known when one is tried.
    by_channel: bool,
    rules: Vec<Ruled>,
}

impl RuleBook {
    /// Compiles the limits of a configuration. What cannot be is left out and logged; the reader of the configuration has refused
    /// it before.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let own = config.prices.as_deref().unwrap_or(r#"{"rules":[]}"#);
        let prices = opm_ledger::Rule::list(own).and_then(Prices::new);
        let keys = config.keys.iter().filter(|key| !key.limits.is_empty());
        let by_key = keys.map(|key| (key.id.clone(), rules("key", &key.limits, &[SubjectKind::Key])));
        let by_channel = config.channels.iter();
        let mut book = RuleBook {
            keys: by_key.collect(),
            channels: by_channel
                .map(|channel| rules("channel", &channel.limits, &[SubjectKind::Channel]))
                .collect(),
            general: config.limits.iter().map(General::new).collect(),
            names: names(config),
            budgets: false,
            prices: prices.unwrap_or_else(|error| {
                tracing::error!(%error, "the operator's price list is left out");
                Prices::new(Vec::new()).unwrap_or_default()
            }),
        };
        let general = book.general.iter().map(|general| &general.rules);
        let all = book.keys.values().chain(&book.channels).chain(general);
        book.budgets = all.flatten().any(|ruled| ruled.budget.is_some());
        book
    }

    /// Who made a request of the past. Keys that have left the file are called as they were.
    pub(crate) fn who<'w>(&'w self, key: &'w str, user: &'w str, model: &'w str) -> Who<'w> {
        let known = self.names.get(key).map(String::as_str);
        let of_file = || key.strip_prefix(OF_FILE).unwrap_or_default();
        Who {
            key,
            key_name: known.unwrap_or_else(of_file),
            user,
            model,
        }
    }

    /// The rules for a request that do not depend on its channel.
    pub(crate) fn of_request<'r>(&'r self, who: &'r Who<'r>) -> impl Iterator<Item = &'r Ruled> {
        let general = self.general.iter().filter(|general| !general.by_channel);
        let general = general.filter(move |general| general.concerns(who, None));
        let own = self.keys.get(who.key).into_iter().flatten();
        own.chain(general.flat_map(|general| &general.rules))
    }

    /// The rules for its try at a channel.
    pub(crate) fn of_channel<'r>(
        &'r self,
        who: &'r Who<'r>,
        channel: (usize, &'r str),
    ) -> impl Iterator<Item = &'r Ruled> {
        let general = self.general.iter().filter(|general| general.by_channel);
        let general = general.filter(move |general| general.concerns(who, Some(channel.1)));
        let own = self.channels.get(channel.0).into_iter().flatten();
        own.chain(general.flat_map(|general| &general.rules))
    }
}

impl RuleBook {
    /// The budget of this name and period that concerns a key or a channel.
    pub(crate) fn budget(
        &self,
        name: &str,
        calendar: &str,
        key: &str,
        channel: Option<usize>,
    ) -> Option<&Ruled> {
        let own = self.keys.get(key).into_iter().flatten();
        let channels = channel.and_then(|channel| self.channels.get(channel));
        let general = self.general.iter().flat_map(|general| &general.rules);
        own.chain(channels.into_iter().flatten())
            .chain(general)
            .find(|ruled| {
                let same = ruled
                    .budget
                    .as_ref()
                    .is_some_and(|budget| budget.name == calendar);
                same && **ruled.rule.name() == *name
            })
    }

    /// A name for each budget: whose, of which rule, in which period.
    pub fn budgets(&self) -> impl Iterator<Item = String> {
        let keys = self.keys.iter().map(|(key, rules)| (key.as_str(), rules));
        let others = self
            .channels
            .iter()
            .chain(self.general.iter().map(|general| &general.rules));
        let all = keys.chain(others.map(|rules| ("", rules)));
        all.flat_map(|(whose, rules)| {
            let of = move |ruled: &Ruled| {
                let calendar = ruled.budget.as_ref()?;
                Some(format!("{whose} {} {}", ruled.rule.name(), calendar.name))
            };
            rules.iter().filter_map(of)
        })
    }

    /// True if money is counted for anybody.
    #[must_use]
    pub fn has_budgets(&self) -> bool {
        self.budgets
    }

    /// The rules of client keys, by their ids, in their order.
    pub(crate) fn of_keys(&self) -> impl Iterator<Item = (&str, &Ruled)> {
        let keys = self.keys.iter();
        keys.flat_map(|(key, rules)| rules.iter().map(|ruled| (key.as_str(), ruled)))
    }

    /// The rules of channels, in the configuration's order.
    pub(crate) fn of_channels(&self) -> impl Iterator<Item = &Vec<Ruled>> {
        self.channels.iter()
    }

    /// The rules that count everybody together.
    pub(crate) fn of_everybody(&self) -> impl Iterator<Item = &Ruled> {
        let general = self.general.iter().flat_map(|general| &general.rules);
        general.filter(|ruled| ruled.rule.subjects() == SubjectKinds::default())
    }

    /// The windows that any rule counts over, each once, the shortest first.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        let general = self.general.iter().flat_map(|general| &general.rules);
        let own = self.keys.values().chain(&self.channels).flatten();
        let rules = own.chain(general);
        let mut windows: Vec<Window> = rules.filter_map(|ruled| ruled.rule.window()).collect();
        windows.sort_unstable_by_key(|window| window.length_ms());
        windows.dedup();
        windows
    }

    /// True if nothing is limited.
    pub(crate) fn is_empty(&self) -> bool {
        let no = |rules: &Vec<Ruled>| rules.is_empty();
        self.keys.values().all(no) && self.channels.iter().all(no) && self.general.is_empty()
    }
}

/// With it begins the id of a key of the config file; its name follows.
const OF_FILE: &str = "static:";

/// The name of a channel that is not there any more has no number; rules may say it.
pub(crate) const GONE: usize = usize::MAX;

fn names(config: &Config) -> HashMap<String, String> {
    let keys = config.keys.iter();
    let keys = keys.map(|key| (key.id.clone(), key.name.clone()));
    keys.chain(config.revoked_keys.iter().cloned()).collect()
}

impl General {
    fn new(limit: &Limit) -> Self {
        let kinds: Vec<SubjectKind> = limit.by.iter().map(|subject| kind(*subject)).collect();
        General {
            scope: limit.scope.clone(),
            by_channel: limit.by.contains(&Subject::Channel) || !limit.scope.channels.is_empty(),
            rules: rules(&limit.name, &limit.limits, &kinds),
        }
    }

    fn concerns(&self, who: &Who<'_>, channel: Option<&str>) -> bool {
        let named =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|known| known == name);
        let like = |globs: &[String], name: &str| {
            globs.is_empty() || globs.iter().any(|glob| matches_glob(glob, name))
        };
        named(&self.scope.keys, who.key_name)
            && like(&self.scope.users, who.user)
            && like(&self.scope.models, who.model)
            && channel.is_none_or(|channel| named(&self.scope.channels, channel))
    }
}

fn kind(subject: Subject) -> SubjectKind {
    match subject {
        Subject::Key => SubjectKind::Key,
        Subject::User => SubjectKind::User,
        Subject::Model => SubjectKind::Model,
        Subject::Channel => SubjectKind::Channel,
    }
}

/// The rules of one entry; their names are the labels of `rate_limit_exceeded_total`.
fn rules(name: &str, limits: &Limits, by: &[SubjectKind]) -> Vec<Ruled> {
    let windows = [
        limits
            .tokens
            .map(|(limit, window)| ("tokens", Dimension::Tokens, limit, window)),
        limits
            .requests
            .map(|limit| ("requests", Dimension::Requests, limit, MINUTE)),
    ];
    let windows = windows
        .into_iter()
        .flatten()
        .map(|(what, dimension, limit, window)| {
            let over = Window::new(window).map(Over::Window);
            over.and_then(|over| Rule::new(&format!("{name}.{what}"), dimension, limit, over))
        });
    let open = limits.concurrent.map(|limit| {
        Rule::new(
            &format!("{name}.concurrent"),
            Dimension::Concurrency,
            limit,
            Over::Open,
        )
    });
    let counted = windows.chain(open).map(|rule| {
        let rule = rule?
            .mode(mode(limits.mode))
            .on_failure(on_failure(limits.on_failure));
        Ok((rule, None))
    });
    let budgets = limits.budgets.iter().map(|limit| budget(name, limit));
    let made = counted.chain(budgets).filter_map(|made: Result<_, RuleProblem>| {
        made.map_err(|error| tracing::error!(name, %error, "a limit is left out"))
            .ok()
    });
    made.map(|(rule, budget)| Ruled {
        rule: Arc::new(rule.by(by)),
        budget,
    })
    .collect()
}

fn budget(name: &str, budget: &Budget) -> Result<(Rule, Option<Calendar>), RuleProblem> {
    let (every, word) = match budget.per {
        Per::Day => (Every::Day, "day"),
        Per::Month => (Every::Month, "month"),
    };
    let period = Period::new(every, &budget.zone)?;
    let calendar = Calendar {
        period: period.clone(),
        name: format!("{word} {}", budget.zone),
    };
    let name = format!("{name}.budget");
    let rule = Rule::new(&name, Dimension::Money, budget.pico_usd, Over::Period(period))?;
    let rule = rule
        .warn_at(&budget.warn_at)?
        .on_failure(on_failure(budget.on_failure));
    // What only warns must not hold a request to anything.
    let rule = if budget.blocks {
        rule.mode(mode(budget.mode))
    } else {
        rule.mode(Mode::Estimate).at_limit(AtLimit::Warn)
    };
    Ok((rule, Some(calendar)))
}

fn mode(mode: opm_config::Mode) -> Mode {
    match mode {
        opm_config::Mode::Strict => Mode::Strict,
        opm_config::Mode::Estimate => Mode::Estimate,
    }
}

fn on_failure(policy: opm_config::OnFailure) -> OnFailure {
    match policy {
        opm_config::OnFailure::Local => OnFailure::Local,
        opm_config::OnFailure::Deny => OnFailure::Deny,
        opm_config::OnFailure::Allow => OnFailure::Allow,
    }
}
