//! What the benchmarks share: objects to write, and how a figure is told.

use std::sync::Arc;

use pinnace_api::k8s_openapi::api::core::v1::ConfigMap;
use pinnace_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{Draft, Key};
use pinnace_store::{Expect, Transaction};

/// Prints a figure as a line of JSON. The target is a bound from above, or from below for rates.
pub(crate) fn report(name: &str, value: f64, unit: &str, target: Option<f64>) {
    let rate = unit.ends_with("/s");
    let (target, met) = match target {
        Some(target) => (target.to_string(), (rate == (value >= target)).to_string()),
        None => ("null".to_owned(), "null".to_owned()),
    };
    println!(
        r#"{{"name": "{name}", "value": {value:.3}, "unit": "{unit}", "target": {target}, "met": {met}}}"#
    );
}

/// The table all benchmarks write to.
pub(crate) fn table() -> Arc<str> {
    "configmaps".into()
}

/// The key of the `n`th object: a hundred namespaces.
pub(crate) fn key(n: usize) -> Key {
    Key::new(format!("team-{:02}", n % 100), format!("settings-{n:06}"))
}

/// A small ConfigMap as clients make them: labels and two values.
pub(crate) fn draft(key: &Key) -> Draft {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    Draft::new(ConfigMap {
        metadata: ObjectMeta {
            name: Some(key.name().to_owned()),
            namespace: Some(key.namespace().to_owned()),
            uid: Some("6f1d7a52-3c0e-4f1c-9a55-1f0d3f3b2a10".to_owned()),
            labels: Some(pairs(&[("app", "web"), ("team", "one")])),
            ..Default::default()
        },
        data: Some(pairs(&[("color", "blue"), ("size", "large")])),
        ..Default::default()
    })
}

/// A transaction that writes the `n`th object.
pub(crate) fn put(table: &Arc<str>, n: usize) -> Transaction {
    let key = key(n);
    let draft = draft(&key);
    let mut transaction = Transaction::new();
    transaction.put(table, key, Expect::Any, draft);
    transaction
}
