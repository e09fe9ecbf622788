//! What types say about validating policies.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use pinnace_api::custom::definition::is_true;
use serde_json::{Value, json};

use crate::harness::Cluster;

fn policy(name: &str, group: &str, resource: &str, validation: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "matchConstraints": {"resourceRules": [{"operations": ["CREATE", "UPDATE"],
            "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]}]},
        "validations": [validation],
    }})
}

/// The warnings that a policy has once it has been looked at, and the generation that was.
async fn checked(cluster: &Cluster, name: &str, generation: i64) -> Vec<(String, String)> {
    let is_done = |found: Option<&ValidatingAdmissionPolicy>| {
        let status = found.and_then(|found| found.status.as_ref());
        status.is_some_and(|status| {
            status.observed_generation == Some(generation) && status.type_checking.is_some()
        })
    };
    cluster.until(name, is_done).await;
    let found = cluster.get::<ValidatingAdmissionPolicy>(name).await;
    let checking = found.status.as_ref().and_then(|status| status.type_checking.clone()).unwrap();
    let warnings = checking.expression_warnings.into_iter().flatten();
    warnings.map(|warning| (warning.field_ref, warning.warning)).collect()
}

fn confused() -> Value {
    json!({"expression": "object.spec.replicas > '1'",
        "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"})
}

#[track_caller]
fn assert_confused(warnings: &[(String, String)]) {
    let [first, second] = warnings else { panic!("{warnings:?}") };
    assert_eq!(first.0, "spec.validations[0].expression");
    let why = "found no matching overload for '_>_' applied to '(int, string)'";
    assert!(first.1.contains(why), "{}", first.1);
    assert_eq!(second.0, "spec.validations[0].messageExpression");
    let why = "found no matching overload for '_+_' applied to '(string, int)'";
    assert!(second.1.contains(why), "{}", second.1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_deployments_is_said_and_checked_again_when_it_changes() {
    let cluster = Cluster::start().await;
    let right = json!({"expression": "object.spec.replicas > 1"});
    let made = policy("right", "apps", "deployments", right.clone());
    cluster.make::<ValidatingAdmissionPolicy>(made).await;
    assert_eq!(checked(&cluster, "right", 1).await, []);
    let made = policy("confused", "apps", "deployments", confused());
    cluster.make::<ValidatingAdmissionPolicy>(made).await;
    assert_confused(&checked(&cluster, "confused", 1).await);
    let mended = policy("confused", "apps", "deployments", right)["spec"].clone();
    cluster
        .edit::<ValidatingAdmissionPolicy>("confused", |policy| {
            policy.spec = Some(serde_json::from_value(mended.clone()).unwrap());
        })
        .await;
    assert_eq!(checked(&cluster, "confused", 2).await, []);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_custom_kinds_is_said() {
    let cluster = Cluster::start().await;
    let definition = json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
                    "properties": {"replicas": {"type": "integer"}}}}}}}]},
    });
    cluster.make::<CustomResourceDefinition>(definition).await;
    let is_served = |found: Option<&CustomResourceDefinition>| {
        found.is_some_and(|found| is_true(found, "Established"))
    };
    cluster.until("crontabs.stable.example.com", is_served).await;
    let group = "stable.example.com";
    let right = json!({"expression": "object.spec.replicas > 1"});
    cluster.make::<ValidatingAdmissionPolicy>(policy("right", group, "crontabs", right)).await;
    assert_eq!(checked(&cluster, "right", 1).await, []);
    cluster
        .make::<ValidatingAdmissionPolicy>(policy("confused", group, "crontabs", confused()))
        .await;
    assert_confused(&checked(&cluster, "confused", 1).await);
    cluster.stop().await;
}
