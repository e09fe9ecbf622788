//! What becomes of what webhooks answer, or do not.

use std::sync::Arc;

use pinnace_client::{Warnings, WriteOptions};
use pinnace_server::ExtensionAnswer;
use pinnace_server::audit::{AuditLevel, AuditPolicy, AuditStage, Auditor};
use serde_json::{Value, json};

use crate::support::{Notes, World, check_error, config_map, ok, patched};

const VALIDATING: &str = "validatingwebhookconfiguration";
const MUTATING: &str = "mutatingwebhookconfiguration";

#[tokio::test]
async fn a_refusal_is_what_the_caller_is_told() {
    let world = World::new().await;
    world.register(VALIDATING, &[json!({})]).await;
    let denied = "admission webhook \"a.example.com\" denied the request";
    for (status, code, reason, message) in [
        (Value::Null, 400, "BadRequest", format!("{denied} without explanation")),
        (json!({"message": "no"}), 400, "BadRequest", format!("{denied}: no")),
        (
            json!({"reason": "Conflict", "code": 200}),
            400,
            "Conflict",
            format!("{denied}: Conflict"),
        ),
        (json!({"message": "no", "code": 403}), 403, "Forbidden", format!("{denied}: no")),
        (json!({"message": "tea", "code": 418}), 418, "InternalError", format!("{denied}: tea")),
    ] {
        world.respond("a", move |_| json!({"allowed": false, "status": status}));
        let error = world.config_map().await.unwrap_err();
        assert_eq!(
            (error.code(), error.reason().as_str(), error.message()),
            (code, reason, &*message)
        );
    }
    world.respond("a", |_| json!({"allowed": true}));
    world.config_map().await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_is_not_there_refuses_or_is_passed_over() {
    let world = World::new().await;
    for kind in [VALIDATING, MUTATING] {
        world.register(kind, &[json!({"timeoutSeconds": 3})]).await;
        check_error(
            world.config_map().await,
            500,
            "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: \
             Post \"https://a/?timeout=3s\": dial tcp: lookup a: no such host",
        );
        let open =
            json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
        let api = world.client.named(kind).unwrap();
        let patch = pinnace_api::patch::Patch::Json(open);
        api.patch(&pinnace_api::Key::cluster("w"), patch, WriteOptions::default()).await.unwrap();
        world.config_map().await.unwrap();
        world.delete("configmap", "m").await.unwrap();
        world.delete(kind, "w").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_hangs_is_given_up() {
    let world = World::new().await;
    world.register(VALIDATING, &[json!({"timeoutSeconds": 1})]).await;
    world.serve("a", |_| Box::pin(std::future::pending()));
    check_error(
        world.config_map().await,
        500,
        "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: \
         Post \"https://a/?timeout=1s\": context deadline exceeded",
    );
}

#[tokio::test]
async fn an_answer_to_another_review_is_not_believed() {
    let world = World::new().await;
    world.register(VALIDATING, &[json!({})]).await;
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": "x", "allowed": true}});
    world.serve("a", move |_| Box::pin(std::future::ready(ok(&answer))));
    let error = world.config_map().await.unwrap_err();
    let uid = world.asked()[0]["request"]["uid"].clone();
    check_error::<()>(
        Err(error),
        500,
        &format!(
            "Internal error occurred: failed calling webhook \"a.example.com\": received invalid webhook \
         response: expected response.uid={uid}, got \"x\""
        ),
    );
}

async fn check_answer(kind: &str, answer: Value, expected: &str) {
    let world = World::new().await;
    world.register(kind, &[json!({})]).await;
    world.serve("a", move |review| {
        let mut answer = answer.clone();
        if !answer["response"].is_null() {
            answer["response"]["uid"] = review["request"]["uid"].clone();
        }
        Box::pin(std::future::ready(ok(&answer)))
    });
    let prefix = "Internal error occurred: failed calling webhook \"a.example.com\":";
    check_error(world.config_map().await, 500, &format!("{prefix} {expected}"));
}

fn answered(response: Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

#[tokio::test]
async fn an_answer_of_another_kind_is_not_believed() {
    let expected = |got: &str| {
        format!(
            "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {got}"
        )
    };
    let allowed = json!({"allowed": true});
    for (api_version, kind, got) in [
        (
            "admission.k8s.io/v1beta1",
            "AdmissionReview",
            "admission.k8s.io/v1beta1, Kind=AdmissionReview",
        ),
        ("admission.k8s.io/v1", "Review", "admission.k8s.io/v1, Kind=Review"),
        ("", "", "/, Kind="),
    ] {
        let answer = json!({"apiVersion": api_version, "kind": kind, "response": allowed});
        check_answer(VALIDATING, answer, &expected(got)).await;
    }
}

#[tokio::test]
async fn an_answer_without_a_response_is_none() {
    check_answer(
        VALIDATING,
        json!({"kind": "AdmissionReview"}),
        "received invalid webhook response: webhook response was absent",
    )
    .await;
}

#[tokio::test]
async fn a_webhook_that_validates_changes_nothing() {
    let operations = json!([{"op": "remove", "path": "/data"}]);
    check_answer(
        VALIDATING,
        answered(patched(&operations)),
        "received invalid webhook response: validating webhook may not return response.patch",
    )
    .await;
    check_answer(
        VALIDATING,
        answered(json!({"allowed": true, "patchType": "JSONPatch"})),
        "received invalid webhook response: validating webhook may not return response.patchType",
    )
    .await;
}

#[tokio::test]
async fn a_patch_that_is_none_is_refused() {
    let invalid = "received invalid webhook response: ";
    for (response, expected) in [
        (
            json!({"allowed": true, "patch": "W10="}),
            format!("{invalid}webhook returned response.patch but not response.patchType"),
        ),
        (
            json!({"allowed": true, "patchType": "JSONPatch"}),
            format!("{invalid}webhook returned response.patchType but not response.patch"),
        ),
        (
            json!({"allowed": true, "patchType": "Merge", "patch": "W10="}),
            "unsupported patch type \"Merge\"".to_owned(),
        ),
        (
            json!({"allowed": true, "patchType": "JSONPatch", "patch": "%"}),
            "failed to call webhook: illegal base64 data in response.patch: Invalid symbol 37, offset 0.".to_owned(),
        ),
        (
            patched(&json!({"a": 1})),
            "received undecodable patch in webhook response: it is not a list of operations"
                .to_owned(),
        ),
    ] {
        check_answer(MUTATING, answered(response), &expected).await;
    }
}

#[tokio::test]
async fn a_patch_that_cannot_be_applied_fails_whatever_the_policy_says() {
    let world = World::new().await;
    world.register(MUTATING, &[json!({"failurePolicy": "Ignore"})]).await;
    for (operations, part) in [
        (json!([{"op": "remove", "path": "/spec/x"}]), "there is no such path"),
        (json!([{"op": "replace", "path": "/data", "value": 7}]), "does not fit its kind"),
        (json!([{"op": "replace", "path": "/kind", "value": "Pod"}]), "Pod"),
        (json!([{"op": "fly", "path": "/kind"}]), "error decoding patch"),
    ] {
        world.respond("a", move |_| patched(&operations));
        let error = world.config_map().await.unwrap_err();
        assert_eq!(error.code(), 500, "{error}");
        assert!(error.message().starts_with("Internal error occurred: "), "{error}");
        assert!(error.message().contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_document_or_no_success_is_a_failure() {
    let world = World::new().await;
    world.register(VALIDATING, &[json!({})]).await;
    for (status, body, part) in [
        (200, "<html>", "failed to call webhook: couldn't decode the answer as JSON: "),
        (
            500,
            "oops",
            "failed to call webhook: an error on the server (\"oops\") has prevented the request from succeeding",
        ),
        (404, "", "failed to call webhook: the server could not find the requested resource"),
    ] {
        let answer = ExtensionAnswer { status, body: body.into() };
        world.serve("a", move |_| Box::pin(std::future::ready(Ok(answer.clone()))));
        let error = world.config_map().await.unwrap_err();
        let prefix = "Internal error occurred: failed calling webhook \"a.example.com\": ";
        assert!(error.message().starts_with(&format!("{prefix}{part}")), "{error}");
    }
}

#[tokio::test]
async fn what_is_only_tried_is_shown_to_those_without_side_effects() {
    let world = World::new().await;
    // What was stored before side effects had to be declared is still there.
    let old = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"}, "webhooks": [{"name": "a.example.com", "clientConfig": {"url": "https://a"},
        "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}],
        "sideEffects": "Some", "admissionReviewVersions": ["v1"]}]});
    let kind = world.server.catalog().resolve(VALIDATING).unwrap();
    let draft = pinnace_api::Draft::from_value(kind.codec, old).unwrap();
    let mut transaction = pinnace_store::Transaction::new();
    transaction.put(
        kind.table(),
        pinnace_api::Key::cluster("w"),
        pinnace_store::Expect::Absent,
        draft,
    );
    world.server.store().commit(transaction).await.unwrap();
    let tried = || WriteOptions { dry_run: true, ..WriteOptions::default() };
    check_error(
        world.create_with("configmap", config_map(), tried()).await,
        400,
        "admission webhook \"a.example.com\" does not support dry run",
    );
    world.delete(VALIDATING, "w").await.unwrap();
    world.register(VALIDATING, &[json!({"sideEffects": "NoneOnDryRun"})]).await;
    world.respond("a", |_| json!({"allowed": true}));
    world.create_with("configmap", config_map(), tried()).await.unwrap();
    let asked = world.asked();
    assert_eq!(
        (&asked[0]["request"]["dryRun"], &asked[0]["request"]["options"]["dryRun"]),
        (&json!(true), &json!(["All"]))
    );
}

#[tokio::test]
async fn warnings_and_annotations_reach_the_caller_and_the_audit_log() {
    let notes = Notes::default();
    let policy = AuditPolicy::all(AuditLevel::Request);
    let auditor = Auditor::new(policy, Arc::new(notes.clone())).unwrap();
    let kept = auditor.clone();
    let world = World::with(|builder| builder.auditor(auditor)).await;
    world.register(MUTATING, &[json!({})]).await;
    world.respond("a", |_| {
        let mut response = patched(&json!([{"op": "add", "path": "/data/b", "value": "2"}]));
        response["warnings"] = json!(["beware"]);
        response["auditAnnotations"] = json!({"key": "value"});
        response
    });
    let warnings = Warnings::collect();
    let options = WriteOptions { warnings: warnings.clone(), ..WriteOptions::default() };
    world.create_with("configmap", config_map(), options).await.unwrap();
    assert_eq!(warnings.take(), ["beware"]);
    kept.close();
    let events = notes.0.lock();
    let event = events.iter().rfind(|event| event.stage == AuditStage::ResponseComplete).unwrap();
    let note = |key: &str| event.annotations.get(key).unwrap().as_str();
    assert_eq!(note("a.example.com/key"), "value");
    assert_eq!(
        note("mutation.webhook.admission.k8s.io/round_0_index_0"),
        r#"{"configuration":"w","webhook":"a.example.com","mutated":true}"#
    );
    assert!(note("patch.webhook.admission.k8s.io/round_0_index_0").contains("JSONPatch"));
}
