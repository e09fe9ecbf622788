use pinnace::{Engine, Error, Runtime};
use serde_json::json;

use crate::support::{LONG, deployment, engine, field, list, pods};

async fn check(manifest: &str, reason: &str, part: &str) {
    let (engine, _) = engine(1).await;
    let error = engine.apply(manifest).await.unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    assert!(error.to_string().contains(part), "{error}");
    assert_eq!(list(&engine, "configmaps").await.len(), 1, "only what every namespace has");
    engine.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: fine}}").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kind_is_named() {
    check(
        "{apiVersion: v2, kind: Shp, metadata: {name: a}}",
        "NotFound",
        "no matches for kind \"Shp\" in version \"v2\"",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn malformed_yaml_is_pointed_at() {
    check("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [a\n", "BadRequest", "line ").await;
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_manifest_is_done_when_a_document_cannot_be_read() {
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: first}}\n---\n{kind: x";
    check(text, "BadRequest", "line ").await;
}

#[tokio::test(start_paused = true)]
async fn an_invalid_field_is_named_with_its_path() {
    check(
        &deployment("web", -1, json!({})),
        "Invalid",
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    )
    .await;
    check(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: No_Good}}",
        "Invalid",
        "metadata.name",
    )
    .await;
    check(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: 1}}",
        "BadRequest",
        "configmap/a",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_conflicting_version_changes_nothing() {
    let (engine, _) = engine(1).await;
    engine.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").await.unwrap();
    let old = engine.get("cm/a").await.unwrap().json();
    engine
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: word}}")
        .await
        .unwrap();
    let error = engine.update(&old).await.unwrap_err();
    assert_eq!((error.reason(), error.code()), ("Conflict", 409));
    assert_eq!(error.object().as_deref(), Some("configmaps/a"));
    assert_eq!(field(&engine, "cm/a", "/data/x").await, "word");
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_told_and_tried_again() {
    let (engine, world) = engine(1).await;
    world.set_image_script("web:1", "pull-error=not there".parse().unwrap());
    engine.apply(&deployment("web", 1, json!({}))).await.unwrap();
    engine.wait("deploy/web", "condition=Available=False", LONG).await.unwrap();
    engine.wait("deploy/web", "jsonpath={.status.replicas}=1", LONG).await.unwrap();
    let pod = format!("pods/{}", pods(&engine).await[0].name());
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    let waiting = "jsonpath={.status.containerStatuses.0.state.waiting.reason}=ImagePullBackOff";
    engine.wait(&pod, waiting, LONG).await.unwrap();
    world.set_image_script("web:1", "".parse().unwrap());
    engine.wait(&pod, "Ready", LONG).await.unwrap();
    assert_eq!(field(&engine, &pod, reason).await, json!(null));
}

#[tokio::test(start_paused = true)]
async fn references_that_name_nothing_are_refused() {
    let (engine, _) = engine(1).await;
    for (text, reason) in [
        ("web", "BadRequest"),
        ("/web", "BadRequest"),
        ("ships/web", "NotFound"),
        ("pods/gone", "NotFound"),
    ] {
        assert_eq!(engine.get(text).await.unwrap_err().reason(), reason, "{text}");
    }
}

#[tokio::test]
async fn configurations_that_cannot_be_are_refused_at_the_start() {
    let many = Engine::builder().runtime(Runtime::process()).nodes(2).start().await;
    assert!(matches!(many, Err(Error::Config(_))), "{many:?}");
    assert!(Runtime::named("docker").is_err());
}
