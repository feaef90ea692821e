//! Why recent requests went where they went.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use ai_api_converter::Format;
use opm_config::Strategy;
use opm_core::RequestId;
use opm_routing::{Millis, Plan, Skip, Wanted};
use parking_lot::Mutex;

use crate::snapshot::Snapshot;

/// Requests that are remembered.
const KEPT: usize = 4_096;

/// The way of one request.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Arrival, seconds since 1970.
    pub at: u64,
    /// Moment of the plan, on the clock that breakers use.
    pub planned: Millis,
    /// Public model name, cut.
    pub model: String,
    /// The client's format.
    pub format: Option<Format>,
    /// Name of the client key.
    pub key: Option<String>,
    /// How equals were ordered.
    pub strategy: Strategy,
    /// Number of the route that matched.
    pub rule: Option<usize>,
    /// The first candidate knew the conversation.
    pub sticky: bool,
    /// Everybody was broken.
    pub last_resort: bool,
    /// Channel, model name there, format there; in order.
    pub candidates: Vec<(Arc<str>, String, Format)>,
    /// Channels that were left out.
    pub skipped: Vec<(Arc<str>, Skip)>,
    /// What was tried.
    pub attempts: Vec<Tried>,
    /// Status the client got.
    pub status: u16,
}

/// The first characters of a text.
fn start(text: &str, characters: usize) -> &str {
    if text.len() <= characters {
        return text;
    }
    let end = text.char_indices().nth(characters).map(|(at, _)| at);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Its span, if requests get spans.
    pub span: Option<NonZeroU64>,
    /// Where.
    pub channel: Arc<str>,
    /// `ok`, `client_gone`, or the kind of failure.
    pub outcome: &'static str,
    /// HTTP status of the upstream, if it came that far.
    pub status: Option<u16>,
    /// From the request's arrival to its begin.
    pub after: Duration,
    /// How long it took.
    pub time: Duration,
}

impl Trail {
    /// The way of a request, as far as the plan tells it: the plan, or what was skipped where there is none. `at` in seconds since
    /// 1970.
    #[must_use]
    pub fn of(
        snapshot: &Snapshot,
        wanted: &Wanted<'_>,
        plan: Result<&Plan, &Vec<(usize, Skip)>>,
        now: Millis,
        at: u64,
    ) -> Self {
        let name = |channel: &usize| snapshot.live.get(*channel).map(|live| Arc::clone(&live.name));
        let skipped = match plan {
            Ok(plan) => &plan.skipped,
            Err(skipped) => skipped,
        };
        let plan = plan.ok();
        let candidates = plan.map(|plan| plan.candidates.as_slice()).unwrap_or_default();
        Trail {
            at,
            planned: now,
            model: start(wanted.model, 120).to_owned(),
            format: Some(wanted.format),
            key: wanted.key.map(|key| key.name.clone()),
            strategy: plan.map_or(snapshot.config.strategy, |plan| plan.strategy),
            rule: plan.and_then(|plan| plan.rule),
            sticky: plan.is_some_and(|plan| plan.sticky),
            last_resort: plan.is_some_and(|plan| plan.last_resort),
            candidates: candidates
                .iter()
                .filter_map(|found| Some((name(&found.channel)?, found.model.clone(), found.format)))
                .collect(),
            skipped: skipped
                .iter()
                .filter_map(|(channel, why)| Some((name(channel)?, *why)))
                .collect(),
            attempts: Vec::with_capacity(1),
            status: 0,
        }
    }

    /// `a:overloaded:503:12ms b:ok:200:40ms`.
    pub(crate) fn tried(&self) -> impl fmt::Display + '_ {
        struct List<'t>(&'t [Tried]);
        impl fmt::Display for List<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (at, tried) in self.0.iter().enumerate() {
                    let blank = if at > 0 { " " } else { "" };
                    let (channel, outcome) = (&tried.channel, tried.outcome);
                    let (status, time) = (tried.status.unwrap_or(0), tried.time.as_millis());
                    write!(f, "{blank}{channel}:{outcome}:{status}:{time}ms")?;
                }
                Ok(())
            }
        }
        List(&self.attempts)
    }
}

/// The last requests. The oldest make room.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<(RequestId, Arc<Trail>)>>);

impl History {
    pub(crate) fn add(&self, id: RequestId, trail: Trail) {
        let trail = Arc::new(trail);
        let mut kept = self.0.lock();
        let oldest = if kept.len() == KEPT {
            kept.pop_front()
        } else {
            None
        };
        kept.push_back((id, trail));
        // What takes time is done without the lock.
        drop(kept);
        drop(oldest);
    }

    /// The way of a request, if it is remembered.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Trail>> {
        let kept = self.0.lock();
        let found = kept.iter().rev().find(|(known, _)| known.as_str() == id);
        found.map(|(_, trail)| Arc::clone(trail))
    }
}
