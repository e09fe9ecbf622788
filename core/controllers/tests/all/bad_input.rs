//! What people get wrong: refused with upstream's words, or told by an Event, and never by a storm of
//! objects.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use pinnace_client::PropagationPolicy::Background;
use serde_json::{Value, json};

use crate::harness::{Cluster, condition};

fn template(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn deployment(name: &str, selects: &str, labels: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": selects}}, "template": template(labels)}})
}

fn job(spec: Value) -> Value {
    let mut spec = spec;
    spec["template"] =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    json!({"metadata": {"name": "sum", "namespace": "default"}, "spec": spec})
}

#[tokio::test(start_paused = true)]
async fn a_selector_must_match_its_template_and_stay() {
    let cluster = Cluster::start().await;
    let api = cluster.api::<Deployment>();
    let wrong = serde_json::from_value(deployment("a", "web", "other")).unwrap();
    let error = api.create(wrong).await.unwrap_err();
    assert!(error.message().contains("`selector` does not match template `labels`"), "{error}");
    let made = cluster.make::<Deployment>(deployment("a", "web", "web")).await;
    let mut new = made.to_owned();
    let spec = new.spec.as_mut().unwrap();
    let selector = [("app".to_owned(), "new".to_owned())];
    spec.selector.match_labels = Some(selector.clone().into());
    spec.template.metadata.as_mut().unwrap().labels = Some(selector.into());
    let error = api.update(new).await.unwrap_err();
    assert!(error.message().contains("field is immutable"), "{error}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_that_select_the_same_do_not_fight() {
    let cluster = Cluster::start().await;
    for name in ["a", "b"] {
        cluster.make::<ReplicaSet>(deployment(name, "web", "web")).await;
        cluster.make::<Deployment>(deployment(&format!("d-{name}"), "web", "web")).await;
    }
    cluster.run_pods_for(5).await;
    let before: Vec<_> = cluster.all::<Pod>().await.iter().map(|pod| pod.object().key()).collect();
    assert_eq!(before.len(), 8, "two each");
    cluster.run_pods_for(20).await;
    let after: Vec<_> = cluster.all::<Pod>().await.iter().map(|pod| pod.object().key()).collect();
    assert_eq!(before, after);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_huge_parallelism_makes_as_many_pods_as_there_is_work() {
    let cluster = Cluster::start().await;
    cluster.make::<Job>(job(json!({"parallelism": i32::MAX, "completions": 3}))).await;
    cluster.pass(5).await;
    assert_eq!(cluster.all::<Pod>().await.len(), 3);
    let mut indexed = job(json!({"parallelism": 200_000, "completions": 200_000,
        "completionMode": "Indexed"}));
    indexed["metadata"]["name"] = json!("indexed");
    let error = cluster.api::<Job>().create(serde_json::from_value(indexed).unwrap()).await;
    let error = error.unwrap_err();
    assert!(error.message().contains("must be less than or equal to 100000"), "{error}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_never_comes_makes_nothing() {
    let cluster = Cluster::start().await;
    let cron = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
            "schedule": "0 0 31 2 *", "jobTemplate": {"spec": job(json!({}))["spec"]}}})
    };
    cluster.make::<CronJob>(cron("never")).await;
    cluster.pass(3 * 24 * 3600).await;
    assert!(cluster.all::<Job>().await.is_empty());
    let why = "invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 \
               second";
    assert_eq!(cluster.events("InvalidSchedule").await, [why]);
    let long = serde_json::from_value(cron(&"x".repeat(53))).unwrap();
    let error = cluster.api::<CronJob>().create(long).await.unwrap_err();
    assert!(error.message().contains("must be no more than 52 characters"), "{error}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn names_that_are_too_long_for_what_is_made_are_told() {
    let cluster = Cluster::start().await;
    let long = "x".repeat(250);
    cluster.make::<Deployment>(deployment(&long, "web", "web")).await;
    cluster.pass(5).await;
    let found = cluster.get::<Deployment>(&format!("default/{long}")).await;
    let progress = condition(&*found, "Progressing");
    assert!(progress.starts_with("False ReplicaSetCreateError"), "{progress}");
    assert_eq!(cluster.all::<ReplicaSet>().await.len(), 0);
    let mut set = deployment(&"y".repeat(64), "db", "db");
    set["spec"]["serviceName"] = json!("db");
    let set = serde_json::from_value(set).unwrap();
    let error = cluster.api::<StatefulSet>().create(set).await.unwrap_err();
    assert!(error.message().contains("must be no more than 63 characters"), "{error}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_over_several_controllers_counts_the_pods_of_all() {
    let cluster = Cluster::start().await;
    for name in ["a", "b"] {
        cluster.make::<ReplicaSet>(deployment(name, "web", "web")).await;
    }
    cluster.run_pods_for(3).await;
    let budget = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
            "maxUnavailable": "50%", "selector": {"matchLabels": {"app": "web"}}}})
    };
    cluster.make::<PodDisruptionBudget>(budget("one")).await;
    cluster.pass(1).await;
    let one = cluster.get::<PodDisruptionBudget>("default/one").await;
    let status = one.status.clone().unwrap();
    assert_eq!((status.expected_pods, status.desired_healthy), (Some(4), Some(2)));
    // Two budgets over one pod: who evicts it would not know which to ask.
    cluster.make::<PodDisruptionBudget>(budget("two")).await;
    let pod = cluster.all::<Pod>().await.remove(0);
    let eviction = serde_json::from_value(json!({"metadata": {"name": pod.object().name()}}));
    let error = cluster.api::<Pod>().evict(&pod.object().key(), eviction.unwrap()).await;
    let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does \
               not support.";
    assert_eq!(error.unwrap_err().message(), why);
    cluster.delete::<Pod>(&pod.object().key().to_string(), Background).await;
    cluster.run_pods_for(2).await;
    let told = cluster.events("MultiplePodDisruptionBudgets").await;
    let end = "matches multiple PodDisruptionBudgets.  Chose \"one\" arbitrarily.";
    assert!(told.iter().any(|message| message.ends_with(end)), "{told:?}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_over_nothing_says_so() {
    let cluster = Cluster::start().await;
    let budget = json!({"metadata": {"name": "b", "namespace": "default"}, "spec": {
        "minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    cluster.make::<PodDisruptionBudget>(budget).await;
    cluster.pass(1).await;
    assert_eq!(cluster.events("NoPods").await, ["No matching pods found"]);
    cluster.stop().await;
}
