//! A priority level: how many requests of it are dealt with at once, and who waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfigurationSpec;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::borrowing::{Bounds, Demand, Seen};
use super::figures::{Flow, Why};

/// How long a request may wait in a queue: a quarter of the time that upstream gives a request.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// Queues of a level, and requests in one, whatever its object says.
const MAX_QUEUES: usize = 4096;
const MAX_LENGTH: usize = 4096;

/// The form of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing waits.
    Exempt,
    /// What comes when all seats are taken is refused, or waits in queues.
    Limited { queues: usize, hand: usize, length: usize },
}

impl Shape {
    /// By the object of a level.
    pub(super) fn of(spec: &PriorityLevelConfigurationSpec) -> Self {
        let Some(limited) = spec.limited.as_ref().filter(|_| spec.type_ != "Exempt") else {
            return Self::Exempt;
        };
        let response = limited.limit_response.as_ref();
        let queuing = response.and_then(|response| response.queuing.as_ref());
        let number = |value: Option<i32>, most: usize| {
            value.and_then(|value| usize::try_from(value).ok()).unwrap_or(1).clamp(1, most)
        };
        match queuing {
            None => Self::Limited { queues: 0, hand: 0, length: 0 },
            Some(queuing) => {
                let queues = number(queuing.queues, MAX_QUEUES);
                let hand = number(queuing.hand_size, queues);
                let length = number(queuing.queue_length_limit, MAX_LENGTH);
                Self::Limited { queues, hand, length }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Level {
    state: Mutex<State>,
    start: Instant,
}

#[derive(Debug)]
struct State {
    shape: Shape,
    bounds: Bounds,
    /// Requests at once.
    seats: usize,
    executing: usize,
    waiting: usize,
    demand: Demand,
    queues: Vec<VecDeque<Waiter>>,
    /// The queue that is served next: each in turn, so that no flow keeps the others out.
    turn: usize,
    /// How many have ever waited: their names.
    waiters: u64,
}

#[derive(Debug)]
struct Waiter {
    name: u64,
    give: oneshot::Sender<Seat>,
}

/// A place among the requests that are dealt with; giving it back lets the next one in.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Level>);

/// There is no place, and there will be none soon enough.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// A place in a queue, which is left when this goes.
struct Ticket<'a> {
    level: &'a Level,
    flow: &'a Flow,
    queue: usize,
    name: u64,
    since: Instant,
    /// Why it is left, unless it is for a seat.
    why: Option<Why>,
}

impl Level {
    pub(super) fn new(shape: Shape, bounds: Bounds) -> Self {
        let state = State {
            shape,
            bounds,
            seats: bounds.nominal - bounds.nominal.saturating_sub(bounds.lower) / 2,
            executing: 0,
            waiting: 0,
            demand: Demand::default(),
            queues: Vec::new(),
            turn: 0,
            waiters: 0,
        };
        Self { state: Mutex::new(state), start: Instant::now() }
    }

    /// Gives the level another form. What waits in queues that are no more is let in.
    pub(super) fn reshape(self: &Arc<Self>, shape: Shape, bounds: Bounds) {
        self.change(|state| (state.shape, state.bounds) = (shape, bounds));
    }

    /// Gives the level so many seats.
    pub(super) fn resize(self: &Arc<Self>, seats: usize) {
        self.change(|state| state.seats = seats);
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let let_in = state.admit(self);
        drop(state);
        give(let_in);
    }

    /// What it may have, what it could have used since this was asked before, and what it has.
    pub(super) fn observe(&self) -> (Bounds, Seen, usize) {
        let mut state = self.state.lock();
        let demand = state.executing + state.waiting;
        let seen = state.demand.take(demand, self.start.elapsed());
        (state.bounds, seen, state.seats)
    }

    /// A seat for a request of the flow with this hash.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) async fn seat(self: &Arc<Self>, hash: u64, flow: &Flow) -> Result<Seat, Refused> {
        let (mut ticket, waiting) = {
            let mut state = self.state.lock();
            if state.has_seat() {
                state.sit(self.start.elapsed());
                flow.waited(Duration::ZERO, true);
                return Ok(Seat(self.clone()));
            }
            let joined = state.enqueue(hash).map_err(|why| {
                flow.rejected(why);
                Refused
            })?;
            state.note(self.start.elapsed());
            let (queue, waiting) = joined;
            flow.joined(state.queues[queue].len());
            let why = Some(Why::Cancelled);
            let (name, since) = (state.waiters, Instant::now());
            (Ticket { level: self, flow, queue, name, since, why }, waiting)
        };
        match tokio::time::timeout(MAX_WAIT, waiting).await {
            Ok(Ok(seat)) => {
                ticket.why = None;
                Ok(seat)
            }
            _ => {
                ticket.why = Some(Why::TimeOut);
                Err(Refused)
            }
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.flow.left();
        self.flow.waited(self.since.elapsed(), self.why.is_none());
        let Some(why) = self.why else { return };
        self.flow.rejected(why);
        let mut state = self.level.state.lock();
        let queue = &mut state.queues[self.queue];
        let before = queue.len();
        queue.retain(|waiter| waiter.name != self.name);
        // One that is not there has been given a seat, which comes back by itself.
        state.waiting -= before - state.queues[self.queue].len();
        state.note(self.level.start.elapsed());
    }
}

impl State {
    fn has_seat(&self) -> bool {
        self.shape == Shape::Exempt || self.executing < self.seats
    }

    fn sit(&mut self, at: Duration) {
        self.executing += 1;
        self.note(at);
    }

    fn note(&mut self, at: Duration) {
        self.demand.set(self.executing + self.waiting, at);
    }

    /// Has a request wait in the shortest of the queues that its flow is dealt.
    fn enqueue(&mut self, hash: u64) -> Result<(usize, oneshot::Receiver<Seat>), Why> {
        let Shape::Limited { queues, hand, length } = self.shape else { return Err(Why::NoSeat) };
        if self.queues.len() < queues {
            self.queues.resize_with(queues, VecDeque::new);
        }
        let dealt = deal(hash, queues, hand).into_iter();
        let shortest = dealt.min_by_key(|queue| self.queues[*queue].len()).ok_or(Why::NoSeat)?;
        let queue = &mut self.queues[shortest];
        if queue.len() >= length {
            return Err(Why::QueueFull);
        }
        let (give, waiting) = oneshot::channel();
        self.waiters += 1;
        queue.push_back(Waiter { name: self.waiters, give });
        self.waiting += 1;
        Ok((shortest, waiting))
    }

    /// Takes out of the queues whom there are seats for.
    fn admit(&mut self, level: &Arc<Level>) -> Vec<(oneshot::Sender<Seat>, Seat)> {
        let mut let_in = Vec::new();
        while self.has_seat()
            && let Some(next) = self.next()
        {
            self.waiting -= 1;
            self.executing += 1;
            let_in.push((next.give, Seat(level.clone())));
        }
        self.note(level.start.elapsed());
        let_in
    }

    fn next(&mut self) -> Option<Waiter> {
        let count = self.queues.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if let Some(next) = self.queues[index].pop_front() {
                self.turn = (index + 1) % count;
                return Some(next);
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
        self.0.change(|state| state.executing -= 1);
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

    use super::super::figures::Figures;
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

    fn level(seats: usize, shape: Shape) -> Arc<Level> {
        let bounds = Bounds { nominal: seats, lower: seats, upper: seats, exempt: false };
        Arc::new(Level::new(shape, bounds))
    }

    fn flow() -> Flow {
        Figures::default().flow("level", "schema")
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_that_floods_does_not_keep_another_out() {
        let (level, flow) = (level(1, Shape::Limited { queues: 8, hand: 1, length: 3 }), flow());
        let first = level.seat(0, &flow).await.unwrap();
        let mut flood: Vec<_> = (0..3).map(|_| Box::pin(level.seat(0, &flow))).collect();
        for waiting in &mut flood {
            assert!(waiting.now_or_never_mut());
        }
        assert_eq!(level.seat(0, &flow).await.unwrap_err(), Refused, "its queue is full");
        let mut other = Box::pin(level.seat(1, &flow));
        assert!(other.now_or_never_mut());
        drop(first);
        let second = flood.remove(0).await.unwrap();
        drop(second);
        let third = other.await.unwrap();
        drop(flood);
        drop(third);
        let state = level.state.lock();
        assert_eq!((state.executing, state.waiting), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_let_in_by_another_form_and_refused_in_time() {
        let (level, flow) = (level(1, Shape::Limited { queues: 1, hand: 1, length: 9 }), flow());
        let first = level.seat(0, &flow).await.unwrap();
        assert_eq!(level.seat(0, &flow).await.unwrap_err(), Refused, "after a while");
        let mut waiting = Box::pin(level.seat(0, &flow));
        assert!(waiting.now_or_never_mut());
        level.resize(2);
        let second = waiting.await.unwrap();
        drop((first, second));
        level.resize(0);
        level.reshape(Shape::Limited { queues: 0, hand: 0, length: 0 }, Bounds::default());
        assert_eq!(level.seat(0, &flow).await.unwrap_err(), Refused);
        level.reshape(Shape::Exempt, Bounds::default());
        assert!(level.seat(0, &flow).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_and_what_is_dealt_with_is_demand() {
        let (level, flow) = (level(1, Shape::Limited { queues: 1, hand: 1, length: 9 }), flow());
        let first = level.seat(0, &flow).await.unwrap();
        let mut waiting = Box::pin(level.seat(0, &flow));
        let mut gone = Box::pin(level.seat(0, &flow));
        assert!(waiting.now_or_never_mut() && gone.now_or_never_mut());
        drop(gone);
        tokio::time::advance(Duration::from_secs(5)).await;
        drop(first);
        drop(waiting.await.unwrap());
        tokio::time::advance(Duration::from_secs(5)).await;
        let (_, seen, _) = level.observe();
        assert_eq!((seen.most, seen.average, seen.deviation), (3.0, 1.0, 1.0));
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
