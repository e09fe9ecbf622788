//! Webhooks over TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Response};
use pinnace_api::{Draft, Key};
use pinnace_http::HttpsExtensions;
use pinnace_store::{Expect, Transaction};
use serde_json::{Value, json};

use crate::extension::{Asked, Extension};
use crate::world::{CONFIG_MAPS, World, config_map};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

async fn world() -> World {
    World::built(|server| server.extensions(Arc::new(HttpsExtensions::new())), |front| front).await
}

async fn register(world: &World, client: Value) {
    let configuration = json!({"metadata": {"name": "w"}, "webhooks": [{
        "name": "a.example.com", "clientConfig": client,
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
    }]});
    let (code, answer) = world.admin().send(Method::POST, CONFIGURATIONS, &configuration).await;
    assert_eq!(code, 201, "{answer}");
}

fn at(extension: &Extension, ca: &str) -> Value {
    json!({"url": format!("https://{}/mutate", extension.address), "caBundle": STANDARD.encode(ca)})
}

/// Lets through what it is asked about, with an entry more.
fn add_entry(asked: Asked) -> Response<Bytes> {
    assert_eq!(
        (asked.method(), asked.uri().to_string().as_str()),
        (&Method::POST, "/mutate?timeout=5s")
    );
    let review: Value = serde_json::from_slice(asked.body()).unwrap();
    let patch = json!([{"op": "add", "path": "/data/more", "value": "yes"}]).to_string();
    let response = json!({"uid": review["request"]["uid"], "allowed": true,
        "patchType": "JSONPatch", "patch": STANDARD.encode(patch), "warnings": ["beware"]});
    json(
        &json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}),
    )
}

fn json(value: &Value) -> Response<Bytes> {
    Response::new(value.to_string().into())
}

async fn check_failure(world: &World, expected: &str) {
    let (code, answer) = world.admin().send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    let message = answer["message"].as_str().unwrap();
    assert!(code == 500 && message.ends_with(expected), "{message}");
    assert!(message.starts_with("Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: "));
}

#[tokio::test]
async fn a_webhook_changes_what_is_written_over_connections_that_are_kept() {
    let (world, extension) = (world().await, Extension::start(&["127.0.0.1"], add_entry).await);
    register(&world, at(&extension, &extension.ca)).await;
    for name in ["a", "b", "c"] {
        let body = config_map(name, "1").to_string();
        let response = world.admin().open(Method::POST, CONFIG_MAPS, body).await;
        assert_eq!(response.headers()["warning"], "299 - \"beware\"");
        let (_, made) = world.admin().get(&format!("{CONFIG_MAPS}/{name}")).await;
        assert_eq!(made["data"]["more"], "yes");
    }
    assert_eq!(extension.connections(), 1);
}

#[tokio::test]
async fn a_service_is_known_by_its_name() {
    let names = ["hooks.default.svc"];
    let (world, extension) = (world().await, Extension::start(&names, add_entry).await);
    let service = json!({"namespace": "default", "name": "hooks", "path": "/mutate"});
    let ca = STANDARD.encode(&extension.ca);
    register(&world, json!({"service": service, "caBundle": ca})).await;
    let path = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "hooks"}, "spec": {"ports": [{"port": 443}]}});
    world.admin().send(Method::POST, path, &service).await;
    // No slice that is sent may name loopback.
    let kind = world.server.catalog().resolve("endpointslice").unwrap();
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "s", "namespace": "default", "labels": {"kubernetes.io/service-name": "hooks"}},
        "ports": [{"port": extension.address.port()}], "endpoints": [{"addresses": ["127.0.0.1"]}]});
    let draft = Draft::from_value(kind.codec, slice).unwrap();
    let mut transaction = Transaction::new();
    transaction.put(kind.table(), Key::new("default", "s"), Expect::Absent, draft);
    world.server.store().commit(transaction).await.unwrap();
    let (code, made) = world.admin().send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    assert_eq!((code, &made["data"]["more"]), (201, &json!("yes")), "{made}");
}

#[tokio::test]
async fn who_is_not_vouched_for_is_not_asked() {
    let other = Extension::start(&["127.0.0.1"], add_entry).await;
    let (world, extension) = (world().await, Extension::start(&["127.0.0.1"], add_entry).await);
    register(&world, at(&extension, &other.ca)).await;
    check_failure(
        &world,
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    )
    .await;
}

#[tokio::test]
async fn who_has_another_name_is_not_asked() {
    let (world, extension) = (world().await, Extension::start(&["other.example"], add_entry).await);
    register(&world, at(&extension, &extension.ca)).await;
    check_failure(
        &world,
        "tls: failed to verify certificate: x509: certificate is not valid for 127.0.0.1",
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_is_huge_is_not_read() {
    let huge = |_: Asked| Response::new(Bytes::from(vec![b' '; 4 << 20]));
    let (world, extension) = (world().await, Extension::start(&["127.0.0.1"], huge).await);
    register(&world, at(&extension, &extension.ca)).await;
    check_failure(&world, "the answer is longer than 3145728 bytes").await;
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let away = |_: Asked| {
        let response = Response::builder().status(307).header("location", "https://127.0.0.1:1/");
        response.body(Bytes::new()).unwrap()
    };
    let (world, extension) = (world().await, Extension::start(&["127.0.0.1"], away).await);
    register(&world, at(&extension, &extension.ca)).await;
    check_failure(
        &world,
        "the server responded with the status code 307 but did not return more information",
    )
    .await;
    assert_eq!(extension.connections(), 1);
}

#[tokio::test]
async fn nobody_there_and_nothing_that_speaks_tls_are_failures() {
    let world = world().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    register(&world, json!({"url": format!("https://{address}/")})).await;
    let plain = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 8]).await;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        listener
    });
    check_failure(&world, "http: server gave HTTP response to HTTPS client").await;
    drop(plain.await.unwrap());
    check_failure(&world, &format!("dial tcp {address}: connect: connection refused")).await;
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let count = AtomicUsize::new(0);
    let closes = move |asked: Asked| {
        let mut response = add_entry(asked);
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            response.headers_mut().insert("connection", "close".parse().unwrap());
        }
        response
    };
    let (world, extension) = (world().await, Extension::start(&["127.0.0.1"], closes).await);
    register(&world, at(&extension, &extension.ca)).await;
    for name in ["a", "b", "c"] {
        let (code, answer) =
            world.admin().send(Method::POST, CONFIG_MAPS, &config_map(name, "1")).await;
        assert_eq!(code, 201, "{answer}");
    }
    assert_eq!(extension.connections(), 2);
}

#[tokio::test]
async fn connections_to_pods_are_asked_about() {
    let refuse = |asked: Asked| {
        let review: Value = serde_json::from_slice(asked.body()).unwrap();
        let request = &review["request"];
        let why = format!("{} {}", request["operation"], request["object"]);
        let response = json!({"uid": request["uid"], "allowed": false, "status": {"message": why}});
        json(
            &json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}),
        )
    };
    let extension = Extension::start(&["127.0.0.1"], refuse).await;
    let nodes = Arc::new(crate::nodes::EchoNodes);
    let server =
        |server: pinnace_server::ServerBuilder| server.extensions(Arc::new(HttpsExtensions::new()));
    let world = World::built(server, |front| front.nodes(nodes)).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(world.admin().send(Method::POST, pods, &pod).await.0, 201);
    let configuration = json!({"metadata": {"name": "w"}, "webhooks": [{
        "name": "a.example.com", "clientConfig": at(&extension, &extension.ca),
        "rules": [{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}],
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
    }]});
    assert_eq!(world.admin().send(Method::POST, CONFIGURATIONS, &configuration).await.0, 201);
    let client = world.admin().with("connection", "Upgrade").with("upgrade", "websocket");
    let (code, answer) = client.get(&format!("{pods}/p/exec?command=ls&stdout=1")).await;
    let expected = concat!(
        "admission webhook \"a.example.com\" denied the request: \"CONNECT\" {\"apiVersion\":\"v1\",",
        "\"command\":[\"ls\"],\"kind\":\"PodExecOptions\",\"metadata\":{},\"stderr\":false,\"stdin\":false,",
        "\"stdout\":true,\"tty\":false}"
    );
    assert_eq!((code, answer["message"].as_str().unwrap()), (400, expected));
}
