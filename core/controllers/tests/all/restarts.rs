//! Killing the engine after any write changes nothing about where things end: each scenario is run
//! once undisturbed, and then killed after every k-th write of the controllers, for all k.

use pinnace_client::PropagationPolicy::{Background, Foreground, Orphan};
use pinnace_runtime::simulated::Script;
use serde_json::{Value, json};

use crate::harness::world::World;

/// Above this every write of a run has been the last one before a kill at least once, if only in
/// some runs; what is left out are late first kills.
const MOST_APART: usize = 40;
/// Seconds of quiet after which a run has ended.
const QUIET: u64 = 60;

async fn survives<F>(nodes: usize, scenario: F)
where
    F: AsyncFn(&mut World),
{
    let run = async |every: usize| {
        let mut world = World::killed_every(every, nodes).await;
        scenario(&mut world).await;
        world.settle(QUIET).await;
        let end = (world.state().await, world.writes());
        world.stop().await;
        end
    };
    let (undisturbed, writes) = run(usize::MAX).await;
    for every in 1..=writes.min(MOST_APART) {
        let (end, _) = run(every).await;
        let apart = |from: &[String], other: &[String]| {
            let from = from.iter().filter(|one| !other.contains(one));
            from.flat_map(|one| fields(one)).collect::<Vec<_>>()
        };
        let (strange, missing) = (apart(&end, &undisturbed), apart(&undisturbed, &end));
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|one| !those.contains(one)).cloned().collect()
        };
        assert!(
            end == undisturbed,
            "killed after every {every}. of {writes} writes:\n{:#?}\ninstead of\n{:#?}",
            only(&strange, &missing),
            only(&missing, &strange)
        );
    }
}

/// The fields of an object, a line each.
fn fields(object: &str) -> Vec<String> {
    fn walk(path: String, value: &Value, lines: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                fields
                    .iter()
                    .for_each(|(name, value)| walk(format!("{path}.{name}"), value, lines));
            }
            Value::Array(items) => {
                items.iter().for_each(|value| walk(format!("{path}[]"), value, lines));
            }
            leaf => lines.push(format!("{path} = {leaf}")),
        }
    }
    let object: Value = serde_json::from_str(object).unwrap();
    let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
    let mut lines = Vec::new();
    walk(name, &object, &mut lines);
    lines
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]}})
}

/// A kind of `apps` with pods.
fn workload(kind: &str, image: &str, more: Value) -> Value {
    let mut spec =
        json!({"selector": {"matchLabels": {"app": "web"}}, "template": template(image)});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec})
}

fn job(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": "sum"}, "spec": spec})
}

fn script(text: &str) -> Script {
    text.parse().unwrap()
}

fn job_template() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "job"}]}})
}

#[tokio::test(start_paused = true)]
async fn a_rollout() {
    survives(2, async |world| {
        world.apply(workload("Deployment", "one", json!({"replicas": 3}))).await;
        world.expect("deployments", "default/web", "/status/availableReplicas", json!(3)).await;
        world.apply(workload("Deployment", "two", json!({"replicas": 2}))).await;
        world.expect("deployments", "default/web", "/status/updatedReplicas", json!(2)).await;
        world.expect_count("pods", 2).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_recreation_of_all_pods() {
    survives(1, async |world| {
        let recreate = json!({"replicas": 2, "strategy": {"type": "Recreate"}});
        world.apply(workload("Deployment", "one", recreate.clone())).await;
        world.expect("deployments", "default/web", "/status/availableReplicas", json!(2)).await;
        world.apply(workload("Deployment", "two", recreate)).await;
        world.expect("deployments", "default/web", "/status/updatedReplicas", json!(2)).await;
        world.expect("deployments", "default/web", "/status/availableReplicas", json!(2)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_replication_controller_that_is_scaled() {
    survives(1, async |world| {
        let of = |replicas: i32| {
            json!({"apiVersion": "v1", "kind": "ReplicationController",
                "metadata": {"name": "web"},
                "spec": {"replicas": replicas, "template": template("one")}})
        };
        world.apply(of(3)).await;
        let ready = "/status/availableReplicas";
        world.expect("replicationcontrollers", "default/web", ready, json!(3)).await;
        world.apply(of(1)).await;
        world.expect("replicationcontrollers", "default/web", ready, json!(1)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_with_claims_that_is_updated_and_scaled() {
    // One node, for where the directories are is chance.
    survives(1, async |world| {
        let of = |image: &str, replicas: i32| {
            let claim = json!({"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}});
            let more = json!({"replicas": replicas, "serviceName": "web",
                "volumeClaimTemplates": [claim],
                "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}});
            workload("StatefulSet", image, more)
        };
        let updated = "/status/updatedReplicas";
        world.apply(of("one", 3)).await;
        world.expect("statefulsets", "default/web", "/status/readyReplicas", json!(3)).await;
        world.apply(of("two", 2)).await;
        world.expect("statefulsets", "default/web", updated, json!(2)).await;
        world.expect("statefulsets", "default/web", "/status/readyReplicas", json!(2)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set_that_is_updated() {
    survives(3, async |world| {
        let updated = "/status/updatedNumberScheduled";
        world.apply(workload("DaemonSet", "one", json!({}))).await;
        world.expect("daemonsets", "default/web", "/status/numberReady", json!(3)).await;
        world.apply(workload("DaemonSet", "two", json!({}))).await;
        world.expect("daemonsets", "default/web", updated, json!(3)).await;
        world.expect("daemonsets", "default/web", "/status/numberAvailable", json!(3)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_counts_every_pod_once() {
    survives(1, async |world| {
        world.runtime.set_image_script("job", script("run=2s"));
        let spec = json!({"completions": 5, "parallelism": 2, "template": job_template()});
        world.apply(job("Job", spec)).await;
        world.expect("jobs", "default/sum", "/status/succeeded", json!(5)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails() {
    survives(1, async |world| {
        world.runtime.set_image_script("job", script("run=1s,exit=3"));
        let spec = json!({"backoffLimit": 1, "template": job_template(),
            "completions": 1, "completionMode": "Indexed"});
        world.apply(job("Job", spec)).await;
        let reason = "/status/conditions/1/reason";
        world.expect("jobs", "default/sum", reason, json!("BackoffLimitExceeded")).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_goes_when_its_time_is_over() {
    survives(1, async |world| {
        world.runtime.set_image_script("job", script("run=1s"));
        let spec = json!({"ttlSecondsAfterFinished": 20, "template": job_template()});
        world.apply(job("Job", spec)).await;
        world.expect("jobs", "default/sum", "", Value::Null).await;
        world.expect_count("pods", 0).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_that_keeps_little_history() {
    survives(1, async |world| {
        world.runtime.set_image_script("job", script("run=1s"));
        let spec = |suspend: bool| {
            json!({"schedule": "* * * * *", "suspend": suspend, "successfulJobsHistoryLimit": 1,
                "jobTemplate": {"spec": {"template": job_template()}}})
        };
        world.apply(job("CronJob", spec(false))).await;
        world.pass(200).await;
        world.apply(job("CronJob", spec(true))).await;
        world.pass(30).await;
        world.expect_count("jobs", 1).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_service_with_endpoints_and_a_budget() {
    survives(1, async |world| {
        world
            .apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                "spec": {"clusterIP": "10.96.0.99", "selector": {"app": "web"},
                    "ports": [{"port": 80}]}}))
            .await;
        world
            .apply(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": {"name": "web"},
                "spec": {"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": 1}}))
            .await;
        world.apply(workload("Deployment", "one", json!({"replicas": 2}))).await;
        let allowed = "/status/disruptionsAllowed";
        world.expect("poddisruptionbudgets", "default/web", allowed, json!(1)).await;
        let second = "/subsets/0/addresses/1/targetRef/kind";
        world.expect("endpoints", "default/web", second, json!("Pod")).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_goes_with_all_that_is_in_it() {
    survives(1, async |world| {
        world
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
            .await;
        let mut deployment = workload("Deployment", "one", json!({"replicas": 2}));
        deployment["metadata"]["namespace"] = json!("shop");
        world.apply(deployment).await;
        world.expect("deployments", "shop/web", "/status/availableReplicas", json!(2)).await;
        world.delete("namespaces", "shop", Background).await;
        world.expect("namespaces", "shop", "", Value::Null).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn owners_that_go_before_during_and_without_their_pods() {
    for policy in [Background, Foreground, Orphan] {
        survives(1, async |world| {
            world.apply(workload("Deployment", "one", json!({"replicas": 2}))).await;
            world.expect("deployments", "default/web", "/status/availableReplicas", json!(2)).await;
            world.delete("deployments", "default/web", policy).await;
            world.expect("deployments", "default/web", "", Value::Null).await;
            let left = if policy == Orphan { 2 } else { 0 };
            world.expect_count("pods", left).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent() {
    survives(2, async |world| {
        world.apply(workload("Deployment", "one", json!({"replicas": 3}))).await;
        world.expect("deployments", "default/web", "/status/availableReplicas", json!(3)).await;
        world.stop_node("n2").await;
        let taint = "/spec/taints/0/key";
        world.expect("nodes", "n2", taint, json!("node.kubernetes.io/unreachable")).await;
        world.pass(400).await;
        world.delete("nodes", "n2", Background).await;
        world.pass(60).await;
        world.expect_count("pods", 3).await;
        world.expect("deployments", "default/web", "/status/availableReplicas", json!(3)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_killed_come_back() {
    let mut world = World::start(1).await;
    world.apply(workload("Deployment", "one", json!({"replicas": 1}))).await;
    world.expect("deployments", "default/web", "/status/availableReplicas", json!(1)).await;
    let pod = world.names("pods").await.remove(0);
    world.kill(&pod, 137).await;
    world.expect("pods", &pod, "/status/containerStatuses/0/restartCount", json!(1)).await;
    world.delete("pods", &pod, Background).await;
    world.expect("pods", &pod, "", Value::Null).await;
    world.expect("deployments", "default/web", "/status/availableReplicas", json!(1)).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_reached_and_freed_again() {
    survives(1, async |world| {
        let hard = json!({"pods": "2", "count/deployments.apps": "1"});
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "q"}, "spec": {"hard": hard}});
        world.apply(quota).await;
        world.expect("resourcequotas", "default/q", "/status/used/pods", json!("0")).await;
        world.apply(workload("Deployment", "one", json!({"replicas": 3}))).await;
        world.expect("deployments", "default/web", "/status/availableReplicas", json!(2)).await;
        world.expect("resourcequotas", "default/q", "/status/used/pods", json!("2")).await;
        world.apply(workload("Deployment", "one", json!({"replicas": 1}))).await;
        world.expect("resourcequotas", "default/q", "/status/used/pods", json!("1")).await;
        world.expect_count("pods", 1).await;
    })
    .await;
}
