//! The thread that does what no request should wait for: syncs, new segments, the backlog.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::log::Log;
use crate::options::Sync;

/// Stops the thread when the last handle goes; the last records are synced then.
#[derive(Debug)]
pub(crate) struct Keeper {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

/// How often the thread looks around if nobody wakes it.
fn pause(sync: Sync) -> Duration {
    match sync {
        Sync::Every(time) => time,
        Sync::Always => Duration::from_millis(100),
    }
}

impl Keeper {
    pub(crate) fn start(log: Arc<Log>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let shared = log.clone();
        let thread = thread::Builder::new().name("opm-ledger".into()).spawn(move || {
            let pause = pause(log.options.sync);
            while !stopped.load(Ordering::Acquire) {
                thread::park_timeout(pause);
                tend(&log);
            }
            tend(&log);
            let records = log.health().backlog;
            if records > 0 {
                tracing::error!(
                    records,
                    "the disk of the ledger has not taken these records, and the gateway ends"
                );
            }
        })?;
        shared.set_keeper(thread.thread().clone());
        Ok(Keeper {
            thread: Some(thread),
            stop,
        })
    }
}

fn tend(log: &Log) {
    log.turn();
    log.work_off();
    log.sync();
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread was reported when it happened.
            _ = thread.join();
        }
    }
}
