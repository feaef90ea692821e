//! Graceful stop: refuse what is new, let finish what runs, leave within a second of the last stream. After a hand-over of the
//! listeners nothing is refused: what still comes is served, and its connection closed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora_core::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

/// After the listeners closed, connections without a request are kept so long for one that is on its way.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// After the deadline, what runs has so long to tell its client.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// Counts requests under way and knows whether the process is on its way out. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    draining: AtomicBool,
    handed_over: AtomicBool,
    /// Of its own: every running request waits for it, and the end of one must not wake the others.
    expired: watch::Sender<bool>,
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

    /// True once another process has the listeners: connections close after their next answer, so that clients move over.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.0.handed_over.load(Ordering::Acquire)
    }

    /// True once the deadline for what runs has passed.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        *self.0.expired.borrow()
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

    /// Another process takes the listeners over.
    pub fn hand_over(&self) {
        self.0.handed_over.store(true, Ordering::Release);
    }

    /// Ends what runs: streams with an error event, other requests with 503.
    pub fn expire(&self) {
        self.0.expired.send_replace(true);
    }

    /// Waits until the last request is done.
    pub async fn idle(&self) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Registers before the check, so that no change falls between check and wait.
            changed.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the deadline for what runs has passed; for ever while nothing stops.
    pub async fn expired(&self) {
        // The sender lives in `self`: the watch cannot close.
        let _ = self.0.expired.subscribe().wait_for(|expired| *expired).await;
    }

    /// Lets what runs finish until the deadline or a sign of impatience, then ends it; gives up on what does not end.
    async fn finish(&self, deadline: Duration, impatient: impl Future<Output = ()>) {
        tokio::select! {
            () = self.idle() => return,
            () = tokio::time::sleep(deadline) => tracing::warn!("drain deadline reached; the rest is ended"),
            () = impatient => tracing::warn!("told to stop again; the rest is ended"),
        }
        self.expire();
        if tokio::time::timeout(LAST_WORDS, self.idle()).await.is_err() {
            tracing::warn!(in_flight = self.in_flight(), "requests that did not end are cut");
        }
    }
}

/// Turns Unix signals into actions: SIGTERM and SIGINT drain, a second one ends what runs, a third leaves at once; SIGQUIT hands the
/// listeners over, SIGHUP reads the configuration again.
pub struct Signals {
    /// What SIGHUP does.
    pub reload: Box<dyn Fn() + Send + Sync>,
    /// The drain to start.
    pub drain: Drain,
    /// How long streams may go on.
    pub deadline: Duration,
    /// Where the next process waits for the listeners.
    pub upgrade_socket: String,
}

/// True if a process listens on this socket, now or soon. Pingora closes the listeners even if nobody takes them. A look, not a
/// connection: the next process accepts only one.
async fn waits_for_us(socket: &str) -> bool {
    let listens = || match std::fs::read_to_string("/proc/net/unix") {
        Ok(table) => table.lines().any(|line| is_listening(line, socket)),
        // Not Linux: nothing is known.
        Err(_) => true,
    };
    for _ in 0..50 {
        if listens() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

/// Is this line of the kernel's table the listening socket of this path? Flag 0x10000 is `__SO_ACCEPTCON`.
fn is_listening(line: &str, socket: &str) -> bool {
    let mut fields = line.split_whitespace();
    let flags = fields
        .nth(3)
        .and_then(|flags| u32::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & 0x10000 != 0) && fields.nth(3) == Some(socket)
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
                _ = quit.recv() => {
                    if !waits_for_us(&self.upgrade_socket).await {
                        tracing::error!(socket = self.upgrade_socket, "SIGQUIT ignored: no process waits for the listeners; start `opm serve --upgrade` first");
                        continue;
                    }
                    tracing::info!(in_flight = self.drain.in_flight(), "handing the listeners over to the next process");
                    self.drain.hand_over();
                    return ShutdownSignal::GracefulUpgrade;
                }
                _ = hangup.recv() => (self.reload)(),
            }
        }
        self.drain.start();
        tracing::info!(
            in_flight = self.drain.in_flight(),
            "stopping: new requests are refused, running ones finish"
        );
        let mut again = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        self.drain.finish(self.deadline, again()).await;
        ShutdownSignal::FastShutdown
    }
}

/// Says when a process that handed its listeners over may go: when its last request is done.
pub(super) struct Farewell {
    pub(super) drain: Drain,
    /// How long streams may go on.
    pub(super) deadline: Duration,
    /// Told when it is time.
    pub(super) done: Box<dyn Fn() + Send + Sync>,
}

#[async_trait]
impl BackgroundService for Farewell {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        // A closed watch says the same as a stop.
        let _ = shutdown.wait_for(|stopping| *stopping).await;
        if !self.drain.is_handed_over() {
            return;
        }
        // Connections that were accepted last may not have sent their request yet.
        tokio::time::sleep(LINGER + LINGER / 2).await;
        let impatient = async {
            match signal(SignalKind::terminate()) {
                Ok(mut terminate) => drop(terminate.recv().await),
                Err(_) => std::future::pending().await,
            }
        };
        self.drain.finish(self.deadline, impatient).await;
        tracing::info!("the last request is done; leaving");
        (self.done)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test(start_paused = true)]
    async fn only_a_process_that_listens_gets_the_listeners() {
        let path = std::env::temp_dir().join(format!("opm-drain-{}.sock", std::process::id()));
        let name = path.to_string_lossy().into_owned();
        assert!(!waits_for_us(&name).await);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(waits_for_us(&name).await);
        drop(listener);
        assert!(!waits_for_us(&name).await, "a file that was left behind");
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_the_last_request() {
        let drain = Drain::default();
        let (one, two) = (drain.enter(), drain.enter());
        let finish = tokio::spawn({
            let drain = drain.clone();
            async move {
                drain
                    .finish(Duration::from_secs(300), std::future::pending())
                    .await
            }
        });
        drop(one);
        tokio::task::yield_now().await;
        assert!(!finish.is_finished());
        drop(two);
        finish.await.unwrap();
        assert!(drain.expired().now_or_never().is_none(), "nothing was cut");
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_is_told_at_the_deadline_and_on_a_second_signal() {
        for (deadline, impatient) in [(Duration::from_secs(1), false), (Duration::from_secs(300), true)] {
            let drain = Drain::default();
            let request = drain.enter();
            let told = tokio::spawn({
                let drain = drain.clone();
                async move {
                    drain.expired().await;
                    drop(request);
                }
            });
            let impatient = async move {
                if !impatient {
                    std::future::pending::<()>().await;
                }
            };
            drain.finish(deadline, impatient).await;
            told.await.unwrap();
            assert_eq!(drain.in_flight(), 0);
        }
    }
}
