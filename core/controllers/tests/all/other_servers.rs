//! Objects of kinds that other servers serve are objects as all others are.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, Service};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_api::{Draft, DynamicObject, Key, Object};
use pinnace_client::{DeleteOptions, DynamicApi, ListOptions, PropagationPolicy, WriteOptions};
use pinnace_server::User;
use serde_json::{Value, json};

use crate::harness::{BROKEN, Cluster, Flunders, condition};

const NAME: &str = "v1.wardle.example.com";
const BACKGROUND: PropagationPolicy = PropagationPolicy::Background;

/// A cluster that another server belongs to.
async fn cluster() -> (Cluster, Flunders) {
    let cluster = Cluster::start().await;
    let flunders = cluster.serve_flunders();
    let meta = json!({"name": "wardle", "namespace": "default"});
    let spec = json!({"type": "ExternalName", "externalName": "wardle.example.com"});
    cluster.make::<Service>(json!({"metadata": meta, "spec": spec})).await;
    let spec = json!({"group": "wardle.example.com", "version": "v1",
        "groupPriorityMinimum": 1000, "versionPriority": 15, "insecureSkipTLSVerify": true,
        "service": {"namespace": "default", "name": "wardle"}});
    cluster.make::<APIService>(json!({"metadata": {"name": NAME}, "spec": spec})).await;
    passes(&cluster, "True").await;
    (cluster, flunders)
}

async fn passes(cluster: &Cluster, status: &str) {
    let is = |found: Option<&APIService>| {
        found.is_some_and(|found| condition(found, "Available").starts_with(status))
    };
    cluster.until(NAME, is).await;
}

fn flunders(cluster: &Cluster) -> DynamicApi {
    cluster.client.named("flunders").unwrap()
}

async fn make(cluster: &Cluster, namespace: &str, name: &str, owners: Value) -> Object {
    let object = json!({"apiVersion": "wardle.example.com/v1", "kind": "Flunder",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners}});
    let draft = Draft::new(serde_json::from_value::<DynamicObject>(object).unwrap());
    flunders(cluster).create(draft, WriteOptions::default()).await.unwrap()
}

async fn gone(cluster: &Cluster, key: &Key) {
    let gone = async {
        while flunders(cluster).find(key).await.unwrap().is_some() {
            cluster.pass(1).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(600), gone).await.unwrap();
}

fn owner(api_version: &str, kind: &str, object: &Object) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": object.name(), "uid": object.uid()}])
}

#[tokio::test(start_paused = true)]
async fn clients_in_the_process_reach_them_in_their_own_names() {
    let (cluster, server) = cluster().await;
    make(&cluster, "default", "a", json!([])).await;
    let listed = flunders(&cluster).list(None, ListOptions::default()).await.unwrap();
    assert_eq!(listed.items[0].to_value().unwrap()["kind"], "Flunder");
    assert!(listed.revision > 0);
    let mut draft = listed.items[0].draft().unwrap();
    draft.meta_mut().labels = Some([("b".to_owned(), "c".to_owned())].into());
    flunders(&cluster).update(draft, WriteOptions::default()).await.unwrap();
    let key = Key::new("default", "a");
    let found = flunders(&cluster).get(&key).await.unwrap();
    assert_eq!(found.labels().unwrap()["b"], "c");
    let missing = flunders(&cluster).get(&Key::new("default", "z")).await.unwrap_err();
    assert_eq!(missing.message(), "flunders.wardle.example.com \"z\" not found");
    let deleted = flunders(&cluster).delete(&key, DeleteOptions::default()).await.unwrap();
    assert_eq!(deleted.uid(), found.uid());
    assert!(server.users().iter().all(|user| user == "pinnace:host"));
    let jane = cluster.as_user(User::new("jane", Vec::new())).named("flunders").unwrap();
    let refused = jane.list(Some("default"), ListOptions::default()).await.unwrap_err();
    assert_eq!(
        refused.message(),
        "flunders.wardle.example.com is forbidden: User \"jane\" cannot list resource \"flunders\" \
         in API group \"wardle.example.com\" in the namespace \"default\""
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn they_own_and_are_owned() {
    let (cluster, _) = cluster().await;
    let map = |name: &str, owners: Value| json!({"metadata": {"name": name, "namespace": "default", "ownerReferences": owners}});
    let owning = cluster.make::<ConfigMap>(map("owner", json!([]))).await;
    let owned = make(&cluster, "default", "a", owner("v1", "ConfigMap", owning.object())).await;
    let other = make(&cluster, "default", "b", json!([])).await;
    let of_other = owner("wardle.example.com/v1", "Flunder", &other);
    cluster.make::<ConfigMap>(map("owned", of_other)).await;
    cluster.pass(60).await;
    assert!(flunders(&cluster).find(&owned.key()).await.unwrap().is_some());
    cluster.delete::<ConfigMap>("default/owner", BACKGROUND).await;
    gone(&cluster, &owned.key()).await;
    assert!(cluster.find::<ConfigMap>("default/owned").await.is_some());
    flunders(&cluster).delete(&other.key(), DeleteOptions::default()).await.unwrap();
    cluster.gone::<ConfigMap>("default/owned").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_they_own_stays_while_nobody_can_tell_whether_they_are_there() {
    let (cluster, server) = cluster().await;
    let other = make(&cluster, "default", "a", json!([])).await;
    server.is_away(true);
    let owners = owner("wardle.example.com/v1", "Flunder", &other);
    let meta = json!({"name": "owned", "namespace": "default", "ownerReferences": owners});
    cluster.make::<ConfigMap>(json!({ "metadata": meta })).await;
    cluster.pass(300).await;
    assert!(cluster.find::<ConfigMap>("default/owned").await.is_some());
    server.is_away(false);
    flunders(&cluster).delete(&other.key(), DeleteOptions::default()).await.unwrap();
    cluster.gone::<ConfigMap>("default/owned").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn quotas_count_them() {
    let (cluster, _) = cluster().await;
    make(&cluster, "default", "a", json!([])).await;
    let hard = json!({"count/flunders.wardle.example.com": "5", "count/configmaps": "50"});
    let quota = json!({"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}});
    cluster.make::<ResourceQuota>(quota).await;
    let uses = |count: &'static str| {
        move |found: Option<&ResourceQuota>| {
            let used = found.and_then(|found| found.status.as_ref()?.used.as_ref());
            let used = used.and_then(|used| used.get("count/flunders.wardle.example.com"));
            used.is_some_and(|used| used.0 == count)
        }
    };
    cluster.until("default/q", uses("1")).await;
    let key = Key::new("default", "a");
    flunders(&cluster).delete(&key, DeleteOptions::default()).await.unwrap();
    cluster.until("default/q", uses("0")).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_when_they_have_gone_and_waits_for_a_server_that_is_away() {
    let (cluster, server) = cluster().await;
    for name in ["n1", "n2"] {
        cluster.make::<Namespace>(json!({"metadata": {"name": name}})).await;
        make(&cluster, name, "a", json!([])).await;
    }
    cluster.delete::<Namespace>("n1", BACKGROUND).await;
    cluster.gone::<Namespace>("n1").await;
    assert!(flunders(&cluster).find(&Key::new("n1", "a")).await.unwrap().is_none());
    server.is_away(true);
    let breaks = |why: &'static str| {
        move |service: &mut APIService| {
            let annotations = service.metadata.annotations.get_or_insert_default();
            annotations.insert(BROKEN.to_owned(), why.to_owned());
        }
    };
    cluster.edit::<APIService>(NAME, breaks("no answer")).await;
    passes(&cluster, "False").await;
    cluster.delete::<Namespace>("n2", BACKGROUND).await;
    let failure = "True DiscoveryFailed Discovery failed for some groups, 1 failing: unable to \
                   retrieve the complete list of server APIs: wardle.example.com/v1: stale \
                   GroupVersion discovery: wardle.example.com/v1";
    let says = |found: Option<&Namespace>| {
        let said = found.map(|found| condition(found, "NamespaceDeletionDiscoveryFailure"));
        said.as_deref() == Some(failure)
    };
    cluster.until("n2", says).await;
    cluster.pass(600).await;
    assert!(cluster.find::<Namespace>("n2").await.is_some());
    server.is_away(false);
    let mends = |service: &mut APIService| service.metadata.annotations = None;
    cluster.edit::<APIService>(NAME, mends).await;
    cluster.gone::<Namespace>("n2").await;
    assert!(flunders(&cluster).find(&Key::new("n2", "a")).await.unwrap().is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_takes_its_kinds_along() {
    let (cluster, _) = cluster().await;
    let kind = flunders(&cluster);
    cluster.delete::<APIService>(NAME, BACKGROUND).await;
    cluster.gone::<APIService>(NAME).await;
    cluster.pass(1).await;
    assert!(cluster.client.named("flunders").is_err());
    let error = kind.list(None, ListOptions::default()).await.unwrap_err();
    assert_eq!(error.message(), "the server could not find the requested resource");
    cluster.make::<Namespace>(json!({"metadata": {"name": "n1"}})).await;
    cluster.delete::<Namespace>("n1", BACKGROUND).await;
    cluster.gone::<Namespace>("n1").await;
    cluster.stop().await;
}
