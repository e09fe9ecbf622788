//! What custom kinds cost. Prints a line of JSON per figure; an argument chooses the benchmarks
//! whose names contain it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say so and end")]

#[allow(dead_code, reason = "each benchmark uses its part")]
mod figure;

use std::time::Duration;

use figure::{block_on, millis, report, wanted};
use pinnace::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use pinnace::{Engine, Env, ListOptions, Runtime};
use pinnace_env::Stopwatch;
use serde_json::{Value, json};

const DEFINITIONS: usize = 500;

fn main() {
    if wanted("custom/install 500 definitions") || wanted("custom/definition at rest") {
        let (seconds, kilobytes) = block_on(2, install());
        report("custom/install 500 definitions", seconds, "s", Some(2.0));
        report("custom/definition at rest", kilobytes, "KB", Some(40.0));
    }
}

/// A definition as operators bring them: 8 KB, with defaults, bounds, lists with keys and rules.
fn definition(n: usize) -> CustomResourceDefinition {
    let (plural, kind) = (format!("things{n}"), format!("Thing{n}"));
    let texts: serde_json::Map<String, Value> = (0..20)
        .map(|field| {
            let text = json!({
                "type": "string", "maxLength": 253, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
                "description": "One of the fields by which things are told how they are to be.",
            });
            (format!("field{field}"), text)
        })
        .collect();
    let references = json!({
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string", "maxLength": 63},
            "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535, "default": 80},
        }},
    });
    let condition = json!({"type": "object", "required": ["type", "status"], "properties": {
        "type": {"type": "string"}, "reason": {"type": "string"}, "message": {"type": "string"},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
    }});
    let object = json!({
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [format!("t{n}")]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object",
                        "x-kubernetes-validations": [
                            {"rule": "self.replicas >= self.minimum", "message": "too few"},
                            {"rule": "!has(oldSelf.kind) || self.kind == oldSelf.kind"},
                        ],
                        "properties": {
                            "replicas": {"type": "integer", "default": 1},
                            "minimum": {"type": "integer", "default": 0},
                            "kind": {"type": "string", "maxLength": 20},
                            "texts": {"type": "object", "properties": texts},
                            "references": references,
                        }},
                    "status": {"type": "object", "properties": {
                        "conditions": {"type": "array", "items": condition},
                    }},
                }}},
            }],
        },
    });
    serde_json::from_value(object).unwrap()
}

async fn install() -> (f64, f64) {
    let builder = Engine::builder().runtime(Runtime::simulated()).nodes(1);
    let engine = builder.env(Env::system()).start().await.unwrap();
    let api = engine.client().of::<CustomResourceDefinition>().unwrap();
    let all: Vec<_> = (0..DEFINITIONS).map(definition).collect();
    let before = resident_kilobytes();
    let stopwatch = Stopwatch::start();
    for one in all {
        api.create(one).await.unwrap();
    }
    let last = format!("things{}", DEFINITIONS - 1);
    while engine.list(&last, ListOptions::default()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let elapsed = stopwatch.elapsed();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = resident_kilobytes() - before;
    engine.shutdown().await.unwrap();
    (millis(elapsed) / 1e3, grown / DEFINITIONS as f64)
}

fn resident_kilobytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
