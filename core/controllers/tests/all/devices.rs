//! Pods that claim devices: scheduler, nodes and the controllers of claims together.

use pinnace_client::PropagationPolicy::Background;
use serde_json::{Value, json};

use crate::harness::world::World;

fn class() -> Value {
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu"},
        "spec": {"selectors": [{"cel": {"expression": "device.driver == 'gpu.example'"}}]}})
}

/// A slice of a node with devices of these models.
fn slice(node: &str, models: &[&str]) -> Value {
    let devices: Vec<Value> = models
        .iter()
        .enumerate()
        .map(|(index, model)| {
            json!({"name": format!("gpu-{index}"), "attributes": {"model": {"string": model}},
                "capacity": {"memory": {"value": "16Gi"}}})
        })
        .collect();
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "metadata": {"name": format!("{node}-gpus")}, "spec": {"driver": "gpu.example",
            "nodeName": node, "devices": devices,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}}})
}

fn asks(count: i64, expression: &str) -> Value {
    let mut exactly = json!({"deviceClassName": "gpu", "count": count});
    if !expression.is_empty() {
        exactly["selectors"] = json!([{"cel": {"expression": expression}}]);
    }
    json!({"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}})
}

fn claim(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn template(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"metadata": {"labels": {"made": "yes"}}, "spec": spec}})
}

fn pod(name: &str, claim: Value) -> Value {
    let mut claim = claim;
    claim["name"] = "device".into();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "resourceClaims": [claim], "containers": [
            {"name": "c", "image": "i", "resources": {"claims": [{"name": "device"}]}}]}})
}

fn by_name(name: &str) -> Value {
    json!({"resourceClaimName": name})
}

fn by_template(name: &str) -> Value {
    json!({"resourceClaimTemplateName": name})
}

/// Waits for the message with which a pod is refused.
async fn refused(world: &mut World, name: &str) -> String {
    let reason = "/status/conditions/0/reason";
    world.expect("pods", &format!("default/{name}"), reason, json!("Unschedulable")).await;
    let pod = world.get("pods", &format!("default/{name}")).await;
    pod["status"]["conditions"][0]["message"].as_str().unwrap().to_owned()
}

async fn node_of(world: &mut World, name: &str) -> String {
    world.expect("pods", &format!("default/{name}"), "/status/phase", json!("Running")).await;
    let pod = world.get("pods", &format!("default/{name}")).await;
    pod["spec"]["nodeName"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_pod_goes_where_its_devices_are_and_gives_them_back() {
    let mut world = World::start(2).await;
    world.apply(class()).await;
    world.apply(slice("n2", &["big", "small"])).await;
    let big = "device.attributes['gpu.example'].model == 'big'";
    world.apply(claim("big", asks(1, big))).await;
    world.apply(pod("first", by_name("big"))).await;
    assert_eq!(node_of(&mut world, "first").await, "n2");
    let has = world.get("resourceclaims", "default/big").await;
    let result = &has["status"]["allocation"]["devices"]["results"][0];
    assert_eq!(result["device"], "gpu-0");
    assert_eq!((&result["driver"], &result["pool"]), (&json!("gpu.example"), &json!("n2")));
    assert_eq!(has["status"]["reservedFor"][0]["name"], "first");
    // Nobody else gets it, whatever the claim.
    world.apply(claim("again", asks(1, big))).await;
    world.apply(pod("second", by_name("again"))).await;
    let why = refused(&mut world, "second").await;
    assert!(why.starts_with("0/2 nodes are available: 2 cannot allocate all claims."), "{why}");
    world.delete("pods", "default/first", Background).await;
    assert_eq!(node_of(&mut world, "second").await, "n2");
    world.expect("resourceclaims", "default/big", "/status/allocation", Value::Null).await;
    // A claim that is in use goes when it is free.
    world.delete("resourceclaims", "default/again", Background).await;
    world.pass(60).await;
    let going = world.get("resourceclaims", "default/again").await;
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    world.delete("pods", "default/second", Background).await;
    world.expect_count("resourceclaims", 1).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_pod_of_a_template_gets_a_claim_of_its_own_as_long_as_there_are_devices() {
    let mut world = World::start(2).await;
    world.apply(class()).await;
    for node in ["n1", "n2"] {
        world.apply(slice(node, &["big", "big"])).await;
    }
    world.apply(template("one", asks(1, ""))).await;
    for index in 0..4 {
        world.apply(pod(&format!("p-{index}"), by_template("one"))).await;
    }
    let mut nodes = Vec::new();
    for index in 0..4 {
        nodes.push(node_of(&mut world, &format!("p-{index}")).await);
    }
    nodes.sort();
    assert_eq!(nodes, ["n1", "n1", "n2", "n2"]);
    let p = world.get("pods", "default/p-0").await;
    let made = p["status"]["resourceClaimStatuses"][0]["resourceClaimName"].as_str().unwrap();
    assert!(made.starts_with("p-0-device-"), "{made}");
    let claim = world.get("resourceclaims", &format!("default/{made}")).await;
    assert_eq!(claim["metadata"]["labels"]["made"], "yes");
    assert_eq!(claim["metadata"]["annotations"]["resource.kubernetes.io/pod-claim-name"], "device");
    world.apply(pod("p-4", by_template("one"))).await;
    let why = refused(&mut world, "p-4").await;
    assert!(why.contains("2 cannot allocate all claims"), "{why}");
    world.delete("pods", "default/p-1", Background).await;
    node_of(&mut world, "p-4").await;
    world.expect_count("resourceclaims", 4).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_is_said() {
    let mut world = World::start(1).await;
    world.apply(slice("n1", &["big"])).await;
    world.apply(pod("early", by_name("late"))).await;
    let why = refused(&mut world, "early").await;
    assert!(why.contains("could not find ResourceClaim \"default/late\""), "{why}");
    world.apply(claim("late", asks(1, ""))).await;
    world.pass(30).await;
    let why = refused(&mut world, "early").await;
    assert!(why.contains("request gpu: device class gpu does not exist"), "{why}");
    world.apply(class()).await;
    assert_eq!(node_of(&mut world, "early").await, "n1");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn alternatives_constraints_and_shared_claims_are_kept() {
    let mut world = World::start(2).await;
    world.apply(class()).await;
    world.apply(slice("n1", &["big", "small"])).await;
    world.apply(slice("n2", &["small", "small"])).await;
    let mut alike = asks(2, "");
    alike["devices"]["constraints"] = json!([{"matchAttribute": "gpu.example/model"}]);
    world.apply(claim("alike", alike)).await;
    world.apply(pod("alike", by_name("alike"))).await;
    assert_eq!(node_of(&mut world, "alike").await, "n2");
    let of = |model: &str| {
        let text = format!("device.attributes['gpu.example'].model == '{model}'");
        json!({"name": model, "deviceClassName": "gpu",
            "selectors": [{"cel": {"expression": text}}]})
    };
    let either = json!({"devices": {"requests": [
        {"name": "gpu", "firstAvailable": [of("huge"), of("big")]}]}});
    world.apply(claim("either", either)).await;
    // Both use the same claim, so they are on the same node.
    for name in ["x", "y"] {
        world.apply(pod(name, by_name("either"))).await;
        assert_eq!(node_of(&mut world, name).await, "n1");
    }
    let has = world.get("resourceclaims", "default/either").await;
    let result = &has["status"]["allocation"]["devices"]["results"][0];
    assert_eq!((&result["request"], &result["device"]), (&json!("gpu/big"), &json!("gpu-0")));
    assert_eq!(has["status"]["reservedFor"].as_array().unwrap().len(), 2);
    world.stop().await;
}
