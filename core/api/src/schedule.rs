//! When something is due, in the words of `CronJob.spec.schedule`.
//!
//! The dialect is that of upstream: five fields (minute, hour, day of month, month, day of week)
//! with `*`, `?`, lists, ranges and steps, names of months and days, and the descriptors `@yearly`,
//! `@monthly`, `@weekly`, `@daily`, `@hourly` and `@every 1h30m`. Where day of month and day of
//! week are both given, either will do. A zone may stand before all that, as `TZ=` or `CRON_TZ=`.
//!
//! Where clocks are changed, every moment counts at which the clock on the wall shows a time that
//! the fields name: one that is left out does not come, one that is shown twice comes twice.

mod fields;

use std::ops::Range;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::duration;

/// The longest schedule that is read, in bytes.
const MOST_TEXT: usize = 1024;
/// How many years ahead the next time is looked for.
const MOST_YEARS: i16 = 5;

/// A schedule, in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    times: Times,
    zone: TimeZone,
    /// Whether the text itself says which zone it is.
    zoned: bool,
}

#[derive(Clone, Debug)]
enum Times {
    /// On the days and minutes that a pattern names.
    Fields(Box<Cron>),
    Every(SignedDuration),
    /// On a day that no month has.
    Never,
}

impl Schedule {
    /// Reads a schedule. It is in UTC, unless it says otherwise.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        if text.len() > MOST_TEXT {
            return Err(format!("longer than {MOST_TEXT} bytes"));
        }
        let (zone, rest) = match text.strip_prefix("CRON_TZ=").or(text.strip_prefix("TZ=")) {
            Some(rest) => {
                let found = rest.split_once(' ');
                let (name, rest) =
                    found.ok_or("invalid schedule format: nothing follows the time zone")?;
                (Some(zone_of(name)?), rest.trim())
            }
            None => (None, text),
        };
        let zoned = zone.is_some();
        Ok(Self { times: times(rest)?, zone: zone.unwrap_or(TimeZone::UTC), zoned })
    }

    /// The same in a zone, unless its text says another.
    pub fn in_zone(mut self, zone: TimeZone) -> Self {
        if !self.zoned {
            self.zone = zone;
        }
        self
    }

    /// The first time after `now`; `None` if there is none for years. Intervals are counted from
    /// `since` on, which is no later than `now`.
    pub fn next(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match &self.times {
            Times::Fields(cron) => self.next_shown(cron, now),
            Times::Every(interval) => {
                let times = intervals(since, now, *interval).checked_add(1)?;
                after(since, *interval, times)
            }
            Times::Never => None,
        }
    }

    /// The last of the times within `missed`, whose end counts and whose start does not, and
    /// whether there are more than `many`, which are never looked at one by one. Intervals are
    /// counted from `since` on, which is no later than the start.
    pub fn latest(&self, since: Timestamp, missed: Range<Timestamp>, many: usize) -> Latest {
        match &self.times {
            Times::Fields(cron) => self.latest_shown(cron, missed.start, missed.end, many),
            Times::Every(interval) => {
                let times = intervals(since, missed.end, *interval);
                let count = times - intervals(since, missed.start, *interval);
                let at = if count > 0 { after(since, *interval, times) } else { None };
                Latest { at, many: usize::try_from(count).is_ok_and(|count| count > many) }
            }
            Times::Never => Latest::default(),
        }
    }

    /// The first moment after another at which the clock shows a time of a pattern. Between two
    /// changes of the clock that is a search in a zone where none is ever changed.
    fn next_shown(&self, cron: &Cron, now: Timestamp) -> Option<Timestamp> {
        let mut from = Timestamp::from_second(now.as_second()).ok()?;
        let last_year = from.to_zoned(self.zone.clone()).year().checked_add(MOST_YEARS)?;
        let mut inclusive = false;
        loop {
            let offset = SignedDuration::from(self.zone.to_offset(from));
            let change = self.zone.following(from).next().map(|change| change.timestamp());
            let shown = from.checked_add(offset).ok()?.to_zoned(TimeZone::UTC);
            let found = cron.find_next_occurrence(&shown, inclusive).ok()?;
            if found.year() > last_year {
                return None;
            }
            let at = found.timestamp().checked_sub(offset).ok()?;
            match change {
                Some(change) if at >= change => from = change,
                _ => return Some(at),
            }
            inclusive = true;
        }
    }

    fn latest_shown(&self, cron: &Cron, since: Timestamp, now: Timestamp, many: usize) -> Latest {
        let times = |from: Timestamp| {
            let mut at = from;
            std::iter::from_fn(move || {
                at = self.next_shown(cron, at)?;
                Some(at)
            })
            .take_while(|time| *time <= now)
        };
        let (mut count, mut at) = (0, None);
        for time in times(since).take(many + 1) {
            (count, at) = (count + 1, Some(time));
        }
        if count <= many {
            return Latest { at, many: false };
        }
        let recent = WINDOWS.into_iter().find_map(|seconds| {
            let from = now.checked_sub(SignedDuration::from_secs(seconds)).ok()?;
            times(from.max(since)).last()
        });
        Latest { at: recent.or(at), many: true }
    }
}

/// What [`Schedule::latest`] finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latest {
    /// The last time that has come, if one has.
    pub at: Option<Timestamp>,
    /// Whether there are many.
    pub many: bool,
}

/// How far back the latest time is looked for, when there are many; in seconds.
const WINDOWS: [i64; 5] = [3600, 86_400, 31 * 86_400, 366 * 86_400, 10 * 366 * 86_400];

/// How often an interval has passed. Intervals begin on whole seconds.
fn intervals(since: Timestamp, now: Timestamp, interval: SignedDuration) -> i64 {
    (now.as_second().saturating_sub(since.as_second()).max(0)) / interval.as_secs().max(1)
}

/// The moment so many intervals after another.
fn after(since: Timestamp, interval: SignedDuration, times: i64) -> Option<Timestamp> {
    let seconds = interval.as_secs().checked_mul(times)?;
    Timestamp::from_second(since.as_second().checked_add(seconds)?).ok()
}

fn zone_of(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        name => TimeZone::get(name)
            .map_err(|_| format!("provided bad location {name}: unknown time zone {name}")),
    }
}

fn times(text: &str) -> Result<Times, String> {
    let fields = match text.strip_prefix('@') {
        None => text,
        Some("yearly" | "annually") => "0 0 1 1 *",
        Some("monthly") => "0 0 1 * *",
        Some("weekly") => "0 0 * * 0",
        Some("daily" | "midnight") => "0 0 * * *",
        Some("hourly") => "0 * * * *",
        Some(other) => return every(text, other),
    };
    Ok(fields::parse(fields)?.map_or(Times::Never, |cron| Times::Fields(Box::new(cron))))
}

/// `@every` and a duration, in whole seconds and at least one.
fn every(text: &str, descriptor: &str) -> Result<Times, String> {
    let Some(length) = descriptor.strip_prefix("every ") else {
        return Err(format!("unrecognized descriptor: {text}"));
    };
    let interval = duration::parse(length).ok_or_else(|| {
        format!("failed to parse duration {text}: time: invalid duration {length:?}")
    })?;
    Ok(Times::Every(SignedDuration::from_secs(interval.as_secs().max(1))))
}

#[cfg(test)]
mod tests;
