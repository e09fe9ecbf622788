//! DaemonSets.

use std::collections::BTreeMap;

use crate::harness::Cluster;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use pinnace_api::Typed;
use serde_json::{Value, json};

const NAME: &str = "default/agent";

/// A cluster with nodes and a DaemonSet; `more` is merged into its `spec`.
async fn start(nodes: usize, more: Value) -> Cluster {
    let cluster = Cluster::start().await;
    for node in 1..=nodes {
        cluster.node(&format!("n{node}")).await;
    }
    let mut spec = json!({"selector": {"matchLabels": {"app": "agent"}}, "template": {
        "metadata": {"labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "c", "image": "one"}]}}});
    merge(&mut spec, &more);
    cluster
        .make::<DaemonSet>(
            json!({"metadata": {"name": "agent", "namespace": "default"}, "spec": spec}),
        )
        .await;
    cluster.pass(1).await;
    cluster
}

fn merge(into: &mut Value, more: &Value) {
    match more.as_object() {
        Some(fields) if into.is_object() => {
            for (field, value) in fields {
                merge(&mut into[field], value);
            }
        }
        _ => *into = more.clone(),
    }
}

/// The images that run on each node, one letter for a pod that is not going.
async fn images(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in cluster.all::<Pod>().await.iter().filter(|pod| !pod.object().is_deleting()) {
        let spec = pod.spec.as_ref().unwrap();
        let node = spec.node_name.clone().unwrap_or_default();
        images.entry(node).or_default().push(spec.containers[0].image.clone().unwrap());
    }
    images
}

async fn count(cluster: &Cluster, image: &str) -> usize {
    images(cluster).await.values().flatten().filter(|one| *one == image).count()
}

async fn set_image(cluster: &Cluster, image: &str) {
    cluster
        .edit::<DaemonSet>(NAME, |set| {
            let template = &mut set.spec.as_mut().unwrap().template;
            template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
        })
        .await;
    cluster.pass(1).await;
}

async fn status(cluster: &Cluster) -> Value {
    serde_json::to_value(cluster.get::<DaemonSet>(NAME).await.status.clone()).unwrap()
}

async fn pods(cluster: &Cluster) -> Vec<Typed<Pod>> {
    cluster.all::<Pod>().await
}

#[tokio::test(start_paused = true)]
async fn every_node_gets_a_pod_that_only_it_can_run() {
    let cluster = start(3, json!({})).await;
    cluster.run_pods_for(2).await;
    let one = || vec!["one".to_owned()];
    let expected: BTreeMap<_, _> = (1..=3).map(|node| (format!("n{node}"), one())).collect();
    assert_eq!(images(&cluster).await, expected);
    assert_eq!(
        status(&cluster).await,
        json!({"currentNumberScheduled": 3, "desiredNumberScheduled": 3, "numberAvailable": 3,
            "numberMisscheduled": 0, "numberReady": 3, "observedGeneration": 1,
            "updatedNumberScheduled": 3})
    );
    let pod = &pods(&cluster).await[0];
    let labels = pod.metadata.labels.clone().unwrap();
    assert_eq!(labels["pod-template-generation"], "1");
    let revision = &cluster.all::<ControllerRevision>().await[0];
    assert_eq!(revision.object().name(), format!("agent-{}", labels["controller-revision-hash"]));
    let tolerations = pod.spec.as_ref().unwrap().tolerations.clone().unwrap();
    let keys = tolerations.iter().map(|one| one.key.clone().unwrap());
    let keys: Vec<_> = keys.filter_map(|key| Some(key.split_once('/')?.1.to_owned())).collect();
    assert_eq!(
        keys,
        [
            "not-ready",
            "unreachable",
            "disk-pressure",
            "memory-pressure",
            "pid-pressure",
            "unschedulable"
        ]
    );
    assert_eq!(cluster.events("SuccessfulCreate").await.len(), 3);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_follow_nodes_that_come_change_and_go() {
    let select = json!({"template": {"spec": {"nodeSelector": {"disk": "fast"}}}});
    let cluster = start(2, select).await;
    assert_eq!(pods(&cluster).await.len(), 0);
    let label = |node: &mut Node, value: &str| {
        node.metadata.labels.get_or_insert_default().insert("disk".to_owned(), value.to_owned());
    };
    cluster.edit::<Node>("n2", |node| label(node, "fast")).await;
    cluster.pass(1).await;
    cluster.run_pods_for(2).await;
    assert_eq!(images(&cluster).await.keys().collect::<Vec<_>>(), ["n2"]);
    cluster.edit::<Node>("n2", |node| label(node, "slow")).await;
    cluster.edit::<Node>("n1", |node| label(node, "fast")).await;
    cluster.pass(1).await;
    cluster.run_pods_for(2).await;
    assert_eq!(images(&cluster).await.keys().collect::<Vec<_>>(), ["n1"]);
    assert_eq!(cluster.events("SuccessfulDelete").await.len(), 1);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_taint_that_drives_off_takes_the_pod_and_one_that_keeps_away_does_not() {
    let cluster = start(2, json!({})).await;
    cluster.run_pods_for(2).await;
    for (node, effect) in [("n1", "NoSchedule"), ("n2", "NoExecute")] {
        let taint = Taint { key: "own".into(), effect: effect.into(), ..Taint::default() };
        cluster
            .edit::<Node>(node, |node| {
                node.spec
                    .get_or_insert_default()
                    .taints
                    .get_or_insert_default()
                    .push(taint.clone());
            })
            .await;
    }
    cluster.pass(1).await;
    cluster.run_pods_for(2).await;
    assert_eq!(images(&cluster).await.keys().collect::<Vec<_>>(), ["n1"]);
    assert_eq!(status(&cluster).await["numberMisscheduled"], 1);
    assert_eq!(status(&cluster).await["desiredNumberScheduled"], 0);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failed_pods_are_made_anew_later_each_time() {
    let cluster = start(1, json!({})).await;
    let mut made = Vec::new();
    for _ in 0..30 {
        cluster.run_pods_for(1).await;
        for pod in pods(&cluster).await {
            let name = pod.object().name().to_owned();
            if !pod.object().is_deleting() && !made.contains(&name) {
                made.push(name.clone());
                cluster
                    .report::<Pod>(&format!("default/{name}"), |pod| {
                        pod.status.get_or_insert_default().phase = Some("Failed".to_owned());
                    })
                    .await;
            }
        }
    }
    assert!((4..=7).contains(&made.len()), "1 + 2 + 4 + 8 + 16 seconds, not {}", made.len());
    let expected =
        format!("Found failed daemon pod default/{} on node n1, will try to kill it", made[0]);
    assert!(cluster.events("FailedDaemonPod").await.contains(&expected));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_lets_no_more_be_missing_than_it_may() {
    let rolling = json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}});
    let cluster = start(5, rolling).await;
    cluster.run_pods_for(2).await;
    set_image(&cluster, "two").await;
    assert_eq!(count(&cluster, "one").await, 3);
    cluster.run_pods("n1", |_| false).await;
    cluster.pass(1).await;
    assert_eq!((count(&cluster, "one").await, count(&cluster, "two").await), (3, 2));
    cluster.run_pods_for(12).await;
    assert_eq!(count(&cluster, "two").await, 5);
    assert_eq!(status(&cluster).await["updatedNumberScheduled"], 5);
    let generation =
        |pod: &Typed<Pod>| pod.metadata.labels.as_ref().unwrap()["pod-template-generation"].clone();
    assert!(pods(&cluster).await.iter().all(|pod| generation(pod) == "2"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_that_surges_never_goes_below_what_is_there() {
    let rolling =
        json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}});
    let cluster = start(3, rolling).await;
    cluster.run_pods_for(2).await;
    set_image(&cluster, "two").await;
    for _ in 0..15 {
        let all = images(&cluster).await.values().map(Vec::len).sum::<usize>();
        assert!((3..=4).contains(&all), "three and one more, not {all}");
        cluster.run_pods_for(1).await;
    }
    assert_eq!((count(&cluster, "one").await, count(&cluster, "two").await), (0, 3));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn on_delete_waits_for_somebody_to_delete() {
    let cluster = start(2, json!({"updateStrategy": {"type": "OnDelete"}})).await;
    cluster.run_pods_for(2).await;
    set_image(&cluster, "two").await;
    cluster.run_pods_for(3).await;
    assert_eq!(count(&cluster, "two").await, 0);
    let first = pods(&cluster).await[0].object().key().to_string();
    cluster.delete::<Pod>(&first, pinnace_client::PropagationPolicy::Background).await;
    cluster.run_pods_for(3).await;
    assert_eq!((count(&cluster, "one").await, count(&cluster, "two").await), (1, 1));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_restarts_only_what_had_been_updated() {
    let cluster = start(4, json!({})).await;
    cluster.run_pods_for(2).await;
    let before: Vec<_> = pods(&cluster).await.iter().map(|pod| pod.object().key()).collect();
    set_image(&cluster, "broken").await;
    for _ in 0..5 {
        let broken =
            |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("broken");
        cluster.run_pods("n1", broken).await;
        cluster.pass(1).await;
    }
    assert_eq!(count(&cluster, "broken").await, 1);
    set_image(&cluster, "one").await;
    cluster.run_pods_for(5).await;
    assert_eq!(count(&cluster, "one").await, 4);
    let after = pods(&cluster).await;
    let kept = after.iter().filter(|pod| before.contains(&pod.object().key())).count();
    assert_eq!(kept, 3, "those that never were updated are those that there were");
    let mut revisions: Vec<_> =
        cluster.all::<ControllerRevision>().await.iter().map(|one| one.revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [2, 3], "the first has become the third");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn history_is_kept_to_its_limit() {
    let cluster = start(1, json!({"revisionHistoryLimit": 2})).await;
    for image in ["b", "c", "d", "e"] {
        set_image(&cluster, image).await;
        cluster.run_pods_for(3).await;
    }
    assert_eq!(cluster.all::<ControllerRevision>().await.len(), 3);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_count_as_available_after_their_time() {
    let cluster = start(1, json!({"minReadySeconds": 10})).await;
    cluster.run_pods_for(3).await;
    assert_eq!(status(&cluster).await["numberUnavailable"], 1);
    cluster.pass(10).await;
    assert_eq!(status(&cluster).await["numberAvailable"], 1);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_on_after_any_number_of_restarts() {
    for every in 1..=4 {
        let mut cluster = start(4, json!({})).await;
        cluster.run_pods_for(1).await;
        set_image(&cluster, "two").await;
        for round in 0..24 {
            if round % every == 0 {
                cluster.restart_controllers().await;
            }
            cluster.run_pods_for(1).await;
        }
        assert_eq!(count(&cluster, "two").await, 4, "restarted every {every} rounds");
        assert_eq!(pods(&cluster).await.len(), 4);
        assert_eq!(cluster.all::<ControllerRevision>().await.len(), 2);
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn five_thousand_nodes_get_their_pods_at_once() {
    let cluster = start(0, json!({})).await;
    for node in 0..5_000 {
        cluster.make::<Node>(json!({"metadata": {"name": format!("n{node}")}})).await;
    }
    cluster
        .until::<DaemonSet>(NAME, |set| {
            let status = set.and_then(|set| set.status.clone()).unwrap_or_default();
            status.current_number_scheduled == 5_000
        })
        .await;
    assert_eq!(pods(&cluster).await.len(), 5_000);
    cluster.stop().await;
}
