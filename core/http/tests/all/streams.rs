use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::Method;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::nodes::EchoNodes;
use crate::world::{Client, PATIENCE, World};

const POD: &str = "/api/v1/namespaces/default/pods/web";

async fn world() -> World {
    let world = World::with(Some(Arc::new(EchoNodes))).await;
    let container = |name: &str| json!({"name": name, "image": "web:1"});
    for (name, containers) in [("web", vec!["main"]), ("two", vec!["a", "b"])] {
        let containers: Vec<Value> = containers.into_iter().map(container).collect();
        let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": "n1", "containers": containers}});
        let (code, made) =
            world.admin().send(Method::POST, "/api/v1/namespaces/default/pods", &pod).await;
        assert_eq!(code, 201, "{made}");
    }
    world
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn web_socket(client: &Client, path: &str, protocol: &str) -> Socket {
    let response = client
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("sec-websocket-protocol", protocol)
        .open(Method::GET, path, "")
        .await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

/// All that comes on each channel until the server closes.
async fn all(socket: &mut Socket) -> Vec<(u8, String)> {
    let mut channels: Vec<(u8, String)> = Vec::new();
    let read = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                assert_eq!(frame.unwrap().code, CloseCode::Normal, "clients ask for the code");
                return;
            }
            let data = message.into_data();
            let (channel, data) = data.split_first().unwrap();
            let data = String::from_utf8(data.to_vec()).unwrap();
            match channels.iter_mut().find(|(known, _)| known == channel) {
                Some((_, text)) => text.push_str(&data),
                None => channels.push((*channel, data)),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    channels.sort();
    channels
}

fn message(channel: u8, data: &str) -> Message {
    Message::Binary(Bytes::from([&[channel], data.as_bytes()].concat()))
}

#[tokio::test]
async fn logs_are_read() {
    let world = world().await;
    let path = format!("{POD}/log?tailLines=3");
    let (code, text) = world.admin().text(Method::GET, &path, "").await;
    assert_eq!((code, &*text), (200, "web main Some(3)\n"));
    let (code, status) = world.admin().get("/api/v1/namespaces/default/pods/two/log").await;
    assert_eq!(code, 400);
    assert_eq!(
        status["message"],
        "a container name must be specified for pod two, choose one of: [a b]"
    );
    assert_eq!(world.admin().get("/api/v1/namespaces/default/pods/none/log").await.0, 404);
}

#[tokio::test]
async fn logs_are_read_over_a_web_socket() {
    let world = world().await;
    let cases =
        [("binary.k8s.io", "web main None\n"), ("base64.binary.k8s.io", "d2ViIG1haW4gTm9uZQo=")];
    for (protocol, expected) in cases {
        let mut socket = web_socket(&world.admin(), &format!("{POD}/log"), protocol).await;
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        assert_eq!(message.unwrap().unwrap().into_data(), expected.as_bytes());
        let end = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        assert!(matches!(end, Some(Ok(Message::Close(_)))), "{end:?}");
    }
}

#[tokio::test]
async fn a_command_is_run_over_a_web_socket() {
    let world = world().await;
    let path = format!("{POD}/exec?command=cat&command=-&stdin=1&stdout=1&stderr=1");
    let mut socket = web_socket(&world.admin(), &path, "v5.channel.k8s.io").await;
    socket.send(message(0, "hello")).await.unwrap();
    socket.send(message(255, "\0")).await.unwrap();
    let channels = all(&mut socket).await;
    assert_eq!(channels[0], (1, "hello".to_owned()));
    assert_eq!(channels[1], (2, "cat -".to_owned()));
    let status: Value = serde_json::from_str(&channels[2].1).unwrap();
    assert_eq!((channels[2].0, &status["reason"]), (3, &json!("NonZeroExitCode")));
    assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
}

/// A message of a channel, in base64 or not.
fn framed(base64: bool, channel: u8, data: &str) -> Message {
    if base64 {
        Message::Text(format!("{channel}{}", STANDARD.encode(data)).into())
    } else {
        message(channel, data)
    }
}

/// What a message says, and on which channel.
fn unframed(base64: bool, message: Message) -> (u8, String) {
    let data = message.into_data();
    let (channel, rest) = data.split_first().unwrap();
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    if base64 {
        (channel - b'0', text(&STANDARD.decode(rest).unwrap()))
    } else {
        (*channel, text(rest))
    }
}

#[tokio::test]
async fn a_command_is_run_by_the_older_protocols() {
    let world = world().await;
    for (protocol, base64, says_status) in [
        ("v4.channel.k8s.io", false, true),
        ("v4.base64.channel.k8s.io", true, true),
        ("channel.k8s.io", false, false),
        ("base64.channel.k8s.io", true, false),
    ] {
        let path = format!("{POD}/exec?command=cat&command=-&stdout=1&stderr=1");
        let mut socket = web_socket(&world.admin(), &path, protocol).await;
        let mut said = Vec::new();
        let read = async {
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() {
                    break;
                }
                said.push(unframed(base64, message));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap();
        said.retain(|(_, text)| !text.is_empty());
        assert_eq!(said[0], (2, "cat -".to_owned()), "{protocol}");
        assert_eq!((said.len(), said[1].0), (2, 3), "{protocol}: {said:?}");
        let status: Option<Value> = serde_json::from_str(&said[1].1).ok();
        assert_eq!(
            status.is_some_and(|it| it["reason"] == "NonZeroExitCode"),
            says_status,
            "{said:?}"
        );
        let why = "command terminated with non-zero exit code: exit status 3";
        assert!(said[1].1.contains(why), "{said:?}");

        // Nobody can end what these say to a command, but they can say something.
        let mut socket = web_socket(&world.admin(), &format!("{path}&stdin=1"), protocol).await;
        socket.send(framed(base64, 0, "hello")).await.unwrap();
        let echo = async {
            loop {
                let (channel, text) = unframed(base64, socket.next().await.unwrap().unwrap());
                if channel == 1 && !text.is_empty() {
                    return text;
                }
            }
        };
        assert_eq!(tokio::time::timeout(PATIENCE, echo).await.unwrap(), "hello", "{protocol}");
    }
}

#[tokio::test]
async fn a_command_needs_an_upgrade_and_a_protocol() {
    let world = world().await;
    let path = format!("{POD}/exec?command=cat&stdout=1");
    let (code, status) = world.admin().get(&path).await;
    assert_eq!((code, &status["message"]), (400, &json!("Upgrade request required")));
    let client = world
        .admin()
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("sec-websocket-protocol", "v9.channel.k8s.io");
    assert_eq!(client.get(&path).await.0, 400);
}

#[tokio::test]
async fn ports_are_forwarded_over_channels() {
    let world = world().await;
    let path = format!("{POD}/portforward?ports=80");
    let mut socket = web_socket(&world.admin(), &path, "v4.channel.k8s.io").await;
    socket.send(message(0, "ping")).await.unwrap();
    let (mut data, mut errors) = (Vec::new(), Vec::new());
    let read = async {
        while !data.ends_with(b"ping") {
            let message = socket.next().await.unwrap().unwrap().into_data();
            let (channel, rest) = message.split_first().unwrap();
            if *channel == 0 {
                data.extend_from_slice(rest)
            } else {
                errors.extend_from_slice(rest)
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    assert_eq!(data, b"\x50\0port 80: ping");
    assert_eq!(errors, b"\x50\0");
}
