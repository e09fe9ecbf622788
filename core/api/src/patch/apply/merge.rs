use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::element::PathElement;
use super::typed::Form;
use crate::schema::{ListType, TypeRef};

/// Lays an applied value over a live one. Nothing is removed; lists that are merged are ordered as
/// the applied one, with what only the live one has where it was.
pub(super) fn merge(
    ty: TypeRef<'_>,
    live: Option<&Value>,
    applied: Option<&Value>,
) -> Result<Option<Value>, String> {
    let Some(one) = applied.or(live) else { return Ok(None) };
    let merged = match Form::of(ty, one) {
        Form::Leaf => one.clone(),
        Form::Map => {
            let sides = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
            match sides {
                (None, None) => one.clone(),
                (Some(live), None) if live.is_empty() => one.clone(),
                (Some(live), Some(applied)) if live.is_empty() && applied.is_empty() => one.clone(),
                (live, applied) => Value::Object(merge_maps(ty, live, applied)?),
            }
        }
        Form::List(list, item) => {
            let live = live.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let applied = applied.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if live.is_empty() && applied.is_empty() {
                one.clone()
            } else {
                Value::Array(merge_lists(list, item, live, applied)?)
            }
        }
    };
    Ok(Some(merged))
}

fn merge_maps(
    ty: TypeRef<'_>,
    live: Option<&Map<String, Value>>,
    applied: Option<&Map<String, Value>>,
) -> Result<Map<String, Value>, String> {
    let mut merged = Map::new();
    let names = live.into_iter().chain(applied).flat_map(Map::keys);
    for name in names {
        if merged.contains_key(name) {
            continue;
        }
        let field =
            ty.field(name).ok_or_else(|| format!(".{name}: field not declared in schema"))?;
        let sides = (live.and_then(|live| live.get(name)), applied.and_then(|one| one.get(name)));
        if let Some(value) = merge(field, sides.0, sides.1)? {
            merged.insert(name.clone(), value);
        }
    }
    Ok(merged)
}

fn merge_lists(
    list: &ListType,
    ty: TypeRef<'_>,
    live: &[Value],
    applied: &[Value],
) -> Result<Vec<Value>, String> {
    let ours = elements(list, ty, applied)?;
    let theirs = elements(list, ty, live)?;
    let our_items: BTreeMap<_, _> = ours.iter().zip(applied).collect();
    // What is live more than once is not merged with.
    let mut their_items: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (element, item) in theirs.iter().zip(live) {
        their_items.entry(element).and_modify(|item| *item = None).or_insert(Some(item));
    }
    let mut shared = ours.iter().filter(|element| their_items.contains_key(element)).peekable();
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    let mut done = BTreeSet::new();
    let (mut left, mut right) = (0, 0);
    while left < theirs.len() || right < ours.len() {
        if let (Some(their), Some(our)) = (theirs.get(left), ours.get(right)) {
            if their == our {
                done.insert(our);
                let item = their_items.get(our).copied().flatten();
                merged.extend(merge(ty, item, applied.get(right))?);
                left += 1;
                right += 1;
                shared.next();
                continue;
            }
            // It is ours too, but others of ours come first.
            if our_items.contains_key(their) && shared.peek().is_some_and(|next| *next != their) {
                left += 1;
                continue;
            }
        }
        if let Some(their) = theirs.get(left) {
            if !our_items.contains_key(their) {
                merged.extend(merge(ty, live.get(left), None)?);
                left += 1;
                continue;
            }
            if done.contains(their) {
                left += 1;
            }
        }
        if let Some(our) = ours.get(right) {
            done.insert(our);
            let item = their_items.get(our).copied().flatten();
            merged.extend(merge(ty, item, applied.get(right))?);
            right += 1;
            if shared.peek() == Some(&our) {
                shared.next();
            }
        }
    }
    Ok(merged)
}

fn elements(list: &ListType, ty: TypeRef<'_>, items: &[Value]) -> Result<Vec<PathElement>, String> {
    let element = |(index, item)| {
        PathElement::of_item(list, ty, item)
            .map_err(|problem| format!("element {index}: {problem}"))
    };
    items.iter().enumerate().map(element).collect()
}
