//! Amounts with units, and versions.

use std::cmp::Ordering;

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::{Opaque, Val};
use super::{opaque, text};
use crate::quantity::Quantity;

fn one<'v>(arguments: &'v [Val<'_>], budget: &Budget) -> Result<&'v str, Fault> {
    match arguments {
        [one] => {
            budget.traverse(one.size())?;
            text(one)
        }
        _ => Err(Fault::no_such_overload()),
    }
}

#[derive(Debug)]
struct Amount(Quantity);

pub(super) fn quantity<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let parsed = Quantity::parse(one(arguments, budget)?);
    parsed.map(|amount| opaque(Amount(amount))).map_err(|error| Fault::new(error.to_string()))
}

pub(in super::super) fn quantity_of<'a>(text: &str) -> Option<Val<'a>> {
    Quantity::parse(text).ok().map(|amount| opaque(Amount(amount)))
}

pub(super) fn is_quantity<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Bool(Quantity::parse(one(arguments, budget)?).is_ok()))
}

/// What an own value says of another of its type.
fn beside<'a>(this: &dyn Opaque, function: &str, other: &Val<'a>) -> Option<Outcome<'a>> {
    let Val::Opaque(other) = other else { return None };
    if other.type_name() != this.type_name() {
        return None;
    }
    let order = this.compare(&**other)?;
    Some(Ok(match function {
        "compareTo" => Val::Int(order as i64),
        "isGreaterThan" => Val::Bool(order.is_gt()),
        "isLessThan" => Val::Bool(order.is_lt()),
        _ => return None,
    }))
}

impl Opaque for Amount {
    fn type_name(&self) -> &'static str {
        "kubernetes.Quantity"
    }

    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
        let whole = self.0 == Quantity::parse(&self.0.value().to_string()).ok()?;
        Some(Ok(match (function, arguments) {
            ("isInteger", []) => Val::Bool(whole),
            ("asInteger", []) if whole => Val::Int(self.0.value()),
            ("asInteger", []) => {
                return Some(Err(Fault::new("cannot convert value to integer")));
            }
            ("asApproximateFloat", []) => Val::Double(self.0.to_f64()),
            ("sign", []) => Val::Int(match (self.0.is_zero(), self.0.is_negative()) {
                (true, _) => 0,
                (_, true) => -1,
                _ => 1,
            }),
            ("add" | "sub", [other]) => {
                let other = match other {
                    Val::Int(number) => Quantity::parse(&number.to_string()).ok()?,
                    Val::Opaque(own) if own.type_name() == self.type_name() => {
                        Quantity::parse(&own.key()).ok()?
                    }
                    _ => return None,
                };
                let made = match function {
                    "add" => self.0.checked_add(other),
                    _ => self.0.checked_sub(other),
                };
                match made {
                    Some(made) => opaque(Amount(made)),
                    None => return Some(Err(Fault::new("quantity overflow"))),
                }
            }
            (function, [other]) => return beside(self, function, other),
            _ => return None,
        }))
    }

    fn compare(&self, other: &dyn Opaque) -> Option<Ordering> {
        Some(self.0.cmp(&Quantity::parse(&other.key()).ok()?))
    }

    fn key(&self) -> String {
        self.0.to_string()
    }
}

/// A version as semver.org has it.
#[derive(Debug)]
struct Semver {
    numbers: [u64; 3],
    pre: Vec<String>,
    build: String,
}

fn parse_semver(text: &str, normalize: bool) -> Option<Semver> {
    let (text, build) =
        text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let core = if normalize { core.trim_start_matches('v') } else { core };
    let mut parts: Vec<&str> = core.split('.').collect();
    if normalize {
        while parts.len() < 3 {
            parts.push("0");
        }
    }
    let number = |text: &str| {
        let padded = text.len() > 1 && text.starts_with('0') && !normalize;
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain && !padded { text.parse::<u64>().ok() } else { None }
    };
    let [major, minor, patch] = parts[..] else { return None };
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let plain = |part: &str| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        fits(part) && !(digits && part.len() > 1 && part.starts_with('0'))
    };
    let pre: Vec<String> =
        pre.map_or(Vec::new(), |pre| pre.split('.').map(str::to_owned).collect());
    let build = build.unwrap_or_default();
    let build_fits = build.is_empty() || build.split('.').all(fits);
    if !pre.iter().all(|part| plain(part)) || !build_fits {
        return None;
    }
    let numbers = [number(major)?, number(minor)?, number(patch)?];
    Some(Semver { numbers, pre, build: build.to_owned() })
}

fn versions(arguments: &[Val<'_>], budget: &Budget) -> Result<Option<Semver>, Fault> {
    let (asked, normalize) = match arguments {
        [asked] => (asked, false),
        [asked, Val::Bool(normalize)] => (asked, *normalize),
        _ => return Err(Fault::no_such_overload()),
    };
    budget.traverse(asked.size())?;
    Ok(parse_semver(text(asked)?, normalize))
}

pub(super) fn semver<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let parsed = versions(arguments, budget)?;
    parsed.map(opaque).ok_or_else(|| Fault::new("semver parse error during conversion from string"))
}

pub(in super::super) fn semver_of<'a>(text: &str) -> Option<Val<'a>> {
    parse_semver(text, false).map(opaque)
}

pub(super) fn is_semver<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Bool(versions(arguments, budget)?.is_some()))
}

impl Semver {
    fn order(&self, other: &Self) -> Ordering {
        let part = |left: &String, right: &String| match (left.parse::<u64>(), right.parse::<u64>())
        {
            (Ok(left), Ok(right)) => left.cmp(&right),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            _ => left.cmp(right),
        };
        // What comes before a version is less than it.
        let pre = match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => {
                let mut pairs = self.pre.iter().zip(&other.pre);
                let differs = pairs.find_map(|(left, right)| {
                    Some(part(left, right)).filter(|order| order.is_ne())
                });
                differs.unwrap_or_else(|| self.pre.len().cmp(&other.pre.len()))
            }
        };
        self.numbers.cmp(&other.numbers).then(pre)
    }
}

impl Opaque for Semver {
    fn type_name(&self) -> &'static str {
        "kubernetes.Semver"
    }

    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
        let number = |at: usize| {
            let number = self.numbers.get(at).copied().unwrap_or(0);
            Some(Ok(Val::Int(i64::try_from(number).unwrap_or(i64::MAX))))
        };
        match (function, arguments) {
            ("major", []) => number(0),
            ("minor", []) => number(1),
            ("patch", []) => number(2),
            (function, [other]) => beside(self, function, other),
            _ => None,
        }
    }

    fn compare(&self, other: &dyn Opaque) -> Option<Ordering> {
        Some(self.order(&parse_semver(&other.key(), false)?))
    }

    fn key(&self) -> String {
        let [major, minor, patch] = self.numbers;
        let mut text = format!("{major}.{minor}.{patch}");
        for (mark, part) in [('-', &self.pre.join(".")), ('+', &self.build)] {
            if !part.is_empty() {
                text.push(mark);
                text.push_str(part);
            }
        }
        text
    }
}
