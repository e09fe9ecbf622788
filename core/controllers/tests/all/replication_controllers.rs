//! ReplicationControllers: what ReplicaSets do, told in other words.

use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use pinnace_client::PropagationPolicy::Background;
use serde_json::{Value, json};

use crate::harness::{Cluster, condition};

const NAME: &str = "default/web";

async fn start(replicas: i32) -> Cluster {
    let cluster = Cluster::start().await;
    cluster
        .make::<ReplicationController>(json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": replicas, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "one"}]}}}}))
        .await;
    cluster.pass(1).await;
    cluster
}

async fn status(cluster: &Cluster) -> Value {
    serde_json::to_value(&cluster.get::<ReplicationController>(NAME).await.status).unwrap()
}

async fn scale(cluster: &Cluster, replicas: i32) {
    cluster
        .edit::<ReplicationController>(NAME, |one| {
            one.spec.as_mut().unwrap().replicas = Some(replicas);
        })
        .await;
    cluster.pass(1).await;
}

#[tokio::test(start_paused = true)]
async fn there_are_as_many_pods_as_asked_for() {
    let cluster = start(3).await;
    cluster.run_pods_for(2).await;
    assert_eq!(
        status(&cluster).await,
        json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "fullyLabeledReplicas": 3, "observedGeneration": 1})
    );
    let pod = &cluster.all::<Pod>().await[0];
    let owner = pod.object().controller().unwrap();
    assert_eq!((&*owner.api_version, &*owner.kind), ("v1", "ReplicationController"));
    assert_eq!(cluster.events("SuccessfulCreate").await.len(), 3);
    scale(&cluster, 1).await;
    cluster.run_pods_for(2).await;
    assert_eq!(cluster.all::<Pod>().await.len(), 1);
    assert_eq!(status(&cluster).await["replicas"], 1);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_are_released_and_adopted_by_their_labels() {
    let cluster = start(1).await;
    cluster.run_pods_for(1).await;
    let name = cluster.all::<Pod>().await[0].object().key().to_string();
    let label = async |value: &str| {
        let change =
            |pod: &mut Pod| pod.metadata.labels = Some([("app".into(), value.into())].into());
        cluster.edit::<Pod>(&name, change).await;
        cluster.pass(1).await;
    };
    label("other").await;
    assert_eq!(cluster.all::<Pod>().await.len(), 2, "one was let go of and one was made");
    assert!(cluster.get::<Pod>(&name).await.object().controller().is_none());
    scale(&cluster, 2).await;
    scale(&cluster, 1).await;
    label("web").await;
    cluster.run_pods_for(2).await;
    assert_eq!(cluster.all::<Pod>().await.len(), 1, "adopted, and one too many");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_cannot_be_made_are_a_condition() {
    let cluster = start(0).await;
    cluster
        .edit::<ReplicationController>(NAME, |one| {
            let spec = one.spec.as_mut().unwrap();
            spec.replicas = Some(1);
            let template = spec.template.as_mut().unwrap().spec.as_mut().unwrap();
            template.service_account_name = Some("nobody".to_owned());
            template.priority_class_name = Some("nothing".to_owned());
        })
        .await;
    cluster.pass(1).await;
    let found = condition(&*cluster.get::<ReplicationController>(NAME).await, "ReplicaFailure");
    assert!(found.starts_with("True FailedCreate pods \"web-"), "{found}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn its_pods_go_with_it() {
    let cluster = start(2).await;
    cluster.delete::<ReplicationController>(NAME, Background).await;
    cluster.run_pods_for(3).await;
    assert_eq!(cluster.all::<Pod>().await.len(), 0);
    cluster.stop().await;
}
