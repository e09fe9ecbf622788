//! What may be there.

use std::sync::Arc;

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::Val;

pub(super) fn of<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    match arguments {
        [one] => Ok(Val::Optional(Some(Arc::new(one.clone())))),
        _ => Err(Fault::no_such_overload()),
    }
}

pub(super) fn none<'a>(_: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    Ok(Val::Optional(None))
}

pub(super) fn of_non_zero<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    let [one] = arguments else { return Err(Fault::no_such_overload()) };
    let zero = match one {
        Val::Null | Val::Bool(false) | Val::Int(0) | Val::Uint(0) => true,
        Val::Double(number) => *number == 0.0,
        Val::Text(text) => text.is_empty(),
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::Duration(length) => length.is_zero(),
        other => other.count() == Some(0),
    };
    Ok(Val::Optional((!zero).then(|| Arc::new(one.clone()))))
}

pub(super) fn has_value<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    match arguments {
        [Val::Optional(found)] => Ok(Val::Bool(found.is_some())),
        _ => Err(Fault::no_such_overload()),
    }
}

pub(super) fn value<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    match arguments {
        [Val::Optional(Some(found))] => Ok(Val::clone(found)),
        [Val::Optional(None)] => Err(Fault::new("optional.none() dereference")),
        _ => Err(Fault::no_such_overload()),
    }
}

pub(super) fn or<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    match arguments {
        [Val::Optional(None), other @ Val::Optional(_)] => Ok(other.clone()),
        [found @ Val::Optional(Some(_)), Val::Optional(_)] => Ok(found.clone()),
        _ => Err(Fault::no_such_overload()),
    }
}

pub(super) fn or_value<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    match arguments {
        [Val::Optional(Some(found)), _] => Ok(Val::clone(found)),
        [Val::Optional(None), other] => Ok(other.clone()),
        _ => Err(Fault::no_such_overload()),
    }
}

/// The elements that are there.
pub(super) fn unwrap<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let [list] = arguments else { return Err(Fault::no_such_overload()) };
    budget.traverse(list.size())?;
    let mut found = Vec::new();
    for item in list.items() {
        match item {
            Val::Optional(Some(item)) => found.push(Val::clone(&item)),
            Val::Optional(None) => {}
            _ => return Err(Fault::no_such_overload()),
        }
    }
    Ok(Val::list(found))
}
