//! Jobs and CronJobs.

use crate::harness::{Cluster, condition};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use pinnace_api::Typed;
use pinnace_client::PropagationPolicy::Background;
use serde_json::{Value, json};

pub(crate) const NAME: &str = "default/sum";

pub(crate) async fn job(cluster: &Cluster, spec: Value) {
    job_of(cluster, spec, "Never").await;
}

pub(crate) async fn job_of(cluster: &Cluster, mut spec: Value, restart: &str) {
    spec["template"] =
        json!({"spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]}});
    cluster
        .make::<Job>(json!({"metadata": {"name": "sum", "namespace": "default"}, "spec": spec}))
        .await;
    cluster.pass(1).await;
}

/// The pods that neither have ended nor are going.
pub(crate) async fn active(cluster: &Cluster) -> Vec<Typed<Pod>> {
    let pods = cluster.all::<Pod>().await;
    pods.into_iter()
        .filter(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            !pod.object().is_deleting() && !matches!(phase, Some("Succeeded" | "Failed"))
        })
        .collect()
}

/// Ends a pod with an exit code.
pub(crate) async fn end(cluster: &Cluster, pod: &Typed<Pod>, code: i32) {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let now = cluster.env.clock().now_seconds().to_string();
    let status = json!({"phase": phase, "containerStatuses": [{
        "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "finishedAt": now}}
    }]});
    cluster
        .report::<Pod>(&format!("default/{}", pod.object().name()), |pod| {
            pod.status = serde_json::from_value(status.clone()).unwrap();
        })
        .await;
}

pub(crate) async fn end_all(cluster: &Cluster, code: i32) {
    for pod in active(cluster).await {
        end(cluster, &pod, code).await;
    }
    cluster.pass(1).await;
}

pub(crate) fn counts(job: &Job) -> (i32, i32, i32) {
    let status = job.status.clone().unwrap_or_default();
    (status.active.unwrap_or(0), status.succeeded.unwrap_or(0), status.failed.unwrap_or(0))
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_until_enough_pods_have_succeeded() {
    let cluster = Cluster::start().await;
    job(&cluster, json!({"completions": 5, "parallelism": 2})).await;
    assert_eq!(active(&cluster).await.len(), 2);
    for (round, left) in [(1, 2), (2, 1), (3, 0)] {
        end_all(&cluster, 0).await;
        assert_eq!(active(&cluster).await.len(), left, "after round {round}");
    }
    let done = cluster.get::<Job>(NAME).await;
    assert_eq!(counts(&done), (0, 5, 0));
    assert_eq!(
        condition(&*done, "Complete"),
        "True CompletionsReached Reached expected number of succeeded pods"
    );
    assert!(done.status.as_ref().unwrap().completion_time.is_some());
    let tracked = cluster.all::<Pod>().await.iter().any(|pod| pod.metadata.finalizers.is_some());
    assert!(!tracked, "every pod was counted and let go");
    assert_eq!(cluster.events("Completed").await, ["Job completed"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_later_each_time_and_not_for_ever() {
    let cluster = Cluster::start().await;
    job(&cluster, json!({"backoffLimit": 2})).await;
    for wait in [10, 20] {
        end_all(&cluster, 1).await;
        assert_eq!(active(&cluster).await.len(), 0, "it waits {wait} s");
        cluster.pass(wait + 1).await;
        assert_eq!(active(&cluster).await.len(), 1, "after {wait} s");
    }
    end_all(&cluster, 1).await;
    cluster.pass(1).await;
    let failed = cluster.get::<Job>(NAME).await;
    assert_eq!(counts(&failed), (0, 0, 3));
    assert_eq!(
        condition(&*failed, "Failed"),
        "True BackoffLimitExceeded Job has reached the specified backoff limit"
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn indexes_are_done_once_each_and_told_to_the_pods() {
    let cluster = Cluster::start().await;
    job(&cluster, json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"})).await;
    let mut pods = active(&cluster).await;
    pods.sort_by_key(|pod| pod.spec.as_ref().unwrap().hostname.clone());
    let names: Vec<_> =
        pods.iter().map(|pod| pod.spec.as_ref().unwrap().hostname.clone().unwrap()).collect();
    assert_eq!(names, ["sum-0", "sum-1", "sum-2"]);
    let variable = &pods[1].spec.as_ref().unwrap().containers[0].env.as_ref().unwrap()[0];
    assert_eq!(variable.name, "JOB_COMPLETION_INDEX");
    end(&cluster, &pods[0], 0).await;
    end(&cluster, &pods[2], 0).await;
    cluster.pass(1).await;
    let status = cluster.get::<Job>(NAME).await.status.clone().unwrap();
    assert_eq!(status.completed_indexes.as_deref(), Some("0,2"));
    end(&cluster, &pods[1], 1).await;
    cluster.pass(12).await;
    let again = active(&cluster).await;
    assert_eq!(again[0].spec.as_ref().unwrap().hostname.as_deref(), Some("sum-1"));
    end_all(&cluster, 0).await;
    let done = cluster.get::<Job>(NAME).await;
    assert_eq!(done.status.as_ref().unwrap().completed_indexes.as_deref(), Some("0-2"));
    assert_eq!(counts(&done), (0, 3, 1));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_index_that_fails_too_often_is_given_up() {
    let cluster = Cluster::start().await;
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 0});
    job(&cluster, spec).await;
    let pods = active(&cluster).await;
    end(&cluster, &pods[0], 1).await;
    end(&cluster, &pods[1], 0).await;
    cluster.pass(2).await;
    let failed = cluster.get::<Job>(NAME).await;
    assert_eq!(condition(&*failed, "Failed"), "True FailedIndexes Job has failed indexes");
    assert_eq!(failed.status.as_ref().unwrap().failed_indexes.as_deref().map(str::len), Some(1));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn policies_say_what_failures_mean() {
    let cluster = Cluster::start().await;
    let rule = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let policy = json!({"rules": [rule("Ignore", 3), rule("FailJob", 42)]});
    job(&cluster, json!({"backoffLimit": 0, "podFailurePolicy": policy})).await;
    end_all(&cluster, 3).await;
    assert_eq!(active(&cluster).await.len(), 1, "a failure that is ignored is replaced at once");
    let name = active(&cluster).await[0].object().name().to_owned();
    end_all(&cluster, 42).await;
    let failed = cluster.get::<Job>(NAME).await;
    assert_eq!(
        condition(&*failed, "Failed"),
        format!(
            "True PodFailurePolicy Container c for pod default/{name} failed with exit code 42 matching FailJob rule at index 1"
        )
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_policy_ignores_does_not_count_for_an_index() {
    let cluster = Cluster::start().await;
    let ignore = json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [3]}});
    let spec = json!({"completions": 1, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
        "podFailurePolicy": {"rules": [ignore]}});
    job(&cluster, spec).await;
    let counted = |pod: &Pod| {
        let annotations = pod.metadata.annotations.clone().unwrap();
        let count = |name: &str| annotations.get(&format!("batch.kubernetes.io/{name}")).cloned();
        (count("job-index-failure-count"), count("job-index-ignored-failure-count"))
    };
    let some = |count: &str| Some(count.to_owned());
    for (code, expected) in [(3, (some("0"), some("1"))), (1, (some("1"), some("1")))] {
        end_all(&cluster, code).await;
        cluster.pass(60).await;
        assert_eq!(counted(&active(&cluster).await[0]), expected, "after {code}");
    }
    end_all(&cluster, 1).await;
    let failed = cluster.get::<Job>(NAME).await;
    assert_eq!(condition(&*failed, "Failed"), "True FailedIndexes Job has failed indexes");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_pod_stays_until_its_index_has_another_that_knows_of_it() {
    let cluster = Cluster::start().await;
    let spec = json!({"completions": 1, "completionMode": "Indexed", "backoffLimitPerIndex": 2});
    job(&cluster, spec).await;
    let first = active(&cluster).await[0].object().key().to_string();
    end_all(&cluster, 1).await;
    cluster.delete::<Pod>(&first, Background).await;
    cluster.pass(2).await;
    assert!(cluster.find::<Pod>(&first).await.is_some(), "it alone knows of the failure");
    cluster.pass(20).await;
    let annotations = active(&cluster).await[0].metadata.annotations.clone().unwrap();
    assert_eq!(annotations["batch.kubernetes.io/job-index-failure-count"], "1");
    assert!(cluster.find::<Pod>(&first).await.is_none());
    let job = cluster.get::<Job>(NAME).await;
    assert_eq!(job.status.as_ref().unwrap().failed, Some(1));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_tells_what_it_does() {
    let cluster = Cluster::start().await;
    job(&cluster, json!({"completions": 1, "suspend": true})).await;
    assert_eq!(cluster.events("Suspended").await, ["Job suspended"]);
    cluster.edit::<Job>(NAME, |job| job.spec.as_mut().unwrap().suspend = Some(false)).await;
    cluster.pass(1).await;
    assert_eq!(cluster.events("Resumed").await, ["Job resumed"]);
    let pod = active(&cluster).await.remove(0);
    let created = format!("Created pod: {}", pod.object().name());
    assert_eq!(cluster.events("SuccessfulCreate").await, [created]);
    // Another that is the Job's own ends in the same moment.
    let mut twin = pod.to_owned();
    twin.metadata = pinnace_api::ObjectMeta {
        name: Some("twin".to_owned()),
        resource_version: None,
        uid: None,
        ..twin.metadata
    };
    let twin = cluster.api::<Pod>().create(twin).await.unwrap();
    for pod in [&pod, &twin] {
        end(&cluster, pod, 0).await;
    }
    cluster.pass(1).await;
    let many = "Too many succeeded pods running after completion count reached";
    assert_eq!(cluster.events("TooManySucceededPods").await, [many]);
    assert_eq!(cluster.events("Completed").await, ["Job completed"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_make_pods_says_so() {
    let cluster = Cluster::start().await;
    let quota = json!({"metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"pods": "0"}}});
    cluster.make::<ResourceQuota>(quota).await;
    cluster.pass(1).await;
    job(&cluster, json!({})).await;
    let failed = cluster.events("FailedCreate").await;
    assert!(failed[0].starts_with("Error creating: pods \"sum-"), "{failed:?}");
    let why = "is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0";
    assert!(failed[0].ends_with(why), "{failed:?}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn enough_is_enough_by_a_success_policy() {
    let cluster = Cluster::start().await;
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededCount": 1}]}});
    job(&cluster, spec).await;
    let pods = active(&cluster).await;
    end(&cluster, &pods[0], 0).await;
    cluster.pass(40).await;
    let done = cluster.get::<Job>(NAME).await;
    assert_eq!(condition(&*done, "Complete"), "True SuccessPolicy Matched rules at index 0");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_is_suspended_resumed_and_ended_by_its_deadline() {
    let cluster = Cluster::start().await;
    job(&cluster, json!({"suspend": true, "activeDeadlineSeconds": 30})).await;
    assert_eq!(active(&cluster).await.len(), 0);
    let suspended = cluster.get::<Job>(NAME).await;
    assert_eq!(condition(&*suspended, "Suspended"), "True JobSuspended Job suspended");
    cluster.edit::<Job>(NAME, |job| job.spec.as_mut().unwrap().suspend = Some(false)).await;
    cluster.pass(1).await;
    assert_eq!(active(&cluster).await.len(), 1);
    assert_eq!(cluster.events("Resumed").await, ["Job resumed"]);
    cluster.pass(31).await;
    assert_eq!(active(&cluster).await.len(), 0);
    cluster.pass(40).await;
    let failed = cluster.get::<Job>(NAME).await;
    assert_eq!(
        condition(&*failed, "Failed"),
        "True DeadlineExceeded Job was active longer than specified deadline"
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_goes_in_its_time_and_a_deleted_one_lets_its_pods_go() {
    let cluster = Cluster::start().await;
    job(&cluster, json!({"ttlSecondsAfterFinished": 60})).await;
    end_all(&cluster, 0).await;
    cluster.pass(50).await;
    assert!(cluster.find::<Job>(NAME).await.is_some());
    cluster.pass(20).await;
    assert!(cluster.find::<Job>(NAME).await.is_none());
    cluster.pass(5).await;
    assert!(cluster.all::<Pod>().await.is_empty());
    job(&cluster, json!({})).await;
    cluster.delete::<Job>(NAME, Background).await;
    cluster.pass(5).await;
    assert!(cluster.all::<Pod>().await.is_empty(), "no finalizer holds them");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_released_is_held_no_longer() {
    let cluster = Cluster::start().await;
    job(&cluster, json!({"parallelism": 1})).await;
    cluster.pass(1).await;
    let pod = active(&cluster).await.remove(0);
    let pods = cluster.client.of::<Pod>().unwrap();
    let unlabelled = |pod: &mut Pod| pod.metadata.labels.take().is_some();
    pods.modify(&pod.object().key(), unlabelled).await.unwrap();
    cluster.pass(1).await;
    let meta = pods.get(&pod.object().key()).await.unwrap().metadata.clone();
    assert_eq!((meta.owner_references, meta.finalizers), (Some(vec![]), Some(vec![])));
    cluster.stop().await;
}

async fn cron(cluster: &Cluster, more: Value) {
    let mut spec = json!({"schedule": "*/10 * * * *", "jobTemplate": {"spec": {"template":
        {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let cron = json!({"metadata": {"name": "tick", "namespace": "default"}, "spec": spec});
    cluster.make::<CronJob>(cron).await;
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_makes_a_job_each_time_and_keeps_the_last_three() {
    let cluster = Cluster::start().await;
    cron(&cluster, json!({})).await;
    for _ in 0..5 {
        cluster.pass(600).await;
        end_all(&cluster, 0).await;
    }
    cluster.pass(5).await;
    assert_eq!(cluster.all::<Job>().await.len(), 3);
    let tick = cluster.get::<CronJob>("default/tick").await;
    let status = tick.status.clone().unwrap();
    assert!(status.active.is_none());
    assert!(status.last_schedule_time.is_some() && status.last_successful_time.is_some());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_forbids_replaces_or_allows_what_overlaps() {
    for (policy, jobs) in [("Allow", 3), ("Forbid", 1), ("Replace", 1)] {
        let cluster = Cluster::start().await;
        cron(&cluster, json!({"concurrencyPolicy": policy})).await;
        cluster.pass(30 * 60 + 5).await;
        assert_eq!(cluster.all::<Job>().await.len(), jobs, "{policy}");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_that_was_suspended_makes_one_job_for_all_it_missed() {
    let cluster = Cluster::start().await;
    cron(&cluster, json!({"suspend": true})).await;
    cluster.pass(3 * 24 * 3600).await;
    assert!(cluster.all::<Job>().await.is_empty());
    cluster.edit::<CronJob>("default/tick", |cron| cron.spec.suspend = Some(false)).await;
    cluster.pass(5).await;
    assert_eq!(cluster.all::<Job>().await.len(), 1);
    assert_eq!(cluster.events("TooManyMissedTimes").await.len(), 1);
    cluster.stop().await;
}

/// How many Jobs a schedule makes within a number of hours.
async fn jobs_made(start: &str, schedule: &str, hours: u64) -> usize {
    let cluster = Cluster::at(start).await;
    let all = json!({"schedule": schedule, "timeZone": "Europe/Berlin",
        "concurrencyPolicy": "Allow"});
    cron(&cluster, all).await;
    cluster.pass(hours * 3600).await;
    let made = cluster.all::<Job>().await.len();
    cluster.stop().await;
    made
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_changed_neither_double_nor_lose_hours() {
    // In Berlin the clocks go from 2 to 3 on 31 March, and from 3 to 2 on 27 October, at 1 UTC.
    let (spring, autumn) = ("2030-03-30T23:30:00Z", "2030-10-26T22:30:00Z");
    for (start, schedule, expected) in [
        (spring, "0 * * * *", 6),
        (autumn, "0 * * * *", 6),
        (spring, "30 3 * * *", 1),
        (autumn, "30 3 * * *", 1),
        (spring, "@every 1h", 5),
        (autumn, "@every 1h", 5),
    ] {
        assert_eq!(jobs_made(start, schedule, 6).await, expected, "{schedule} from {start}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_clocks_leave_out_makes_no_job_and_what_they_show_twice_makes_two() {
    assert_eq!(jobs_made("2030-03-30T23:30:00Z", "30 2 * * *", 23).await, 0);
    assert_eq!(jobs_made("2030-03-30T23:30:00Z", "30 2 * * *", 26).await, 1);
    assert_eq!(jobs_made("2030-10-26T22:30:00Z", "30 2 * * *", 23).await, 2);
    assert_eq!(jobs_made("2030-10-26T22:30:00Z", "*/30 2 * * *", 23).await, 4);
}

/// For which times Jobs were made, of those that came while nothing ran.
async fn made_after_sleep(start: &str, schedule: &str, hours: u64) -> Vec<String> {
    let cluster = Cluster::at(start).await;
    cron(&cluster, json!({"schedule": schedule, "timeZone": "Europe/Berlin"})).await;
    cluster.pass(60).await;
    tokio::time::advance(std::time::Duration::from_secs(hours * 3600)).await;
    cluster.pass(5).await;
    let scheduled = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    let jobs = cluster.all::<Job>().await;
    let times =
        jobs.iter().map(|job| job.metadata.annotations.as_ref().unwrap()[scheduled].clone());
    let times = times.collect();
    cluster.stop().await;
    times
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_while_clocks_were_changed_is_the_last_that_they_showed() {
    let (spring, autumn) = ("2030-03-30T23:30:00Z", "2030-10-26T22:30:00Z");
    assert!(made_after_sleep(spring, "30 2 * * *", 6).await.is_empty());
    assert_eq!(made_after_sleep(spring, "30 * * * *", 2).await, ["2030-03-31T03:30:00+02:00"]);
    assert_eq!(made_after_sleep(autumn, "30 2 * * *", 6).await, ["2030-10-27T02:30:00+01:00"]);
    assert_eq!(made_after_sleep(autumn, "30 2 * * *", 2).await, ["2030-10-27T02:30:00+02:00"]);
}

#[tokio::test(start_paused = true)]
async fn an_interval_keeps_its_beat_whatever_is_looked_at_between() {
    let cluster = Cluster::at("2030-01-01T00:00:00Z").await;
    cron(&cluster, json!({"schedule": "@every 1h", "startingDeadlineSeconds": 600})).await;
    cluster.pass(600).await;
    cluster.edit::<CronJob>("default/tick", |cron| cron.spec.suspend = Some(true)).await;
    cluster.pass(600).await;
    cluster.edit::<CronJob>("default/tick", |cron| cron.spec.suspend = Some(false)).await;
    cluster.pass(2 * 3600).await;
    let jobs = cluster.all::<Job>().await;
    let minutes: Vec<_> = jobs.iter().map(|job| job.object().name().to_owned()).collect();
    // Those of 01:00 and 02:00.
    assert_eq!(minutes, ["tick-31557660", "tick-31557720"]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_zone_belongs_into_its_field() {
    let cluster = Cluster::start().await;
    let template = json!({"spec": {"template": {"spec": {"restartPolicy": "Never",
        "containers": [{"name": "c", "image": "i"}]}}}});
    for schedule in ["TZ=Europe/Berlin 0 * * * *", "CRON_TZ=Europe/Berlin 0 * * * *"] {
        let cron = json!({"metadata": {"name": "tick", "namespace": "default"},
            "spec": {"schedule": schedule, "jobTemplate": template}});
        let cron = serde_json::from_value(cron).unwrap();
        let error = cluster.api::<CronJob>().create(cron).await.unwrap_err();
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        assert!(error.message().contains(why), "{error}");
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_makes_one_job_for_all_that_was_missed() {
    let cluster = Cluster::start().await;
    cron(&cluster, json!({"schedule": "0 * * * *"})).await;
    cluster.pass(60).await;
    // Nothing runs while the clock goes on, as on a machine that slept.
    tokio::time::advance(std::time::Duration::from_secs(50 * 3600)).await;
    cluster.pass(5).await;
    assert_eq!(cluster.all::<Job>().await.len(), 1);
    cluster.pass(3600).await;
    assert_eq!(cluster.all::<Job>().await.len(), 2, "and goes on from there");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_too_late_is_missed() {
    let cluster = Cluster::start().await;
    cron(&cluster, json!({"schedule": "0 * * * *", "startingDeadlineSeconds": 600})).await;
    cluster.pass(60).await;
    tokio::time::advance(std::time::Duration::from_secs(3600 + 1800)).await;
    cluster.pass(5).await;
    assert!(cluster.all::<Job>().await.is_empty());
    cluster.stop().await;
}
