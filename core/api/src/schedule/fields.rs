//! The five fields of a schedule, as upstream reads them.

use std::fmt::Write as _;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// The longest that each month gets.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// What may stand in a field.
struct Range {
    least: u64,
    most: u64,
    names: &'static [&'static str],
}

/// What a field names.
#[derive(Clone, Copy, Debug, Default)]
struct Field {
    /// A bit for each value.
    values: u64,
    /// Whether it leaves the matter to other fields, as `*` does. A `*` with a step does not.
    any: bool,
}

/// Reads the fields; `None` if no day has what they name.
///
/// # Errors
/// A sentence that says what is wrong with them.
pub(super) fn parse(text: &str) -> Result<Option<Cron>, String> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let &[minute, hour, day, month, weekday] = &parts[..] else {
        let found = parts.len();
        return Err(format!("expected exactly 5 fields, found {found}: [{}]", parts.join(" ")));
    };
    let number = |least, most| Range { least, most, names: &[] };
    let minute = field(minute, &number(0, 59))?;
    let hour = field(hour, &number(0, 23))?;
    let day = field(day, &number(1, 31))?;
    let month = field(month, &Range { least: 1, most: 12, names: &MONTHS })?;
    let weekday = field(weekday, &Range { least: 0, most: 6, names: &DAYS })?;
    let fields = [minute, hour, day, month, weekday];
    if fields.iter().any(|field| field.values == 0) || never(day, month, weekday) {
        return Ok(None);
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .dom_and_dow(false)
        .build();
    // All is spelled out, for the library reads steps and stars otherwise than upstream.
    let text = fields.map(|field| field.list()).join(" ");
    parser.parse(&text).map(Some).map_err(|error| error.to_string())
}

/// Whether no month has the days.
fn never(day: Field, month: Field, weekday: Field) -> bool {
    let has = |(index, length): (usize, &u32)| {
        month.values >> (index + 1) & 1 == 1 && day.values.trailing_zeros() <= *length
    };
    weekday.any && !day.any && !LENGTHS.iter().enumerate().any(has)
}

impl Field {
    fn list(self) -> String {
        if self.any {
            return "*".to_owned();
        }
        let mut text = String::new();
        for value in (0..u64::BITS).filter(|value| self.values >> value & 1 == 1) {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(text, "{comma}{value}");
        }
        text
    }
}

/// Reads one field: a list of values and ranges, each with an optional step.
fn field(text: &str, range: &Range) -> Result<Field, String> {
    let mut field = Field::default();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let next = self::item(item, range)?;
        field.values |= next.values;
        field.any |= next.any;
    }
    Ok(field)
}

fn item(item: &str, range: &Range) -> Result<Field, String> {
    let (values, step) = match item.split_once('/') {
        Some((values, step)) => (values, Some(step)),
        None => (item, None),
    };
    let (start, end) = match values.split_once('-') {
        Some((start, end)) => (start, Some(end)),
        None => (values, None),
    };
    let any = matches!(start, "*" | "?");
    let (start, mut last) = if any {
        (range.least, range.most)
    } else {
        let start = value(start, range.names)?;
        if end.is_some_and(|end| end.contains('-')) {
            return Err(format!("too many hyphens: {item}"));
        }
        (start, end.map_or(Ok(start), |end| value(end, range.names))?)
    };
    let step = match step {
        None => 1,
        Some(step) if step.contains('/') => return Err(format!("too many slashes: {item}")),
        Some(step) => {
            // A single value with a step stands for all from there on.
            if end.is_none() {
                last = range.most;
            }
            value(step, &[])?
        }
    };
    let Range { least, most, .. } = *range;
    if start < least {
        return Err(format!("beginning of range ({start}) below minimum ({least}): {item}"));
    }
    if last > most {
        return Err(format!("end of range ({last}) above maximum ({most}): {item}"));
    }
    if start > last {
        let why = format!("beginning of range ({start}) beyond end of range ({last})");
        return Err(format!("{why}: {item}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {item}"));
    }
    let values = (start..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    let values = values.fold(0, |values, value| values | 1 << value);
    Ok(Field { values, any: any && step == 1 })
}

fn value(text: &str, names: &[&str]) -> Result<u64, String> {
    if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        let first = if names.len() == MONTHS.len() { 1 } else { 0 };
        return Ok(u64::try_from(index).unwrap_or(0) + first);
    }
    let failed = |why: &str| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}")
    };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(failed("invalid syntax"));
    }
    let number: i64 = text.parse().map_err(|_| failed("value out of range"))?;
    u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}
