use std::collections::{HashMap, HashSet};
use std::hash::RandomState;

use serde_json::Value;

use super::{DIRECTIVE, Merge, Object, Problem, keep, lookup, merge_object};
use crate::schema::{PatchStrategy, TypeRef};

/// Merges a list of a patch into a list.
pub(super) fn merge(
    ty: TypeRef<'_>,
    strategy: &PatchStrategy,
    old: Vec<Value>,
    patch: Vec<Value>,
) -> Merge<Vec<Value>> {
    if !strategy.merge {
        return Ok(patch);
    }
    if old.is_empty() && patch.is_empty() {
        return Ok(old);
    }
    if !are_objects(&[&old, &patch])? {
        let (ours, theirs) = (patch.clone(), old.clone());
        let mut seen = HashSet::new();
        let mut all: Vec<Value> = old.into_iter().chain(patch).collect();
        all.retain(|item| seen.insert(item.clone()));
        return Ok(arrange(all, ours, theirs, |item| Some(item)));
    }
    let Some(key) = strategy.merge_key.as_deref() else {
        return Err(Problem::NoKeyDeclared(ty.name().to_owned()));
    };
    merge_objects(ty, key, old, patch)
}

fn merge_objects(
    ty: TypeRef<'_>,
    key: &str,
    old: Vec<Value>,
    patch: Vec<Value>,
) -> Merge<Vec<Value>> {
    let (mut items, patch) = obey_directives(key, old, patch)?;
    let theirs = keys_of(&items, key);
    let ours = keys_of(&patch, key);
    let mut places: HashMap<Value, usize, RandomState> = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        if let Some(value) = item.get(key) {
            places.entry(value.clone()).or_insert(place);
        }
    }
    let item_type = ty.item();
    for item in patch {
        let Value::Object(mut item) = item else { continue };
        let value = key_of(&item, key)?.clone();
        let place = places.get(&value).copied();
        match (place.and_then(|place| items.get_mut(place)).map(Value::take), item_type) {
            (Some(Value::Object(old)), Some(ty)) => {
                let merged = Value::Object(merge_object(ty, old, item)?);
                if let Some(slot) = place.and_then(|place| items.get_mut(place)) {
                    *slot = merged;
                }
            }
            _ => {
                super::drop_directives(&mut item);
                places.insert(value, items.len());
                items.push(Value::Object(item));
            }
        }
    }
    // Merging may have replaced an item with one that has no key.
    for item in &items {
        key_of(item.as_object().ok_or(Problem::ListOfLists)?, key)?;
    }
    Ok(arrange(items, ours, theirs, |item| item.get(key)))
}

/// Does what the items with `$patch` say, and takes them out.
fn obey_directives(
    key: &str,
    mut old: Vec<Value>,
    patch: Vec<Value>,
) -> Merge<(Vec<Value>, Vec<Value>)> {
    let mut items = Vec::with_capacity(patch.len());
    let mut gone = HashSet::new();
    let mut replace = false;
    for item in patch {
        let Value::Object(object) = &item else { continue };
        match object.get(DIRECTIVE) {
            None => items.push(item),
            Some(Value::String(directive)) if directive == "delete" => {
                gone.insert(key_of(object, key)?.clone());
            }
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "merge" => {
                return Err(Problem::MergeList);
            }
            Some(other) => return Err(Problem::PatchType(other.clone(), object.clone())),
        }
    }
    if replace {
        items.retain_mut(keep);
        return Ok((items, Vec::new()));
    }
    if !gone.is_empty() {
        old.retain(|item| !item.get(key).is_some_and(|value| gone.contains(value)));
    }
    Ok((old, items))
}

/// Brings a list into the order that `$setElementOrder` asks for, merging the patch's own list
/// into it first.
pub(super) fn set_order(
    ty: TypeRef<'_>,
    object: &mut Object,
    patch: &mut Object,
    name: &str,
    order: Vec<Value>,
) -> Merge<()> {
    let old = list(object.get(name))?;
    let new = list(patch.get(name))?;
    let (field, strategy) = lookup(ty, name)?;
    let key = strategy.merge_key.as_deref();
    check_order(new.unwrap_or_default(), &order, key)?;
    let theirs = by_key(old.unwrap_or_default(), key);
    let has_old = old.is_some();
    let merged = match (take_list(object, name), take_list(patch, name)) {
        (None, None) => return Ok(()),
        (Some(old), None) => old,
        (None, Some(mut new)) => {
            new.retain_mut(keep);
            new
        }
        (Some(old), Some(new)) => merge(field, &strategy, old, new)?,
    };
    if let Some(key) = key
        && are_objects(&[&merged, &order])?
    {
        for item in merged.iter().chain(&order) {
            key_of(item.as_object().ok_or(Problem::ListOfLists)?, key)?;
        }
    }
    let ours = by_key(&order, key);
    let arranged = arrange(merged, ours, theirs, |item| match key {
        Some(key) => item.get(key),
        None => Some(item),
    });
    if has_old || !arranged.is_empty() {
        object.insert(name.to_owned(), Value::Array(arranged));
    }
    Ok(())
}

/// Checks that the items of the patch come in the order that it asks for, and are all in it.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Merge<()> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut places = order.iter();
    for item in patch {
        if item.get(DIRECTIVE).is_some() {
            continue;
        }
        let found = match key {
            None => places.any(|place| place == item),
            Some(key) => {
                let object = item.as_object().ok_or_else(|| Problem::not_an_object(item))?;
                let value = key_of(object, key)?;
                places.any(|place| place.get(key) == Some(value))
            }
        };
        if !found {
            return Err(Problem::Order { patch: patch.to_vec(), order: order.to_vec() });
        }
    }
    Ok(())
}

/// Orders items: those in `ours` as there, the others as in `theirs`, and the others between ours
/// where `theirs` had them.
fn arrange<'v>(
    items: Vec<Value>,
    ours: Vec<Value>,
    theirs: Vec<Value>,
    key: impl Fn(&Value) -> Option<&Value> + 'v,
) -> Vec<Value> {
    let ours = ranks(ours);
    let theirs = ranks(theirs);
    let rank = |ranks: &HashMap<Value, usize, RandomState>, item: &Value| {
        key(item).and_then(|key| ranks.get(key).copied())
    };
    let (mut mine, mut rest): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| rank(&ours, item).is_some());
    mine.sort_by_key(|item| rank(&ours, item));
    rest.sort_by_key(|item| rank(&theirs, item).unwrap_or(usize::MAX));
    let mut arranged = Vec::with_capacity(mine.len() + rest.len());
    let (mut mine, mut rest) = (mine.into_iter().peekable(), rest.into_iter().peekable());
    while let (Some(next), Some(other)) = (mine.peek(), rest.peek()) {
        let other_first = match (rank(&theirs, other), rank(&theirs, next)) {
            (Some(other), Some(next)) => other < next,
            _ => false,
        };
        arranged.extend(if other_first { rest.next() } else { mine.next() });
    }
    arranged.extend(mine.chain(rest));
    arranged
}

fn ranks(keys: Vec<Value>) -> HashMap<Value, usize, RandomState> {
    let mut ranks = HashMap::with_capacity(keys.len());
    for (rank, key) in keys.into_iter().enumerate() {
        ranks.entry(key).or_insert(rank);
    }
    ranks
}

fn keys_of(items: &[Value], key: &str) -> Vec<Value> {
    items.iter().filter_map(|item| item.get(key).cloned()).collect()
}

fn by_key(items: &[Value], key: Option<&str>) -> Vec<Value> {
    match key {
        Some(key) => keys_of(items, key),
        None => items.to_vec(),
    }
}

fn key_of<'a>(item: &'a Object, key: &str) -> Merge<&'a Value> {
    item.get(key).ok_or_else(|| Problem::NoKey { item: item.clone(), key: key.to_owned() })
}

fn list(value: Option<&Value>) -> Merge<Option<&[Value]>> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(other) => Err(Problem::not_a_list(other)),
    }
}

fn take_list(object: &mut Object, name: &str) -> Option<Vec<Value>> {
    match object.remove(name) {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    }
}

/// Whether lists hold objects; they must all hold the same.
fn are_objects(lists: &[&[Value]]) -> Merge<bool> {
    let mut items = lists.iter().copied().flatten();
    let Some(first) = items.next() else { return Ok(false) };
    if first.is_array() {
        return Err(Problem::ListOfLists);
    }
    let kind = std::mem::discriminant(first);
    if !items.all(|item| std::mem::discriminant(item) == kind) {
        let lists = lists.iter().map(|list| Value::Array(list.to_vec())).collect();
        return Err(Problem::MixedList(lists));
    }
    Ok(first.is_object())
}
