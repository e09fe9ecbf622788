//! What is sent to extenders and read from them: the shapes of upstream's
//! `k8s.io/kube-scheduler/extender/v1`. As Go does, fields are found whatever their case.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{Key, Object, Typed};
use serde_json::{Map, Value, json};

use crate::framework::Candidate;

/// The pod, and the nodes by name or as a whole. Objects go as they are stored: none is copied.
pub(super) fn nodes(pod: &Object, nodes: &[&Object], names_are_enough: bool) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(b"{\"Pod\":");
    out.extend_from_slice(pod.json_ref());
    if names_are_enough {
        let names: Vec<&str> = nodes.iter().map(|node| node.name()).collect();
        let names = json!(names).to_string();
        out.extend_from_slice(b",\"Nodes\":null,\"NodeNames\":");
        out.extend_from_slice(names.as_bytes());
    } else {
        out.extend_from_slice(b",\"Nodes\":{\"metadata\":{},\"items\":[");
        for (index, node) in nodes.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(node.json_ref());
        }
        out.extend_from_slice(b"]},\"NodeNames\":null");
    }
    out.push(b'}');
    out
}

/// What an extender lets pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filtered {
    /// `None` when it says nothing about that.
    pub(super) nodes: Option<Vec<String>>,
    pub(super) failed: BTreeMap<String, String>,
    pub(super) unresolvable: BTreeMap<String, String>,
}

/// Reads an answer about which nodes will do.
///
/// # Errors
/// What the extender says is wrong, or what is wrong with its answer.
pub(super) fn filtered(answer: &[u8], names_are_enough: bool) -> Result<Filtered, String> {
    let answer = object(answer)?;
    refused(&answer)?;
    let map = |field: &str| -> Result<BTreeMap<String, String>, String> {
        let Some(found) = get(&answer, field) else { return Ok(BTreeMap::new()) };
        serde_json::from_value(found.clone()).map_err(|error| format!("{field}: {error}"))
    };
    let names = match get(&answer, "NodeNames").filter(|_| names_are_enough) {
        Some(names) => {
            let names = serde_json::from_value(names.clone());
            Some(names.map_err(|error| format!("NodeNames: {error}"))?)
        }
        None => get(&answer, "Nodes").map(names_of).transpose()?,
    };
    Ok(Filtered {
        nodes: names,
        failed: map("FailedNodes")?,
        unresolvable: map("FailedAndUnresolvableNodes")?,
    })
}

fn names_of(list: &Value) -> Result<Vec<String>, String> {
    let items = list.get("items").and_then(Value::as_array);
    let name = |item: &Value| {
        let name = item.pointer("/metadata/name").and_then(Value::as_str);
        name.map(str::to_owned).ok_or_else(|| "Nodes: a node has no name".to_owned())
    };
    items.into_iter().flatten().map(name).collect()
}

/// Reads an answer about how good nodes are.
///
/// # Errors
/// What is wrong with it.
pub(super) fn priorities(answer: &[u8]) -> Result<Vec<(String, i64)>, String> {
    let list: Option<Vec<Map<String, Value>>> =
        serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let one = |one: &Map<String, Value>| {
        let host = get(one, "Host").and_then(Value::as_str).unwrap_or_default().to_owned();
        let score = match get(one, "Score") {
            None => 0,
            Some(score) => score
                .as_i64()
                .ok_or_else(|| format!("score {score} of node {host:?} is not an integer"))?,
        };
        Ok((host, score))
    };
    list.iter().flatten().map(one).collect()
}

/// The pod, and who would have to go on each node.
pub(super) fn victims(pod: &Object, candidates: &[Candidate], names_are_enough: bool) -> Vec<u8> {
    let all: Map<String, Value> = candidates
        .iter()
        .map(|one| {
            let pods: Vec<Value> = one
                .victims
                .iter()
                .map(|pod| match names_are_enough {
                    true => json!({"UID": pod.object().uid()}),
                    false => pod.object().to_value().unwrap_or_default(),
                })
                .collect();
            (one.node.clone(), json!({"Pods": pods, "NumPDBViolations": one.violations}))
        })
        .collect();
    let (whole, meta) = match names_are_enough {
        true => (Value::Null, Value::Object(all)),
        false => (Value::Object(all), Value::Null),
    };
    let pod = pod.to_value().unwrap_or_default();
    let sent = json!({"Pod": pod, "NodeNameToVictims": whole, "NodeNameToMetaVictims": meta});
    sent.to_string().into_bytes()
}

/// Whom an extender lets go: uids of pods and how many budgets that violates, by node.
pub(super) type Spared = BTreeMap<String, (Vec<String>, usize)>;

/// Reads an answer about who may go.
///
/// # Errors
/// What is wrong with it.
pub(super) fn spared(answer: &[u8]) -> Result<Spared, String> {
    let answer = object(answer)?;
    let nodes = get(&answer, "NodeNameToMetaVictims").and_then(Value::as_object);
    let read = |(node, victims): (&String, &Value)| {
        let none = Map::new();
        let victims = victims.as_object().unwrap_or(&none);
        let pods = get(victims, "Pods").and_then(Value::as_array);
        let uid = |pod: &Value| {
            let uid = pod.as_object().and_then(|pod| get(pod, "UID")).and_then(Value::as_str);
            uid.map(str::to_owned).ok_or_else(|| format!("a victim on node {node:?} has no UID"))
        };
        let uids = pods.into_iter().flatten().map(uid).collect::<Result<Vec<_>, _>>()?;
        let violations = get(victims, "NumPDBViolations").and_then(Value::as_u64).unwrap_or(0);
        Ok((node.clone(), (uids, usize::try_from(violations).unwrap_or(usize::MAX))))
    };
    nodes.into_iter().flatten().map(read).collect()
}

/// A pod and its node.
pub(super) fn binding(pod: &Typed<Pod>, key: &Key, node: &str) -> Vec<u8> {
    let sent = json!({
        "PodName": key.name(), "PodNamespace": key.namespace(),
        "PodUID": pod.object().uid(), "Node": node,
    });
    sent.to_string().into_bytes()
}

/// Reads an answer that says no more than whether something is wrong.
///
/// # Errors
/// What that is.
pub(super) fn done(answer: &[u8]) -> Result<(), String> {
    refused(&object(answer)?)
}

fn object(answer: &[u8]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(answer).map_err(|error| error.to_string())
}

fn refused(answer: &Map<String, Value>) -> Result<(), String> {
    match get(answer, "Error").and_then(Value::as_str) {
        Some(error) if !error.is_empty() => Err(error.to_owned()),
        _ => Ok(()),
    }
}

/// A field that is not null: the one of this name, or else one that differs from it by case.
fn get<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
    let alike = || object.iter().find(|(name, _)| name.eq_ignore_ascii_case(field));
    let found = object.get(field).or_else(|| alike().map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whatever_the_case_of_their_fields() {
        let read = |text: &str| filtered(text.as_bytes(), true);
        let expected = Filtered {
            nodes: Some(vec!["a".to_owned()]),
            failed: [("b".to_owned(), "no".to_owned())].into(),
            unresolvable: BTreeMap::new(),
        };
        for text in [
            r#"{"NodeNames": ["a"], "FailedNodes": {"b": "no"}, "Error": ""}"#,
            r#"{"nodenames": ["a"], "failednodes": {"b": "no"}, "nodes": null}"#,
            r#"{"nodes": {"items": [{"metadata": {"name": "a"}}]}, "failedNodes": {"b": "no"}}"#,
        ] {
            assert_eq!(read(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(read(r#"{"error": "broken"}"#), Err("broken".to_owned()));
        assert!(read("[]").is_err());
        assert_eq!(
            priorities(br#"[{"host": "a", "score": 3}, {"Host": "b"}]"#),
            Ok(vec![("a".to_owned(), 3), ("b".to_owned(), 0)])
        );
        assert_eq!(priorities(b"null"), Ok(Vec::new()));
        let nan = priorities(br#"[{"Host": "a", "Score": 0.5}]"#);
        assert_eq!(nan, Err("score 0.5 of node \"a\" is not an integer".to_owned()));
    }
}
