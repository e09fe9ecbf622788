use std::time::Duration;

use http::Method;
use pinnace_api::Key;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{CONFIG_MAPS, Client, PATIENCE, World, config_map};

#[tokio::test]
async fn large_bodies_are_refused() {
    let world = World::start().await;
    let body = vec![b' '; 3 * 1024 * 1024 + 1];
    let (code, text) = world.admin().text(Method::POST, CONFIG_MAPS, body).await;
    assert_eq!(code, 413);
    assert!(text.contains("Request entity is too large: limit is 3145728"), "{text}");
}

#[tokio::test]
async fn large_heads_are_refused() {
    let world = World::start().await;
    let many = (0..200).fold(world.admin(), |client, n| client.with(&format!("x-{n}"), "y"));
    assert_eq!(many.open(Method::GET, CONFIG_MAPS, "").await.status(), 431);
}

#[tokio::test]
async fn certificates_of_others_are_refused() {
    let (world, other) = (World::start().await, World::start().await);
    // Trusts the server; what it shows is another authority's.
    let error = refusal(&world.stranger(&other)).await;
    assert!(error.contains("UnknownCA") || error.contains("DecryptError"), "{error}");
    assert_eq!(world.admin().get("/version").await.0, 200);
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let world = World::start().await;
    let error = refusal(&world.expired("admin", "system:masters")).await;
    assert!(error.contains("CertificateExpired"), "{error}");
}

/// Why the server does not speak with a client.
async fn refusal(client: &Client) -> String {
    let refused = async {
        let mut stream = client.try_connect(b"http/1.1").await?;
        stream.write_all(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        // The handshake of TLS 1.3 is over for the client before the server has judged it.
        stream.read_to_end(&mut Vec::new()).await
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap().unwrap_err().to_string()
}

#[tokio::test]
async fn a_stop_ends_watches_and_joins_everything() {
    let world = World::start().await;
    let mut lines = world.admin().lines(&format!("{CONFIG_MAPS}?watch=true")).await;
    world.admin().send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    assert_eq!(lines.next().await.unwrap()["type"], "ADDED");
    let address = world.serving.address().unwrap();
    tokio::time::timeout(Duration::from_secs(5), world.serving.stop()).await.unwrap();
    assert!(lines.next().await.is_none(), "the watch has ended, and cleanly");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_lets_requests_finish_that_have_begun() {
    let world = World::start().await;
    let server = world.server.clone();
    let mut stream = world.admin().connect(b"http/1.1").await;
    let body = config_map("late", "1").to_string();
    let (first, rest) = body.split_at(10);
    let length = body.len();
    let head =
        format!("POST {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    // It has begun for the server once it is counted.
    let admin = world.admin();
    let begun = async {
        while !admin.text(Method::GET, "/metrics", "").await.1.lines().any(|line| {
            line.starts_with("apiserver_current_inflight_requests")
                && line.contains("mutating\"")
                && !line.contains("readOnly")
                && line.ends_with(" 1")
        }) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap();
    let mut stop = Box::pin(world.serving.stop());
    let waits = tokio::time::timeout(Duration::from_millis(50), &mut stop).await;
    assert!(waits.is_err(), "somebody is still saying something");
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let answered = async {
        let _ = stream.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 201 Created"), "{}", String::from_utf8_lossy(&answer));
    tokio::time::timeout(PATIENCE, stop).await.unwrap();
    let snapshot = server.store().snapshot();
    assert!(snapshot.get("configmaps", &Key::new("default", "late")).is_some());
}

#[tokio::test]
async fn large_bodies_in_chunks_are_refused_too() {
    let world = World::start().await;
    let mut stream = world.admin().connect(b"http/1.1").await;
    let head =
        format!("POST {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"100000\r\n".as_slice(), &[b' '; 0x10_0000], b"\r\n"].concat();
    for _ in 0..4 {
        // It may have been answered before all is sent.
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[cfg(unix)]
#[tokio::test]
async fn the_owner_of_a_unix_socket_may_do_everything() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use pinnace_http::{Authority, Front, ServeConfig};

    let world = World::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let authority = Arc::new(Authority::open(None, world.server.env()).unwrap());
    let config = ServeConfig { unix: Some(path.clone()), ..ServeConfig::default() };
    let front = Front::builder(world.server.clone()).build();
    let serving = front.serve(authority, config).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = "GET /api/v1/namespaces/default HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    serving.stop().await;
    assert!(!path.exists());
}
