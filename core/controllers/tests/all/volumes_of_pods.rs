//! Where pods with volumes go: scheduler, nodes and the controllers of volumes together.

use pinnace_client::PropagationPolicy::Background;
use serde_json::{Value, json};

use crate::harness::world::World;

fn pod(name: &str, claim: &str, more: Value) -> Value {
    let mut spec = json!({"terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

fn claim(name: &str, class: &str, mode: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": [mode], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}}})
}

fn class(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode})
}

/// A volume that only one node can reach.
fn volume_on(name: &str, node: &str, class: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "storageClassName": class, "local": {"path": "/x"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}})
}

/// Waits for the message with which a pod is refused.
async fn refused(world: &mut World, name: &str) -> String {
    let reason = "/status/conditions/0/reason";
    world.expect("pods", &format!("default/{name}"), reason, json!("Unschedulable")).await;
    let pod = world.get("pods", &format!("default/{name}")).await;
    pod["status"]["conditions"][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_stateful_set_get_directories_where_they_run() {
    let mut world = World::start(2).await;
    world
        .apply(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
            "spec": {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                    "containers": [{"name": "c", "image": "i", "volumeMounts": [
                        {"name": "data", "mountPath": "/data"}]}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}}}}]}}))
        .await;
    world.expect("statefulsets", "default/db", "/status/readyReplicas", json!(3)).await;
    for number in 0..3 {
        let claim = world.get("pvc", &format!("default/data-db-{number}")).await;
        let pod = world.get("pods", &format!("default/db-{number}")).await;
        assert_eq!(claim["status"]["phase"], "Bound");
        let node = &claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"];
        assert_eq!(*node, pod["spec"]["nodeName"]);
        let volume = world.get("pv", claim["spec"]["volumeName"].as_str().unwrap()).await;
        let values = "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0";
        assert_eq!(volume.pointer(values), Some(node));
    }
    world.delete("statefulsets", "default/db", Background).await;
    world.expect_count("pods", 0).await;
    assert_eq!(world.names("pv").await.len(), 3, "claims outlive their set");
    for number in 0..3 {
        world.delete("pvc", &format!("default/data-db-{number}"), Background).await;
    }
    world.expect_count("pv", 0).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_goes_where_its_volume_is_or_can_be() {
    let mut world = World::start(2).await;
    world.apply(class("manual", "kubernetes.io/no-provisioner", "WaitForFirstConsumer")).await;
    for node in ["n1", "n2"] {
        world.apply(volume_on(&format!("on-{node}"), node, "manual")).await;
    }
    for (name, node) in [("a", "n2"), ("b", "n1")] {
        world.apply(claim(name, "manual", "ReadWriteOnce")).await;
        let there = json!({"nodeSelector": {"kubernetes.io/hostname": node}});
        world.apply(pod(name, name, if name == "a" { there } else { json!({}) })).await;
        let claim = format!("default/{name}");
        world.expect("pods", &claim, "/status/phase", json!("Running")).await;
        world.expect("pods", &claim, "/spec/nodeName", json!(node)).await;
        world.expect("pvc", &claim, "/spec/volumeName", json!(format!("on-{node}"))).await;
    }
    world.apply(claim("c", "manual", "ReadWriteOnce")).await;
    world.apply(pod("c", "c", json!({}))).await;
    assert!(refused(&mut world, "c").await.starts_with(
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    ));
    world.apply(volume_on("late", "n1", "manual")).await;
    world.expect("pods", "default/c", "/status/phase", json!("Running")).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn why_a_pod_with_volumes_fits_nowhere() {
    let mut world = World::start(2).await;
    world.apply(class("far", "csi.example.com", "Immediate")).await;
    world.apply(claim("unbound", "far", "ReadWriteOnce")).await;
    world.apply(volume_on("elsewhere", "n9", "")).await;
    world.apply(claim("elsewhere", "", "ReadWriteOnce")).await;
    let mut zoned = volume_on("zoned", "n1", "zoned");
    zoned["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "a"});
    zoned["spec"]["nodeAffinity"] = Value::Null;
    zoned["spec"]["local"] = Value::Null;
    zoned["spec"]["hostPath"] = json!({"path": "/x"});
    world.apply(zoned).await;
    world.apply(class("zoned", "kubernetes.io/no-provisioner", "Immediate")).await;
    world.apply(claim("zoned", "zoned", "ReadWriteOnce")).await;
    for node in ["n1", "n2"] {
        let labels = json!({"topology.kubernetes.io/zone": "b"});
        world
            .apply(json!({"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": node, "labels": labels}}))
            .await;
    }
    for (claim, expected) in [
        ("none", "persistentvolumeclaim \"none\" not found"),
        ("unbound", "pod has unbound immediate PersistentVolumeClaims"),
        ("elsewhere", "2 node(s) had volume node affinity conflict"),
        ("zoned", "2 node(s) had no available volume zone"),
    ] {
        world.apply(pod(claim, claim, json!({}))).await;
        let message = refused(&mut world, claim).await;
        let expected = format!("0/2 nodes are available: {expected}.");
        assert!(message.starts_with(&expected), "{message}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_for_one_pod_is_not_given_to_two() {
    let mut world = World::start(2).await;
    world.apply(claim("alone", "local-path", "ReadWriteOncePod")).await;
    world.apply(pod("first", "alone", json!({}))).await;
    world.expect("pods", "default/first", "/status/phase", json!("Running")).await;
    world.apply(pod("second", "alone", json!({}))).await;
    let message = refused(&mut world, "second").await;
    let why = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod \
               access mode";
    assert!(message.contains(why), "{message}");
    world.delete("pods", "default/first", Background).await;
    world.expect("pods", "default/second", "/status/phase", json!("Running")).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_takes_as_many_volumes_as_its_driver_says() {
    let mut world = World::start(1).await;
    world
        .apply(json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": {"name": "n1"}, "spec": {"drivers": [{"name": "csi.example.com",
                "nodeID": "n1", "allocatable": {"count": 1}}]}}))
        .await;
    for number in ["1", "2"] {
        let mut volume = volume_on(&format!("v{number}"), "n1", "");
        volume["spec"]["local"] = Value::Null;
        volume["spec"]["nodeAffinity"] = Value::Null;
        volume["spec"]["csi"] = json!({"driver": "csi.example.com", "volumeHandle": number});
        world.apply(volume).await;
        world.apply(claim(&format!("c{number}"), "", "ReadWriteOnce")).await;
        world.apply(pod(&format!("p{number}"), &format!("c{number}"), json!({}))).await;
    }
    let message = refused(&mut world, "p2").await;
    assert!(message.contains("1 node(s) exceed max volume count"), "{message}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pods_own_volume_lives_as_long_as_it() {
    let mut world = World::start(1).await;
    let template = json!({"spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let own = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]);
    world.apply(pod("p", "", json!({"volumes": own}))).await;
    world.expect("pods", "default/p", "/status/phase", json!("Running")).await;
    world.expect("pvc", "default/p-v", "/status/phase", json!("Bound")).await;
    world.delete("pods", "default/p", Background).await;
    world.expect_count("pvc", 0).await;
    world.expect_count("pv", 0).await;
    world.stop().await;
}
