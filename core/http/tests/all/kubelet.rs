//! A node on another machine, as a server of the API reaches it: both ends of the way, over TLS.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures::TryStreamExt as _;
use http::Method;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use pinnace_api::Key;
use pinnace_client::nodes::{
    LogOptions, NodeConnection, NodeDirectory as _, PodReference, Streams,
};
use pinnace_client::{Client, ListOptions, WatchEvent};
use pinnace_env::Env;
use pinnace_http::{Authority, Kubelet, KubeletConfig, NodeClients};
use pinnace_server::User;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::nodes::EchoNodes;
use crate::world::{PATIENCE, World};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Its name is one that clients of these tests ask for.
const NODE: &str = "localhost";

/// A node that listens, and the cluster that it is of.
struct Joined {
    world: World,
    port: u16,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Joined {
    async fn start() -> Self {
        let world = World::start().await;
        let client = world.server.client(User::host());
        let stop = CancellationToken::new();
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let config = KubeletConfig {
            node: NODE.to_owned(),
            addresses: vec![HERE],
            connection: EchoNodes.node(NODE).unwrap(),
            client: client.clone(),
            authority: world.authority.certificate_pem().to_owned(),
            env: Env::system(),
        };
        let kubelet = Kubelet::serve(listener, config).unwrap();
        let port = kubelet.address().unwrap().port();
        let signer = tokio::spawn(sign(client, world.authority.clone()));
        let tasks = vec![tokio::spawn(kubelet.run(stop.clone())), signer];
        let joined = Self { world, port, stop, tasks };
        // Until the certificate is signed nothing is answered.
        let there = async {
            while joined.node(NODE).document("/healthz").await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, there).await.unwrap();
        joined
    }

    /// The node of a name at the address where it listens.
    fn node(&self, name: &str) -> Arc<dyn NodeConnection> {
        let clients = NodeClients::new(self.world.authority.clone(), Env::system());
        clients.node(name, HERE, self.port).unwrap()
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.tasks.pop().unwrap().abort();
        tokio::time::timeout(PATIENCE, self.tasks.pop().unwrap()).await.unwrap().unwrap();
    }
}

/// Signs whatever is asked for.
async fn sign(client: Client, authority: Arc<Authority>) {
    let api = client.of::<CertificateSigningRequest>().unwrap();
    let options =
        ListOptions { initial_events: Some(true), bookmarks: true, ..ListOptions::default() };
    let mut events = api.watch(None, options).await.unwrap();
    while let Some(event) = events.try_next().await.unwrap() {
        let WatchEvent::Added(object) = event else { continue };
        let request = object.typed::<CertificateSigningRequest>().unwrap();
        let pem = String::from_utf8(request.spec.request.0.clone()).unwrap();
        let until = "2100-01-01T00:00:00Z".parse().unwrap();
        let usages = request.spec.usages.clone().unwrap();
        let signed = authority.sign_request(&pem, &usages, until).unwrap();
        let key = Key::cluster(object.name());
        api.modify_approval(&key, |request| {
            let status = json!({"conditions": [
                {"type": "Approved", "status": "True", "reason": "T", "message": "t"},
            ]});
            request.status = Some(serde_json::from_value(status).unwrap());
            true
        })
        .await
        .unwrap();
        api.modify_status(&key, |request| {
            let status = request.status.get_or_insert_default();
            status.certificate = Some(ByteString(signed.clone().into_bytes()));
            true
        })
        .await
        .unwrap();
    }
}

fn pod() -> PodReference {
    PodReference { namespace: "default".into(), name: "web".into(), uid: "u1".into() }
}

async fn all(mut from: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut text = String::new();
    let read = tokio::time::timeout(PATIENCE, from.read_to_string(&mut text));
    read.await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn a_node_elsewhere_answers_as_one_here() {
    let joined = Joined::start().await;
    let node = joined.node(NODE);
    let options = LogOptions { tail_lines: Some(3), ..LogOptions::default() };
    let lines = node.logs(&pod(), "main", options).await.unwrap();
    let lines: Vec<_> = lines.try_collect().await.unwrap();
    assert_eq!(lines.concat(), b"web main Some(3)\n");

    let streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };
    let command = ["cat", "a b"].map(str::to_owned).to_vec();
    let session = node.exec(&pod(), "main", command, streams).await.unwrap();
    let mut stdin = session.stdin.unwrap();
    // More than fits into a pipe, so it goes and comes at the same time.
    let sent = "hello".repeat(100_000);
    let send = async {
        stdin.write_all(sent.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
        drop(stdin);
    };
    let (out, err, ()) =
        tokio::join!(all(session.stdout.unwrap()), all(session.stderr.unwrap()), send);
    assert!(out == sent, "{} of {}", out.len(), sent.len());
    assert_eq!(err, "cat a b");
    assert_eq!(session.exit.await, Ok(3));

    let refused = node.attach(&pod(), "main", streams).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (400, "nothing to attach to"));
    assert_eq!(node.summary(true).await.unwrap().pods, Vec::new());
    let page = node.document("/healthz").await.unwrap().unwrap();
    assert_eq!((&*page.media_type, &*page.body), ("text/plain", "this is /healthz"));
    assert_eq!(node.document("/nothing").await.unwrap(), None);
    joined.stop().await;
}

#[tokio::test]
async fn ports_of_a_node_elsewhere_end_half_by_half() {
    let joined = Joined::start().await;
    let node = joined.node(NODE);
    let mut connection = node.connect(&pod(), 80).await.unwrap();
    connection.write_all(b"ping").await.unwrap();
    connection.shutdown().await.unwrap();
    assert_eq!(all(connection).await, "port 80: ping");
    let refused = node.connect(&pod(), 8001).await.err().unwrap();
    assert_eq!((refused.code(), refused.message()), (503, "connection refused"));
    joined.stop().await;
}

#[tokio::test]
async fn only_those_reach_a_node_who_may() {
    let joined = Joined::start().await;
    let at_node = |mut client: crate::world::Client| {
        client.address.set_port(joined.port);
        client
    };
    let code = async |client: crate::world::Client, path: &str| {
        at_node(client).text(Method::GET, path, "").await.0
    };
    let exec = "/exec/default/web/main?command=id&output=1";
    let world = &joined.world;
    assert_eq!(code(world.admin(), "/healthz").await, 200);
    assert_eq!(code(world.nobody(), "/healthz").await, 401);
    assert_eq!(code(world.nobody().with("authorization", "Bearer x"), "/healthz").await, 401);
    for path in ["/healthz", "/pods", "/stats/summary", "/containerLogs/default/web/main", exec] {
        assert_eq!(code(world.user("ann", &["dev"]), path).await, 403, "{path}");
    }
    let stranger = at_node(world.stranger(&World::start().await));
    let connected = stranger.try_connect(b"http/1.1").await;
    if let Ok(mut stream) = connected {
        // With TLS 1.3 a client learns of it when it reads.
        let mut byte = [0];
        assert!(stream.read(&mut byte).await.is_err());
    }
    assert_eq!(code(world.admin(), exec).await, 400, "it takes an upgrade");
    joined.stop().await;
}

#[tokio::test]
async fn whoever_answers_has_to_be_the_node() {
    let joined = Joined::start().await;
    let other = joined.node("n2").document("/healthz").await.unwrap_err();
    assert_eq!(other.code(), 503);
    let why = "certificate is of \"system:node:localhost\", not system:node:n2";
    assert!(other.message().ends_with(why), "{other}");

    // One of another cluster, and one that is not a node's.
    let stranger = Arc::new(Authority::open(None, &Env::system()).unwrap());
    let clients = NodeClients::new(stranger, Env::system());
    let unknown = clients.node(NODE, HERE, joined.port).unwrap().document("/healthz").await;
    let unknown = unknown.unwrap_err();
    assert!(unknown.message().ends_with("certificate signed by unknown authority"), "{unknown}");
    let clients = NodeClients::new(joined.world.authority.clone(), Env::system());
    let port = joined.world.serving.address().unwrap().port();
    let no_node = clients.node(NODE, HERE, port).unwrap().document("/healthz").await.unwrap_err();
    assert!(no_node.message().contains("certificate is of \"kube-apiserver\""), "{no_node}");

    let port = joined.port;
    let world = joined.world.authority.clone();
    joined.stop().await;
    let node = NodeClients::new(world, Env::system()).node(NODE, HERE, port).unwrap();
    let gone = node.logs(&pod(), "main", LogOptions::default()).await.err().unwrap();
    let url = format!("https://127.0.0.1:{port}/containerLogs/default/web/main?");
    let why = format!("Get \"{url}\": dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!((gone.code(), gone.message()), (503, &*why));
    let streams = Streams { stdout: true, ..Streams::default() };
    let gone = node.exec(&pod(), "main", vec!["id".into()], streams).await.err().unwrap();
    let why =
        format!("error dialing backend: dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!((gone.code(), gone.message()), (503, &*why));
}
