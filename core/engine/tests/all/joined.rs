//! Nodes that are not the engine's own, with the rights of a node and no more.

use std::time::Duration;

use pinnace::k8s_openapi::ByteString;
use pinnace::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use pinnace::runtime::simulated::{Simulated, SimulatedConfig};
use pinnace::{Engine, ListOptions, LogOptions, Node, Runtime};
use serde_json::json;

use crate::support::{LONG, deployment, engine, field, pods, rolled_out};

/// A simulated node that is the user of a node.
async fn join(engine: &Engine, name: &str) -> Node {
    let user = format!("system:node:{name}");
    let client = engine.as_user(&user, ["system:nodes".to_owned()]);
    let env = engine.env().clone();
    let world = Simulated::new(SimulatedConfig::new(env.clone()));
    let node = Node::builder(client).name(name).runtime(Runtime::simulated_by(world)).env(env);
    let node = node.address("192.0.2.9".parse().unwrap()).start().await.unwrap();
    node.ready(LONG).await.unwrap();
    node
}

#[tokio::test(start_paused = true)]
async fn a_node_joins_runs_pods_and_is_missed_when_it_goes() {
    let (engine, _) = engine(0).await;
    let node = join(&engine, "b").await;
    engine
        .apply(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {colour: blue}}\n\
             ---\n{apiVersion: v1, kind: Secret, metadata: {name: key}, stringData: {a: b}}",
        )
        .await
        .unwrap();
    let from = |name: &str, source: &str, key: &str| json!({"name": name, "valueFrom": {source: {"name": key, "key": name}}});
    let template = json!({"template": {"spec": {
        "containers": [{"name": "web", "image": "web:1", "env": [
            from("colour", "configMapKeyRef", "settings"), from("a", "secretKeyRef", "key"),
        ]}],
        "volumes": [{"name": "all", "configMap": {"name": "settings"}}],
    }}});
    engine.apply(&deployment("web", 2, template)).await.unwrap();
    rolled_out(&engine, "deploy/web").await;
    let pod = pods(&engine).await.remove(0);
    assert_eq!(field(&engine, &format!("pods/{}", pod.name()), "/spec/nodeName").await, "b");
    assert_eq!(field(&engine, "nodes/b", "/status/addresses/0/address").await, "192.0.2.9");
    // This one listens nowhere.
    let why = engine.logs(pod.name(), LogOptions::default()).await.err().unwrap();
    let missing = "node \"b\" is served by no agent that can be reached";
    assert!(why.to_string().contains(missing), "{why}");

    node.shutdown().await.unwrap();
    let unknown = "condition=Ready=Unknown";
    engine.wait("nodes/b", unknown, Duration::from_secs(120)).await.unwrap();
    assert_eq!(field(&engine, "nodes/b", "/status/conditions/3/reason").await, "NodeStatusUnknown");

    // Another of the same name takes over what the cluster still has on it.
    let again = join(&engine, "b").await;
    rolled_out(&engine, "deploy/web").await;
    again.shutdown().await.unwrap();
    engine.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_nodes_pods_have_addresses_of_their_own() {
    let (engine, _) = engine(2).await;
    let node = join(&engine, "b").await;
    let mut ranges = Vec::new();
    for name in ["node-0", "node-1", "b"] {
        ranges.push(field(&engine, &format!("nodes/{name}"), "/spec/podCIDR").await);
    }
    assert_eq!(ranges, ["10.0.0.0/25", "10.0.0.128/25", "10.128.0.0/24"]);
    node.shutdown().await.unwrap();
    engine.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_is_no_other_node() {
    let (engine, _) = engine(1).await;
    let client = engine.as_user("system:node:b", ["system:nodes".to_owned()]);
    let node = Node::builder(client).name("node-0").runtime(Runtime::simulated());
    let node = node.env(engine.env().clone()).start().await.unwrap();
    // It may not write that Node, and tries on without harm.
    let before = field(&engine, "nodes/node-0", "/status/addresses").await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(field(&engine, "nodes/node-0", "/status/addresses").await, before);
    assert_eq!(field(&engine, "nodes/node-0", "/status/conditions/3/status").await, "True");
    node.shutdown().await.unwrap();
    engine.shutdown().await.unwrap();
}

/// What a node asks for to serve at these names.
fn serving_request(node: &str, names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("system:node:{node}"));
    let key = rcgen::KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap().into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_node_serves_for_its_own_addresses_alone() {
    let (engine, _) = engine(2).await;
    let client = engine.as_user("system:node:node-0", ["system:nodes".to_owned()]);
    let requests = client.of::<CertificateSigningRequest>().unwrap();
    let own = field(&engine, "nodes/node-0", "/status/addresses/0/address").await;
    let others = field(&engine, "nodes/node-1", "/status/addresses/0/address").await;
    let (own, others) = (own.as_str().unwrap(), others.as_str().unwrap());
    let cases = [
        (vec![own, "node-0"], true),
        (vec![own, others], false),
        (vec![others], false),
        (vec![own, "node-1"], false),
    ];
    for (names, served) in cases {
        let mut request: CertificateSigningRequest = serde_json::from_value(json!({
            "metadata": {"generateName": "csr-"},
            "spec": {"request": "", "signerName": "kubernetes.io/kubelet-serving",
                "usages": ["digital signature", "server auth"]},
        }))
        .unwrap();
        request.spec.request = ByteString(serving_request("node-0", &names));
        let made = requests.create(request).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let name = format!("csr/{}", made.object().name());
        let certificate = field(&engine, &name, "/status/certificate").await;
        assert_eq!(certificate.is_string(), served, "{names:?}: {certificate}");
    }
    // It is not another node, whatever it asks for.
    let mut request =
        (*requests.list(None, ListOptions::default()).await.unwrap().items[0]).clone();
    request.metadata = serde_json::from_value(json!({"name": "other"})).unwrap();
    request.spec.request = ByteString(serving_request("node-1", &[others]));
    request.status = None;
    let refused = requests.create(request).await.unwrap_err();
    assert_eq!(refused.code(), 403, "{refused}");
    engine.shutdown().await.unwrap();
}
