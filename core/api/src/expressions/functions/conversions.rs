//! Values of one type as another.

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::Val;
use super::times;

fn one<'v, 'a>(arguments: &'v [Val<'a>], budget: &Budget) -> Result<&'v Val<'a>, Fault> {
    match arguments {
        [one] => {
            budget.traverse(one.size())?;
            Ok(one)
        }
        _ => Err(Fault::no_such_overload()),
    }
}

fn cannot(from: &Val<'_>, to: &str) -> Fault {
    Fault::new(format!("type conversion error from '{}' to '{to}'", from.type_name()))
}

pub(super) fn same<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    one(arguments, budget).cloned()
}

pub(super) fn type_of<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Type(one(arguments, budget)?.type_name()))
}

pub(super) fn bool<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let from = one(arguments, budget)?;
    Ok(Val::Bool(match from {
        Val::Bool(value) => *value,
        Val::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err(cannot(from, "bool")),
        },
        _ => return Err(Fault::no_such_overload()),
    }))
}

pub(super) fn bytes<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    match one(arguments, budget)? {
        Val::Text(text) => Ok(Val::Bytes(text.as_bytes().into())),
        bytes @ Val::Bytes(_) => Ok(bytes.clone()),
        _ => Err(Fault::no_such_overload()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a double holds no more")]
pub(super) fn double<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let from = one(arguments, budget)?;
    Ok(Val::Double(match from {
        Val::Double(number) => *number,
        Val::Int(number) => *number as f64,
        Val::Uint(number) => *number as f64,
        Val::Text(text) => text.parse().map_err(|_| cannot(from, "double"))?,
        _ => return Err(Fault::no_such_overload()),
    }))
}

pub(super) fn int<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let from = one(arguments, budget)?;
    Ok(Val::Int(match from {
        Val::Int(number) => *number,
        Val::Uint(number) => i64::try_from(*number).map_err(|_| overflow())?,
        #[expect(clippy::cast_possible_truncation, reason = "it is within bounds")]
        Val::Double(number) if number.abs() < 9_223_372_036_854_775_000.0 => *number as i64,
        Val::Double(_) => return Err(overflow()),
        Val::Text(text) => text.parse().map_err(|_| cannot(from, "int"))?,
        Val::Time(time) => time.as_second(),
        Val::Duration(length) => i64::try_from(length.as_nanos()).map_err(|_| overflow())?,
        _ => return Err(Fault::no_such_overload()),
    }))
}

fn overflow() -> Fault {
    Fault::new("integer overflow")
}

pub(super) fn uint<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let from = one(arguments, budget)?;
    let overflow = || Fault::new("unsigned integer overflow");
    Ok(Val::Uint(match from {
        Val::Uint(number) => *number,
        Val::Int(number) => u64::try_from(*number).map_err(|_| overflow())?,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within")]
        Val::Double(number) if (0.0..18_446_744_073_709_550_000.0).contains(number) => {
            *number as u64
        }
        Val::Double(_) => return Err(overflow()),
        Val::Text(text) => text.parse().map_err(|_| cannot(from, "uint"))?,
        _ => return Err(Fault::no_such_overload()),
    }))
}

pub(super) fn string<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let from = one(arguments, budget)?;
    Ok(Val::text(match from {
        Val::Text(_) => return Ok(from.clone()),
        Val::Bool(value) => value.to_string(),
        Val::Int(number) => number.to_string(),
        Val::Uint(number) => number.to_string(),
        Val::Double(number) => show_double(*number),
        Val::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(Fault::new("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Val::Time(time) => time.to_string(),
        Val::Duration(length) => times::show(*length),
        Val::Opaque(own) => own.key(),
        _ => return Err(Fault::no_such_overload()),
    }))
}

/// A number with as few digits as tell it.
pub(super) fn show_double(number: f64) -> String {
    let plain = number == 0.0 || (1e-4..1e21).contains(&number.abs());
    match (number.is_nan(), number.is_infinite(), plain) {
        (true, ..) => "NaN".to_owned(),
        (_, true, _) => if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        (_, _, true) => number.to_string(),
        _ => {
            let text = format!("{number:e}");
            match text.split_once('e') {
                Some((digits, exponent)) => {
                    let (sign, exponent) = match exponent.strip_prefix('-') {
                        Some(exponent) => ('-', exponent),
                        None => ('+', exponent),
                    };
                    format!("{digits}e{sign}{exponent:0>2}")
                }
                None => text,
            }
        }
    }
}
