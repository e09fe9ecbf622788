//! What is stored, without what chance and the clock have put there.

use std::collections::BTreeMap;

use pinnace_client::{Client, ListOptions};
use serde_json::Value;

/// Fields that say when something happened, who was first, or which of equals was taken.
const CHANCE: [&str; 12] = [
    "uid",
    "resourceVersion",
    "generation",
    "observedGeneration",
    "managedFields",
    "podIP",
    "podIPs",
    "hostIP",
    "hostIPs",
    "containerID",
    "nodeName",
    "addresses",
];
/// Kinds that tell of the way and not of its end.
const TALK: [&str; 2] = ["Event", "Lease"];

/// Every object, as a line of JSON, in order.
pub(super) async fn of(client: &Client) -> Vec<String> {
    let mut names = BTreeMap::new();
    let mut objects = Vec::new();
    for kind in client.catalog().all() {
        if TALK.contains(&&*kind.kind) || !kind.is_stored() || kind.is_computed() {
            continue;
        }
        let list = client.resource(kind).list(None, ListOptions::default()).await;
        for object in list.map(|list| list.items).unwrap_or_default() {
            let value = object.to_value().unwrap();
            let prefix = value["metadata"]["generateName"].as_str().unwrap_or_default();
            // Names of chance; a StatefulSet's pods have a prefix too, and names of their own.
            let suffix = object.name().strip_prefix(prefix).unwrap_or_default();
            if !prefix.is_empty() && suffix.len() == 5 {
                names.insert(object.name().to_owned(), format!("{prefix}*"));
            }
            // The Jobs of a CronJob are named by the minute.
            if let Some((name, minute)) = object.name().rsplit_once('-')
                && minute.len() == 8
                && minute.bytes().all(|byte| byte.is_ascii_digit())
            {
                names.insert(object.name().to_owned(), format!("{name}-minute"));
            }
            names.insert(object.uid().to_owned(), "uid".to_owned());
            objects.push(value);
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for mut object in objects {
        tidy(&mut object, &names);
        lines.push(object.to_string());
    }
    lines.sort();
    lines
}

fn tidy(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|field, _| !CHANCE.contains(&field.as_str()));
            fields.values_mut().for_each(|field| tidy(field, names));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| tidy(item, names));
            items.sort_by_key(Value::to_string);
        }
        Value::String(text) => {
            if text.parse::<jiff::Timestamp>().is_ok() {
                "time".clone_into(text);
            } else if let Some(name) = names.get(text) {
                *text = name.clone();
            } else if let Some((name, pattern)) =
                names.iter().find(|(name, _)| text.contains(name.as_str()))
            {
                *text = text.replace(name, pattern);
            }
        }
        _ => {}
    }
}
