//! Graceful stop: refuse what is new, let finish what runs, leave within a second of the last stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// Counts requests under way and knows whether the process is on its way out. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    in_flight: AtomicUsize,
    changed: Notify,
}

/// One request under way; counts down when it goes.
#[derive(Debug)]
pub struct InFlight(Drain);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.0.changed.notify_waiters();
    }
}

impl Drain {
    /// Counts a request until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }

    /// True from the first stop signal on.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Acquire)
    }

    /// Starts refusing new requests.
    pub fn start(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Waits until the last request is done.
    pub async fn idle(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.in_flight() == 0 {
                return;
            }
            // The bound covers a notification between the check and the wait.
            let _ = tokio::time::timeout(Duration::from_millis(100), changed).await;
        }
    }
}

/// Turns Unix signals into actions: SIGTERM and SIGINT drain, a second one leaves at once, SIGQUIT hands the listeners over, SIGHUP
/// reads the configuration again.
pub struct Signals {
    /// What SIGHUP does.
    pub reload: Box<dyn Fn() + Send + Sync>,
    /// The drain to start.
    pub drain: Drain,
    /// How long streams may go on.
    pub deadline: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let streams = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
            signal(SignalKind::quit()),
            signal(SignalKind::hangup()),
        );
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut quit), Ok(mut hangup)) = streams else {
            tracing::error!("signal handlers could not be installed; stop the process by force if needed");
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = quit.recv() => return ShutdownSignal::GracefulUpgrade,
                _ = hangup.recv() => (self.reload)(),
            }
        }
        self.drain.start();
        tracing::info!(
            in_flight = self.drain.in_flight(),
            "stopping: new requests are refused, running ones finish"
        );
        tokio::select! {
            () = self.drain.idle() => {}
            () = tokio::time::sleep(self.deadline) => tracing::warn!("drain deadline reached; the rest is cut"),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ShutdownSignal::FastShutdown
    }
}
