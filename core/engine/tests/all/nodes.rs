use std::collections::BTreeSet;
use std::time::Duration;

use pinnace::k8s_openapi::api::core::v1::Pod;
use pinnace::{Object, Patch};
use serde_json::json;

use crate::support::{LONG, deployment, engine, field, list, pods, rolled_out};

fn node_of(pod: &Object) -> String {
    pod.get::<Pod>().unwrap().spec.as_ref().unwrap().node_name.clone().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn nodes_register_with_what_they_have() {
    let (engine, _) = engine(2).await;
    engine.wait("nodes/node-1", "Ready", LONG).await.unwrap();
    assert_eq!(field(&engine, "nodes/node-1", "/status/capacity/cpu").await, "32");
    assert_eq!(
        field(&engine, "nodes/node-1", "/metadata/labels/kubernetes.io~1hostname").await,
        "node-1"
    );
    let leases = engine.in_namespace("kube-node-lease");
    assert_eq!(list(&leases, "leases").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_fails_are_replaced_elsewhere() {
    let (engine, world) = engine(3).await;
    engine.apply(&deployment("web", 6, json!({}))).await.unwrap();
    rolled_out(&engine, "deploy/web").await;
    let failed = node_of(&pods(&engine).await[0]);
    world.node(&failed).fail("the disk is on fire");
    engine.wait(&format!("nodes/{failed}"), "condition=Ready=False", LONG).await.unwrap();
    // Five minutes of toleration, and upstream's pace of evictions.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let here = pods(&engine).await;
    assert_eq!(here.len(), 6);
    assert!(here.iter().all(|pod| node_of(pod) != failed));

    world.node(&failed).recover();
    engine.wait(&format!("nodes/{failed}"), "Ready", LONG).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(list(&engine, "pods").await.len(), 6, "what was evicted is gone at last");
    assert_eq!(field(&engine, &format!("nodes/{failed}"), "/spec/taints").await, json!(null));
}

#[tokio::test(start_paused = true)]
async fn a_killed_container_comes_back_in_its_pod() {
    let (engine, world) = engine(1).await;
    engine.apply(&deployment("web", 1, json!({}))).await.unwrap();
    rolled_out(&engine, "deploy/web").await;
    let name = pods(&engine).await[0].name().to_owned();
    let container = world.running()[0].id.clone();
    assert!(world.kill(&container));
    let restarted = "jsonpath={.status.containerStatuses.0.restartCount}=1";
    engine.wait(&format!("pods/{name}"), restarted, LONG).await.unwrap();
    engine.wait(&format!("pods/{name}"), "Ready", LONG).await.unwrap();
    let last = "/status/containerStatuses/0/lastState/terminated/exitCode";
    assert_eq!(field(&engine, &format!("pods/{name}"), last).await, 137);
}

#[tokio::test(start_paused = true)]
async fn replicas_are_spread_and_avoid_what_they_do_not_tolerate() {
    let (engine, _) = engine(4).await;
    engine.wait("nodes/node-0", "Ready", LONG).await.unwrap();
    let taint =
        json!({"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}});
    engine.patch("nodes/node-0", Patch::Merge(taint)).await.unwrap();
    engine
        .patch("nodes/node-1", Patch::Merge(json!({"spec": {"unschedulable": true}})))
        .await
        .unwrap();
    engine.apply(&deployment("web", 6, json!({}))).await.unwrap();
    rolled_out(&engine, "deploy/web").await;
    let nodes: BTreeSet<_> = pods(&engine).await.iter().map(node_of).collect();
    assert!(nodes.is_subset(&["node-2".to_owned(), "node-3".to_owned()].into()), "{nodes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_fits_nowhere_says_why() {
    let (engine, _) = engine(3).await;
    let big = json!({"template": {"spec": {"containers": [
        {"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "64"}}}
    ]}}});
    engine.apply(&deployment("web", 1, big)).await.unwrap();
    let unschedulable = "jsonpath={.status.conditions.0.reason}=Unschedulable";
    engine.wait("deploy/web", "condition=Available=False", LONG).await.unwrap();
    engine.wait("deploy/web", "jsonpath={.status.replicas}=1", LONG).await.unwrap();
    let name = pods(&engine).await[0].name().to_owned();
    engine.wait(&format!("pods/{name}"), unschedulable, LONG).await.unwrap();
    let message = field(&engine, &format!("pods/{name}"), "/status/conditions/0/message").await;
    let message = message.as_str().unwrap();
    assert!(message.starts_with("0/3 nodes are available: 3 Insufficient cpu."), "{message}");
    let why = engine.explain(&name).await.unwrap();
    assert_eq!((why.fitting.len(), why.excluded.len()), (0, 3));
    assert_eq!(why.excluded[0].reasons[0].reasons, ["Insufficient cpu"]);
    let small = json!({"metadata": {"name": "small"}, "spec": {"containers": [{"name": "c"}]}});
    let why = engine.explain_what_if(serde_json::from_value(small).unwrap()).await.unwrap();
    assert_eq!(why.fitting.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_everything_in_it() {
    let (engine, _) = engine(2).await;
    engine.apply("{apiVersion: v1, kind: Namespace, metadata: {name: team}}").await.unwrap();
    let team = engine.in_namespace("team");
    team.apply(&deployment("web", 3, json!({}))).await.unwrap();
    rolled_out(&team, "deploy/web").await;
    team.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}").await.unwrap();
    engine.delete("namespaces/team", Default::default()).await.unwrap();
    engine.wait("namespaces/team", "delete", LONG).await.unwrap();
    for kind in ["pods", "deployments", "replicasets", "configmaps", "events"] {
        assert_eq!(list(&team, kind).await.len(), 0, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_look_after_themselves_as_the_host_says() {
    let builder = || {
        let env = pinnace::Env::simulated(7);
        pinnace::Engine::builder().runtime(pinnace::Runtime::simulated()).env(env)
    };
    let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    let wrong = builder().kubelet(format!("{head}evictionHard: {{luck: 1Gi}}")).start().await;
    let why = "the configuration of the kubelet: unsupported eviction signal luck";
    assert!(wrong.unwrap_err().to_string().contains(why));
    let text =
        format!("{head}evictionHard: {{memory.available: 6Gi}}\nkubeReserved: {{cpu: 2000m}}");
    let engine = builder().kubelet(text).start().await.unwrap();
    let allocatable = |name: &str| format!("/status/allocatable/{name}");
    assert_eq!(field(&engine, "nodes/node-0", &allocatable("cpu")).await, "30");
    assert_eq!(field(&engine, "nodes/node-0", &allocatable("memory")).await, "250Gi");
    engine.shutdown().await.unwrap();
}
