//! Where the pods of nodes have their addresses.

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::harness::Cluster;

fn ranges(node: Option<&Node>) -> Vec<String> {
    node.and_then(|node| node.spec.as_ref()?.pod_cidrs.clone()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn nodes_that_ask_get_ranges_of_their_own() {
    let cluster = Cluster::start().await;
    let asks = json!({"pinnace.dev/pod-range-wanted": ""});
    let taken = json!({"podCIDR": "10.128.0.0/23", "podCIDRs": ["10.128.0.0/23"]});
    let nodes =
        [("a", json!({}), taken), ("b", json!({}), json!({})), ("c", asks.clone(), json!({}))];
    for (name, annotations, spec) in nodes {
        let metadata = json!({"name": name, "annotations": annotations});
        cluster.make::<Node>(json!({"metadata": metadata, "spec": spec})).await;
    }
    cluster.make::<Node>(json!({"metadata": {"name": "d", "annotations": asks}})).await;
    let mut given = Vec::new();
    for name in ["c", "d"] {
        cluster.until::<Node>(name, |node| !ranges(node).is_empty()).await;
        given.extend(ranges(Some(&*cluster.get::<Node>(name).await)));
    }
    given.sort();
    assert_eq!(given, ["10.128.2.0/24", "10.128.3.0/24"]);
    assert_eq!(ranges(Some(&*cluster.get::<Node>("a").await)), ["10.128.0.0/23"]);
    assert!(ranges(Some(&*cluster.get::<Node>("b").await)).is_empty(), "it has not asked");
    cluster.stop().await;
}
