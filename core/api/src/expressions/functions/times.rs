//! Times and lengths of time.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

pub(in super::super) use crate::duration::parse;

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::Val;

/// It in seconds.
pub(in super::super) fn show(length: SignedDuration) -> String {
    let nanos = length.as_nanos();
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{whole}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{whole}.{}s", fraction.trim_end_matches('0'))
}

pub(super) fn duration<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    match arguments {
        [same @ Val::Duration(_)] => Ok(same.clone()),
        [Val::Int(nanos)] => Ok(Val::Duration(SignedDuration::from_nanos(*nanos))),
        [Val::Text(text)] => parse(text).map(Val::Duration).ok_or_else(|| {
            Fault::new("type conversion error from 'string' to 'google.protobuf.Duration'")
        }),
        _ => Err(Fault::no_such_overload()),
    }
}

pub(super) fn timestamp<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    let wrong = || Fault::new("type conversion error from 'string' to 'google.protobuf.Timestamp'");
    match arguments {
        [same @ Val::Time(_)] => Ok(same.clone()),
        [Val::Int(seconds)] => Timestamp::from_second(*seconds).map(Val::Time).map_err(|_| wrong()),
        [Val::Text(text)] => text.parse().map(Val::Time).map_err(|_| wrong()),
        _ => Err(Fault::no_such_overload()),
    }
}

/// The time that is asked, where it is asked.
fn zoned(arguments: &[Val<'_>], budget: &Budget) -> Result<Zoned, Fault> {
    budget.take(1)?;
    match arguments {
        [Val::Time(time)] => Ok(time.to_zoned(TimeZone::UTC)),
        [Val::Time(time), Val::Text(zone)] => zone_of(zone)
            .map(|zone| time.to_zoned(zone))
            .ok_or_else(|| Fault::new(format!("unknown time zone {}", zone as &str))),
        _ => Err(Fault::no_such_overload()),
    }
}

fn zone_of(name: &str) -> Option<TimeZone> {
    if matches!(name, "UTC" | "") {
        return Some(TimeZone::UTC);
    }
    let Some((hours, minutes)) = name.split_once(':') else { return TimeZone::get(name).ok() };
    let (sign, hours) = match hours.strip_prefix('-') {
        Some(hours) => (-1, hours),
        None => (1, hours.strip_prefix('+').unwrap_or(hours)),
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = (hours.checked_mul(60)?.checked_add(minutes)?).checked_mul(60 * sign)?;
    jiff::tz::Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
}

pub(super) fn full_year<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Int(zoned(arguments, budget)?.year().into()))
}

pub(super) fn month<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Int(i64::from(zoned(arguments, budget)?.month()) - 1))
}

pub(super) fn date<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Int(zoned(arguments, budget)?.day().into()))
}

pub(super) fn day_of_month<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Int(i64::from(zoned(arguments, budget)?.day()) - 1))
}

pub(super) fn day_of_week<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Int(zoned(arguments, budget)?.weekday().to_sunday_zero_offset().into()))
}

pub(super) fn day_of_year<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Int(i64::from(zoned(arguments, budget)?.day_of_year()) - 1))
}

/// The length of time that is asked, if it is one.
fn length(arguments: &[Val<'_>]) -> Option<SignedDuration> {
    match arguments {
        [Val::Duration(length)] => Some(*length),
        _ => None,
    }
}

pub(super) fn hours<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    if let Some(length) = length(arguments) {
        return Ok(Val::Int(length.as_hours()));
    }
    Ok(Val::Int(zoned(arguments, budget)?.hour().into()))
}

pub(super) fn minutes<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    if let Some(length) = length(arguments) {
        return Ok(Val::Int(length.as_mins()));
    }
    Ok(Val::Int(zoned(arguments, budget)?.minute().into()))
}

pub(super) fn seconds<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    if let Some(length) = length(arguments) {
        return Ok(Val::Int(length.as_secs()));
    }
    Ok(Val::Int(zoned(arguments, budget)?.second().into()))
}

pub(super) fn milliseconds<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    if let Some(length) = length(arguments) {
        return Ok(Val::Int(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)));
    }
    Ok(Val::Int(zoned(arguments, budget)?.millisecond().into()))
}
