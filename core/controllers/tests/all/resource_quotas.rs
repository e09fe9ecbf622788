//! What a namespace may use: charged when it is written, given back when it goes.

use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use pinnace_api::{Draft, Key, Object, Result};
use pinnace_client::{DeleteOptions, PropagationPolicy, WriteOptions};
use serde_json::{Value, json};

use crate::harness::Cluster;

async fn quota(cluster: &Cluster, name: &str, spec: Value) {
    let meta = json!({"name": name, "namespace": "default"});
    cluster.make::<ResourceQuota>(json!({"metadata": meta, "spec": spec})).await;
    cluster
        .until::<ResourceQuota>(&format!("default/{name}"), |found| {
            let found = serde_json::to_value(found.unwrap()).unwrap();
            found["status"]["hard"] == found["spec"]["hard"]
        })
        .await;
}

async fn used(cluster: &Cluster, quota: &str, name: &str) -> String {
    let quota = cluster.get::<ResourceQuota>(&format!("default/{quota}")).await;
    let used = quota.status.as_ref().unwrap().used.as_ref().unwrap();
    used.get(name).map_or("none".to_owned(), |amount| amount.0.clone())
}

async fn comes_to(cluster: &Cluster, quota: &str, name: &str, wanted: &str) {
    cluster
        .until::<ResourceQuota>(&format!("default/{quota}"), |found| {
            let used = found.unwrap().status.as_ref().unwrap().used.as_ref().unwrap();
            used[name].0 == wanted
        })
        .await;
}

async fn create(cluster: &Cluster, kind: &str, name: &str, more: Value) -> Result<Object> {
    let api = cluster.client.named(kind)?;
    let mut object = more;
    object["apiVersion"] = api.resource().api_version().into();
    object["kind"] = (&*api.resource().kind).into();
    object["metadata"]["name"] = name.into();
    object["metadata"]["namespace"] = "default".into();
    let draft = Draft::from_value(api.resource().codec, object)?;
    api.create(draft, WriteOptions::default()).await
}

async fn delete(cluster: &Cluster, kind: &str, name: &str) {
    let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    let api = cluster.client.named(kind).unwrap();
    api.delete(&Key::new("default", name), options).await.unwrap();
}

fn pod(resources: Value, more: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i", "resources": resources}]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({ "spec": spec })
}

fn template(kind: &str) -> Value {
    let container = json!({"name": "c", "image": "i"});
    let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    match kind {
        "replicaset" => json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                                        "template": pod}}),
        "replicationcontroller" => json!({"spec": {"replicas": 0, "selector": {"a": "b"},
                                                   "template": pod}}),
        "service" => {
            json!({"spec": {"type": "LoadBalancer", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}})
        }
        "persistentvolumeclaim" => json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}),
        "resourceclaim" => json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "gpu", "count": 2}},
            {"name": "b", "firstAvailable": [
                {"name": "x", "deviceClassName": "gpu", "count": 3},
                {"name": "y", "deviceClassName": "gpu", "count": 1}]}]}}}),
        _ => json!({}),
    }
}

#[tokio::test(start_paused = true)]
async fn the_life_of_an_object_is_captured() {
    let cluster = Cluster::start().await;
    let hard = json!({
        "configmaps": "9", "secrets": "9", "replicationcontrollers": "9", "resourcequotas": "9",
        "services": "9", "services.loadbalancers": "9", "services.nodeports": "9",
        "persistentvolumeclaims": "9", "requests.storage": "9Gi",
        "gold.storageclass.storage.k8s.io/requests.storage": "9Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "9",
        "count/replicasets.apps": "9", "count/configmaps": "9",
        "gpu.deviceclass.resource.k8s.io/devices": "9"});
    quota(&cluster, "q", json!({ "hard": hard })).await;
    assert_eq!(used(&cluster, "q", "resourcequotas").await, "1", "itself");
    assert_eq!(used(&cluster, "q", "count/configmaps").await, "1", "the cluster's certificate");
    let table = [
        ("configmap", &[("configmaps", "2", "1"), ("count/configmaps", "2", "1")][..]),
        ("secret", &[("secrets", "1", "0")]),
        ("replicationcontroller", &[("replicationcontrollers", "1", "0")]),
        ("replicaset", &[("count/replicasets.apps", "1", "0")]),
        (
            "service",
            &[
                ("services", "1", "0"),
                ("services.loadbalancers", "1", "0"),
                ("services.nodeports", "2", "0"),
            ],
        ),
        (
            "persistentvolumeclaim",
            &[
                ("persistentvolumeclaims", "1", "0"),
                ("requests.storage", "1Gi", "0"),
                ("gold.storageclass.storage.k8s.io/requests.storage", "1Gi", "0"),
            ],
        ),
        ("resourceclaim", &[("gpu.deviceclass.resource.k8s.io/devices", "5", "0")]),
    ];
    for (kind, uses) in table {
        create(&cluster, kind, "x", template(kind)).await.unwrap();
        for (name, with, _) in uses {
            assert_eq!(&used(&cluster, "q", name).await, with, "{name} at once");
        }
        delete(&cluster, kind, "x").await;
        for (name, _, without) in uses {
            comes_to(&cluster, "q", name, without).await;
        }
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_are_charged_and_refused() {
    let cluster = Cluster::start().await;
    let hard = json!({"pods": "5", "cpu": "1", "memory": "500Mi", "ephemeral-storage": "30Gi",
                      "requests.example.com/dongle": "2", "limits.cpu": "3", "count/pods": "9"});
    quota(&cluster, "q", json!({ "hard": hard })).await;
    let asks = |cpu: &str| {
        json!({"requests": {"cpu": cpu, "memory": "252Mi", "ephemeral-storage": "20Gi",
                            "example.com/dongle": "1"},
               "limits": {"cpu": "1", "example.com/dongle": "1"}})
    };
    create(&cluster, "pod", "a", pod(asks("500m"), json!({}))).await.unwrap();
    let charged = [
        ("pods", "1"),
        ("cpu", "500m"),
        ("memory", "252Mi"),
        ("limits.cpu", "1"),
        ("ephemeral-storage", "20Gi"),
        ("requests.example.com/dongle", "1"),
    ];
    for (name, amount) in charged {
        assert_eq!(used(&cluster, "q", name).await, amount, "{name}");
    }
    let refused = create(&cluster, "pod", "b", pod(asks("600m"), json!({}))).await.unwrap_err();
    assert_eq!(refused.code(), 403);
    assert_eq!(
        refused.message(),
        "pods \"b\" is forbidden: exceeded quota: q, \
         requested: cpu=600m,ephemeral-storage=20Gi,memory=252Mi, \
         used: cpu=500m,ephemeral-storage=20Gi,memory=252Mi, \
         limited: cpu=1,ephemeral-storage=30Gi,memory=500Mi"
    );
    let silent = create(&cluster, "pod", "b", pod(json!({}), json!({}))).await.unwrap_err();
    assert_eq!(
        silent.message(),
        "pods \"b\" is forbidden: failed quota: q: must specify cpu for: c; limits.cpu for: c; \
         memory for: c"
    );
    // A pod that has ended is one of the objects and nothing more.
    cluster
        .report::<Pod>("default/a", |pod| {
            pod.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
        })
        .await;
    comes_to(&cluster, "q", "cpu", "0").await;
    assert_eq!(used(&cluster, "q", "count/pods").await, "1");
    delete(&cluster, "pod", "a").await;
    comes_to(&cluster, "q", "count/pods", "0").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn scopes_choose_what_counts() {
    let cluster = Cluster::start().await;
    let class = json!({"metadata": {"name": "high"}, "value": 1000});
    cluster.make::<k8s_openapi::api::scheduling::v1::PriorityClass>(class).await;
    let of = |scopes: Value| json!({"hard": {"pods": "5"}, "scopes": scopes});
    let selecting = |scope: &str, operator: &str, values: Value| {
        let wanted = json!({"scopeName": scope, "operator": operator, "values": values});
        json!({"hard": {"pods": "5"}, "scopeSelector": {"matchExpressions": [wanted]}})
    };
    let quotas = [
        ("terminating", of(json!(["Terminating"]))),
        ("lasting", of(json!(["NotTerminating"]))),
        ("best-effort", of(json!(["BestEffort"]))),
        ("burstable", of(json!(["NotBestEffort"]))),
        ("crossing", of(json!(["CrossNamespacePodAffinity"]))),
        ("high", selecting("PriorityClass", "In", json!(["high"]))),
        ("not-high", selecting("PriorityClass", "NotIn", json!(["high"]))),
        ("any", selecting("PriorityClass", "Exists", json!([]))),
        ("both", of(json!(["NotBestEffort", "Terminating"]))),
    ];
    for (name, spec) in &quotas {
        quota(&cluster, name, spec.clone()).await;
    }
    let cpu = json!({"requests": {"cpu": "1"}});
    let far = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "namespaces": ["other"], "labelSelector": {}}]}});
    let table = [
        (pod(json!({}), json!({})), &["lasting", "best-effort", "not-high"][..]),
        (pod(cpu.clone(), json!({})), &["lasting", "burstable", "not-high"]),
        (
            pod(cpu, json!({"activeDeadlineSeconds": 3600})),
            &["terminating", "burstable", "not-high", "both"],
        ),
        (
            pod(json!({}), json!({"priorityClassName": "high"})),
            &["lasting", "best-effort", "high", "any"],
        ),
        (
            pod(json!({}), json!({"affinity": far})),
            &["lasting", "best-effort", "not-high", "crossing"],
        ),
    ];
    for (object, counted) in table {
        create(&cluster, "pod", "p", object).await.unwrap();
        for (name, _) in &quotas {
            let wanted = if counted.contains(name) { "1" } else { "0" };
            assert_eq!(used(&cluster, name, "pods").await, wanted, "{name}");
        }
        delete(&cluster, "pod", "p").await;
        for (name, _) in &quotas {
            comes_to(&cluster, name, "pods", "0").await;
        }
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_writers_never_exceed_a_quota_that_is_made_meanwhile() {
    let cluster = Cluster::start().await;
    cluster.make::<Namespace>(json!({"metadata": {"name": "busy"}})).await;
    let mut writers = Vec::new();
    for number in 0..200 {
        let api = cluster.client.named("secret").unwrap();
        if number == 20 {
            let meta = json!({"name": "q", "namespace": "busy"});
            let spec = json!({"hard": {"secrets": "60"}});
            cluster.make::<ResourceQuota>(json!({"metadata": meta, "spec": spec})).await;
        }
        let value = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("s{number}"), "namespace": "busy"}});
        writers.push(tokio::spawn(async move {
            let draft = Draft::from_value(api.resource().codec, value).unwrap();
            let made = api.create(draft, WriteOptions::default()).await;
            tokio::task::yield_now().await;
            made.is_ok()
        }));
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut number = 1000;
    let made = loop {
        number += 1;
        let api = cluster.client.named("secret").unwrap();
        let value = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("s{number}"), "namespace": "busy"}});
        let draft = Draft::from_value(api.resource().codec, value).unwrap();
        match api.create(draft, WriteOptions::default()).await {
            Ok(_) => cluster.pass(1).await,
            Err(error) => break error,
        }
    };
    assert!(made.message().contains("exceeded quota: q, requested: secrets=1"), "{made}");
    let quota = cluster.get::<ResourceQuota>("busy/q").await;
    let status = quota.status.as_ref().unwrap();
    let count = cluster.all::<k8s_openapi::api::core::v1::Secret>().await;
    let count = count.iter().filter(|one| one.object().namespace() == "busy").count();
    assert_eq!(status.used.as_ref().unwrap()["secrets"].0, count.to_string());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_others_write_is_mended() {
    let cluster = Cluster::start().await;
    quota(&cluster, "q", json!({"hard": {"cpu": "1", "pods": "2"}})).await;
    cluster
        .edit::<ResourceQuota>("default/q", |quota| {
            let hard = quota.spec.as_mut().unwrap().hard.as_mut().unwrap();
            hard.insert(
                "cpu".to_owned(),
                "2".parse::<pinnace_api::quantity::Quantity>().unwrap().into(),
            );
            hard.remove("pods");
        })
        .await;
    let is_settled = |found: Option<&ResourceQuota>| {
        let found = serde_json::to_value(found.unwrap()).unwrap();
        found["status"] == json!({"hard": {"cpu": "2"}, "used": {"cpu": "0"}})
            && found["spec"] == json!({"hard": {"cpu": "2"}})
    };
    cluster.until::<ResourceQuota>("default/q", is_settled).await;
    cluster
        .report::<ResourceQuota>("default/q", |quota| {
            let hard = &mut quota.status.as_mut().unwrap().hard;
            *hard = serde_json::from_value(json!({"cpu": "5"})).unwrap();
        })
        .await;
    cluster.until::<ResourceQuota>("default/q", is_settled).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn objects_of_custom_kinds_are_counted() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let cluster = Cluster::start().await;
    quota(&cluster, "q", json!({"hard": {"count/widgets.example.com": "1"}})).await;
    cluster
        .make::<CustomResourceDefinition>(json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema":
                {"openAPIV3Schema": {"type": "object"}}}]}}))
        .await;
    cluster.pass(1).await;
    create(&cluster, "widgets.example.com", "a", json!({})).await.unwrap();
    let refused = create(&cluster, "widgets.example.com", "b", json!({})).await.unwrap_err();
    assert_eq!(
        refused.message(),
        "widgets.example.com \"b\" is forbidden: exceeded quota: q, requested: \
         count/widgets.example.com=1, used: count/widgets.example.com=1, limited: \
         count/widgets.example.com=1"
    );
    delete(&cluster, "widgets.example.com", "a").await;
    comes_to(&cluster, "q", "count/widgets.example.com", "0").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_should_have_ended_is_found_when_all_is_counted_again() {
    let cluster = Cluster::start().await;
    quota(&cluster, "q", json!({"hard": {"pods": "1"}})).await;
    cluster.node("n1").await;
    cluster.pod_on("n1", "stuck", json!({"terminationGracePeriodSeconds": 30})).await;
    assert_eq!(used(&cluster, "q", "pods").await, "1");
    cluster.delete::<Pod>("default/stuck", PropagationPolicy::Background).await;
    cluster.beat(&["n1"], 20).await;
    assert_eq!(used(&cluster, "q", "pods").await, "1");
    cluster.beat(&["n1"], 400).await;
    cluster.get::<Pod>("default/stuck").await;
    assert_eq!(used(&cluster, "q", "pods").await, "0");
    cluster.stop().await;
}
