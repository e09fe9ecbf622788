//! Groups that other servers serve.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_api::{Draft, Key};
use pinnace_client::ListOptions;
use pinnace_env::Env;
use pinnace_http::{Authority, PROXY_NAME};
use pinnace_server::User;
use pinnace_store::{Expect, Transaction};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::extension::{Asked, Extension};
use crate::world::{PATIENCE, World};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1.wardle.example.com";
const GROUP: &str = "/apis/wardle.example.com";
const FLUNDERS: &str = "/apis/wardle.example.com/v1/namespaces/{namespace}/flunders";

/// An API that says how it was asked.
fn echo(asked: Asked) -> Response<Bytes> {
    let path = asked.uri().path();
    let described = "/openapi/v3/apis/wardle.example.com/v1";
    let answer = if path == "/apis/wardle.example.com/v1" {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "wardle.example.com/v1", "resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get", "list"]},
        ]})
    } else if path == "/openapi/v3" {
        json!({"paths": {"apis/wardle.example.com/v1": {"serverRelativeURL": format!("{described}?hash=ab")}}})
    } else if path == described {
        json!({"openapi": "3.0.0"})
    } else if path == "/openapi/v2" {
        return swagger(&asked);
    } else if asked.headers().contains_key("upgrade") {
        return upgraded(asked);
    } else {
        let headers: Vec<_> = asked
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        let body = String::from_utf8(asked.body().to_vec()).unwrap();
        json!({"method": asked.method().as_str(), "path": asked.uri().to_string(), "headers": headers, "body": body})
    };
    let mut response = Response::new(answer.to_string().into());
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}

/// What it describes in the older form, to whoever does not know it yet.
fn swagger(asked: &Asked) -> Response<Bytes> {
    let fish =
        json!({"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/Flunder"}}}}});
    let document = json!({"swagger": "2.0", "paths": {FLUNDERS: fish, "/version": {}},
        "definitions": {"Flunder": {"type": "object"}, "Other": {}}});
    let mut response = Response::new(Bytes::from(document.to_string()));
    if asked.headers().get("if-none-match").is_some_and(|tag| tag == "\"1\"") {
        *response.body_mut() = Bytes::new();
        *response.status_mut() = http::StatusCode::NOT_MODIFIED;
    }
    response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
    response
}

/// Says back whatever it is told, with a word on who tells it.
fn upgraded(asked: Asked) -> Response<Bytes> {
    let text = |name: &str| asked.headers()[name].to_str().unwrap().to_owned();
    let (protocol, key) = (text("upgrade"), text("sec-websocket-key"));
    let greeting = format!("{} {key} ", text("x-remote-user"));
    tokio::spawn(async move {
        let mut stream = TokioIo::new(hyper::upgrade::on(asked).await.unwrap());
        stream.write_all(greeting.as_bytes()).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("upgrade", protocol.parse().unwrap());
    response
}

/// A server of another group, that only a front with the right certificate may ask.
struct Other {
    world: World,
    extension: Extension,
}

impl Other {
    async fn start() -> Self {
        Self::with(echo).await
    }

    async fn with(answer: impl Fn(Asked) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        let front = Authority::open(None, &Env::system()).unwrap();
        let identity = front.client(PROXY_NAME, &[]).unwrap();
        let world =
            World::built(|server| server, |front| front.aggregate(Some(&identity)).unwrap()).await;
        let clients = Some(front.certificate_pem());
        let extension = Extension::start_for(&["wardle.default.svc"], clients, answer).await;
        let other = Self { world, extension };
        let path = "/api/v1/namespaces/default/services";
        let service = json!({"metadata": {"name": "wardle"}, "spec": {"ports": [{"port": 443}]}});
        assert_eq!(other.world.admin().send(Method::POST, path, &service).await.0, 201);
        other
    }

    /// Says where the server is. No slice that is sent may name loopback.
    async fn listens(&self, address: SocketAddr) {
        let kind = self.world.server.catalog().resolve("endpointslice").unwrap();
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "s", "namespace": "default", "labels": {"kubernetes.io/service-name": "wardle"}},
            "ports": [{"port": address.port()}], "endpoints": [{"addresses": [address.ip().to_string()]}]});
        let draft = Draft::from_value(kind.codec, slice).unwrap();
        let mut transaction = Transaction::new();
        transaction.put(kind.table(), Key::new("default", "s"), Expect::Absent, draft);
        self.world.server.store().commit(transaction).await.unwrap();
    }

    async fn register(&self, ca: &str) {
        let service = json!({"metadata": {"name": NAME}, "spec": {
            "group": "wardle.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
            "caBundle": STANDARD.encode(ca), "service": {"namespace": "default", "name": "wardle"}}});
        let (code, answer) = self.world.admin().send(Method::POST, SERVICES, &service).await;
        assert_eq!(code, 201, "{answer}");
    }

    async fn check(&self) -> Result<(), String> {
        let snapshot = self.world.server.store().snapshot();
        let service =
            snapshot.get("apiservices.apiregistration.k8s.io", &Key::cluster(NAME)).unwrap();
        self.world.front.aggregator().unwrap().check(service.get::<APIService>().unwrap()).await
    }

    async fn available(&self) {
        let status = json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}});
        let client = self.world.admin().with("content-type", "application/merge-patch+json");
        let (code, answer) =
            client.send(Method::PATCH, &format!("{SERVICES}/{NAME}/status"), &status).await;
        assert_eq!(code, 200, "{answer}");
    }

    async fn ready() -> Self {
        let other = Self::start().await;
        other.listens(other.extension.address).await;
        other.register(&other.extension.ca.clone()).await;
        other.check().await.unwrap();
        other.available().await;
        other
    }
}

#[tokio::test]
async fn requests_are_sent_on_in_the_name_of_who_makes_them() {
    let other = Other::ready().await;
    let client = other
        .world
        .user("jane", &["system:masters", "b"])
        .with("x-remote-user", "root")
        .with("x-remote-extra-a", "b")
        .with("accept", "application/json");
    let path = format!("{GROUP}/v1/namespaces/a/flunders?x=%2F");
    let (code, seen) = client.send(Method::POST, &path, &json!({"a": 1})).await;
    assert_eq!(
        (code, &seen["method"], &seen["path"], &seen["body"]),
        (200, &json!("POST"), &json!(path), &json!("{\"a\":1}"))
    );
    let headers: Vec<&str> =
        seen["headers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let remote: Vec<&str> =
        headers.iter().copied().filter(|header| header.starts_with("x-remote")).collect();
    assert_eq!(
        remote[..4],
        [
            "x-remote-user: jane",
            "x-remote-group: system:masters",
            "x-remote-group: b",
            "x-remote-group: system:authenticated",
        ]
    );
    assert!(
        remote[4].starts_with(
            "x-remote-extra-authentication.kubernetes.io%2fcredential-id: X509SHA256="
        )
    );
    assert!(headers.contains(&"accept: application/json"));
    assert!(headers.contains(&&*format!("host: {}", other.extension.address)));
    let before = other.extension.connections();
    for _ in 0..3 {
        assert_eq!(client.get(&path).await.0, 200);
    }
    assert_eq!(other.extension.connections(), before, "connections are kept");
}

#[tokio::test]
async fn whoever_may_not_is_not_sent_on() {
    let other = Other::ready().await;
    let (code, answer) = other.world.user("jane", &[]).get(&format!("{GROUP}/v1/flunders")).await;
    assert_eq!(
        (code, answer["message"].as_str().unwrap()),
        (
            403,
            "flunders.wardle.example.com is forbidden: User \"jane\" cannot list resource \"flunders\" in API group \"wardle.example.com\" at the cluster scope"
        )
    );
    let impersonated = other
        .world
        .admin()
        .with("impersonate-user", "root")
        .with("impersonate-group", "system:masters");
    let (_, seen) = impersonated.get(&format!("{GROUP}/v1/flunders")).await;
    let headers = seen["headers"].to_string();
    assert!(
        headers.contains("x-remote-user: root") && !headers.contains("impersonate"),
        "{headers}"
    );
}

#[tokio::test]
async fn discovery_shows_what_other_servers_have() {
    let other = Other::ready().await;
    let admin = other.world.admin();
    let (_, groups) = admin.get("/apis").await;
    let names: Vec<_> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["name"].as_str().unwrap())
        .collect();
    let place = |name: &str| names.iter().position(|one| *one == name);
    assert!(place("wardle.example.com") < place("metrics.k8s.io"), "{names:?}");
    assert!(place("wardle.example.com") > place("storagemigration.k8s.io"), "{names:?}");
    let (_, group) = admin.get(GROUP).await;
    assert_eq!(group["preferredVersion"]["groupVersion"], "wardle.example.com/v1");
    let (_, list) = admin.get(&format!("{GROUP}/v1")).await;
    assert_eq!(list["resources"][0]["kind"], "Flunder", "the other server says it");
    let aggregated = admin
        .with("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let of = |all: &Value| {
        let all = all["items"].as_array().unwrap();
        all.iter().find(|one| one["metadata"]["name"] == "wardle.example.com").unwrap().clone()
    };
    let (_, all) = aggregated.get("/apis").await;
    let found = of(&all);
    assert_eq!(
        (&found["metadata"]["name"], &found["versions"][0]["freshness"]),
        (&json!("wardle.example.com"), &json!("Current"))
    );
    assert_eq!(found["versions"][0]["resources"][0]["responseKind"]["kind"], "Flunder");
    let client = admin.with("content-type", "application/merge-patch+json");
    let gone = json!({"status": {"conditions": [{"type": "Available", "status": "False"}]}});
    client.send(Method::PATCH, &format!("{SERVICES}/{NAME}/status"), &gone).await;
    let (_, all) = aggregated.get("/apis").await;
    assert_eq!(of(&all)["versions"][0]["freshness"], "Stale");
    assert_eq!(
        admin.send(Method::DELETE, &format!("{SERVICES}/{NAME}"), &Value::Null).await.0,
        200
    );
    assert_eq!(admin.get(GROUP).await.0, 404);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_unavailable() {
    let other = Other::start().await;
    other.register("").await;
    let path = format!("{GROUP}/v1/flunders");
    let (code, text) = other.world.admin().text(Method::GET, &path, "").await;
    assert_eq!((code, &*text), (503, "service unavailable\n"));
    assert_eq!(other.check().await.unwrap_err(), "no endpoints available for service \"wardle\"");
    other.available().await;
    let (code, text) = other.world.admin().text(Method::GET, &path, "").await;
    assert_eq!((code, &*text), (503, "service unavailable\n"));
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    other.listens(nobody).await;
    let url = format!("https://{nobody}/apis/wardle.example.com/v1");
    assert_eq!(
        other.check().await.unwrap_err(),
        format!(
            "failing or missing response from {url}: Get \"{url}\": dial tcp {nobody}: connect: connection refused"
        )
    );
    let (code, text) = other.world.admin().text(Method::GET, &path, "").await;
    let expected =
        format!("error trying to reach service: dial tcp {nobody}: connect: connection refused\n");
    assert_eq!((code, text), (503, expected));
}

#[tokio::test]
async fn a_server_that_is_not_vouched_for_is_not_told_who_asks() {
    let other = Other::start().await;
    other.listens(other.extension.address).await;
    let stranger = Extension::start(&["wardle.default.svc"], echo).await;
    other.register(&stranger.ca).await;
    other.available().await;
    let (code, text) =
        other.world.admin().text(Method::GET, &format!("{GROUP}/v1/flunders"), "").await;
    assert_eq!(
        (code, &*text),
        (
            503,
            "error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown authority\n"
        )
    );
}

#[tokio::test]
async fn a_server_that_answers_with_errors_does_not_pass() {
    let broken = |_: Asked| {
        let mut response = Response::new(Bytes::from_static(b"oops"));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    };
    let other = Other::with(broken).await;
    other.listens(other.extension.address).await;
    other.register(&other.extension.ca.clone()).await;
    let url = format!("https://{}/apis/wardle.example.com/v1", other.extension.address);
    assert_eq!(
        other.check().await.unwrap_err(),
        format!("failing or missing response from {url}: bad status from {url}: 500")
    );
}

#[tokio::test]
async fn an_answer_that_goes_on_is_passed_on_as_it_comes() {
    let other = Other::ready().await;
    let path = format!("{GROUP}/v1/flunders?watch=true");
    let response = other.world.admin().open(Method::GET, &path, "").await;
    assert_eq!(response.status(), 200);
    let body =
        tokio::time::timeout(PATIENCE, http_body_util::BodyExt::collect(response.into_body()))
            .await;
    assert!(body.unwrap().unwrap().to_bytes().starts_with(b"{\"body\""));
}

#[tokio::test]
async fn what_other_servers_describe_is_listed_and_asked_of_them() {
    let other = Other::ready().await;
    let admin = other.world.admin();
    let (_, index) = admin.get("/openapi/v3").await;
    let url = index["paths"]["apis/wardle.example.com/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, "/openapi/v3/apis/wardle.example.com/v1?hash=ab");
    assert_eq!(admin.get(url).await.1["openapi"], "3.0.0");
}

#[tokio::test]
async fn what_they_describe_in_the_older_form_is_part_of_the_whole() {
    let other = Other::ready().await;
    let admin = other.world.admin();
    for _ in 0..2 {
        let (_, document) = admin.get("/openapi/v2").await;
        assert!(document["paths"].get("/api/v1/namespaces/{namespace}/pods").is_some());
        let schema = &document["paths"][FLUNDERS]["get"]["responses"]["200"]["schema"];
        assert_eq!(schema["$ref"], "#/definitions/Flunder");
        let definitions = &document["definitions"];
        assert_eq!(
            (&definitions["Flunder"]["type"], &definitions["Other"]),
            (&json!("object"), &Value::Null)
        );
        // It is not sent once more.
        other.check().await.unwrap();
    }
    assert_eq!(
        admin.send(Method::DELETE, &format!("{SERVICES}/{NAME}"), &Value::Null).await.0,
        200
    );
    let (_, document) = admin.get("/openapi/v2").await;
    assert!(document["paths"].get(FLUNDERS).is_none());
}

#[tokio::test]
async fn connections_that_become_others_go_through() {
    let other = Other::ready().await;
    let path = format!("{GROUP}/v1/namespaces/a/flunders/b/exec?command=sh");
    let asks = |user: &str, groups: &[&str]| {
        let client = other.world.user(user, groups);
        let client = client.with("connection", "Upgrade").with("upgrade", "websocket");
        client.with("sec-websocket-key", "a2V5").with("sec-websocket-version", "13")
    };
    let response = asks("jane", &["system:masters"]).open(Method::GET, &path, "").await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut told = [0; 15];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(&told, b"jane a2V5 hello");
    drop(stream);
    let response = asks("john", &[]).open(Method::GET, &path, "").await;
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn clients_in_the_process_are_sent_on_as_all_others_are() {
    let other = Other::ready().await;
    let server = &other.world.server;
    let jane = server.client(User::new("jane", ["system:masters".to_owned()]));
    let flunders = jane.named("flunders").unwrap();
    let key = Key::new("a", "b");
    let seen = flunders.get(&key).await.unwrap().to_value().unwrap();
    assert_eq!(seen["path"], format!("{GROUP}/v1/namespaces/a/flunders/b"));
    let headers = seen["headers"].to_string();
    assert!(
        headers.contains("x-remote-user: jane\",\"x-remote-group: system:masters"),
        "{headers}"
    );
    assert!(flunders.list(None, ListOptions::default()).await.unwrap().items.is_empty());
    let mut events = flunders.watch(None, ListOptions::default()).await.unwrap();
    let told = events.next().await.unwrap().unwrap_err();
    assert!(told.message().contains("an event cannot be read: there is no type"), "{told:?}");
    let gone = json!({"status": {"conditions": [{"type": "Available", "status": "False"}]}});
    let client = other.world.admin().with("content-type", "application/merge-patch+json");
    client.send(Method::PATCH, &format!("{SERVICES}/{NAME}/status"), &gone).await;
    let away = flunders.get(&key).await.unwrap_err();
    assert_eq!((away.code(), away.message()), (503, "service unavailable"));
    other.world.front.aggregator().unwrap().forget(NAME);
    assert!(jane.named("flunders").is_err());
    assert!(flunders.get(&key).await.unwrap_err().is_not_found());
}
