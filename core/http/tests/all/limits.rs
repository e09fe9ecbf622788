use std::time::Duration;

use http::Method;
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
