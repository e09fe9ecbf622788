use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};

const UNKNOWN: &str = "<unknown>";
/// Clocks of machines may differ by less than this; a time that far ahead is now.
const SKEW_SECONDS: i64 = 1;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A duration in two or three digits, as `kubectl` shows ages: `119s`, `5m30s`, `7h15m`, `3d4h`.
pub fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if seconds < -SKEW_SECONDS => "<invalid>".to_owned(),
        _ if seconds < 0 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(seconds, (MINUTE, 'm'), (1, 's')),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(seconds, (HOUR, 'h'), (MINUTE, 'm')),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(seconds, (DAY, 'd'), (HOUR, 'h')),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds, (YEAR, 'y'), (DAY, 'd')),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two(seconds: i64, (large, first): (i64, char), (small, second): (i64, char)) -> String {
    match seconds % large / small {
        0 => format!("{}{first}", seconds / large),
        rest => format!("{}{first}{rest}{second}", seconds / large),
    }
}

/// The age of an object.
pub(super) fn age(meta: &ObjectMeta, now: Timestamp) -> String {
    since(meta.creation_timestamp.as_ref(), now)
}

/// The time since a point in time, if there is one.
pub(super) fn since(time: Option<&Time>, now: Timestamp) -> String {
    time.map_or_else(|| UNKNOWN.to_owned(), |time| human_duration(now.duration_since(time.0)))
}

/// The time since a point in time that is kept in microseconds, if there is one.
pub(super) fn micro_since(time: Option<&MicroTime>, now: Timestamp) -> String {
    time.map_or_else(|| UNKNOWN.to_owned(), |time| human_duration(now.duration_since(time.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_or_three_digits() {
        for (seconds, expected) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (10 * MINUTE + 5, "10m"),
            (179 * MINUTE, "179m"),
            (3 * HOUR, "3h"),
            (7 * HOUR + 15 * MINUTE, "7h15m"),
            (47 * HOUR, "47h"),
            (3 * DAY + 4 * HOUR + 1, "3d4h"),
            (7 * DAY, "7d"),
            (729 * DAY, "729d"),
            (2 * YEAR + 3 * DAY, "2y3d"),
            (9 * YEAR, "9y"),
        ] {
            assert_eq!(human_duration(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        }
    }
}
