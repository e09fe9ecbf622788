//! The fine print of Jobs: indexes that fail, what failures mean, when pods are replaced, who counts.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use pinnace_client::PropagationPolicy::Background;
use serde_json::{Value, json};

use crate::harness::{Cluster, condition};
use crate::jobs::{NAME, active, counts, end, end_all, job, job_of};

fn indexed(completions: i32, more: Value) -> Value {
    let mut spec = json!({"completions": completions, "parallelism": completions,
        "completionMode": "Indexed"});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

fn index(pod: &Pod) -> String {
    pod.metadata.annotations.as_ref().unwrap()["batch.kubernetes.io/job-completion-index"].clone()
}

async fn end_index(cluster: &Cluster, wanted: &str, code: i32) {
    let pods = active(cluster).await;
    end(cluster, pods.iter().find(|pod| index(pod) == wanted).unwrap(), code).await;
    cluster.pass(1).await;
}

#[tokio::test(start_paused = true)]
async fn more_failed_indexes_than_may_be_fail_the_job() {
    let cluster = Cluster::start().await;
    job(&cluster, indexed(3, json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 1}))).await;
    end_index(&cluster, "0", 1).await;
    assert_eq!(active(&cluster).await.len(), 2, "one may fail");
    end_index(&cluster, "1", 1).await;
    cluster.pass(1).await;
    let failed = cluster.get::<Job>(NAME).await;
    let why = "True MaxFailedIndexesExceeded Job has exceeded the specified maximal number of failed \
               indexes";
    assert_eq!(condition(&*failed, "FailureTarget"), why);
    assert_eq!(
        failed.status.as_ref().unwrap().failed_indexes.as_deref(),
        Some("0,1"),
        "the third was ended, it did not fail"
    );
    assert_eq!(active(&cluster).await.len(), 0, "the third is ended");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_give_up_an_index_and_leave_the_others() {
    let cluster = Cluster::start().await;
    let rule = json!({"action": "FailIndex", "onExitCodes": {"containerName": "c",
        "operator": "NotIn", "values": [1, 2]}});
    let more = json!({"backoffLimitPerIndex": 5, "podFailurePolicy": {"rules": [rule]}});
    job(&cluster, indexed(2, more)).await;
    end_index(&cluster, "0", 1).await;
    cluster.pass(20).await;
    assert_eq!(active(&cluster).await.len(), 2, "another code is tried again");
    end_index(&cluster, "0", 42).await;
    cluster.pass(60).await;
    let left: Vec<_> = active(&cluster).await.iter().map(|pod| index(pod)).collect();
    assert_eq!(left, ["1"]);
    end_index(&cluster, "1", 0).await;
    let failed = cluster.get::<Job>(NAME).await;
    let status = failed.status.as_ref().unwrap();
    assert_eq!(status.failed_indexes.as_deref(), Some("0"));
    assert_eq!(status.completed_indexes.as_deref(), Some("1"));
    assert_eq!(condition(&*failed, "Failed"), "True FailedIndexes Job has failed indexes");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_were_disrupted_do_not_count_where_a_policy_says_so() {
    let cluster = Cluster::start().await;
    let disrupted = json!({"action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
    let count = json!({"action": "Count", "onExitCodes": {"operator": "In", "values": [7]}});
    let all = json!({"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}});
    let policy = json!({"rules": [disrupted, count, all]});
    job(&cluster, json!({"backoffLimit": 1, "podFailurePolicy": policy})).await;
    for _ in 0..3 {
        let pod = active(&cluster).await.remove(0);
        let name = format!("default/{}", pod.object().name());
        cluster
            .report::<Pod>(&name, |pod| {
                let status = json!({"phase": "Failed", "conditions": [
                    {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]});
                pod.status = serde_json::from_value(status).unwrap();
            })
            .await;
        cluster.pass(2).await;
        assert_eq!(counts(&*cluster.get::<Job>(NAME).await), (1, 0, 0), "replaced at once");
    }
    end_all(&cluster, 7).await;
    cluster.pass(15).await;
    assert_eq!(counts(&*cluster.get::<Job>(NAME).await), (1, 0, 1), "counted, and tried again");
    end_all(&cluster, 7).await;
    let failed = cluster.get::<Job>(NAME).await;
    assert!(condition(&*failed, "Failed").starts_with("True BackoffLimitExceeded"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_success_policy_may_name_the_indexes() {
    let cluster = Cluster::start().await;
    let rule = json!({"succeededIndexes": "0,2-3", "succeededCount": 2});
    job(&cluster, indexed(4, json!({"successPolicy": {"rules": [rule]}}))).await;
    for (done, left) in [("1", 3), ("0", 2)] {
        end_index(&cluster, done, 0).await;
        assert_eq!(active(&cluster).await.len(), left, "after {done}");
    }
    end_index(&cluster, "3", 0).await;
    cluster.pass(1).await;
    assert_eq!(active(&cluster).await.len(), 0);
    let done = cluster.get::<Job>(NAME).await;
    let why = "True SuccessPolicy Matched rules at index 0";
    assert_eq!(condition(&*done, "SuccessCriteriaMet"), why);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_are_replaced_when_they_go_or_when_they_have_failed() {
    for (policy, while_going) in [("TerminatingOrFailed", 1), ("Failed", 0)] {
        let cluster = Cluster::start().await;
        job(&cluster, json!({"podReplacementPolicy": policy})).await;
        let pod = active(&cluster).await.remove(0);
        let bound = json!({"metadata": {"name": pod.object().name()}, "target": {"name": "n"}});
        let bound = serde_json::from_value(bound).unwrap();
        cluster.api::<Pod>().bind(&pod.object().key(), bound).await.unwrap();
        cluster.delete::<Pod>(&format!("default/{}", pod.object().name()), Background).await;
        cluster.pass(12).await;
        assert_eq!(active(&cluster).await.len(), while_going, "{policy}");
        let status = cluster.get::<Job>(NAME).await.status.clone().unwrap();
        assert_eq!(status.terminating, Some(1), "{policy}");
        end(&cluster, &pod, 137).await;
        cluster.pass(15).await;
        assert_eq!(active(&cluster).await.len(), 1, "{policy}");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_else_manages_is_left_alone() {
    let cluster = Cluster::start().await;
    job(&cluster, json!({"managedBy": "example.com/queue"})).await;
    cluster.pass(60).await;
    assert_eq!(cluster.all::<Pod>().await.len(), 0);
    assert_eq!(counts(&*cluster.get::<Job>(NAME).await), (0, 0, 0));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn restarts_within_pods_count_where_they_are_restarted() {
    let cluster = Cluster::start().await;
    job_of(&cluster, json!({"backoffLimit": 2}), "OnFailure").await;
    let pod = active(&cluster).await.remove(0);
    for (restarts, left) in [(1, 1), (2, 0)] {
        cluster
            .report::<Pod>(&format!("default/{}", pod.object().name()), |pod| {
                let status = json!({"phase": "Running", "containerStatuses": [{
                    "name": "c", "image": "i", "imageID": "", "ready": true,
                    "restartCount": restarts}]});
                pod.status = serde_json::from_value(status).unwrap();
            })
            .await;
        cluster.pass(2).await;
        assert_eq!(active(&cluster).await.len(), left, "after {restarts}");
    }
    let failed = cluster.get::<Job>(NAME).await;
    let why = "True BackoffLimitExceeded Job has reached the specified backoff limit";
    assert_eq!(condition(&*failed, "FailureTarget"), why);
    cluster.stop().await;
}
