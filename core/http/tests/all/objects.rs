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
async fn components_are_well_and_what_is_deprecated_is_said_to_be() {
    let world = World::start().await;
    let admin = world.admin();
    let path = "/api/v1/componentstatuses";
    let (code, list) = admin.get(path).await;
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!((code, &list["kind"]), (200, &json!("ComponentStatusList")));
    assert_eq!(names, ["controller-manager", "etcd-0", "scheduler"]);
    let (_, one) = admin.get(&format!("{path}/etcd-0")).await;
    assert_eq!(one["conditions"], json!([{"type": "Healthy", "status": "True", "message": "ok"}]));
    assert_eq!(admin.get(&format!("{path}/none")).await.0, 404);
    for (path, expected) in [
        (path, Some("v1 ComponentStatus is deprecated in v1.19+")),
        (
            "/api/v1/endpoints",
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ),
        ("/api/v1/namespaces", None),
    ] {
        let response = admin.open(Method::GET, path, "").await;
        let said = response.headers().get("warning").map(|text| text.to_str().unwrap());
        let expected = expected.map(|text| format!("299 - \"{text}\""));
        assert_eq!(said.map(str::to_owned), expected, "{path}");
    }
}

#[tokio::test]
async fn owners_are_there_once() {
    let world = World::start().await;
    let admin = world.admin();
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u"});
    let body = |data: &str| {
        let owners = json!([owner("a"), owner("b"), owner("a")]);
        json!({"metadata": {"name": "x", "ownerReferences": owners}, "data": {"k": data}})
    };
    let object = format!("{CONFIG_MAPS}/x");
    let merge = admin.with("content-type", "application/merge-patch+json");
    for (client, method, path, when) in [
        (&admin, Method::POST, CONFIG_MAPS, ""),
        (&admin, Method::PUT, &*object, ""),
        (&merge, Method::PATCH, &*object, " after mutating admission happens"),
    ] {
        let response = client.open(method.clone(), path, body(method.as_str()).to_string()).await;
        let said = response.headers()["warning"].to_str().unwrap().to_owned();
        let expected = format!(".metadata.ownerReferences contains duplicate entries{when}; API");
        assert!(said.contains(&expected) && said.ends_with("observed: u\""), "{said}");
        let stored = admin.get(&object).await.1;
        assert_eq!(stored["metadata"]["ownerReferences"], json!([owner("a"), owner("b")]));
    }
}

#[tokio::test]
async fn what_goes_later_with_its_dependents_is_accepted() {
    let world = World::start().await;
    let admin = world.admin();
    for (name, finalizers, options, expected) in [
        ("a", json!(["a.b/c"]), json!({"orphanDependents": false}), 202),
        ("b", json!(["a.b/c"]), json!({"propagationPolicy": "Background"}), 200),
        ("c", json!([]), json!({"orphanDependents": false}), 200),
    ] {
        let map = json!({"metadata": {"name": name, "finalizers": finalizers}});
        admin.send(Method::POST, CONFIG_MAPS, &map).await;
        let path = format!("{CONFIG_MAPS}/{name}");
        assert_eq!(admin.send(Method::DELETE, &path, &options).await.0, expected, "{name}");
    }
}

#[tokio::test]
async fn objects_are_selected_by_their_fields() {
    let world = World::start().await;
    let admin = world.admin();
    let pod = json!({
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
    });
    let here = "/api/v1/namespaces/default";
    for (path, spec, selector) in [
        (format!("{here}/secrets"), json!({"type": "a/b"}), "type=a/b"),
        (
            format!("{here}/services"),
            json!({"spec": {"type": "ExternalName", "externalName": "e"}}),
            "spec.type=ExternalName",
        ),
        (
            format!("{here}/events"),
            json!({"involvedObject": {"namespace": "default", "name": "p"}, "reason": "r"}),
            "involvedObject.name=p,reason=r",
        ),
        (format!("{here}/pods"), json!({"spec": pod}), "spec.restartPolicy=Never"),
        (
            "/api/v1/nodes".to_owned(),
            json!({"spec": {"unschedulable": true}}),
            "spec.unschedulable=true",
        ),
        (
            "/apis/batch/v1/namespaces/default/jobs".to_owned(),
            json!({"spec": {"template": {"spec": pod}}}),
            "status.successful=0",
        ),
    ] {
        let mut body = spec;
        body["metadata"] = json!({"name": "x"});
        let (code, made) = admin.send(Method::POST, &path, &body).await;
        assert_eq!(code, 201, "{made}");
        for (selector, count) in [(selector.to_owned(), 1), (selector.replacen('=', "!=", 1), 0)] {
            let query = selector.replace('=', "%3D");
            let (code, list) = admin.get(&format!("{path}?fieldSelector={query}")).await;
            assert_eq!(code, 200, "{list}");
            assert_eq!(list["items"].as_array().map(Vec::len), Some(count), "{path} {selector}");
        }
    }
}

#[tokio::test]
async fn dry_runs_leave_nothing() {
    let world = World::start().await;
    let admin = world.admin();
    let here = "/api/v1/namespaces/default";
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod["spec"]});
    let set = json!({"metadata": {"name": "s"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let held = json!({"metadata": {"name": "held", "finalizers": ["a.b/c"]}});
    for (path, body) in [
        (CONFIG_MAPS, &config_map("a", "1")),
        (CONFIG_MAPS, &held),
        (&*format!("{here}/pods"), &pod),
        (sets, &set),
    ] {
        assert_eq!(admin.send(Method::POST, path, body).await.0, 201);
    }
    assert_eq!(
        admin.send(Method::DELETE, &format!("{CONFIG_MAPS}/held"), &Value::Null).await.0,
        200
    );
    let before = world.server.store().revision();
    let change = json!({"data": {"key": "2"}});
    let operations = json!([{"op": "replace", "path": "/data/key", "value": "2"}]);
    let applied = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "2"}});
    let scale = json!({"spec": {"replicas": 3}});
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    let eviction = json!({"metadata": {"name": "p"}});
    let release = json!({"metadata": {"finalizers": null}});
    let body = json!({"dryRun": ["All"]});
    let a = format!("{CONFIG_MAPS}/a");
    for (method, path, form, body, code) in [
        (Method::POST, CONFIG_MAPS, "json", &config_map("b", "1"), 201),
        (Method::PUT, &*a, "json", &config_map("a", "2"), 200),
        (Method::PATCH, &*a, "merge-patch+json", &change, 200),
        (Method::PATCH, &*a, "strategic-merge-patch+json", &change, 200),
        (Method::PATCH, &*a, "json-patch+json", &operations, 200),
        (Method::PATCH, &*a, "apply-patch+yaml", &applied("a"), 200),
        (Method::PATCH, &*format!("{CONFIG_MAPS}/c"), "apply-patch+yaml", &applied("c"), 201),
        (Method::PATCH, &*format!("{sets}/s/scale"), "merge-patch+json", &scale, 200),
        (Method::POST, &*format!("{here}/pods/p/binding"), "json", &binding, 201),
        (Method::POST, &*format!("{here}/pods/p/eviction"), "json", &eviction, 201),
        (Method::PATCH, &*format!("{CONFIG_MAPS}/held"), "merge-patch+json", &release, 200),
        (Method::DELETE, &*a, "json", &body, 200),
        (Method::DELETE, CONFIG_MAPS, "json", &body, 200),
    ] {
        let client = admin.with("content-type", &format!("application/{form}"));
        let apply = if form.starts_with("apply") { "&fieldManager=me&force=true" } else { "" };
        let path = format!("{path}?dryRun=All{apply}");
        let (found, answer) = client.send(method.clone(), &path, body).await;
        assert_eq!(found, code, "{method} {path} {form}: {answer}");
        assert_eq!(world.server.store().revision(), before, "{method} {path} {form}");
    }
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
        Method::PUT,
        object,
        json!({"data": {}}),
        400,
        "the name of the object (a based on URL) was undeterminable: name must be provided",
    )
    .await;
    check(
        Method::PUT,
        object,
        json!({"metadata": {"name": "a", "namespace": "b"}}),
        400,
        "the namespace of the provided object does not match the namespace sent on the request",
    )
    .await;
    let class = |change: Value| {
        let mut class = json!({"metadata": {"name": "c", "namespace": "b"}, "value": 1});
        class["metadata"]["labels"] = change;
        class
    };
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    assert_eq!(admin.send(Method::POST, classes, &class(Value::Null)).await.0, 201);
    let (code, put) =
        admin.send(Method::PUT, &format!("{classes}/c"), &class(json!({"a": "b"}))).await;
    assert_eq!((code, &put["metadata"]["namespace"]), (200, &Value::Null), "it is cleared");
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
