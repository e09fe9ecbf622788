//! Which level has how many seats for now. A level lends some of those that are its own, and borrows
//! more than those where others leave them: every while all are shared out anew, by how many each could
//! have used lately, as KEP-1040 has it.

use std::time::Duration;

/// How often seats are shared out anew.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// How much of what was wanted stays after a period: half of it after five minutes.
const SMOOTHING: f64 = 0.977;
/// What a level that wants nothing counts as wanting, so that nothing is divided by zero.
const TARGET_MIN: f64 = 0.001;

/// The seats of a level, by its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Its own.
    pub(super) nominal: usize,
    /// Those that it never lends.
    pub(super) lower: usize,
    /// Those that it may have at most.
    pub(super) upper: usize,
    /// Whether it takes what it wants, whatever others have.
    pub(super) exempt: bool,
}

/// How many seats could have been used, over time.
#[derive(Debug, Default)]
pub(super) struct Demand {
    now: f64,
    since: Duration,
    changed: Duration,
    most: f64,
    sum: f64,
    squares: f64,
    smoothed: f64,
}

/// What [`Demand`] has seen in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) most: f64,
    pub(super) average: f64,
    pub(super) deviation: f64,
    /// How much is wanted: it rises at once, and falls slowly.
    pub(super) smoothed: f64,
}

impl Demand {
    /// Notes how many there are from now on.
    pub(super) fn set(&mut self, demand: usize, at: Duration) {
        let seconds = at.saturating_sub(self.changed).as_secs_f64();
        self.sum += self.now * seconds;
        self.squares += self.now * self.now * seconds;
        self.changed = at;
        self.now = demand as f64;
        self.most = self.most.max(self.now);
    }

    /// What there was since the last time that this was asked.
    pub(super) fn take(&mut self, demand: usize, at: Duration) -> Seen {
        self.set(demand, at);
        let seconds = at.saturating_sub(self.since).as_secs_f64();
        let mut seen = Seen { most: self.most, smoothed: self.smoothed, ..Seen::default() };
        if seconds > 0.0 {
            seen.average = self.sum / seconds;
            let variance = self.squares / seconds - seen.average * seen.average;
            seen.deviation = variance.max(0.0).sqrt();
            let envelope = seen.average + seen.deviation;
            let falling = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * envelope;
            seen.smoothed = envelope.max(falling);
        }
        let smoothed = seen.smoothed;
        *self = Self {
            now: self.now,
            since: at,
            changed: at,
            most: self.now,
            smoothed,
            ..Self::default()
        };
        seen
    }
}

/// What a level is given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share {
    pub(super) target: f64,
    pub(super) seats: usize,
}

/// Shares seats out among levels, in their order; beside that the part of its target that each has that
/// meets no bound. `current` is what stays where nothing else can be.
pub(super) fn share(levels: &[(Bounds, Seen, usize)]) -> (Vec<Share>, f64) {
    let all: usize = levels.iter().map(|(bounds, ..)| bounds.nominal).sum();
    let of = |bounds: &Bounds, seen: &Seen| {
        let most = to_seats(seen.most);
        let most = if bounds.exempt { most } else { most.min(bounds.nominal) };
        bounds.lower.max(most)
    };
    let least: Vec<usize> = levels.iter().map(|(bounds, seen, _)| of(bounds, seen)).collect();
    let sum = |of: &dyn Fn(usize, &Bounds) -> usize, exempt: bool| -> usize {
        let levels = levels.iter().enumerate().filter(|(_, (one, ..))| one.exempt == exempt);
        levels.map(|(index, (bounds, ..))| of(index, bounds)).sum()
    };
    let left = all.saturating_sub(sum(&|index, _| least[index], true));
    let lowest = sum(&|_, bounds| bounds.lower, false);
    let wanted = sum(&|index, _| least[index], false);
    let items: Vec<Item> = levels
        .iter()
        .zip(&least)
        .filter(|((bounds, ..), _)| !bounds.exempt)
        .map(|((bounds, seen, _), least)| {
            let lower = *least as f64;
            Item {
                target: lower.max(seen.smoothed).max(TARGET_MIN),
                lower,
                upper: bounds.upper as f64,
            }
        })
        .collect();
    // As upstream: what is divided is all of it, also when some is taken by those that take what they
    // want.
    let fair = (left > wanted).then(|| fair_part(all as f64, &items)).flatten();
    let shares = levels.iter().zip(&least).map(|((bounds, seen, current), least)| {
        let lower = *least as f64;
        let target = lower.max(seen.smoothed);
        let seats = if bounds.exempt {
            *least
        } else if left <= lowest {
            bounds.lower
        } else if left <= wanted {
            let part = (left - lowest) as f64 / (wanted - lowest) as f64;
            bounds.lower + to_seats((least - bounds.lower) as f64 * part)
        } else if let Some(fair) = fair {
            let item = Item { target: target.max(TARGET_MIN), lower, upper: bounds.upper as f64 };
            to_seats(item.at(fair))
        } else {
            *current
        };
        Share { target, seats }
    });
    (shares.collect(), fair.unwrap_or_default())
}

struct Item {
    target: f64,
    lower: f64,
    upper: f64,
}

impl Item {
    fn at(&self, part: f64) -> f64 {
        (self.target * part).max(self.lower).min(self.upper)
    }
}

/// The part of each target at which the items, within their bounds, have `all` together; `None` where
/// the bounds do not allow that.
fn fair_part(all: f64, items: &[Item]) -> Option<f64> {
    let total = |part: f64| items.iter().map(|item| item.at(part)).sum::<f64>();
    let bounds = items.iter().flat_map(|item| [item.lower, item.upper].map(|at| at / item.target));
    // The total rises along straight lines between these.
    let mut turns: Vec<f64> = bounds.collect();
    turns.sort_by(f64::total_cmp);
    let first = turns.first().copied().filter(|first| total(*first) <= all)?;
    let end = turns.iter().position(|turn| total(*turn) >= all)?;
    let (before, after) = (end.checked_sub(1).map_or(first, |before| turns[before]), turns[end]);
    let (low, high) = (total(before), total(after));
    let along = if high > low { (all - low) / (high - low) } else { 1.0 };
    Some(before + (after - before) * along)
}

fn to_seats(seats: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seats are few")]
    let seats = seats.round().max(0.0) as usize;
    seats
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(nominal: usize, lower: usize, upper: usize) -> Bounds {
        Bounds { nominal, lower, upper, exempt: false }
    }

    fn seen(most: f64, smoothed: f64) -> Seen {
        Seen { most, smoothed, ..Seen::default() }
    }

    #[track_caller]
    fn check(levels: &[(Bounds, Seen)], expected: &[usize]) {
        let levels: Vec<_> = levels.iter().map(|(bounds, seen)| (*bounds, *seen, 7)).collect();
        let seats: Vec<_> = share(&levels).0.into_iter().map(|share| share.seats).collect();
        assert_eq!(seats, expected);
    }

    #[test]
    fn who_wants_more_borrows_what_others_lend() {
        let (a, b) = (bounds(50, 25, 700), bounds(100, 10, 700));
        // Nobody wants anything: by what is never lent.
        check(&[(a, seen(0.0, 0.0)), (b, seen(0.0, 0.0))], &[107, 43]);
        // The other keeps what it never lends, and what it has used.
        check(&[(a, seen(200.0, 200.0)), (b, seen(0.0, 0.0))], &[140, 10]);
        check(&[(a, seen(200.0, 200.0)), (b, seen(60.0, 30.0))], &[90, 60]);
        // Both want all: each has at least its own.
        check(&[(a, seen(300.0, 300.0)), (b, seen(300.0, 300.0))], &[50, 100]);
    }

    #[test]
    fn nobody_borrows_more_than_it_may() {
        let (a, b) = (bounds(50, 25, 60), bounds(100, 10, 700));
        check(&[(a, seen(200.0, 200.0)), (b, seen(0.0, 0.0))], &[60, 90]);
        // No sharing out comes to all: everything stays.
        let b = bounds(100, 10, 80);
        check(&[(a, seen(0.0, 0.0)), (b, seen(0.0, 0.0))], &[7, 7]);
    }

    #[test]
    fn the_exempt_level_takes_what_it_wants_from_the_others() {
        let exempt = Bounds { exempt: true, ..bounds(0, 0, 600) };
        let (a, b) = (bounds(50, 20, 700), bounds(50, 10, 700));
        let wants = seen(50.0, 50.0);
        check(&[(exempt, seen(10.0, 0.0)), (a, wants), (b, wants)], &[10, 46, 44]);
        check(&[(exempt, seen(80.0, 0.0)), (a, wants), (b, wants)], &[80, 20, 10]);
    }

    #[test]
    fn demand_is_weighed_by_how_long_it_lasts() {
        let at = Duration::from_secs;
        let mut demand = Demand::default();
        demand.set(8, at(2));
        demand.set(2, at(4));
        let seen = demand.take(2, at(10));
        assert_eq!((seen.most, seen.average), (8.0, 2.8));
        assert!((seen.deviation - 2.712_931_993_3).abs() < 1e-9, "{seen:?}");
        assert_eq!(seen.smoothed, seen.average + seen.deviation);
        // It falls slowly.
        let later = demand.take(2, at(20));
        assert_eq!((later.most, later.average, later.deviation), (2.0, 2.0, 0.0));
        assert!((later.smoothed - (0.977 * seen.smoothed + 0.023 * 2.0)).abs() < 1e-9);
    }
}
