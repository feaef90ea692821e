//! Small writes to a client are held until they are flushed, and leave together with a large one behind them: the head of an answer
//! never costs a write of its own. A buffer below, of the largest size, would be there for every idle connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// What is held at most, bytes.
const MOST: usize = 16 * 1024;
/// Room that a connection keeps between its answers, bytes: events of a stream need no more.
const KEPT: usize = 2 * 1024;

/// Bytes on their way to `W`.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<u8>);

impl Held {
    /// As [`AsyncWrite::poll_write`].
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        out: &mut W,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0.len() + bytes.len() > MOST {
            return self.poll_out(out, cx, bytes);
        }
        if self.0.is_empty() {
            self.0.reserve(KEPT);
        }
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Writes all that is held.
    pub(super) fn poll_empty<W: AsyncWrite + Unpin>(
        &mut self,
        out: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_out(out, cx, &[]).map_ok(|_| ())
    }

    /// Writes what is held, and `more` behind it; gives how much of `more` is out: something, unless there is none.
    fn poll_out<W: AsyncWrite + Unpin>(
        &mut self,
        out: &mut W,
        cx: &mut Context<'_>,
        more: &[u8],
    ) -> Poll<io::Result<usize>> {
        while !self.0.is_empty() {
            let write = if more.is_empty() {
                // The cheaper call, for every flush.
                Pin::new(&mut *out).poll_write(cx, &self.0)
            } else {
                let parts = [IoSlice::new(&self.0), IoSlice::new(more)];
                Pin::new(&mut *out).poll_write_vectored(cx, &parts)
            };
            let written = ready!(write)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(beyond) = written.checked_sub(self.0.len()) {
                self.0.clear();
                self.0.shrink_to(KEPT);
                if beyond > 0 {
                    return Poll::Ready(Ok(beyond));
                }
            } else {
                self.0.drain(..written);
            }
        }
        if more.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(out).poll_write(cx, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes with a call, and is not ready for every other one.
    struct Slow {
        taken: Vec<Vec<u8>>,
        step: usize,
        ready: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.ready = !self.ready;
            if !self.ready {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).take(self.step).collect();
            self.taken.push(all.clone());
            Poll::Ready(Ok(all.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write(sizes: &[usize], step: usize) -> Vec<Vec<u8>> {
        let (taken, ready) = (Vec::new(), false);
        let mut out = Slow { taken, step, ready };
        let mut held = Held::default();
        let mut wanted = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            let bytes = vec![b'a' + u8::try_from(at).unwrap(); *size];
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let written = std::future::poll_fn(|cx| held.poll_write(&mut out, cx, rest))
                    .await
                    .unwrap();
                assert!(written > 0);
                rest = &rest[written..];
            }
            wanted.extend(bytes);
        }
        std::future::poll_fn(|cx| held.poll_empty(&mut out, cx))
            .await
            .unwrap();
        assert!(held.0.is_empty() && held.0.capacity() <= KEPT);
        assert_eq!(out.taken.concat(), wanted, "{sizes:?} in steps of {step}");
        out.taken
    }

    #[tokio::test]
    async fn nothing_is_lost_whatever_the_other_side_takes() {
        for step in [1, 300, 20_000, usize::MAX] {
            for sizes in [
                &[300, 1_000][..],
                &[300, 100_000],
                &[16_384, 1],
                &[100_000],
                &[5, 17_000, 3, 2, 40_000, 1],
            ] {
                write(sizes, step).await;
            }
        }
    }

    #[tokio::test]
    async fn a_head_leaves_with_its_body_in_one_write() {
        assert_eq!(write(&[300, 1_000], usize::MAX).await.len(), 1);
        assert_eq!(write(&[300, 100_000], usize::MAX).await.len(), 1);
        assert_eq!(write(&[4, 250, 2], usize::MAX).await.len(), 1);
    }

    #[tokio::test]
    async fn a_side_that_takes_nothing_is_an_error() {
        let (taken, step, ready) = (Vec::new(), 0, false);
        let mut out = Slow { taken, step, ready };
        let mut held = Held::default();
        let held = &mut held;
        let written = std::future::poll_fn(|cx| held.poll_write(&mut out, cx, b"x")).await;
        assert_eq!(written.unwrap(), 1);
        let end = std::future::poll_fn(|cx| held.poll_empty(&mut out, cx)).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
