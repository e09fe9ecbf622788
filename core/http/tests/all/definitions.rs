//! Definitions whose schemas cannot be: each refused as upstream refuses it.

use http::Method;
use serde_json::{Value, json};

use crate::world::World;

const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definition(spec: Value) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    json!({"metadata": {"name": "shirts.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "shirts", "kind": "Shirt"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": schema}}]}})
}

async fn refused(spec: Value) -> (u16, String) {
    let world = World::start().await;
    let (code, answer) = world.admin().send(Method::POST, PATH, &definition(spec)).await;
    assert_eq!(world.admin().get(PATH).await.1["items"], json!([]));
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_schema_that_refers_to_itself_is_refused() {
    let (code, message) = refused(json!({"type": "object", "$ref": "#/properties/spec"})).await;
    let at =
        "spec.validation.openAPIV3Schema.properties[spec].$ref: Forbidden: $ref is not supported";
    assert!(code == 422 && message.contains(at), "{code} {message}");
}

#[tokio::test]
async fn a_schema_that_is_too_deep_is_refused() {
    let whole = definition(json!("HERE")).to_string();
    let (open, close) = ("{\"type\":\"array\",\"items\":".repeat(20_000), "}".repeat(20_000));
    let text = whole.replace("\"HERE\"", &format!("{open}{{}}{close}"));
    let world = World::start().await;
    let (code, answer) = world.admin().text(Method::POST, PATH, text).await;
    assert!(code == 400 && answer.contains("BadRequest"), "{code} {answer}");
    assert_eq!(world.admin().get(PATH).await.0, 200);
}

#[tokio::test]
async fn a_schema_that_could_be_read_but_is_too_deep_is_refused() {
    let deep = (0..90).fold(json!({}), |inner, _| json!({"type": "array", "items": inner}));
    let (code, message) = refused(deep).await;
    let why = "openAPIV3Schema: Forbidden: schemas may not be nested more than 56 levels deep";
    assert!(code == 422 && message.contains(why), "{code} {message}");
}

#[tokio::test]
async fn a_schema_that_is_too_large_is_refused() {
    let text = "x".repeat(4 << 20);
    let (code, message) = refused(json!({"type": "object", "description": text})).await;
    assert_eq!(code, 413, "{message}");
}

#[tokio::test]
async fn a_rule_that_may_cost_too_much_is_refused() {
    let rule = json!([{"rule": "self.all(a, self.all(b, self.all(c, a + b + c != '')))"}]);
    let list =
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rule});
    let spec = json!({"type": "object", "properties": {"names": list}});
    let (code, message) = refused(spec).await;
    assert!(code == 422 && message.contains("exceeds budget by factor of"), "{code} {message}");
}
