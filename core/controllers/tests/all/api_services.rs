//! Servers of other groups, and whether they are there.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_api::Catalog;
use pinnace_client::PropagationPolicy;
use serde_json::{Value, json};

use crate::harness::{BROKEN, Cluster};

const NAME: &str = "v1.example.com";
const LOCAL: &str = "Local APIServices are always available";

fn api_service(more: Value) -> Value {
    let mut service = json!({"metadata": {"name": NAME}, "spec": {"group": "example.com", "version": "v1",
        "groupPriorityMinimum": 1000, "versionPriority": 15, "insecureSkipTLSVerify": true,
        "service": {"namespace": "default", "name": "a"}}});
    for (field, value) in more.as_object().unwrap() {
        service[field] = value.clone();
    }
    service
}

fn condition(service: &APIService) -> (String, String, String) {
    let conditions = service.status.as_ref().and_then(|status| status.conditions.clone());
    let found = conditions.into_iter().flatten().find(|one| one.type_ == "Available");
    let found = found
        .map(|one| (one.status, one.reason.unwrap_or_default(), one.message.unwrap_or_default()));
    found.unwrap_or_default()
}

async fn says(cluster: &Cluster, name: &str, status: &str, reason: &str, message: &str) {
    let expected = (status.to_owned(), reason.to_owned(), message.to_owned());
    let is = |found: Option<&APIService>| found.is_some_and(|found| condition(found) == expected);
    cluster.until(name, is).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_said_until_nothing_is() {
    let cluster = Cluster::start().await;
    cluster.make::<APIService>(api_service(json!({}))).await;
    says(&cluster, NAME, "False", "ServiceNotFound", "service/a in \"default\" is not present")
        .await;
    let meta = json!({"name": "a", "namespace": "default"});
    cluster.make::<Service>(json!({"metadata": meta, "spec": {"ports": [{"port": 80}]}})).await;
    says(
        &cluster,
        NAME,
        "False",
        "ServicePortError",
        "service/a in \"default\" is not listening on port 443",
    )
    .await;
    cluster
        .edit::<Service>("default/a", |service| {
            service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].port = 443;
        })
        .await;
    says(
        &cluster,
        NAME,
        "False",
        "EndpointsNotFound",
        "cannot find endpointslices for service/a in \"default\"",
    )
    .await;
    let meta =
        json!({"name": "s", "namespace": "default", "labels": {"kubernetes.io/service-name": "a"}});
    let slice = json!({"metadata": meta, "addressType": "IPv4", "ports": [{"name": "", "port": 443}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}]});
    cluster.make::<EndpointSlice>(slice).await;
    says(
        &cluster,
        NAME,
        "False",
        "MissingEndpoints",
        "endpointslices for service/a in \"default\" have no addresses with port name \"\"",
    )
    .await;
    cluster
        .edit::<EndpointSlice>("default/s", |slice| {
            slice.endpoints.as_mut().unwrap()[0].conditions.as_mut().unwrap().ready = Some(true);
        })
        .await;
    says(&cluster, NAME, "True", "Passed", "all checks passed").await;
    cluster
        .edit::<APIService>(NAME, |service| {
            let annotations = service.metadata.annotations.get_or_insert_default();
            annotations.insert(BROKEN.to_owned(), "no answer".to_owned());
        })
        .await;
    says(&cluster, NAME, "False", "FailedDiscoveryCheck", "no answer").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_served_here_is_always_there() {
    let cluster = Cluster::start().await;
    let local = json!({"spec": {"group": "example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15}});
    cluster.make::<APIService>(api_service(local)).await;
    says(&cluster, NAME, "True", "Local", LOCAL).await;
    cluster.stop().await;
}

/// What an object says of how it is managed, and its priorities.
fn managed(service: &APIService) -> (String, i32, i32) {
    let labels = service.metadata.labels.iter().flatten();
    let how = labels.map(|(key, value)| format!("{key}={value}")).collect();
    let spec = service.spec.as_ref().unwrap();
    (how, spec.group_priority_minimum, spec.version_priority)
}

const ON_START: &str = "kube-aggregator.kubernetes.io/automanaged=onstart";
const ALWAYS: &str = "kube-aggregator.kubernetes.io/automanaged=true";

async fn is_managed(cluster: &Cluster, name: &str, how: &str, group: i32, version: i32) {
    let expected = (how.to_owned(), group, version);
    cluster.until(name, |found| found.is_some_and(|found| managed(found) == expected)).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_is_built_in_has_one_that_is_made_anew_when_it_is_deleted() {
    let mut cluster = Cluster::start().await;
    for kind in Catalog::builtin().all() {
        if kind.group != "apiregistration.k8s.io" {
            let name = format!("{}.{}", kind.version, kind.group);
            says(&cluster, &name, "True", "Local", LOCAL).await;
        }
    }
    is_managed(&cluster, "v1.", ON_START, 18_000, 1).await;
    is_managed(&cluster, "v1.apps", ON_START, 17_800, 15).await;
    is_managed(&cluster, "v2.autoscaling", ON_START, 17_500, 30).await;
    // Upstream's is another server, whose own object this one makes room for.
    is_managed(&cluster, "v1beta1.metrics.k8s.io", "", 100, 100).await;
    cluster.delete::<APIService>("v1.apps", PropagationPolicy::Background).await;
    is_managed(&cluster, "v1.apps", ON_START, 17_800, 15).await;
    let change = |service: &mut APIService| {
        service.spec.as_mut().unwrap().version_priority = 7;
    };
    cluster.edit("v1.batch", change).await;
    cluster.edit("v1beta1.metrics.k8s.io", change).await;
    cluster.pass(60).await;
    is_managed(&cluster, "v1.batch", ON_START, 17_400, 7).await;
    cluster.restart_controllers().await;
    is_managed(&cluster, "v1.batch", ON_START, 17_400, 15).await;
    is_managed(&cluster, "v1beta1.metrics.k8s.io", "", 100, 7).await;
    cluster.stop().await;
}

fn definition(plural: &str, served: &[&str]) -> Value {
    let version = |(at, name): (usize, &&str)| {
        json!({"name": name, "served": true, "storage": at == 0,
            "schema": {"openAPIV3Schema": {"type": "object"}}})
    };
    let versions: Vec<Value> = served.iter().enumerate().map(version).collect();
    json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {
        "group": "example.com", "scope": "Namespaced", "versions": versions,
        "names": {"plural": plural, "kind": plural}}})
}

#[tokio::test(start_paused = true)]
async fn versions_of_custom_kinds_have_one_for_as_long_as_a_definition_serves_them() {
    let mut cluster = Cluster::start().await;
    cluster.make::<CustomResourceDefinition>(definition("shirts", &["v1", "v1beta1"])).await;
    cluster.make::<CustomResourceDefinition>(definition("shoes", &["v1"])).await;
    is_managed(&cluster, NAME, ALWAYS, 1000, 100).await;
    is_managed(&cluster, "v1beta1.example.com", ALWAYS, 1000, 100).await;
    says(&cluster, NAME, "True", "Local", LOCAL).await;
    cluster.delete::<APIService>(NAME, PropagationPolicy::Background).await;
    is_managed(&cluster, NAME, ALWAYS, 1000, 100).await;
    let change = |service: &mut APIService| {
        service.spec.as_mut().unwrap().group_priority_minimum = 7;
    };
    cluster.edit(NAME, change).await;
    is_managed(&cluster, NAME, ALWAYS, 1000, 100).await;
    let background = PropagationPolicy::Background;
    cluster.delete::<CustomResourceDefinition>("shirts.example.com", background).await;
    cluster.gone::<APIService>("v1beta1.example.com").await;
    assert!(cluster.find::<APIService>(NAME).await.is_some(), "shoes are still served");
    cluster.restart_controllers().await;
    cluster.delete::<CustomResourceDefinition>("shoes.example.com", background).await;
    cluster.gone::<APIService>(NAME).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_say_that_it_is_managed_is_left_alone() {
    let cluster = Cluster::start().await;
    cluster.make::<APIService>(api_service(json!({}))).await;
    cluster.make::<CustomResourceDefinition>(definition("shirts", &["v1"])).await;
    says(&cluster, NAME, "False", "ServiceNotFound", "service/a in \"default\" is not present")
        .await;
    let background = PropagationPolicy::Background;
    cluster.delete::<CustomResourceDefinition>("shirts.example.com", background).await;
    cluster.gone::<CustomResourceDefinition>("shirts.example.com").await;
    cluster.pass(60).await;
    is_managed(&cluster, NAME, "", 1000, 15).await;
    cluster.stop().await;
}
