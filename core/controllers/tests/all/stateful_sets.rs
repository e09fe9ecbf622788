//! StatefulSets.

use crate::harness::Cluster;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Secret};
use pinnace_client::PropagationPolicy::Background;
use serde_json::{Value, json};

const NAME: &str = "default/web";

/// A cluster with a StatefulSet; `more` is merged into its `spec`.
async fn start(replicas: i32, more: Value) -> Cluster {
    let cluster = Cluster::start().await;
    let mut spec = json!({"replicas": replicas, "serviceName": "web",
        "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "one"}]}}});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    cluster
        .make::<StatefulSet>(
            json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}),
        )
        .await;
    cluster.pass(1).await;
    cluster
}

/// With a claim per pod, and what becomes of it when the set is scaled and deleted.
async fn with_claims(replicas: i32, scaled: &str, deleted: &str) -> Cluster {
    let claims = json!({
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted}});
    start(replicas, claims).await
}

/// Name and image of every pod, `-` before those that go.
async fn pods(cluster: &Cluster) -> Vec<String> {
    let mut pods: Vec<_> = cluster
        .all::<Pod>()
        .await
        .iter()
        .map(|pod| {
            let going = if pod.object().is_deleting() { "-" } else { "" };
            let image = pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
            format!("{going}{} {image}", pod.object().name())
        })
        .collect();
    pods.sort_by_key(|pod| pod.trim_start_matches('-').to_owned());
    pods
}

async fn claims(cluster: &Cluster) -> Vec<String> {
    let claims = cluster.all::<PersistentVolumeClaim>().await;
    let mut claims: Vec<_> = claims.iter().map(|claim| claim.object().name().to_owned()).collect();
    claims.sort();
    claims
}

async fn scale(cluster: &Cluster, replicas: i32) {
    cluster
        .edit::<StatefulSet>(NAME, |set| set.spec.as_mut().unwrap().replicas = Some(replicas))
        .await;
    cluster.pass(1).await;
}

async fn set_image(cluster: &Cluster, image: &str) {
    cluster
        .edit::<StatefulSet>(NAME, |set| {
            let template = &mut set.spec.as_mut().unwrap().template;
            template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
        })
        .await;
    cluster.pass(1).await;
}

async fn status(cluster: &Cluster) -> Value {
    serde_json::to_value(cluster.get::<StatefulSet>(NAME).await.status.clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn pods_come_one_after_the_other_and_go_the_other_way() {
    let cluster = start(3, json!({})).await;
    assert_eq!(pods(&cluster).await, ["web-0 one"]);
    cluster.pass(5).await;
    assert_eq!(pods(&cluster).await, ["web-0 one"], "nothing before the first is ready");
    cluster.run_pods_for(1).await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one"]);
    cluster.run_pods_for(3).await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one", "web-2 one"]);
    scale(&cluster, 1).await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one", "-web-2 one"]);
    cluster.run_pods_for(1).await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "-web-1 one"]);
    cluster.run_pods_for(2).await;
    assert_eq!(pods(&cluster).await, ["web-0 one"]);
    let created = cluster.events("SuccessfulCreate").await;
    assert_eq!(created[0], "Create Pod web-0 in StatefulSet web successful");
    let deleted = cluster.events("SuccessfulDelete").await;
    assert_eq!(deleted[0], "Delete Pod web-1 in StatefulSet web successful");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_keeps_its_identity() {
    let cluster = start(1, json!({"ordinals": {"start": 5}})).await;
    let check = |pod: &Pod| {
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("web-5"));
        assert_eq!(spec.subdomain.as_deref(), Some("web"));
        let labels = pod.metadata.labels.clone().unwrap();
        assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-5");
        assert_eq!(labels["apps.kubernetes.io/pod-index"], "5");
        labels["controller-revision-hash"].clone()
    };
    let first = cluster.get::<Pod>("default/web-5").await;
    let revision = check(&first);
    assert_eq!(status(&cluster).await["currentRevision"], revision.as_str());
    cluster.delete::<Pod>("default/web-5", Background).await;
    cluster.run_pods_for(2).await;
    let second = cluster.get::<Pod>("default/web-5").await;
    assert_eq!(check(&second), revision);
    assert_ne!(first.object().uid(), second.object().uid());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn in_parallel_nothing_waits() {
    let cluster = start(3, json!({"podManagementPolicy": "Parallel"})).await;
    assert_eq!(pods(&cluster).await.len(), 3);
    scale(&cluster, 0).await;
    cluster.run_pods_for(1).await;
    assert_eq!(pods(&cluster).await.len(), 0);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn scaling_waits_for_a_sick_pod() {
    let cluster = start(2, json!({})).await;
    cluster.run_pods_for(3).await;
    let sick = |pod: &Pod| pod.metadata.name.as_deref() == Some("web-0");
    cluster.run_pods("n1", sick).await;
    for replicas in [3, 1] {
        scale(&cluster, replicas).await;
        cluster.pass(5).await;
        assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one"]);
    }
    cluster.run_pods_for(2).await;
    assert_eq!(pods(&cluster).await, ["web-0 one"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_have_ended_are_made_anew() {
    for phase in ["Failed", "Succeeded"] {
        let cluster = start(1, json!({})).await;
        cluster.run_pods_for(2).await;
        let first = cluster.get::<Pod>("default/web-0").await;
        cluster
            .report::<Pod>("default/web-0", |pod| {
                pod.status.get_or_insert_default().phase = Some(phase.to_owned());
            })
            .await;
        cluster.pass(1).await;
        cluster.run_pods_for(2).await;
        let second = cluster.get::<Pod>("default/web-0").await;
        assert_ne!(first.object().uid(), second.object().uid());
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_from_the_end_down_to_its_partition() {
    let partition = json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}});
    let cluster = start(4, partition).await;
    cluster.run_pods_for(6).await;
    let first = status(&cluster).await["currentRevision"].clone();
    set_image(&cluster, "two").await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one", "web-2 one", "-web-3 one"]);
    cluster.run_pods_for(8).await;
    let half = ["web-0 one", "web-1 one", "web-2 two", "web-3 two"];
    assert_eq!(pods(&cluster).await, half);
    let now = status(&cluster).await;
    assert_eq!((&now["currentReplicas"], &now["updatedReplicas"]), (&json!(2), &json!(2)));
    assert_eq!(now["currentRevision"], first);
    for pod in ["web-0", "web-3"] {
        cluster.delete::<Pod>(&format!("default/{pod}"), Background).await;
    }
    cluster.run_pods_for(4).await;
    assert_eq!(pods(&cluster).await, half, "each comes back with its revision");
    cluster
        .edit::<StatefulSet>(NAME, |set| {
            let strategy = set.spec.as_mut().unwrap().update_strategy.as_mut().unwrap();
            strategy.rolling_update.as_mut().unwrap().partition = Some(0);
        })
        .await;
    cluster.run_pods_for(8).await;
    assert_eq!(pods(&cluster).await, ["web-0 two", "web-1 two", "web-2 two", "web-3 two"]);
    let now = status(&cluster).await;
    assert_eq!(now["currentRevision"], now["updateRevision"]);
    assert_ne!(now["currentRevision"], first);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_lets_so_many_be_missing() {
    let more = json!({"podManagementPolicy": "Parallel",
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}});
    let cluster = start(4, more).await;
    cluster.run_pods_for(2).await;
    set_image(&cluster, "two").await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one", "-web-2 one", "-web-3 one"]);
    cluster.run_pods_for(8).await;
    assert_eq!(status(&cluster).await["updatedReplicas"], 4);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn on_delete_waits_for_somebody_to_delete() {
    let cluster = start(2, json!({"updateStrategy": {"type": "OnDelete"}})).await;
    cluster.run_pods_for(3).await;
    set_image(&cluster, "two").await;
    cluster.run_pods_for(3).await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one"]);
    cluster.delete::<Pod>("default/web-0", Background).await;
    cluster.run_pods_for(3).await;
    assert_eq!(pods(&cluster).await, ["web-0 two", "web-1 one"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_update_stops_and_a_rollback_needs_the_broken_pod_deleted() {
    let cluster = start(3, json!({})).await;
    cluster.run_pods_for(5).await;
    let first = status(&cluster).await["currentRevision"].clone();
    set_image(&cluster, "broken").await;
    let broken =
        |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("broken");
    for _ in 0..5 {
        cluster.run_pods("n1", broken).await;
        cluster.pass(1).await;
    }
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one", "web-2 broken"]);
    set_image(&cluster, "one").await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one", "web-2 broken"]);
    cluster.delete::<Pod>("default/web-2", Background).await;
    cluster.run_pods_for(5).await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one", "web-2 one"]);
    let now = status(&cluster).await;
    assert_eq!((&now["currentRevision"], &now["updateRevision"]), (&first, &first));
    let revisions = cluster.all::<ControllerRevision>().await;
    assert_eq!(revisions.iter().map(|one| one.revision).max(), Some(3));
    assert_eq!(revisions.len(), 2);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn history_is_kept_to_its_limit() {
    let cluster = start(1, json!({"revisionHistoryLimit": 2})).await;
    for image in ["b", "c", "d", "e"] {
        cluster.run_pods_for(4).await;
        set_image(&cluster, image).await;
    }
    cluster.run_pods_for(4).await;
    assert_eq!(cluster.all::<ControllerRevision>().await.len(), 3);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_pod_waits_until_the_one_before_is_available() {
    let cluster = start(2, json!({"minReadySeconds": 10})).await;
    cluster.run_pods_for(5).await;
    assert_eq!(pods(&cluster).await, ["web-0 one"]);
    assert_eq!(status(&cluster).await["readyReplicas"], 1);
    assert_eq!(status(&cluster).await["availableReplicas"], 0);
    cluster.pass(10).await;
    assert_eq!(pods(&cluster).await, ["web-0 one", "web-1 one"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn claims_outlive_pods_or_go_with_them_as_the_policy_says() {
    for (scaled, deleted, after_scale, after_delete) in [
        ("Retain", "Retain", 2, 2),
        ("Delete", "Retain", 1, 1),
        ("Retain", "Delete", 2, 0),
        ("Delete", "Delete", 1, 0),
    ] {
        let cluster = with_claims(2, scaled, deleted).await;
        cluster.run_pods_for(3).await;
        assert_eq!(claims(&cluster).await, ["data-web-0", "data-web-1"]);
        let pod = cluster.get::<Pod>("default/web-1").await;
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
        let claim = volume.persistent_volume_claim.as_ref().unwrap();
        assert_eq!((&*volume.name, &*claim.claim_name), ("data", "data-web-1"));
        scale(&cluster, 1).await;
        cluster.run_pods_for(4).await;
        assert_eq!(claims(&cluster).await.len(), after_scale, "{scaled} {deleted}");
        cluster.delete::<StatefulSet>(NAME, Background).await;
        cluster.run_pods_for(4).await;
        assert_eq!(claims(&cluster).await.len(), after_delete, "{scaled} {deleted}");
        let told = cluster.events("SuccessfulCreate").await;
        assert_eq!(told[0], "Create Claim data-web-0 Pod web-0 in StatefulSet web success");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_done_to_a_pod_is_told() {
    let cluster = start(1, json!({})).await;
    cluster.run_pods_for(1).await;
    cluster
        .edit::<Pod>("default/web-0", |pod| {
            let labels = pod.metadata.labels.as_mut().unwrap();
            labels.remove("statefulset.kubernetes.io/pod-name");
        })
        .await;
    cluster.pass(1).await;
    let updated = ["Update Pod web-0 in StatefulSet web successful"];
    assert_eq!(cluster.events("SuccessfulUpdate").await, updated);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_cannot_be_made_is_told_with_its_pod() {
    let cluster = with_claims(0, "Retain", "Retain").await;
    let quota = json!({"metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"persistentvolumeclaims": "0"}}});
    cluster.make::<ResourceQuota>(quota).await;
    cluster.pass(1).await;
    scale(&cluster, 1).await;
    let why = "persistentvolumeclaims \"data-web-0\" is forbidden: exceeded quota: q, requested: \
               persistentvolumeclaims=1, used: persistentvolumeclaims=0, limited: \
               persistentvolumeclaims=0";
    let claim = "Create Claim data-web-0 for Pod web-0 in StatefulSet web failed error:";
    let pod = "Create Pod web-0 in StatefulSet web failed error: failed to create PVC data-web-0:";
    let told = cluster.events("FailedCreate").await;
    assert_eq!(told, [format!("{claim} {why}"), format!("{pod} {why}")]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_another_controller_is_left_to_it_and_told() {
    let cluster = with_claims(0, "Delete", "Delete").await;
    let secret = json!({"metadata": {"name": "s", "namespace": "default"}});
    let secret = cluster.make::<Secret>(secret).await;
    let other = json!({"apiVersion": "v1", "kind": "Secret", "name": "s",
        "uid": secret.object().uid(), "controller": true});
    cluster
        .make::<PersistentVolumeClaim>(json!({
            "metadata": {"name": "data-web-0", "namespace": "default", "ownerReferences": [other]},
            "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}))
        .await;
    scale(&cluster, 1).await;
    let told = "PersistentVolumeClaim data-web-0 has a conflicting OwnerReference that acts as a \
                manging controller, the retention policy is ignored for this claim";
    assert_eq!(cluster.events("ConflictingController").await, [told]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_the_claim_of_the_one_before_to_go() {
    let cluster = with_claims(2, "Delete", "Retain").await;
    cluster.run_pods_for(4).await;
    let before = cluster.get::<PersistentVolumeClaim>("default/data-web-1").await;
    scale(&cluster, 1).await;
    scale(&cluster, 2).await;
    cluster.run_pods_for(6).await;
    let after = cluster.get::<PersistentVolumeClaim>("default/data-web-1").await;
    let pod = cluster.get::<Pod>("default/web-1").await;
    assert!(!pod.object().is_deleting());
    assert_ne!(before.object().uid(), after.object().uid());
    assert!(after.metadata.owner_references.is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_of_the_right_name_are_adopted() {
    let cluster = start(1, json!({})).await;
    cluster.run_pods_for(2).await;
    let uid = cluster.get::<Pod>("default/web-0").await.object().uid().to_owned();
    cluster
        .edit::<Pod>("default/web-0", |pod| {
            pod.metadata.owner_references = None;
            pod.metadata.labels.as_mut().unwrap().remove("statefulset.kubernetes.io/pod-name");
        })
        .await;
    cluster.pass(1).await;
    let pod = cluster.get::<Pod>("default/web-0").await;
    assert_eq!(pod.object().uid(), uid);
    assert_eq!(pod.object().controller().unwrap().name, "web");
    assert!(
        pod.metadata.labels.as_ref().unwrap().contains_key("statefulset.kubernetes.io/pod-name")
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_on_after_any_number_of_restarts() {
    for every in 1..=4 {
        let mut cluster = with_claims(3, "Retain", "Delete").await;
        for round in 0..30 {
            if round % every == 0 {
                cluster.restart_controllers().await;
            }
            if round == 10 {
                set_image(&cluster, "two").await;
            }
            cluster.run_pods_for(1).await;
        }
        assert_eq!(pods(&cluster).await, ["web-0 two", "web-1 two", "web-2 two"]);
        assert_eq!(claims(&cluster).await.len(), 3);
        assert_eq!(cluster.all::<ControllerRevision>().await.len(), 2);
        let now = status(&cluster).await;
        assert_eq!(now["currentRevision"], now["updateRevision"], "restarted every {every}");
        cluster.stop().await;
    }
}
