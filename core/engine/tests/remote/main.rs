//! Clusters on other machines, which here are this one: clients over HTTPS, and nodes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use pinnace::{
    DeleteOptions, Engine, Key, Kubeconfig, ListOptions, LogOptions, Node, Patch, Runtime,
    ServeConfig, Serving, WatchEvent, WriteOptions, connect, node_kubeconfig,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane that listens.
async fn cluster() -> (Engine, Serving) {
    let engine = Engine::builder().runtime(Runtime::simulated()).nodes(0).start().await.unwrap();
    let address = Some(SocketAddr::new(HERE, 0));
    let serving = engine.serve(ServeConfig { address, ..ServeConfig::default() }).await.unwrap();
    (engine, serving)
}

fn parse(text: &str) -> Kubeconfig {
    Kubeconfig::parse(text, Path::new("")).unwrap()
}

async fn node(engine: &Engine, name: &str) -> Node {
    let admin = parse(&engine.kubeconfig("admin", &["system:masters"]).unwrap());
    let text = node_kubeconfig(&admin, &admin.server, name).await.unwrap();
    let node = Node::of(&parse(&text)).unwrap().name(name).runtime(Runtime::process());
    let node = node.address(HERE).listen(SocketAddr::new(HERE, 0)).start().await.unwrap();
    node.ready(PATIENCE).await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn all_verbs_work_over_https() {
    let (engine, serving) = cluster().await;
    let config = parse(&engine.kubeconfig("admin", &["system:masters"]).unwrap());
    let client = connect(&config).await.unwrap();
    let maps = client.named("configmaps").unwrap();
    let options = ListOptions { bookmarks: true, ..ListOptions::default() };
    let from = maps.list(None, ListOptions::default()).await.unwrap().revision;
    let mut events = maps.watch(Some("default"), options.after(from)).await.unwrap();

    let draft = |value| pinnace::Draft::from_value(maps.resource().codec, value).unwrap();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default"}, "data": {"n": "1"}});
    let made = maps.create(draft(map.clone()), WriteOptions::default()).await.unwrap();
    let twice = maps.create(draft(map.clone()), WriteOptions::default()).await.unwrap_err();
    assert!(twice.is_already_exists(), "{twice:?}");
    let key = Key::new("default", "a");
    let merge = Patch::Merge(json!({"data": {"n": "2"}}));
    let changed = maps.patch(&key, merge, WriteOptions::default()).await.unwrap();
    assert!(changed.revision() > made.revision());
    let mut stale = made.to_value().unwrap();
    stale["data"]["n"] = "3".into();
    let stale = maps.update(draft(stale), WriteOptions::default()).await.unwrap_err();
    assert!(stale.is_conflict(), "{stale:?}");
    let apply = WriteOptions { field_manager: Some("me".into()), ..WriteOptions::default() };
    let conflict = maps.patch(&key, Patch::Apply(map.clone()), apply.clone()).await.unwrap_err();
    assert_eq!(conflict.code(), 409, "{conflict}");
    let force = WriteOptions { force: true, ..apply };
    let forced = maps.patch(&key, Patch::Apply(map), force).await.unwrap();
    assert_eq!(forced.to_value().unwrap()["data"]["n"], "1");
    maps.delete(&key, DeleteOptions::default()).await.unwrap();
    assert!(maps.find(&key).await.unwrap().is_none());
    let mut told = Vec::new();
    while told.len() < 4 {
        match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(object) => told.push(format!("+{}", object.name())),
            WatchEvent::Modified(object) => told.push(format!("={}", object.name())),
            WatchEvent::Deleted(object) => told.push(format!("-{}", object.name())),
            WatchEvent::Bookmark(..) => {}
        }
    }
    assert_eq!(told, ["+a", "=a", "=a", "-a"]);

    // More than a page, and a selection of it.
    for number in 0..1100 {
        let labels = json!({"odd": (number % 2 == 1).to_string()});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
            {"name": format!("m{number}"), "namespace": "default", "labels": labels}});
        engine.create(map.to_string().as_bytes()).await.unwrap();
    }
    let odd = ListOptions::default().labels("odd=true").unwrap();
    let listed = maps.list(Some("default"), odd.clone()).await.unwrap();
    assert_eq!((listed.items.len(), listed.continue_token), (550, None));
    maps.delete_collection(Some("default"), odd, DeleteOptions::default()).await.unwrap();
    assert_eq!(maps.list(Some("default"), ListOptions::default()).await.unwrap().items.len(), 551);

    engine
        .apply(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 0, \
             selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, \
             spec: {containers: [{name: c, image: 'i:1'}]}}}}",
        )
        .await
        .unwrap();
    let scaled = client.named("deployments").unwrap();
    let scaled = scaled.set_replicas(&Key::new("default", "web"), 3).await.unwrap();
    assert_eq!(scaled.spec.as_ref().unwrap().replicas, Some(3));

    let nobody = Kubeconfig { identity: None, ..config };
    let refused = connect(&nobody).await.unwrap_err();
    assert_eq!(refused.code(), 401, "{refused}");
    serving.stop().await;
    engine.shutdown().await.unwrap();
}

const POD: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: none
    command: [python3, -u, -c]
    args:
    - |
      import http.server, threading, time
      print('begun', flush=True)
      http.server.HTTPServer(('', 18080), http.server.SimpleHTTPRequestHandler).serve_forever()
";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_elsewhere_is_a_node() {
    let (engine, serving) = cluster().await;
    let node = node(&engine, "b").await;
    engine.apply(POD).await.unwrap();
    engine.wait("pods/web", "Ready", PATIENCE).await.unwrap();
    let mut log =
        engine.logs("web", LogOptions { follow: true, ..Default::default() }).await.unwrap();
    let line = tokio::time::timeout(PATIENCE, log.try_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(&line.text[..], b"begun\n");

    let text = engine.kubeconfig("admin", &["system:masters"]).unwrap();
    let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(kube::Client::try_from(config).unwrap());
    let streams = AttachParams::default().stdin(true).stdout(true).stderr(true);
    let mut process = pods.exec("web", ["sh", "-c", "cat; exit 3"], &streams).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"said").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let mut heard = String::new();
    let mut stdout = process.stdout().unwrap();
    tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, "said");
    let ended = process.take_status().unwrap().await.unwrap();
    assert_eq!(ended.reason.as_deref(), Some("NonZeroExitCode"), "{ended:?}");

    let mut ports = pods.portforward("web", &[18080]).await.unwrap();
    let mut stream = ports.take_stream(18080).unwrap();
    stream.write_all(b"GET /nowhere HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 16];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer[9..12], b"404");
    drop((stream, ports));

    let metrics = engine.list_all("nodes.metrics.k8s.io", ListOptions::default()).await.unwrap();
    assert_eq!(metrics.items.len(), 1, "as kubectl top asks");

    // What is on the node goes when it is deleted here, and the node when its process ends.
    engine.delete("pods/web", DeleteOptions::default()).await.unwrap();
    engine.wait("pods/web", "delete", PATIENCE).await.unwrap();
    engine.apply(POD).await.unwrap();
    engine.wait("pods/web", "Ready", PATIENCE).await.unwrap();
    let address = node.address().unwrap();
    node.shutdown().await.unwrap();
    let gone = engine.logs("web", LogOptions::default()).await.err().unwrap();
    assert_eq!(gone.code(), 503, "{gone}");
    let why = format!("dial tcp {address}: connect: connection refused");
    assert!(gone.to_string().ends_with(&why), "{gone}");
    serving.stop().await;
    engine.shutdown().await.unwrap();
}
