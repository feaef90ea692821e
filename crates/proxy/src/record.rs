//! What is recorded when a request is over, whatever happened to it.

use std::time::{Duration, Instant};

use ai_api_converter::{Format, Particulars, Settings};
use opm_core::RequestId;
use opm_telemetry::{Metrics, Outcome, Trace};

use crate::history::Trail;
use crate::metering::account::Bill;
use crate::metering::headers::Left;
use crate::snapshot::Snapshot;

/// The record of one request.
pub(crate) struct Record {
    pub(crate) format: Option<Format>,
    pub(crate) api: &'static str,
    /// Number of the channel that answered, or was tried last.
    pub(crate) channel: Option<usize>,
    /// Name of the client key.
    pub(crate) key: Option<String>,
    pub(crate) status: u16,
    pub(crate) started: Instant,
    /// When that was, seconds since 1970.
    pub(crate) at: u64,
    /// Class of the failure that ended it.
    pub(crate) error: Option<&'static str>,
    /// A stream was asked for.
    pub(crate) stream: bool,
    /// The client's output limit.
    pub(crate) max_tokens: Option<u64>,
    /// From its arrival to the first content.
    pub(crate) first_token: Option<Duration>,
    /// Its place in a trace, if requests get spans.
    pub(crate) trace: Option<Box<Trace>>,
    /// How it wants to be answered, if it gets a span.
    pub(crate) settings: Option<Box<Settings>>,
    /// What the answer said of itself, if somebody wants to know.
    pub(crate) particulars: Option<Box<Particulars>>,
    /// Time spent waiting for the client's body and for upstreams.
    pub(crate) waited: Duration,
    /// Where the request might have gone, and where it went.
    pub(crate) trail: Trail,
    /// What it used.
    pub(crate) bill: Bill,
    /// What is left of the caller's limits, as headers of an error.
    pub(crate) limits: Left,
}

impl Record {
    /// A request that came now. `at` in seconds since 1970.
    pub(crate) fn new(at: u64) -> Self {
        Record {
            format: None,
            api: "unknown",
            channel: None,
            key: None,
            status: 499,
            started: Instant::now(),
            at,
            error: None,
            stream: false,
            max_tokens: None,
            first_token: None,
            trace: None,
            settings: None,
            particulars: None,
            waited: Duration::ZERO,
            trail: Trail::default(),
            bill: Bill::default(),
            limits: Left::new(),
        }
    }

    /// Metrics and the one line of the log. No secret and no prompt is in it.
    pub(crate) fn close(&self, id: &RequestId, metrics: &Metrics, snapshot: &Snapshot) {
        let total = self.started.elapsed();
        metrics.request(&Outcome {
            format: self.format,
            api: self.api,
            channel: self.channel.and_then(|number| snapshot.meters(number, metrics)),
            status: self.status,
            total,
            upstream: self.waited,
        });
        tracing::info!(
            id = id.as_str(),
            format = self.format.map_or("none", Format::as_str),
            api = self.api,
            key = self.key.as_deref().unwrap_or("none"),
            channel = self.channel(snapshot).unwrap_or("none"),
            status = self.status,
            attempts = self.trail.attempts.len(),
            tried = %self.trail.tried(),
            total_ms = millis(total),
            upstream_ms = millis(self.waited),
            "request"
        );
    }

    fn channel<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s str> {
        Some(&snapshot.live.get(self.channel?)?.name)
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
