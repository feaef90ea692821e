//! How long a client keeps us waiting: it is no time of our own.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Does the work, and adds to `waited` what it takes after it could not go on at once. What goes on at once costs no look at the clock.
pub(crate) async fn waiting<F: Future>(work: F, waited: &mut Duration) -> F::Output {
    let mut work = pin!(work);
    let first = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    if let Poll::Ready(done) = first {
        return done;
    }
    let since = Instant::now();
    let done = work.await;
    *waited += since.elapsed();
    done
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn only_what_cannot_go_on_is_waited_for() {
        let mut waited = Duration::ZERO;
        assert_eq!(waiting(async { 1 }, &mut waited).await, 1);
        assert_eq!(waited, Duration::ZERO);
        waiting(sleep(Duration::from_millis(5)), &mut waited).await;
        assert!(waited >= Duration::from_millis(4), "{waited:?}");
    }
}
