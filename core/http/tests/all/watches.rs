use futures::StreamExt as _;
use http::Method;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::world::{CONFIG_MAPS, PATIENCE, World, config_map};

fn summary(event: &Value) -> (&str, &str) {
    let text = |value: &'static str| event["object"]["metadata"][value].as_str();
    (event["type"].as_str().unwrap(), text("name").unwrap_or_default())
}

#[tokio::test]
async fn a_watch_tells_what_is_and_what_happens() {
    let world = World::start().await;
    let admin = world.admin();
    admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true\
         &resourceVersionMatch=NotOlderThan"
    );
    let mut lines = admin.lines(&path).await;
    let first = lines.next().await.unwrap();
    assert_eq!(summary(&first), ("ADDED", "a"));
    assert_eq!(first["object"]["kind"], "ConfigMap");
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    admin.send(Method::PUT, &format!("{CONFIG_MAPS}/a"), &config_map("a", "2")).await;
    admin.send(Method::DELETE, &format!("{CONFIG_MAPS}/a"), &Value::Null).await;
    assert_eq!(summary(&lines.next().await.unwrap()), ("MODIFIED", "a"));
    assert_eq!(summary(&lines.next().await.unwrap()), ("DELETED", "a"));
}

#[tokio::test]
async fn one_object_is_watched_by_its_name_or_by_the_old_path() {
    let world = World::start().await;
    let admin = world.admin();
    for name in ["a", "b"] {
        admin.send(Method::POST, CONFIG_MAPS, &config_map(name, "1")).await;
    }
    for path in [
        format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Db&timeoutSeconds=1"),
        "/api/v1/watch/namespaces/default/configmaps/b?timeoutSeconds=1".to_owned(),
    ] {
        let mut lines = admin.lines(&path).await;
        assert_eq!(summary(&lines.next().await.unwrap()), ("ADDED", "b"), "{path}");
        assert_eq!(lines.next().await, None, "it ends when its time is over");
    }
}

#[tokio::test]
async fn tables_tell_their_columns_once() {
    let world = World::start().await;
    let admin = world.admin().with("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    for name in ["a", "b"] {
        admin.send(Method::POST, CONFIG_MAPS, &config_map(name, "1")).await;
    }
    let mut lines = admin.lines(&format!("{CONFIG_MAPS}?watch=1")).await;
    let (first, second) = (lines.next().await.unwrap(), lines.next().await.unwrap());
    let columns =
        |event: &Value| event["object"]["columnDefinitions"].as_array().map_or(0, Vec::len);
    assert!(columns(&first) > 0, "{first}");
    assert_eq!((columns(&second), &second["object"]["rows"][0]["cells"][0]), (0, &json!("b")));
}

#[tokio::test]
async fn metadata_alone_is_listed_and_watched() {
    let world = World::start().await;
    let admin = world.admin();
    admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    let list =
        admin.with("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    let (code, answer) = list.get(CONFIG_MAPS).await;
    assert_eq!((code, &answer["kind"]), (200, &json!("PartialObjectMetadataList")), "{answer}");
    assert_eq!(answer["items"][0]["metadata"]["name"], "a");
    assert_eq!(answer["items"][0].get("data"), None);
    let watch =
        admin.with("accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
    let path = format!("{CONFIG_MAPS}?watch=1&allowWatchBookmarks=1");
    let mut lines = watch.lines(&path).await;
    for (event, name) in [("ADDED", "a"), ("BOOKMARK", "")] {
        let line = lines.next().await.unwrap();
        assert_eq!(summary(&line), (event, name));
        let object = &line["object"];
        assert_eq!(object["kind"], "PartialObjectMetadata");
        assert_eq!((&object["apiVersion"], object.get("data")), (&json!("meta.k8s.io/v1"), None));
    }
    let protobuf =
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let response = admin.with("accept", protobuf).open(Method::GET, &path, "").await;
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/vnd.kubernetes.protobuf"), "{kind}");
    let mut body = http_body_util::BodyDataStream::new(response.into_body());
    let first = tokio::time::timeout(PATIENCE, body.next()).await.unwrap().unwrap().unwrap();
    let has = |text: &[u8]| first.windows(text.len()).any(|part| part == text);
    assert!(has(b"PartialObjectMetadata") && has(b"ADDED") && !has(b"ConfigMap"), "{first:?}");
}

#[tokio::test]
async fn events_come_over_a_web_socket_too() {
    let world = World::start().await;
    let admin = world.admin();
    admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    let upgrading = admin
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let response = upgrading.open(Method::GET, &format!("{CONFIG_MAPS}?watch=1"), "").await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
    assert_eq!(summary(&event), ("ADDED", "a"));
}
