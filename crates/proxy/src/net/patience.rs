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

/// Waits for `at` with a timer that is kept: what is put off with every event costs nothing until it rings too early.
pub(crate) async fn rings(mut timer: Pin<&mut Sleep>, at: Instant) {
    if at < timer.deadline() || timer.is_elapsed() {
        timer.as_mut().reset(at);
    }
    loop {
        timer.as_mut().await;
        if timer.deadline() >= at {
            return;
        }
        timer.as_mut().reset(at);
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
    async fn a_kept_timer_rings_when_it_was_set_to_last() {
        let start = Instant::now();
        let seconds = |count| start + Duration::from_secs(count);
        let mut timer = std::pin::pin!(sleep_until(seconds(5)));
        let heard = within(Duration::from_secs(2), rings(timer.as_mut(), seconds(5))).await;
        assert_eq!((heard, start.elapsed().as_secs()), (None, 2));
        // Put off, brought forward, and set again after it has rung.
        for at in [9, 10, 11, 11, 20] {
            rings(timer.as_mut(), seconds(at)).await;
            assert_eq!(Instant::now(), seconds(at));
        }
        let heard = within(Duration::from_secs(1), rings(timer.as_mut(), seconds(99))).await;
        assert_eq!(heard, None);
        rings(timer.as_mut(), seconds(30)).await;
        assert_eq!(Instant::now(), seconds(30));
    }

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
