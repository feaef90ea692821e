//! Waiting with an end. What is ready at once costs no timer and no look at the clock: most reads and writes are.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The outcome of a future; `None` if it takes longer than this.
pub(crate) fn within<F: Future>(limit: Duration, future: F) -> Bounded<F> {
    Bounded {
        future,
        end: End::Within(limit),
        timer: None,
    }
}

/// The outcome of a future; `None` if it is not there by then.
pub(crate) fn until<F: Future>(deadline: Instant, future: F) -> Bounded<F> {
    Bounded {
        future,
        end: End::Until(deadline),
        timer: None,
    }
}

#[derive(Clone, Copy)]
enum End {
    Within(Duration),
    Until(Instant),
}

pin_project! {
    /// See [`within`] and [`until`].
    pub(crate) struct Bounded<F> {
        #[pin]
        future: F,
        end: End,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl<F: Future> Future for Bounded<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(done) = this.future.poll(cx) {
            return Poll::Ready(Some(done));
        }
        if this.timer.is_none() {
            this.timer.set(Some(match *this.end {
                End::Within(limit) => sleep(limit),
                End::Until(deadline) => sleep_until(deadline),
            }));
        }
        let timer = this.timer.as_pin_mut();
        timer.map_or(Poll::Pending, |timer| timer.poll(cx).map(|()| None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_time_is_given_and_what_does_not_is_given_up() {
        let limit = Duration::from_secs(5);
        assert_eq!(within(limit, async { 1 }).await, Some(1));
        let late = |seconds| async move {
            sleep(Duration::from_secs(seconds)).await;
            seconds
        };
        assert_eq!(within(limit, late(4)).await, Some(4));
        let before = Instant::now();
        assert_eq!(within(limit, late(6)).await, None);
        assert_eq!(before.elapsed(), limit);
        assert_eq!(until(Instant::now() + limit, late(6)).await, None);
        assert_eq!(
            until(Instant::now(), async { 1 }).await,
            Some(1),
            "ready is ready"
        );
    }
}
