//! Streams of HTTP/2 whose client takes nothing more. The connection goes on reading, so only the
//! stream itself tells: what it was given to send waits for the client's leave.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::time::Sleep;

use crate::limits::WRITE_STALL_TIMEOUT;

tokio::task_local! {
    /// How far the stream of this task is: twice the pieces that it was given, and one more while
    /// it has not asked for the next.
    static SENT: Arc<AtomicU64>;
}

/// Notes that the stream of this task asks for something to send.
pub(super) fn asks() {
    let _ = SENT.try_with(|sent| sent.fetch_and(!1, Ordering::Relaxed));
}

/// Notes that it was given a piece.
pub(super) fn given() {
    let _ = SENT.try_with(|sent| {
        let pieces = sent.load(Ordering::Relaxed) / 2;
        sent.store(pieces * 2 + 3, Ordering::Relaxed);
    });
}

/// Runs a stream until it ends, or until its client has left what waits for it unread for too long.
pub(super) async fn unless_stalled(stream: impl Future) {
    let sent = Arc::new(AtomicU64::new(0));
    let mut stream = pin!(SENT.scope(sent.clone(), stream));
    let mut stalled: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let now = sent.load(Ordering::Relaxed);
        if now.is_multiple_of(2) {
            stalled = None;
            return Poll::Pending;
        }
        if stalled.as_ref().is_none_or(|(then, _)| *then != now) {
            stalled = Some((now, Box::pin(tokio::time::sleep(WRITE_STALL_TIMEOUT))));
        }
        stalled.as_mut().map_or(Poll::Pending, |(_, sleep)| sleep.as_mut().poll(cx))
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_ends_and_a_slow_one_goes_on() {
        let start = Instant::now();
        unless_stalled(async {
            asks();
            given();
            std::future::pending::<()>().await;
        })
        .await;
        assert_eq!(start.elapsed().as_secs(), WRITE_STALL_TIMEOUT.as_secs());

        let slow = async {
            loop {
                asks();
                // Nothing happens for long, and then the client is slow.
                sleep(WRITE_STALL_TIMEOUT * 3).await;
                given();
                sleep(WRITE_STALL_TIMEOUT / 2).await;
            }
        };
        let patience = WRITE_STALL_TIMEOUT * 50;
        assert!(timeout(patience, unless_stalled(slow)).await.is_err(), "it goes on");
    }
}
