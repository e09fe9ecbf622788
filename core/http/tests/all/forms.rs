use std::io::Read as _;

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::world::{CONFIG_MAPS, World, config_map};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn answers_take_the_form_that_is_asked_for() {
    let world = World::start().await;
    let admin = world.admin();
    let (_, made) = admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");

    let (_, list) = admin.get(CONFIG_MAPS).await;
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert_eq!(list["items"][0].get("kind"), None, "items do not say what they are");
    assert_eq!(list["items"][0]["metadata"], made["metadata"]);

    let (_, yaml) = admin.with("accept", "application/yaml").text(Method::GET, &path, "").await;
    assert!(yaml.starts_with("apiVersion: v1\ndata:\n  key: \"1\"\nkind: ConfigMap\n"), "{yaml}");
    let (_, pretty) = admin.text(Method::GET, &format!("{path}?pretty=true"), "").await;
    assert!(pretty.starts_with("{\n  \"apiVersion\": \"v1\",\n"), "{pretty}");

    for path in [&path, CONFIG_MAPS] {
        let (_, table) = admin.with("accept", TABLE).get(path).await;
        assert_eq!(table["kind"], "Table", "{table}");
        assert_eq!(table["rows"][0]["cells"][0], "a");
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    }
    let (_, table) = admin.with("accept", TABLE).get(&format!("{path}?includeObject=Object")).await;
    assert_eq!(table["rows"][0]["object"], made);

    let (_, metadata) = admin.with("accept", METADATA).get(&path).await;
    assert_eq!((&metadata["metadata"], metadata.get("data")), (&made["metadata"], None));
    let (code, status) = admin.with("accept", METADATA).get(CONFIG_MAPS).await;
    assert_eq!(code, 406, "{status}");
    let (code, status) = admin.with("accept", "text/html").get(&path).await;
    assert_eq!((code, &status["reason"]), (406, &json!("NotAcceptable")));
}

#[tokio::test]
async fn yaml_is_taken_and_other_types_are_not() {
    let world = World::start().await;
    let yaml = world.admin().with("content-type", "application/yaml");
    let (code, _) = yaml.text(Method::POST, CONFIG_MAPS, "metadata: {name: a}\ndata: {x: z}").await;
    assert_eq!(code, 201);
    let text = world.admin().with("content-type", "text/plain");
    let (code, status) = text.send(Method::POST, CONFIG_MAPS, &config_map("b", "1")).await;
    assert_eq!(code, 415);
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("the body of the request was in an unknown format"), "{message}");
    let (code, status) = text.send(Method::PATCH, &format!("{CONFIG_MAPS}/a"), &json!({})).await;
    assert_eq!(code, 415);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("application/json-patch+json, application/merge-patch+json"),
        "{message}"
    );
}

#[tokio::test]
async fn large_lists_are_compressed_and_small_ones_are_not() {
    let world = World::start().await;
    let admin = world.admin().with("accept-encoding", "gzip");
    let large = "x".repeat(90_000);
    admin.send(Method::POST, CONFIG_MAPS, &config_map("a", &large)).await;
    let small = admin.open(Method::GET, CONFIG_MAPS, "").await;
    assert!(small.headers().get("content-encoding").is_none());
    assert!(small.headers().contains_key("content-length"));
    admin.send(Method::POST, CONFIG_MAPS, &config_map("b", &large)).await;
    let response = admin.open(Method::GET, CONFIG_MAPS, "").await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.into_body().collect().await.unwrap().to_bytes();
    assert!(packed.len() < 10_000);
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["items"][1]["data"]["key"], large);
}

#[tokio::test]
async fn http_2_answers_the_same() {
    let world = World::start().await;
    let response = world.admin().open2(Method::GET, "/api/v1/namespaces/default").await;
    assert_eq!(
        (response.status(), response.version()),
        (http::StatusCode::OK, http::Version::HTTP_2)
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{\"apiVersion\":\"v1\",\"kind\":\"Namespace\""));
}

#[tokio::test]
async fn fields_that_are_unknown_or_there_twice_are_dealt_with_as_asked() {
    let world = World::start().await;
    let admin = world.admin();
    let json = r#"{"metadata":{"name":"a"},"data":{"k":"1","k":"2"},"foo":1}"#;
    let yaml = "metadata: {name: a}\ndata:\n  k: '1'\n  k: '2'\nfoo: 1\n";
    let fields = ["duplicate field \"data.k\"", "unknown field \"foo\""];
    let lines = ["line 4: key \"k\" already set in map", "unknown field \"foo\""];
    let errors = "yaml: unmarshal errors:\n  line 4: key \"k\" already set in map";
    let whole = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: ";
    let of_yaml = format!("{whole}strict decoding error: {errors}, {}", lines[1]);
    let of_json = format!("{whole}strict decoding error: {}", fields.join(", "));
    let of_patch = format!("strict decoding error: {}", fields.join(", "));
    let operations = r#"[{"op":"add","path":"/foo","path":"/foo","value":1,"x":1}]"#;
    let operation = [
        "json patch duplicate field \"[0].path\"",
        "json patch unknown field \"[0].x\"",
        "unknown field \"foo\"",
    ];
    let of_operations = format!("strict decoding error: {}", operation.join(", "));
    let applied =
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {k: '1',\n  k: '2'}\n";
    let again = ["line 5: key \"k\" already set in map"];
    let of_applied = format!(
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
        again[0]
    );
    let json_twice = r#"{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}"#;
    let (first_line, of_first_line) = (
        ["line 1: key \"k\" already set in map"],
        "strict decoding error: yaml: unmarshal errors:\n  line 1: key \"k\" already set in map",
    );
    let cases: [(Method, &str, &str, u16, &str, &[&str]); 11] = [
        (Method::POST, "json", json, 400, &of_json, &fields),
        (Method::POST, "yaml", yaml, 400, &of_yaml, &lines),
        (Method::POST, "yaml", json_twice, 400, of_first_line, &first_line),
        (Method::PUT, "json", json, 400, &of_json, &fields),
        (Method::PUT, "yaml", yaml, 400, &of_yaml, &lines),
        (Method::PATCH, "merge-patch+json", json, 422, &of_patch, &fields),
        (Method::PATCH, "strategic-merge-patch+json", json, 422, &of_patch, &fields),
        (Method::PATCH, "json-patch+json", operations, 422, &of_operations, &operation),
        (Method::PATCH, "apply-patch+yaml", applied, 400, &of_applied, &again),
        // It comes to nothing.
        (Method::PATCH, "merge-patch+json", r#"{"foo":null}"#, 200, "", &[]),
        (Method::PATCH, "strategic-merge-patch+json", r#"{"foo":null}"#, 200, "", &[]),
    ];
    for (method, form, body, code, message, warnings) in cases {
        for mode in ["Strict", "Warn", "Ignore", ""] {
            let object = format!("{CONFIG_MAPS}/a");
            admin.send(Method::DELETE, &object, &Value::Null).await;
            let creates = method == Method::POST;
            if !creates {
                admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
            }
            let path = if creates { CONFIG_MAPS } else { &object };
            let path = format!("{path}?fieldValidation={mode}&fieldManager=me&force=true");
            let path =
                if form.starts_with("apply") { path } else { path.replace("&force=true", "") };
            let client = admin.with("content-type", &format!("application/{form}"));
            let response = client.open(method.clone(), &path, body.to_owned()).await;
            let found = response.status().as_u16();
            let said: Vec<_> = response
                .headers()
                .get_all("warning")
                .iter()
                .map(|one| one.to_str().unwrap().to_owned())
                .collect();
            let told: Vec<_> = warnings
                .iter()
                .map(|text| format!("299 - \"{}\"", text.replace('"', "\\\"")))
                .collect();
            let refused = mode == "Strict" && code != 200;
            let warned = matches!(mode, "Warn" | "");
            assert_eq!(said, if warned { told } else { Vec::new() }, "{method} {form} {mode}");
            let expected = if refused {
                code
            } else if creates {
                201
            } else {
                200
            };
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let answer: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(found, expected, "{method} {form} {mode}: {answer}");
            if refused {
                let text = answer["message"].as_str().unwrap();
                assert!(text.ends_with(message), "{method} {form} {mode}: {text}");
            } else if answer["data"].get("k").is_some() {
                assert_eq!(answer["data"]["k"], "2", "the last one counts: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_applied_must_have_the_fields_of_its_kind() {
    let world = World::start().await;
    let admin = world.admin().with("content-type", "application/apply-patch+yaml");
    let path = format!("{CONFIG_MAPS}/a?fieldManager=me&fieldValidation=Ignore");
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatum: {}\n";
    let (_, text) = admin.text(Method::PATCH, &path, body).await;
    assert!(text.contains(".datum: field not declared in schema"), "{text}");
}

#[tokio::test]
async fn the_fields_of_a_patched_scale_are_checked() {
    let world = World::start().await;
    let admin = world.admin();
    let set = json!({"metadata": {"name": "a"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}},
                     "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    assert_eq!(admin.send(Method::POST, sets, &set).await.0, 201);
    let patch = admin.with("content-type", "application/json-patch+json");
    let path = format!("{sets}/a/scale?fieldValidation=Strict");
    let body = json!([{"op": "add", "path": "/spec/foo", "value": 1}]);
    let (code, status) = patch.send(Method::PATCH, &path, &body).await;
    let message = status["message"].as_str().unwrap();
    assert_eq!(code, 422, "{status}");
    assert!(message.ends_with("strict decoding error: unknown field \"spec.foo\""), "{message}");
    let body = json!([{"op": "add", "path": "/spec/replicas", "value": -1}]);
    let (_, status) = patch.send(Method::PATCH, &path, &body).await;
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("Scale.autoscaling \"a\" is invalid: spec.replicas: "),
        "{message}"
    );
}

#[tokio::test]
async fn a_review_has_no_table() {
    let world = World::start().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let table = world.admin().with("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    assert_eq!(table.send(Method::POST, path, &review).await.0, 406);
    assert_eq!(world.admin().send(Method::POST, path, &review).await.0, 201);
}

#[tokio::test]
async fn a_condition_may_say_nothing_of_when_it_changed() {
    let world = World::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}});
    let admin = world.admin();
    let (_, mut service) = admin.send(Method::POST, services, &service).await;
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "B", "message": "", "lastTransitionTime": null});
    let path = format!("{services}/a/status");
    let check = |(code, answer): (u16, Value), expected: &[&str]| {
        assert_eq!(code, 200, "{answer}");
        let expected: Vec<_> = expected.iter().map(|kind| condition(kind)).collect();
        assert_eq!(answer["status"]["conditions"], json!(expected));
    };
    service["status"]["conditions"] = json!([condition("A")]);
    check(admin.send(Method::PUT, &path, &service).await, &["A"]);
    let patch = async |kind: &str, body: Value| {
        let patch = admin.with("content-type", &format!("application/{kind}"));
        patch.send(Method::PATCH, &format!("{path}?fieldManager=me"), &body).await
    };
    let of = |kind: &str| json!({"status": {"conditions": [condition(kind)]}});
    check(patch("merge-patch+json", of("B")).await, &["B"]);
    check(patch("strategic-merge-patch+json", of("C")).await, &["C", "B"]);
    let add = json!([{"op": "add", "path": "/status/conditions/-", "value": condition("D")}]);
    check(patch("json-patch+json", add).await, &["C", "B", "D"]);
    let mut applied = of("E");
    applied["kind"] = "Service".into();
    applied["apiVersion"] = "v1".into();
    check(patch("apply-patch+yaml", applied).await, &["C", "B", "D", "E"]);
    check(admin.get(&format!("{services}/a")).await, &["C", "B", "D", "E"]);
}
