//! A priority level: how many requests of it are dealt with at once, and who waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfigurationSpec;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How long a request may wait in a queue: a quarter of the time that upstream gives a request.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// Queues of a level, and requests in one, whatever its object says.
const MAX_QUEUES: usize = 4096;
const MAX_LENGTH: usize = 4096;

/// The form of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing waits and nothing is counted.
    Exempt,
    /// So many at once; what comes then is refused, or waits in queues.
    Limited { seats: usize, queues: usize, hand: usize, length: usize },
}

impl Shape {
    /// By the object of a level, with the seats that its shares give it.
    pub(super) fn of(spec: &PriorityLevelConfigurationSpec, seats: usize) -> Self {
        let Some(limited) = spec.limited.as_ref().filter(|_| spec.type_ != "Exempt") else {
            return Self::Exempt;
        };
        let response = limited.limit_response.as_ref();
        let queuing = response.and_then(|response| response.queuing.as_ref());
        let number = |value: Option<i32>, most: usize| {
            value.and_then(|value| usize::try_from(value).ok()).unwrap_or(1).clamp(1, most)
        };
        match queuing {
            None => Self::Limited { seats, queues: 0, hand: 0, length: 0 },
            Some(queuing) => {
                let queues = number(queuing.queues, MAX_QUEUES);
                let hand = number(queuing.hand_size, queues);
                let length = number(queuing.queue_length_limit, MAX_LENGTH);
                Self::Limited { seats, queues, hand, length }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Level {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shape: Shape,
    executing: usize,
    queues: Vec<VecDeque<oneshot::Sender<Seat>>>,
    /// The queue that is served next: each in turn, so that no flow keeps the others out.
    turn: usize,
}

/// A place among the requests that are dealt with; giving it back lets the next one in.
#[derive(Debug)]
pub(crate) struct Seat(Option<Arc<Level>>);

/// There is no place, and there will be none soon enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Level {
    pub(super) fn new(shape: Shape) -> Self {
        let state = State { shape, executing: 0, queues: Vec::new(), turn: 0 };
        Self { state: Mutex::new(state) }
    }

    /// Gives the level another form. What waits in queues that are no more is let in.
    pub(super) fn reshape(self: &Arc<Self>, shape: Shape) {
        let mut state = self.state.lock();
        state.shape = shape;
        let let_in = state.admit(self);
        drop(state);
        give(let_in);
    }

    /// A seat for a request of the flow with this hash.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) async fn seat(self: &Arc<Self>, flow: u64) -> Result<Seat, Refused> {
        let waiting = {
            let mut state = self.state.lock();
            match state.shape {
                Shape::Exempt => return Ok(Seat(None)),
                Shape::Limited { seats, .. } if state.executing < seats => {
                    state.executing += 1;
                    return Ok(Seat(Some(self.clone())));
                }
                Shape::Limited { queues, hand, length, .. } => {
                    state.enqueue(flow, queues, hand, length)?
                }
            }
        };
        match tokio::time::timeout(MAX_WAIT, waiting).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(Refused),
        }
    }
}

impl State {
    /// Has a request wait in the shortest of the queues that its flow is dealt.
    fn enqueue(
        &mut self,
        flow: u64,
        queues: usize,
        hand: usize,
        length: usize,
    ) -> Result<oneshot::Receiver<Seat>, Refused> {
        if queues == 0 {
            return Err(Refused);
        }
        if self.queues.len() < queues {
            self.queues.resize_with(queues, VecDeque::new);
        }
        let dealt = deal(flow, queues, hand);
        let Some(shortest) = dealt.into_iter().min_by_key(|queue| self.queues[*queue].len()) else {
            return Err(Refused);
        };
        let queue = &mut self.queues[shortest];
        if queue.len() >= length {
            queue.retain(|waiting| !waiting.is_closed());
        }
        if queue.len() >= length {
            return Err(Refused);
        }
        let (give, waiting) = oneshot::channel();
        queue.push_back(give);
        Ok(waiting)
    }

    /// Takes out of the queues whom there are seats for.
    fn admit(&mut self, level: &Arc<Level>) -> Vec<(oneshot::Sender<Seat>, Seat)> {
        let mut let_in = Vec::new();
        loop {
            let counted = match self.shape {
                Shape::Exempt => false,
                Shape::Limited { seats, .. } if self.executing < seats => true,
                Shape::Limited { .. } => break,
            };
            let Some(next) = self.next() else { break };
            self.executing += usize::from(counted);
            let_in.push((next, Seat(counted.then(|| level.clone()))));
        }
        let_in
    }

    fn next(&mut self) -> Option<oneshot::Sender<Seat>> {
        let count = self.queues.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            while let Some(next) = self.queues[index].pop_front() {
                if !next.is_closed() {
                    self.turn = (index + 1) % count;
                    return Some(next);
                }
            }
        }
        None
    }
}

/// Hands out seats; outside of the lock, for a seat that nobody takes any more comes back.
fn give(let_in: Vec<(oneshot::Sender<Seat>, Seat)>) {
    for (waiting, seat) in let_in {
        drop(waiting.send(seat));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(level) = self.0.take() else { return };
        let mut state = level.state.lock();
        state.executing = state.executing.saturating_sub(1);
        let let_in = state.admit(&level);
        drop(state);
        give(let_in);
    }
}

/// Deals a hand of distinct queues to a flow: one that floods its own queues shares at most a few
/// of them with any other flow.
fn deal(mut flow: u64, queues: usize, hand: usize) -> Vec<usize> {
    let mut dealt: Vec<usize> = Vec::with_capacity(hand);
    for taken in 0..hand.min(queues) {
        let left = (queues - taken) as u64;
        let mut card = usize::try_from(flow % left).unwrap_or(0);
        flow /= left;
        // The card among those that are left, counted from the first that is not dealt.
        let mut sorted = dealt.clone();
        sorted.sort_unstable();
        for other in sorted {
            if card >= other {
                card += 1;
            }
        }
        dealt.push(card);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn hands_are_of_distinct_queues() {
        for flow in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let mut hand = deal(flow, 16, 6);
            hand.sort_unstable();
            hand.dedup();
            assert_eq!(hand.len(), 6);
            assert!(hand.iter().all(|queue| *queue < 16));
        }
        assert_eq!(deal(5, 3, 9).len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_that_floods_does_not_keep_another_out() {
        let shape = Shape::Limited { seats: 1, queues: 8, hand: 1, length: 3 };
        let level = Arc::new(Level::new(shape));
        let first = level.seat(0).await.unwrap();
        let mut flood: Vec<_> = (0..3).map(|_| Box::pin(level.seat(0))).collect();
        for waiting in &mut flood {
            assert!(waiting.now_or_never_mut());
        }
        assert_eq!(level.seat(0).await.unwrap_err(), Refused, "its queue is full");
        let mut other = Box::pin(level.seat(1));
        assert!(other.now_or_never_mut());
        drop(first);
        let second = flood.remove(0).await.unwrap();
        drop(second);
        let third = other.await.unwrap();
        drop(flood);
        drop(third);
        assert_eq!(level.state.lock().executing, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_let_in_by_another_form_and_refused_in_time() {
        let shape = |seats| Shape::Limited { seats, queues: 1, hand: 1, length: 9 };
        let level = Arc::new(Level::new(shape(1)));
        let first = level.seat(0).await.unwrap();
        assert_eq!(level.seat(0).await.unwrap_err(), Refused, "after a while");
        let mut waiting = Box::pin(level.seat(0));
        assert!(waiting.now_or_never_mut());
        level.reshape(shape(2));
        let second = waiting.await.unwrap();
        drop((first, second));
        level.reshape(Shape::Limited { seats: 0, queues: 0, hand: 0, length: 0 });
        assert_eq!(level.seat(0).await.unwrap_err(), Refused);
        level.reshape(Shape::Exempt);
        assert!(level.seat(0).await.is_ok());
    }

    /// Whether a future has begun and waits.
    trait Waits {
        fn now_or_never_mut(&mut self) -> bool;
    }

    impl<F: Future + Unpin> Waits for F {
        fn now_or_never_mut(&mut self) -> bool {
            self.now_or_never().is_none()
        }
    }
}
