use http::Method;
use http_body_util::BodyExt as _;
use pinnace_api::protobuf::{MEDIA_TYPE, decode, encode};
use serde_json::{Value, json};

use crate::world::{CONFIG_MAPS, Client, PATIENCE, World, config_map};

/// The answer to a request in protobuf, as JSON.
async fn send(client: &Client, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let body = if body.is_null() {
        Vec::new()
    } else {
        encode(text("apiVersion"), text("kind"), body.to_string().as_bytes()).unwrap()
    };
    let client = client.with("content-type", MEDIA_TYPE).with("accept", MEDIA_TYPE);
    let response = client.open(method, path, body).await;
    assert_eq!(response.headers()["content-type"], MEDIA_TYPE, "{}", response.status());
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, decode(&bytes, None).unwrap())
}

fn whole(name: &str, value: &str) -> Value {
    let mut object = config_map(name, value);
    object["apiVersion"] = "v1".into();
    object["kind"] = "ConfigMap".into();
    object
}

#[tokio::test]
async fn objects_lists_and_errors_go_both_ways() {
    let world = World::start().await;
    let admin = world.admin();
    let (code, made) = send(&admin, Method::POST, CONFIG_MAPS, &whole("a", "1")).await;
    assert_eq!((code, &made["data"]["key"]), (201, &json!("1")));
    let path = format!("{CONFIG_MAPS}/a");
    let (code, changed) = send(&admin, Method::PUT, &path, &whole("a", "2")).await;
    assert_eq!((code, &changed["data"]["key"]), (200, &json!("2")));
    assert_eq!(admin.get(&path).await.1["data"]["key"], "2", "one object in both forms");
    let (_, list) = send(&admin, Method::GET, CONFIG_MAPS, &Value::Null).await;
    assert_eq!(
        (&list["kind"], &list["items"][0]["data"]["key"]),
        (&json!("ConfigMapList"), &json!("2"))
    );
    assert!(list["metadata"]["resourceVersion"].is_string());
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "another"},
    });
    let (code, status) = send(&admin, Method::DELETE, &path, &options).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")), "{status}");
    let (code, status) = send(&admin, Method::GET, &format!("{CONFIG_MAPS}/b"), &Value::Null).await;
    assert_eq!((code, &status["message"]), (404, &json!("configmaps \"b\" not found")));
    let (code, status) = send(&admin, Method::POST, CONFIG_MAPS, &whole("A", "1")).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")));
}

#[tokio::test]
async fn events_come_in_frames() {
    let world = World::start().await;
    let admin = world.admin();
    send(&admin, Method::POST, CONFIG_MAPS, &whole("a", "1")).await;
    let accept = format!("{MEDIA_TYPE};stream=watch");
    let watching = admin.with("accept", &accept);
    let response = watching.open(Method::GET, &format!("{CONFIG_MAPS}?watch=1"), "").await;
    assert_eq!(response.headers()["content-type"], accept);
    let mut body = response.into_body();
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
    let bytes = frame.unwrap().unwrap().into_data().unwrap();
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    assert_eq!(length, bytes.len() - 4);
    // The type of the event, then the object as raw bytes.
    assert!(bytes[4..].starts_with(b"\x0a\x05ADDED\x12"));
    let object = bytes.windows(4).position(|bytes| bytes == b"k8s\0").unwrap();
    assert_eq!(decode(&bytes[object..], None).unwrap()["metadata"]["name"], "a");
}
