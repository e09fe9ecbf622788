//! Killing the engine after any write changes nothing about where things end: each scenario is run
//! once undisturbed, and then killed after every k-th write, whoever makes it, for all k.

use pinnace_client::PropagationPolicy::{Background, Foreground, Orphan};
use pinnace_runtime::simulated::Script;
use serde_json::{Value, json};

use crate::harness::world::World;

/// Killed after every write, a run has had every write as the last one of a life. What is left out
/// above this are lives that are longer still; `make test-kills` leaves out none.
const MOST_APART: usize = 8;
/// Where another number than [`MOST_APART`] is asked for.
const ASKED: &str = "PINNACE_KILLS_APART";
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
    let asked = std::env::var(ASKED).ok().map(|asked| asked.parse().unwrap());
    for every in 1..=writes.min(asked.unwrap_or(MOST_APART)) {
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

#[tokio::test(start_paused = true)]
async fn a_service_that_others_say_where_it_is_served() {
    survives(1, async |world| {
        world
            .apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "far"},
                "spec": {"clusterIP": "10.96.0.98", "ports": [{"port": 80}]}}))
            .await;
        let endpoints = |ready: &str| {
            json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "far"},
                "subsets": [{"addresses": [{"ip": ready}], "ports": [{"port": 8080}]}]})
        };
        world.apply(endpoints("10.1.2.3")).await;
        world.expect_count("endpointslices", 1).await;
        world.apply(endpoints("10.1.2.4")).await;
        world.pass(5).await;
        world.delete("services", "default/far", Background).await;
        world.expect_count("endpointslices", 0).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_bound_held_and_released() {
    survives(1, async |world| {
        world
            .apply(json!({"apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": "disk"}, "spec": {"capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
                    "persistentVolumeReclaimPolicy": "Retain"}}))
            .await;
        world
            .apply(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                    "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}}))
            .await;
        world
            .expect("persistentvolumeclaims", "default/data", "/status/phase", json!("Bound"))
            .await;
        let volumes = json!([
            {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "b", "ephemeral": {"volumeClaimTemplate": {"spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}}}]);
        world
            .apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
                "terminationGracePeriodSeconds": 1, "volumes": volumes,
                "containers": [{"name": "c", "image": "i"}]}}))
            .await;
        world.expect("pods", "default/p", "/status/phase", json!("Running")).await;
        world.delete("persistentvolumeclaims", "default/data", Background).await;
        world
            .expect("persistentvolumeclaims", "default/data", "/status/phase", json!("Bound"))
            .await;
        world.delete("pods", "default/p", Background).await;
        world.expect_count("persistentvolumeclaims", 0).await;
        world.expect("persistentvolumes", "disk", "/status/phase", json!("Released")).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_claimed_and_given_back() {
    survives(1, async |world| {
        world
            .apply(json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass",
                "metadata": {"name": "gpu"}, "spec": {"selectors": [
                    {"cel": {"expression": "device.driver == 'gpu.example'"}}]}}))
            .await;
        world
            .apply(json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
                "metadata": {"name": "n1-gpus"}, "spec": {"driver": "gpu.example",
                    "nodeName": "n1", "devices": [{"name": "gpu-0"}],
                    "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1}}}))
            .await;
        let request = json!([{"name": "gpu", "exactly": {"deviceClassName": "gpu", "count": 1}}]);
        world
            .apply(json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
                "metadata": {"name": "one"}, "spec": {"spec": {"devices": {"requests": request}}}}))
            .await;
        world
            .apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "resourceClaims": [{"name": "d", "resourceClaimTemplateName": "one"}],
                "containers": [{"name": "c", "image": "i",
                    "resources": {"claims": [{"name": "d"}]}}]}}))
            .await;
        world.expect("pods", "default/p", "/status/phase", json!("Running")).await;
        world.delete("pods", "default/p", Background).await;
        world.expect_count("resourceclaims", 0).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_comes_and_goes_with_its_objects() {
    survives(1, async |world| {
        world
            .apply(json!({"apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition", "metadata": {"name": "shirts.example.com"},
                "spec": {"group": "example.com", "scope": "Namespaced",
                    "names": {"plural": "shirts", "singular": "shirt", "kind": "Shirt"},
                    "versions": [{"name": "v1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": {"type": "object"}}}]}}))
            .await;
        let name = "shirts.example.com";
        let kind = "customresourcedefinitions";
        world.expect(kind, name, "/status/conditions/1/status", json!("True")).await;
        world
            .apply(json!({"apiVersion": "example.com/v1", "kind": "Shirt",
                "metadata": {"name": "red"}}))
            .await;
        world.delete(kind, name, Background).await;
        world.expect(kind, name, "", Value::Null).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rules_that_are_gathered_and_policies_that_are_checked() {
    survives(1, async |world| {
        let role = |name: &str, verb: &str| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": name, "labels": {"to": "all"}},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]})
        };
        world.apply(role("one", "get")).await;
        world
            .apply(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": "all"}, "rules": [], "aggregationRule": {
                    "clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]}}))
            .await;
        world.expect("clusterroles", "all", "/rules/0/verbs/0", json!("get")).await;
        world.apply(role("two", "list")).await;
        world.expect("clusterroles", "all", "/rules/1/verbs/0", json!("list")).await;
        world.delete("clusterroles", "one", Background).await;
        world.expect("clusterroles", "all", "/rules/0/verbs/0", json!("list")).await;
        world
            .apply(json!({"apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": {
                    "matchConstraints": {"resourceRules": [{"operations": ["CREATE"],
                        "apiGroups": ["apps"], "apiVersions": ["v1"],
                        "resources": ["deployments"]}]},
                    "validations": [{"expression": "object.spec.replicas > 'a'"}]}}))
            .await;
        let checked = "/status/typeChecking/expressionWarnings/0/fieldRef";
        let field = json!("spec.validations[0].expression");
        world.expect("validatingadmissionpolicies", "p", checked, field).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_cluster_keeps_for_newcomers() {
    survives(1, async |world| {
        world
            .apply(json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "kube-public"}}))
            .await;
        world.delete("serviceaccounts", "default/default", Background).await;
        world
            .apply(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "cluster-info", "namespace": "kube-public"},
                "data": {"kubeconfig": "{}"}}))
            .await;
        world
            .apply(json!({"apiVersion": "v1", "kind": "Secret",
                "type": "bootstrap.kubernetes.io/token",
                "metadata": {"name": "bootstrap-token-aaaaaa", "namespace": "kube-system"},
                "stringData": {"token-id": "aaaaaa", "token-secret": "0123456789abcdef",
                    "usage-bootstrap-signing": "true", "expiration": "2000-01-01T00:00:00Z"}}))
            .await;
        world.expect("secrets", "kube-system/bootstrap-token-aaaaaa", "", Value::Null).await;
        world
            .apply(json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
                "metadata": {"name": "more"}, "spec": {"cidrs": ["10.9.0.0/24"]}}))
            .await;
        let ready = "/status/conditions/0/status";
        world.expect("servicecidrs", "more", ready, json!("True")).await;
        world.delete("servicecidrs", "more", Background).await;
        world.expect("servicecidrs", "more", "", Value::Null).await;
    })
    .await;
}
