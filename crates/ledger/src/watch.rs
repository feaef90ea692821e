//! Writes that hang. A write to the log is a system call on a thread that serves: while it hangs, that thread serves nobody, and if it
//! was the one that waits for the network, nobody else does. Tokio lets one of its workers wait and wakes another only for new work. So
//! a thread of our own brings some while a write does not return.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use tokio::runtime::Handle;

/// A write that takes so long hangs: they take microseconds. A busy gateway pays for every look.
const TICK: Duration = Duration::from_millis(100);
/// Ticks without a write after which the thread sleeps until the next one.
const IDLE: u32 = 10;

/// Counts writes as they begin and end.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    begun: AtomicU64,
    ended: AtomicU64,
    /// The thread sleeps: a write wakes it.
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
    /// Where requests are served.
    runtime: OnceLock<Handle>,
}

impl Writes {
    /// The runtime of the caller is the one that must go on.
    pub(crate) fn served_here(&self) {
        if self.runtime.get().is_none()
            && let Ok(handle) = Handle::try_current()
        {
            // Another thread may have been first, with the same.
            _ = self.runtime.set(handle);
        }
    }

    /// Does a write.
    pub(crate) fn watch<T>(&self, write: impl FnOnce() -> T) -> T {
        self.begun.fetch_add(1, SeqCst);
        if self.asleep.load(SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
        let done = write();
        self.ended.fetch_add(1, Relaxed);
        done
    }

    /// The writes that have begun; true if one of them has not ended.
    fn look(&self) -> (u64, bool) {
        let ended = self.ended.load(SeqCst);
        let begun = self.begun.load(SeqCst);
        (begun, begun != ended)
    }
}

/// The thread. It ends with the log.
#[derive(Debug)]
pub(crate) struct Watch {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn start(writes: Arc<Writes>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, watched) = (Arc::clone(&stop), Arc::clone(&writes));
        let thread = thread::Builder::new()
            .name("opm-ledger-watch".into())
            .spawn(move || run(&watched, &stopped))?;
        _ = writes.thread.set(thread.thread().clone());
        Ok(Watch {
            thread: Some(thread),
            stop,
        })
    }
}

fn run(writes: &Writes, stop: &AtomicBool) {
    let (mut before, mut idle) = (0, 0);
    while !stop.load(SeqCst) {
        let (begun, open) = writes.look();
        idle = if begun == before && !open { idle + 1 } else { 0 };
        if open
            && begun == before
            && let Some(runtime) = writes.runtime.get()
        {
            drop(runtime.spawn(async {}));
        }
        if idle < IDLE {
            thread::park_timeout(TICK);
        } else {
            writes.asleep.store(true, SeqCst);
            // Not if a write has begun meanwhile, which may not have seen it.
            if writes.look().0 == begun {
                thread::park();
            }
            writes.asleep.store(false, SeqCst);
        }
        before = begun;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread was reported when it happened.
            _ = thread.join();
        }
    }
}
