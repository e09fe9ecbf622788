//! `format`: texts with places for values.

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::Val;
use super::conversions::show_double;
use super::{text, times};

/// Most digits after the point.
const DIGITS_MAX: usize = 1000;

pub(super) fn format<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let [template, values] = arguments else { return Err(Fault::no_such_overload()) };
    if !values.is_list() {
        return Err(Fault::no_such_overload());
    }
    budget.traverse(template.size())?;
    let mut out = String::new();
    let mut chars = text(template)?.chars().peekable();
    let mut next = 0;
    while let Some(one) = chars.next() {
        if one != '%' {
            out.push(one);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let value = values.item(next);
        let value = value.ok_or_else(|| Fault::new(format!("index {next} out of range")))?;
        next += 1;
        budget.traverse(value.size())?;
        let mut digits = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut number = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                number.push(digit);
            }
            let parsed = number.parse().ok().filter(|digits| *digits <= DIGITS_MAX);
            digits = Some(parsed.ok_or_else(|| Fault::new("precision too large"))?);
        }
        let clause = chars.next().ok_or_else(|| Fault::new("unexpected end of string"))?;
        out.push_str(&clause_of(clause, &value, digits)?);
    }
    Ok(Val::text(out))
}

fn clause_of(clause: char, value: &Val<'_>, digits: Option<usize>) -> Result<String, Fault> {
    let wrong = |what: &str| {
        Err(Fault::new(format!("error during formatting: {what}, was given {}", value.type_name())))
    };
    match clause {
        's' => shown(value),
        'd' => match value {
            Val::Int(number) => Ok(number.to_string()),
            Val::Uint(number) => Ok(number.to_string()),
            Val::Double(number) if !number.is_finite() => Ok(special(*number)),
            _ => wrong("decimal clause can only be used on integers"),
        },
        'f' | 'e' => {
            let digits = digits.unwrap_or(6);
            #[expect(clippy::cast_precision_loss, reason = "a double holds no more")]
            let number = match value {
                Val::Double(number) => *number,
                Val::Int(number) => *number as f64,
                Val::Uint(number) => *number as f64,
                _ => return wrong("fixed-point clause can only be used on doubles"),
            };
            Ok(match (number.is_finite(), clause) {
                (false, _) => special(number),
                (_, 'f') => format!("{number:.digits$}"),
                _ => scientific(number, digits),
            })
        }
        'b' => match value {
            Val::Int(number) if *number < 0 => Ok(format!("-{:b}", number.unsigned_abs())),
            Val::Int(number) => Ok(format!("{number:b}")),
            Val::Uint(number) => Ok(format!("{number:b}")),
            Val::Bool(value) => Ok(u8::from(*value).to_string()),
            _ => wrong("only integers and bools can be formatted as binary"),
        },
        'o' => match value {
            Val::Int(number) if *number < 0 => Ok(format!("-{:o}", number.unsigned_abs())),
            Val::Int(number) => Ok(format!("{number:o}")),
            Val::Uint(number) => Ok(format!("{number:o}")),
            _ => wrong("octal clause can only be used on integers"),
        },
        'x' | 'X' => {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let lower: String = match value {
                Val::Int(number) if *number < 0 => format!("-{:x}", number.unsigned_abs()),
                Val::Int(number) => format!("{number:x}"),
                Val::Uint(number) => format!("{number:x}"),
                Val::Bytes(bytes) => hex(bytes),
                Val::Text(text) => hex(text.as_bytes()),
                _ => {
                    return wrong(
                        "only integers, byte buffers, and strings can be formatted as hex",
                    );
                }
            };
            Ok(if clause == 'X' { lower.to_uppercase() } else { lower })
        }
        other => Err(Fault::new(format!(
            "could not parse formatting clause: unrecognized formatting clause \"{other}\""
        ))),
    }
}

fn special(number: f64) -> String {
    let name = match (number.is_nan(), number > 0.0) {
        (true, _) => "NaN",
        (_, true) => "Infinity",
        _ => "-Infinity",
    };
    name.to_owned()
}

fn scientific(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A value as a text.
fn shown(value: &Val<'_>) -> Result<String, Fault> {
    Ok(match value {
        Val::Null => "null".to_owned(),
        Val::Bool(value) => value.to_string(),
        Val::Int(number) => number.to_string(),
        Val::Uint(number) => number.to_string(),
        Val::Double(number) if !number.is_finite() => special(*number),
        Val::Double(number) => show_double(*number),
        Val::Text(text) => text.to_string(),
        Val::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Val::Time(time) => time.to_string(),
        Val::Duration(length) => times::show(*length),
        Val::Type(name) => (*name).to_owned(),
        Val::Opaque(own) => own.key(),
        Val::Optional(_) => {
            return Err(Fault::new(
                "error during formatting: string clause can only be used on strings, bools, \
                 bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given \
                 optional_type",
            ));
        }
        list if list.is_list() => {
            let items: Result<Vec<_>, _> = list.items().map(|item| shown(&item)).collect();
            format!("[{}]", items?.join(", "))
        }
        map => {
            let entry = |key: Val<'_>| {
                let value = map.entry(&key).unwrap_or(Val::Null);
                Ok(format!("{}: {}", shown(&key)?, shown(&value)?))
            };
            let entries: Result<Vec<_>, Fault> = map.keys().into_iter().map(entry).collect();
            format!("{{{}}}", entries?.join(", "))
        }
    })
}
