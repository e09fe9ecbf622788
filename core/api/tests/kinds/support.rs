use std::sync::Arc;

use pinnace_api::field::ErrorList;
use pinnace_api::{Catalog, Draft, Resource};
use serde_json::{Value, json};

/// The catalog entry of a plural.
pub(crate) fn resource(name: &str) -> Arc<Resource> {
    Catalog::builtin().by_name(name).unwrap()
}

/// An object as it is after defaulting.
pub(crate) fn defaulted(name: &str, value: Value) -> Draft {
    let resource = resource(name);
    let mut draft = Draft::from_value(resource.codec, value).unwrap();
    resource.strategy.default(&mut draft);
    draft
}

/// What is wrong with a new object.
#[track_caller]
pub(crate) fn check(name: &str, value: Value, expected: &[&str]) {
    let mut draft = defaulted(name, value);
    let strategy = &resource(name).strategy;
    strategy.prepare_for_create(&mut draft);
    let mut errors = ErrorList::default();
    strategy.validate(&draft, &mut errors);
    assert_eq!(texts(&errors), expected);
}

/// What is wrong with an update.
#[track_caller]
pub(crate) fn check_update(name: &str, old: Value, new: Value, expected: &[&str]) {
    let (errors, _) = update(name, old, new);
    assert_eq!(texts(&errors), expected);
}

/// An update as it would be stored, with what is wrong with it.
pub(crate) fn update(name: &str, old: Value, new: Value) -> (ErrorList, Draft) {
    let strategy = &resource(name).strategy;
    let mut old = defaulted(name, old);
    strategy.prepare_for_create(&mut old);
    let old = old.commit(1);
    let mut new = defaulted(name, new);
    strategy.prepare_for_update(&mut new, &old);
    let mut errors = ErrorList::default();
    strategy.validate_update(&new, &old, &mut errors);
    (errors, new)
}

/// What is wrong with an update of the status.
#[track_caller]
pub(crate) fn check_status(name: &str, old: Value, new: Value, expected: &[&str]) {
    let strategy = &resource(name).strategy;
    let old = defaulted(name, old).commit(1);
    let mut new = defaulted(name, new);
    strategy.prepare_for_status_update(&mut new, &old);
    let mut errors = ErrorList::default();
    strategy.validate_status_update(&new, &old, &mut errors);
    assert_eq!(texts(&errors), expected);
}

pub(crate) fn texts(errors: &ErrorList) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// A value with another put at a JSON pointer; `null` removes.
pub(crate) fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {pointer}"));
    match parent {
        Value::Object(map) if new.is_null() => {
            map.remove(last);
        }
        Value::Object(map) => {
            map.insert(last.to_owned(), new);
        }
        Value::Array(list) if last == "-" => list.push(new),
        other => other[last.parse::<usize>().unwrap()] = new,
    }
    value
}

/// The smallest pod there is.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "nginx:1.27"}]}
    })
}

/// A small deployment.
pub(crate) fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "nginx"}]}
            }
        }
    })
}
