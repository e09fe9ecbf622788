//! What stands between two values.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::fault::{Budget, Fault, Outcome};
use super::super::program::Binary;
use super::super::value::Val;
use crate::structural::ListType;

/// The value of an operator between two values.
pub(in super::super) fn binary<'a>(
    operator: Binary,
    left: &Val<'a>,
    right: &Val<'a>,
    budget: &Budget,
) -> Outcome<'a> {
    charge(operator, left, right, budget)?;
    let compares = |fits: fn(Ordering) -> bool| {
        // What has no order, as no number has with one that is none, fits nothing.
        Ok(Val::Bool(left.order(right)?.is_some_and(fits)))
    };
    match operator {
        Binary::Equal => Ok(Val::Bool(left.equals(right))),
        Binary::NotEqual => Ok(Val::Bool(!left.equals(right))),
        Binary::Less => compares(Ordering::is_lt),
        Binary::LessEqual => compares(Ordering::is_le),
        Binary::Greater => compares(Ordering::is_gt),
        Binary::GreaterEqual => compares(Ordering::is_ge),
        Binary::In => contains(left, right),
        Binary::Add => add(left, right),
        Binary::Subtract => subtract(left, right),
        Binary::Multiply | Binary::Divide | Binary::Modulo => scale(operator, left, right),
    }
}

fn charge(operator: Binary, left: &Val<'_>, right: &Val<'_>, budget: &Budget) -> Result<(), Fault> {
    match operator {
        Binary::Equal | Binary::NotEqual => budget.traverse(left.size().min(right.size())),
        Binary::Add => budget.traverse(left.size().saturating_add(right.size())),
        Binary::In if right.is_list() => budget.take(right.size().max(1)),
        Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
            budget.traverse(left.size().min(right.size()))
        }
        _ => budget.take(1),
    }
}

pub(in super::super) fn negate<'a>(value: &Val<'a>) -> Outcome<'a> {
    match value {
        Val::Int(number) => number.checked_neg().map(Val::Int).ok_or_else(overflow),
        Val::Double(number) => Ok(Val::Double(-number)),
        Val::Duration(length) => length.checked_neg().map(Val::Duration).ok_or_else(overflow),
        _ => Err(Fault::no_such_overload()),
    }
}

fn overflow() -> Fault {
    Fault::new("integer overflow")
}

fn contains<'a>(one: &Val<'a>, within: &Val<'a>) -> Outcome<'a> {
    if within.is_list() {
        return Ok(Val::Bool(within.items().any(|item| one.equals(&item))));
    }
    match within {
        Val::Map(_) | Val::Json(..) => Ok(Val::Bool(within.entry(one).is_some())),
        _ => Err(Fault::no_such_overload()),
    }
}

fn add<'a>(left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    Ok(match (left, right) {
        (Val::Int(left), Val::Int(right)) => {
            Val::Int(left.checked_add(*right).ok_or_else(overflow)?)
        }
        (Val::Uint(left), Val::Uint(right)) => {
            Val::Uint(left.checked_add(*right).ok_or_else(unsigned_overflow)?)
        }
        (Val::Double(left), Val::Double(right)) => Val::Double(left + right),
        (Val::Text(left), Val::Text(right)) => Val::text([left as &str, right as &str].concat()),
        (Val::Bytes(left), Val::Bytes(right)) => {
            Val::Bytes([&left[..], &right[..]].concat().into())
        }
        (Val::Time(time), Val::Duration(length)) | (Val::Duration(length), Val::Time(time)) => {
            Val::Time(time.checked_add(*length).map_err(|_| range())?)
        }
        (Val::Duration(left), Val::Duration(right)) => {
            Val::Duration(left.checked_add(*right).ok_or_else(range)?)
        }
        _ if left.is_list() && right.is_list() => return Ok(join(left, right)),
        _ => return Err(Fault::no_such_overload()),
    })
}

/// One list after the other; what is in both of two sets, or has the keys of what is there, takes
/// its place.
fn join<'a>(left: &Val<'a>, right: &Val<'a>) -> Val<'a> {
    let mut all: Vec<Val<'a>> = left.items().collect();
    match left.list_type() {
        ListType::Set => {
            let more: Vec<_> =
                right.items().filter(|item| !all.iter().any(|one| one.equals(item))).collect();
            all.extend(more);
        }
        ListType::Map(keys) => {
            for item in right.items() {
                let same = |one: &&mut Val<'a>| {
                    keys.iter().all(|key| match (one.field(key, key), item.field(key, key)) {
                        (Some(left), Some(right)) => left.equals(&right),
                        (None, None) => true,
                        _ => false,
                    })
                };
                match all.iter_mut().find(same) {
                    Some(place) => *place = item,
                    None => all.push(item),
                }
            }
        }
        _ => all.extend(right.items()),
    }
    Val::List(Arc::new(all))
}

fn unsigned_overflow() -> Fault {
    Fault::new("unsigned integer overflow")
}

fn range() -> Fault {
    Fault::new("timestamp overflow")
}

fn subtract<'a>(left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    Ok(match (left, right) {
        (Val::Int(left), Val::Int(right)) => {
            Val::Int(left.checked_sub(*right).ok_or_else(overflow)?)
        }
        (Val::Uint(left), Val::Uint(right)) => {
            Val::Uint(left.checked_sub(*right).ok_or_else(unsigned_overflow)?)
        }
        (Val::Double(left), Val::Double(right)) => Val::Double(left - right),
        (Val::Time(left), Val::Time(right)) => Val::Duration(left.duration_since(*right)),
        (Val::Time(time), Val::Duration(length)) => {
            Val::Time(time.checked_sub(*length).map_err(|_| range())?)
        }
        (Val::Duration(left), Val::Duration(right)) => {
            Val::Duration(left.checked_sub(*right).ok_or_else(range)?)
        }
        _ => return Err(Fault::no_such_overload()),
    })
}

fn scale<'a>(operator: Binary, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    Ok(match (operator, left, right) {
        (Binary::Divide, _, Val::Int(0) | Val::Uint(0)) => {
            return Err(Fault::new("division by zero"));
        }
        (Binary::Modulo, _, Val::Int(0) | Val::Uint(0)) => {
            return Err(Fault::new("modulus by zero"));
        }
        (Binary::Multiply, Val::Int(left), Val::Int(right)) => {
            Val::Int(left.checked_mul(*right).ok_or_else(overflow)?)
        }
        (Binary::Divide, Val::Int(left), Val::Int(right)) => {
            Val::Int(left.checked_div(*right).ok_or_else(overflow)?)
        }
        (Binary::Modulo, Val::Int(left), Val::Int(right)) => {
            Val::Int(left.checked_rem(*right).ok_or_else(overflow)?)
        }
        (Binary::Multiply, Val::Uint(left), Val::Uint(right)) => {
            Val::Uint(left.checked_mul(*right).ok_or_else(unsigned_overflow)?)
        }
        (Binary::Divide, Val::Uint(left), Val::Uint(right)) => Val::Uint(left / right),
        (Binary::Modulo, Val::Uint(left), Val::Uint(right)) => Val::Uint(left % right),
        (Binary::Multiply, Val::Double(left), Val::Double(right)) => Val::Double(left * right),
        (Binary::Divide, Val::Double(left), Val::Double(right)) => Val::Double(left / right),
        _ => return Err(Fault::no_such_overload()),
    })
}
