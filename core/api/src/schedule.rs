//! When something is due, in the words of `CronJob.spec.schedule`.
//!
//! The dialect is that of upstream: five fields (minute, hour, day of month, month, day of week)
//! with `*`, `?`, lists, ranges and steps, names of months and days, and the descriptors `@yearly`,
//! `@monthly`, `@weekly`, `@daily`, `@hourly` and `@every 1h30m`. Where day of month and day of
//! week are both given, either will do.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::{SignedDuration, Timestamp, Zoned};

/// The longest schedule that is read, in bytes.
const MOST_TEXT: usize = 1024;
/// What a field may be made of beside names.
const SIGNS: &[u8] = b"*?-,/";
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A schedule.
#[derive(Clone, Debug)]
pub struct Schedule(Times);

#[derive(Clone, Debug)]
enum Times {
    Fields(Box<Cron>),
    Every(SignedDuration),
}

impl Schedule {
    /// Reads a schedule.
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
        let fields = match text.strip_prefix('@') {
            None => text,
            Some("yearly" | "annually") => "0 0 1 1 *",
            Some("monthly") => "0 0 1 * *",
            Some("weekly") => "0 0 * * 0",
            Some("daily" | "midnight") => "0 0 * * *",
            Some("hourly") => "0 * * * *",
            Some(other) => return every(text, other),
        };
        let parts: Vec<&str> = fields.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = &parts[..] else {
            let found = parts.len();
            return Err(format!("expected exactly 5 fields, found {found}: {parts:?}"));
        };
        check(minute, 0, 59, &[])?;
        check(hour, 0, 23, &[])?;
        check(day, 1, 31, &[])?;
        check(month, 1, 12, &MONTHS)?;
        check(weekday, 0, 6, &DAYS)?;
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow(false)
            .build();
        let cron = parser.parse(&fields.replace('?', "*"));
        cron.map(|cron| Self(Times::Fields(Box::new(cron)))).map_err(|error| error.to_string())
    }

    /// The first time after `after`, in its time zone; `None` if there is none for years.
    pub fn next(&self, after: &Zoned) -> Option<Zoned> {
        match &self.0 {
            Times::Fields(cron) => cron.find_next_occurrence(after, false).ok(),
            Times::Every(interval) => {
                let whole = Timestamp::from_second(after.timestamp().as_second()).ok()?;
                let next = whole.checked_add(*interval).ok()?;
                Some(next.to_zoned(after.time_zone().clone()))
            }
        }
    }
}

/// `@every` and a duration, in whole seconds and at least one.
fn every(text: &str, descriptor: &str) -> Result<Schedule, String> {
    let Some(duration) = descriptor.strip_prefix("every ") else {
        return Err(format!("unrecognized descriptor: {text}"));
    };
    let broken = |why: String| format!("failed to parse duration {text}: {why}");
    let parsed: SignedDuration =
        duration.parse().map_err(|error: jiff::Error| broken(error.to_string()))?;
    Ok(Schedule(Times::Every(SignedDuration::from_secs(parsed.as_secs().max(1)))))
}

/// Checks one field: a list of values and ranges, each with an optional step.
fn check(field: &str, least: u32, most: u32, names: &[&str]) -> Result<(), String> {
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        if !range.bytes().all(|byte| byte.is_ascii_alphanumeric() || SIGNS.contains(&byte)) {
            return Err(format!("failed to parse int from {range}"));
        }
        if !matches!(range, "*" | "?") {
            let (start, end) = match range.split_once('-') {
                Some((start, end)) => (start, Some(end)),
                None => (range, None),
            };
            let start = value(start, names)?;
            let end = end.map_or(Ok(start), |end| value(end, names))?;
            if start < least {
                return Err(format!(
                    "beginning of range ({start}) below minimum ({least}): {item}"
                ));
            }
            if end > most {
                return Err(format!("end of range ({end}) above maximum ({most}): {item}"));
            }
            if start > end {
                let why = format!("beginning of range ({start}) beyond end of range ({end})");
                return Err(format!("{why}: {item}"));
            }
        }
        if let Some(step) = step
            && value(step, &[])? == 0
        {
            return Err(format!("step of range should be a positive number: {item}"));
        }
    }
    Ok(())
}

fn value(text: &str, names: &[&str]) -> Result<u32, String> {
    if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        let first = if names.len() == MONTHS.len() { 1 } else { 0 };
        return Ok(u32::try_from(index).unwrap_or(0) + first);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| format!("failed to parse int from {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_next(schedule: &str, after: &str, expected: &str) {
        let after: Zoned = after.parse().unwrap();
        let next = Schedule::parse(schedule).unwrap().next(&after).unwrap();
        assert_eq!(next, expected.parse::<Zoned>().unwrap(), "{schedule}");
    }

    #[test]
    fn the_next_time_is_found_in_the_zone() {
        check_next("*/5 * * * *", "2026-01-01T00:02[UTC]", "2026-01-01T00:05[UTC]");
        check_next("30 4 1,15 * 5", "2026-01-01T05:00[UTC]", "2026-01-02T04:30[UTC]");
        check_next(
            "0 9 * * MON-FRI",
            "2026-01-02T10:00[Europe/Berlin]",
            "2026-01-05T09:00[Europe/Berlin]",
        );
        check_next("@hourly", "2026-01-01T00:00[UTC]", "2026-01-01T01:00[UTC]");
        check_next("@every 1h30m", "2026-01-01T00:00:10[UTC]", "2026-01-01T01:30:10[UTC]");
        check_next("0 0 29 2 *", "2026-03-01T00:00[UTC]", "2028-02-29T00:00[UTC]");
    }

    #[test]
    fn what_upstream_does_not_take_is_refused() {
        for (schedule, why) in [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [\"*\", \"*\", \"*\", \"*\"]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("* * L * *", "failed to parse int from L"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(Schedule::parse(schedule).unwrap_err(), why, "{schedule}");
        }
    }
}
