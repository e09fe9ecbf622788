use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Kinds of this many groups belong to no group, as `DeleteOptions`.
const EVERY_GROUP: usize = 3;

/// Keys of lists that may be left out and then have a value, and that the document doesn't tell of.
const KEY_DEFAULTS: [(&str, &str, &str); 3] = [
    ("io.k8s.api.core.v1.ContainerPort", "protocol", "\"TCP\""),
    ("io.k8s.api.core.v1.ServicePort", "protocol", "\"TCP\""),
    ("io.k8s.api.core.v1.LocalObjectReference", "name", "\"\""),
];

/// The table of a document.
pub(crate) fn table(document: &Value) -> String {
    let definitions = document["definitions"].as_object().expect("definitions");
    let kinds: BTreeMap<&str, Vec<String>> = definitions
        .iter()
        .map(|(name, definition)| (name.as_str(), kinds(definition)))
        .filter(|(name, kinds)| !kinds.is_empty() && !is_list(&definitions[*name]))
        .collect();
    let mut wanted = BTreeSet::new();
    for name in kinds.keys() {
        reach(definitions, name, &mut wanted);
    }
    let keys = key_fields(definitions);
    let mut out = String::new();
    for name in wanted {
        let definition = &definitions[name];
        if builtin(name, definition).is_some() {
            continue;
        }
        write!(out, "{}", short(name)).expect("a string takes all");
        if definition["x-kubernetes-map-type"] == "atomic" {
            out.push_str(" atomic");
        }
        for kind in kinds.get(name).into_iter().flatten() {
            write!(out, " ={kind}").expect("a string takes all");
        }
        out.push('\n');
        for (field, schema) in definition["properties"].as_object().into_iter().flatten() {
            let default = default(name, field, definition, &keys);
            writeln!(out, " {field} {}{}{default}", expression(definitions, schema), patch(schema))
                .expect("a string takes all");
        }
    }
    out
}

fn kinds(definition: &Value) -> Vec<String> {
    let all = definition["x-kubernetes-group-version-kind"].as_array();
    let all: Vec<_> = all.into_iter().flatten().collect();
    let text = |kind: &Value, key: &str| kind[key].as_str().unwrap_or_default().to_owned();
    if all.len() > EVERY_GROUP {
        return Vec::new();
    }
    all.into_iter()
        .map(|kind| {
            format!("{}/{}/{}", text(kind, "group"), text(kind, "version"), text(kind, "kind"))
        })
        .collect()
}

fn is_list(definition: &Value) -> bool {
    let metadata = &definition["properties"]["metadata"]["$ref"];
    metadata.as_str().is_some_and(|target| target.ends_with(".ListMeta"))
        && definition["properties"]["items"].is_object()
}

fn reach<'a>(definitions: &'a Map<String, Value>, name: &'a str, seen: &mut BTreeSet<&'a str>) {
    if seen.insert(name) {
        refer(definitions, &definitions[name], seen);
    }
}

fn refer<'a>(definitions: &'a Map<String, Value>, schema: &'a Value, seen: &mut BTreeSet<&'a str>) {
    match schema {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                reach(definitions, target_of(target), seen);
            }
            map.values().for_each(|value| refer(definitions, value, seen));
        }
        Value::Array(items) => items.iter().for_each(|value| refer(definitions, value, seen)),
        _ => {}
    }
}

fn target_of(reference: &str) -> &str {
    reference.trim_start_matches("#/definitions/")
}

fn short(name: &str) -> &str {
    ["io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
}

/// Types that are no structs.
fn builtin(name: &str, definition: &Value) -> Option<&'static str> {
    match name.rsplit('.').next().unwrap_or_default() {
        "Quantity" => Some("q"),
        "IntOrString" => Some("x"),
        "Time" | "MicroTime" => Some("t"),
        "RawExtension" => Some("o"),
        _ if definition["type"].is_null() => Some("?"),
        _ if definition["type"] == "object" && definition["properties"].is_null() => Some("{?"),
        _ => None,
    }
}

fn expression(definitions: &Map<String, Value>, schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str().map(target_of) {
        if let Some(builtin) = builtin(target, &definitions[target]) {
            return builtin.to_owned();
        }
        let granular = schema["x-kubernetes-map-type"] == "granular";
        return format!("{}@{}", if granular { "~" } else { "" }, short(target));
    }
    match schema["type"].as_str() {
        Some("array") => {
            let item = expression(definitions, &schema["items"]);
            format!("[{}{item}", relation(schema))
        }
        Some("object") if schema["additionalProperties"].is_object() => {
            let value = expression(definitions, &schema["additionalProperties"]);
            let atomic = schema["x-kubernetes-map-type"] == "atomic";
            format!("{{{}{value}", if atomic { "!" } else { "" })
        }
        Some("object") => "{?".to_owned(),
        Some("integer") => "i".to_owned(),
        Some("number") => "n".to_owned(),
        Some("boolean") => "b".to_owned(),
        Some("string") if schema["format"] == "byte" => "y".to_owned(),
        Some("string") => "s".to_owned(),
        _ => "?".to_owned(),
    }
}

fn relation(schema: &Value) -> String {
    let joined = |keys: &Value| {
        let keys: Vec<_> =
            keys.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("({})", keys.join(","))
    };
    let merges = schema["x-kubernetes-patch-strategy"]
        .as_str()
        .is_some_and(|strategy| strategy.split(',').any(|one| one == "merge"));
    match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => format!("!{}", joined(&schema["x-kubernetes-list-map-keys"])),
        Some("set") => "!*".to_owned(),
        Some(_) => "!".to_owned(),
        None if merges => match schema["x-kubernetes-patch-merge-key"].as_str() {
            Some(key) => format!("({key})"),
            None => "*".to_owned(),
        },
        _ => String::new(),
    }
}

fn patch(schema: &Value) -> String {
    let mut out = String::new();
    for strategy in schema["x-kubernetes-patch-strategy"].as_str().unwrap_or_default().split(',') {
        match strategy {
            "" => {}
            "merge" => match schema["x-kubernetes-patch-merge-key"].as_str() {
                Some(key) => write!(out, " merge={key}").expect("a string takes all"),
                None => out.push_str(" merge"),
            },
            other => write!(out, " {other}").expect("a string takes all"),
        }
    }
    out
}

/// The fields by which items of lists are told apart, per type of item.
fn key_fields(definitions: &Map<String, Value>) -> BTreeSet<(String, String)> {
    let mut keys = BTreeSet::new();
    let schemas = definitions.values().filter_map(|one| one["properties"].as_object());
    for schema in schemas.flat_map(Map::values) {
        let item = schema["items"]["$ref"].as_str().map(target_of);
        let names = schema["x-kubernetes-list-map-keys"].as_array();
        for (item, name) in item.into_iter().flat_map(|item| {
            names.into_iter().flatten().filter_map(Value::as_str).map(move |name| (item, name))
        }) {
            keys.insert((item.to_owned(), name.to_owned()));
        }
    }
    keys
}

/// What a key is when it is left out: said above, or nothing of its type when it is required.
fn default(
    name: &str,
    field: &str,
    definition: &Value,
    keys: &BTreeSet<(String, String)>,
) -> String {
    if !keys.contains(&(name.to_owned(), field.to_owned())) {
        return String::new();
    }
    if let Some((_, _, value)) = KEY_DEFAULTS.iter().find(|one| (one.0, one.1) == (name, field)) {
        return format!(" default={value}");
    }
    let required = definition["required"].as_array().into_iter().flatten();
    if !required.into_iter().any(|one| one == field) {
        return String::new();
    }
    match definition["properties"][field]["type"].as_str() {
        Some("string") => " default=\"\"".to_owned(),
        Some("integer") => " default=0".to_owned(),
        _ => String::new(),
    }
}
