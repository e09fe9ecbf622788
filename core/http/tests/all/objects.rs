use http::Method;
use serde_json::{Value, json};

use crate::world::{CONFIG_MAPS, World, config_map};

#[tokio::test]
async fn an_object_is_made_read_changed_and_deleted() {
    let world = World::start().await;
    let (admin, path) = (world.admin().with("user-agent", "curly/1"), format!("{CONFIG_MAPS}/a"));
    let (code, made) = admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    assert_eq!((code, &made["kind"]), (201, &json!("ConfigMap")));
    let (code, status) = admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    assert_eq!((code, &status["message"]), (409, &json!("configmaps \"a\" already exists")));
    let (code, read) = admin.get(&path).await;
    assert_eq!((code, &read), (200, &made));
    let (code, changed) = admin.send(Method::PUT, &path, &config_map("a", "2")).await;
    assert_eq!((code, &changed["data"]["key"]), (200, &json!("2")));
    let stale = json!({"metadata": made["metadata"], "data": {}});
    assert_eq!(admin.send(Method::PUT, &path, &stale).await.0, 409);
    let merge = admin.with("content-type", "application/merge-patch+json");
    let (code, patched) = merge.send(Method::PATCH, &path, &json!({"data": {"x": "y"}})).await;
    assert_eq!((code, &patched["data"]), (200, &json!({"key": "2", "x": "y"})));
    let (code, status) = admin.send(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((code, &status["status"]), (200, &json!("Success")));
    assert_eq!(
        status["details"],
        json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]})
    );
    let (code, status) = admin.get(&path).await;
    assert_eq!((code, &status["message"]), (404, &json!("configmaps \"a\" not found")));
}

#[tokio::test]
async fn an_apply_creates_and_then_changes() {
    let world = World::start().await;
    let apply = world.admin().with("content-type", "application/apply-patch+yaml");
    let path = format!("{CONFIG_MAPS}/a?fieldManager=me");
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {key: value}\n";
    assert_eq!(apply.text(Method::PATCH, &path, body).await.0, 201);
    assert_eq!(apply.text(Method::PATCH, &path, body).await.0, 200);
    let (code, text) = apply.text(Method::PATCH, &format!("{CONFIG_MAPS}/a"), body).await;
    assert_eq!(code, 422);
    assert!(text.contains("fieldManager: Required value: is required for apply patch"), "{text}");
}

#[tokio::test]
async fn a_binding_of_its_own_binds_the_pod_of_its_name() {
    let world = World::start().await;
    let (admin, pods) = (world.admin(), "/api/v1/namespaces/default/pods");
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let pod = json!({"metadata": {"name": "p"}, "spec": spec});
    assert_eq!(admin.send(Method::POST, pods, &pod).await.0, 201);
    let binding = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
               "target": {"kind": "Node", "name": "n"}})
    };
    let path = "/api/v1/namespaces/default/bindings";
    let (code, status) = admin.send(Method::POST, path, &binding("p")).await;
    assert_eq!((code, &status["status"]), (201, &json!("Success")));
    assert_eq!(admin.get(&format!("{pods}/p")).await.1["spec"]["nodeName"], "n");
    let (code, again) = admin.send(Method::POST, path, &binding("p")).await;
    let why = again["message"].as_str().unwrap();
    assert!(code == 409 && why.contains("is already assigned to node \"n\""), "{why}");
    for (name, expected) in [("q", 404), ("", 400)] {
        assert_eq!(admin.send(Method::POST, path, &binding(name)).await.0, expected, "{name}");
    }
    assert_eq!(admin.get(path).await.0, 405, "nothing is kept");
}

#[tokio::test]
async fn dry_runs_leave_nothing() {
    let world = World::start().await;
    let path = format!("{CONFIG_MAPS}?dryRun=All");
    assert_eq!(world.admin().send(Method::POST, &path, &config_map("a", "1")).await.0, 201);
    assert_eq!(world.admin().get(&format!("{CONFIG_MAPS}/a")).await.0, 404);
}

#[tokio::test]
async fn unknown_and_repeated_fields_are_warned_of_or_refused() {
    let world = World::start().await;
    let body = r#"{"metadata": {"name": "a"}, "data": {"k": "1", "k": "2"}, "dat": {}}"#;
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let (code, text) = world.admin().text(Method::POST, &strict, body).await;
    assert_eq!(code, 400);
    let expected = "ConfigMap in version \\\"v1\\\" cannot be handled as a ConfigMap: strict \
        decoding error: duplicate field \\\"data.k\\\", unknown field \\\"dat\\\"";
    assert!(text.contains(expected), "{text}");
    let response = world.admin().open(Method::POST, CONFIG_MAPS, body).await;
    assert_eq!(response.status(), 201);
    let warnings: Vec<_> = response.headers().get_all("warning").iter().collect();
    assert_eq!(
        warnings,
        ["299 - \"duplicate field \\\"data.k\\\"\"", "299 - \"unknown field \\\"dat\\\"\""]
    );
    let ignore = format!("{CONFIG_MAPS}?fieldValidation=Ignore");
    let body = body.replace("\"a\"", "\"b\"");
    let response = world.admin().open(Method::POST, &ignore, body).await;
    assert_eq!((response.status().as_u16(), response.headers().get("warning")), (201, None));
}

#[tokio::test]
async fn evictions_of_older_clients_are_taken() {
    let world = World::start().await;
    let admin = world.admin();
    let path = "/api/v1/namespaces/default/pods/none/eviction";
    for (version, code) in [("policy/v1", 404), ("policy/v1beta1", 404), ("policy/v1beta2", 400)] {
        let eviction =
            json!({"apiVersion": version, "kind": "Eviction", "metadata": {"name": "none"}});
        let (found, status) = admin.send(Method::POST, path, &eviction).await;
        assert_eq!(found, code, "{version}: {status}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_in_upstreams_words() {
    let world = World::start().await;
    let admin = world.admin();
    let check = async |method: Method, path: &str, body: Value, code: u16, message: &str| {
        let (found, status) = admin.send(method, path, &body).await;
        assert_eq!(
            (found, status["message"].as_str().unwrap_or_default()),
            (code, message),
            "{path}"
        );
    };
    let object = "/api/v1/namespaces/default/configmaps/a";
    let wrong = json!({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "a"}});
    check(
        Method::POST,
        CONFIG_MAPS,
        wrong,
        400,
        "the API version in the data (v2) does not match \
        the expected API version (v1)",
    )
    .await;
    check(
        Method::PUT,
        object,
        config_map("b", "1"),
        400,
        "the name of the object (b) does not match the name on the URL (a)",
    )
    .await;
    check(
        Method::GET,
        "/api/v1/namespaces/default/configmaps/..",
        Value::Null,
        400,
        "Name parameter invalid: \"..\": may not be '..'",
    )
    .await;
    let missing = "the server could not find the requested resource";
    check(Method::GET, "/api/v1/chairs", Value::Null, 404, missing).await;
    check(Method::GET, "/api/v1/namespaces/default/configmaps/a/legs", Value::Null, 404, missing)
        .await;
    check(Method::GET, "/api/v1/namespaces/default/nodes", Value::Null, 404, missing).await;
    let method = "the server does not allow this method on the requested resource";
    check(Method::POST, object, config_map("a", "1"), 405, method).await;
    check(Method::PUT, CONFIG_MAPS, config_map("a", "1"), 405, method).await;
    check(Method::POST, "/api/v1/configmaps", config_map("a", "1"), 405, method).await;
    check(Method::OPTIONS, CONFIG_MAPS, Value::Null, 405, method).await;
    check(
        Method::GET,
        &format!("{CONFIG_MAPS}?limit=x"),
        Value::Null,
        400,
        "strconv.ParseInt: parsing \"x\": invalid syntax",
    )
    .await;
    let (code, text) = admin.text(Method::GET, "/apis/no.such/v1/chairs", "").await;
    assert_eq!((code, &*text), (404, "404 page not found\n"));
    assert_eq!(admin.text(Method::HEAD, CONFIG_MAPS, "").await, (405, String::new()));
}

#[tokio::test]
async fn collections_are_listed_in_parts_and_deleted() {
    let world = World::start().await;
    let admin = world.admin();
    for name in ["a", "b", "c"] {
        admin.send(Method::POST, CONFIG_MAPS, &config_map(name, "1")).await;
    }
    let (_, first) = admin.get(&format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = admin.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!(second["items"][0]["metadata"]["name"], "c");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let by_name = format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Db");
    let (code, gone) = admin.send(Method::DELETE, &by_name, &Value::Null).await;
    assert_eq!((code, gone["items"].as_array().unwrap().len()), (200, 1));
    let (_, left) = admin.get("/api/v1/configmaps").await;
    assert_eq!(left["items"].as_array().unwrap().len(), 2);
}
