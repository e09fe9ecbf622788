//! Pods that could be placed better are evicted, and no others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use pinnace_env::Env;
use pinnace_scheduler::{Move, Rebalancer, Rebalancing, SchedulerConfig};
use serde_json::{Value, json};

use crate::harness::{Cluster, start};

const ASKS: &str = "containers: [{name: c, image: i, resources: {requests: {cpu: 1}}}]";

fn policy(point: &str, strategy: &str, args: Value, evictor: Value) -> Value {
    json!({
        "apiVersion": "descheduler/v1alpha2", "kind": "DeschedulerPolicy",
        "profiles": [{
            "name": "test", "plugins": {point: {"enabled": [strategy]}},
            "pluginConfig": [{"name": strategy, "args": args},
                             {"name": "DefaultEvictor", "args": evictor}],
        }],
    })
}

fn rebalancer(cluster: &Cluster, policy: &Value) -> Rebalancer {
    let config = Rebalancing::from_policy(policy).unwrap();
    let (informers, recorder) = cluster.shared();
    let scheduler = SchedulerConfig::default();
    Rebalancer::new(informers, recorder, Env::simulated(2), &scheduler, config).unwrap()
}

/// What would be evicted, once the caches have seen what was written.
async fn plan(cluster: &Cluster, rebalancer: &Rebalancer) -> Vec<Move> {
    cluster.pass(Duration::from_secs(1)).await;
    rebalancer.plan().await
}

fn gone(moves: &[Move]) -> Vec<String> {
    let mut names: Vec<_> = moves.iter().map(|one| one.pod.name().to_owned()).collect();
    names.sort();
    names
}

/// Two nodes of four CPUs with zones, and pods of one owner on the first.
async fn full_and_empty(pods: usize, spec: &str) -> Cluster {
    let cluster = start().await;
    for (node, zone) in [("a", "x"), ("b", "y")] {
        cluster.node(node, "cpu: 4, memory: 8Gi, pods: 10").await;
        cluster.label(node, "zone", zone).await;
    }
    for index in 0..pods {
        put(&cluster, &format!("web-{index}"), "a", spec).await;
    }
    cluster
}

async fn put(cluster: &Cluster, name: &str, node: &str, spec: &str) {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u",
                       "controller": true});
    let metadata = json!({"labels": {"app": "web"}, "ownerReferences": [owner]});
    // Of another scheduler, so that this test says where it is.
    let spec = format!("schedulerName: other\n  {}", spec.replace('\n', "\n  "));
    cluster.pod_with(name, metadata, &spec).await;
    cluster.bind(name, node).await;
}

#[tokio::test(start_paused = true)]
async fn pods_leave_full_nodes_while_others_are_empty() {
    let cluster = full_and_empty(4, ASKS).await;
    let args = json!({"thresholds": {"cpu": 20}, "targetThresholds": {"cpu": 50}});
    let policy = policy("balance", "LowNodeUtilization", args, json!({}));
    let rebalancer = rebalancer(&cluster, &policy);
    let planned = plan(&cluster, &rebalancer).await;
    assert_eq!(planned.len(), 2);
    let to: Vec<_> = planned.iter().map(|one| (&one.from[..], one.to.as_deref())).collect();
    assert_eq!(to, [("a", Some("b")); 2]);
    let moves = rebalancer.round().await;
    assert_eq!(moves.len(), 2);
    for name in gone(&moves) {
        cluster.gone_or_going(&name).await;
    }
    let event = cluster.event("LowNodeUtilization").await;
    assert_eq!(event.message.as_deref(), Some("pod eviction from a node by descheduler"));
    assert_eq!(plan(&cluster, &rebalancer).await, []);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn taints_and_affinity_that_came_later_have_pods_go_where_they_may() {
    let tolerant = format!("tolerations: [{{key: k, operator: Exists}}]\n{ASKS}");
    let selective = format!("nodeSelector: {{disk: ssd}}\n{ASKS}");
    let cluster = full_and_empty(1, ASKS).await;
    put(&cluster, "tolerant", "a", &tolerant).await;
    put(&cluster, "selective", "a", &selective).await;
    let taints = policy("deschedule", "RemovePodsViolatingNodeTaints", json!({}), json!({}));
    let taints = rebalancer(&cluster, &taints);
    let affinity = policy("deschedule", "RemovePodsViolatingNodeAffinity", json!({}), json!({}));
    let affinity = rebalancer(&cluster, &affinity);
    assert_eq!(gone(&plan(&cluster, &taints).await), [""; 0]);
    // Nowhere is better.
    assert_eq!(gone(&plan(&cluster, &affinity).await), [""; 0]);
    cluster.taint("a", "k").await;
    cluster.label("b", "disk", "ssd").await;
    assert_eq!(gone(&plan(&cluster, &taints).await), ["selective", "web-0"]);
    assert_eq!(gone(&plan(&cluster, &affinity).await), ["selective"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_spread_out() {
    let cluster = full_and_empty(3, ASKS).await;
    let policy = policy("balance", "RemoveDuplicates", json!({}), json!({}));
    let moves = plan(&cluster, &rebalancer(&cluster, &policy)).await;
    assert_eq!((moves.len(), moves[0].to.as_deref()), (1, Some("b")));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_another_pod_must_not_be_near_goes() {
    let spec = format!(
        "affinity: {{podAntiAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: \
         [{{topologyKey: zone, labelSelector: {{matchLabels: {{app: web}}}}}}]}}}}\n{ASKS}"
    );
    let cluster = full_and_empty(2, &spec).await;
    let name = "RemovePodsViolatingInterPodAntiAffinity";
    let policy = policy("deschedule", name, json!({}), json!({}));
    // One goes, and then nothing is violated any more.
    assert_eq!(plan(&cluster, &rebalancer(&cluster, &policy)).await.len(), 1);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_fullest_domain_is_left_until_constraints_hold() {
    let spec = format!(
        "topologySpreadConstraints: [{{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: \
         DoNotSchedule, labelSelector: {{matchLabels: {{app: web}}}}}}]\n{ASKS}"
    );
    let cluster = full_and_empty(4, &spec).await;
    let name = "RemovePodsViolatingTopologySpreadConstraint";
    let moves =
        plan(&cluster, &rebalancer(&cluster, &policy("balance", name, json!({}), json!({})))).await;
    // 4 and 0 become 3 and 1, then 2 and 2.
    assert_eq!(moves.len(), 2);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_must_stay_stays() {
    let args = json!({"thresholds": {"pods": 20}, "targetThresholds": {"pods": 20}});
    let local = "volumes: [{name: v, emptyDir: {}}]\n".to_owned() + ASKS;
    let cluster = full_and_empty(1, ASKS).await;
    put(&cluster, "local", "a", &local).await;
    cluster.pod("bare", &format!("schedulerName: other\n{ASKS}")).await;
    cluster.bind("bare", "a").await;
    for (evictor, expected) in [
        (json!({}), vec!["web-0"]),
        (json!({"priorityThreshold": {"value": 0}}), vec![]),
        (json!({"labelSelector": {"matchLabels": {"app": "other"}}}), vec![]),
        (json!({"minReplicas": 3}), vec![]),
        (json!({"minPodAge": "1h"}), vec![]),
        (json!({"ignorePodsWithoutPDB": true}), vec![]),
        (json!({"nodeSelector": "zone=x"}), vec![]),
        (json!({"evictLocalStoragePods": true, "minReplicas": 2}), vec!["local"]),
    ] {
        let policy = policy("balance", "LowNodeUtilization", args.clone(), evictor.clone());
        assert_eq!(
            gone(&plan(&cluster, &rebalancer(&cluster, &policy)).await),
            expected,
            "{evictor}"
        );
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn budgets_and_limits_are_kept() {
    let cluster = full_and_empty(4, ASKS).await;
    let args = json!({"thresholds": {"cpu": 20}, "targetThresholds": {"cpu": 50}});
    let mut policy = policy("balance", "LowNodeUtilization", args, json!({}));
    for limit in
        ["maxNoOfPodsToEvictPerNode", "maxNoOfPodsToEvictPerNamespace", "maxNoOfPodsToEvictTotal"]
    {
        policy[limit] = json!(1);
        assert_eq!(plan(&cluster, &rebalancer(&cluster, &policy)).await.len(), 1, "{limit}");
        policy.as_object_mut().unwrap().remove(limit);
    }
    cluster.running().await;
    cluster.budget("web").await;
    assert_eq!(plan(&cluster, &rebalancer(&cluster, &policy)).await.len(), 2);
    assert_eq!(rebalancer(&cluster, &policy).round().await, []);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rounds_come_at_their_interval() {
    let cluster = full_and_empty(4, ASKS).await;
    let args = json!({"thresholds": {"cpu": 20}, "targetThresholds": {"cpu": 50}});
    let mut policy = policy("balance", "LowNodeUtilization", args, json!({}));
    policy["deschedulingInterval"] = json!("10m");
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(rebalancer(&cluster, &policy).run(stop.clone()));
    cluster.pass(Duration::from_secs(599)).await;
    assert_eq!(cluster.going().await, 0);
    cluster.pass(Duration::from_secs(2)).await;
    assert_eq!(cluster.going().await, 2);
    stop.cancel();
    task.await.unwrap();
    cluster.stop().await;
}

#[test]
fn policies_that_make_no_sense_are_refused_with_all_that_is_wrong() {
    let check = |policy: &Value, expected: &str| {
        let error = Rebalancing::from_policy(policy).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    let with = |strategy: &str, args: Value| policy("balance", strategy, args, json!({}));
    check(&json!({"apiVersion": "v1", "kind": "DeschedulerPolicy"}), "no kind");
    check(&with("PodLifeTime", json!({})), "pluginConfig[0].name: Not found: \"PodLifeTime\"");
    check(&with("RemoveDuplicates", json!({"x": 1})), "unknown field `x`");
    let low = |args: Value| with("LowNodeUtilization", args);
    check(&low(json!({"thresholds": {"cpu": 20}})), "have to be given together");
    check(
        &low(json!({"thresholds": {"cpu": 120}, "targetThresholds": {"cpu": 50}})),
        "thresholds[cpu]: Invalid value: 120: threshold not in [0, 100] range",
    );
    check(
        &low(json!({"thresholds": {"cpu": 60}, "targetThresholds": {"cpu": 50}})),
        "thresholds' cpu percentage is greater than targetThresholds'",
    );
    check(
        &low(json!({"thresholds": {"cpu": 1}, "targetThresholds": {"memory": 2}})),
        "thresholds and targetThresholds configured different resources",
    );
    check(
        &with("RemoveDuplicates", json!({"namespaces": {"include": ["a"], "exclude": ["b"]}})),
        "only one of Include/Exclude namespaces can be set",
    );
}
