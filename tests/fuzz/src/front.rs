//! Whole requests, past TLS and HTTP: a line `METHOD PATH`, a line with the type of the body, and
//! the body.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use pinnace_api::Catalog;
use pinnace_env::Env;
use pinnace_http::{Front, Peer};
use pinnace_server::{Server, User};
use pinnace_store::Store;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::split;

/// How many requests one server answers, so that what they make does not pile up.
const REQUESTS: usize = 200;

struct World {
    runtime: Runtime,
    front: Front,
    stop: CancellationToken,
    left: usize,
}

impl World {
    fn new() -> Self {
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let front = runtime.block_on(async {
            let server =
                Server::builder(Store::memory(), Catalog::builtin(), Env::system()).build();
            let client = server.client(User::host());
            let namespace = br#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}"#;
            let namespace = serde_json::from_slice(namespace).unwrap();
            let namespaces = client.of::<pinnace_api::k8s_openapi::api::core::v1::Namespace>();
            namespaces.unwrap().create(namespace).await.unwrap();
            Front::builder(server).build()
        });
        Self { runtime, front, stop: CancellationToken::new(), left: REQUESTS }
    }
}

thread_local! {
    static WORLD: std::cell::RefCell<Option<World>> = const { std::cell::RefCell::new(None) };
}

/// A request is answered, with an error of the client's or none, never with one of the server's.
pub(crate) fn request(data: &[u8]) {
    let Some((line, rest)) = split(data) else { return };
    let Some((media_type, body)) = split(rest) else { return };
    let Ok(line) = std::str::from_utf8(line) else { return };
    let Some((method, path)) = line.split_once(' ') else { return };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media_type)
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .body(Full::new(Bytes::copy_from_slice(body)));
    let Ok(request) = request else { return };
    WORLD.with_borrow_mut(|world| {
        let now = world.get_or_insert_with(World::new);
        let peer = Peer::in_process(User::host(), now.stop.clone());
        let front = now.front.clone();
        let status = now.runtime.block_on(async {
            use tower_service::Service as _;
            let response = front.service(peer).call(request).await.unwrap();
            let status = response.status();
            // A watch would wait for what never comes.
            let all = tokio::time::timeout(std::time::Duration::from_millis(1), response.collect());
            drop(all.await);
            status
        });
        // Nobody runs nodes here, so those cannot be reached.
        assert!(!status.is_server_error() || matches!(status.as_u16(), 501..=504), "{status}");
        now.left -= 1;
        if now.left == 0 {
            now.stop.cancel();
            *world = None;
        }
    });
}
