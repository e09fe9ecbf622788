//! Servers of other groups, and whether they are there.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::{Value, json};

use crate::harness::{BROKEN, Cluster};

const NAME: &str = "v1.example.com";

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

async fn says(cluster: &Cluster, status: &str, reason: &str, message: &str) {
    let expected = (status.to_owned(), reason.to_owned(), message.to_owned());
    let is = |found: Option<&APIService>| found.is_some_and(|found| condition(found) == expected);
    cluster.until(NAME, is).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_said_until_nothing_is() {
    let cluster = Cluster::start().await;
    cluster.make::<APIService>(api_service(json!({}))).await;
    says(&cluster, "False", "ServiceNotFound", "service/a in \"default\" is not present").await;
    let meta = json!({"name": "a", "namespace": "default"});
    cluster.make::<Service>(json!({"metadata": meta, "spec": {"ports": [{"port": 80}]}})).await;
    says(
        &cluster,
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
    says(&cluster, "True", "Passed", "all checks passed").await;
    cluster
        .edit::<APIService>(NAME, |service| {
            let annotations = service.metadata.annotations.get_or_insert_default();
            annotations.insert(BROKEN.to_owned(), "no answer".to_owned());
        })
        .await;
    says(&cluster, "False", "FailedDiscoveryCheck", "no answer").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_served_here_is_always_there() {
    let cluster = Cluster::start().await;
    let local = json!({"spec": {"group": "example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15}});
    cluster.make::<APIService>(api_service(local)).await;
    says(&cluster, "True", "Local", "Local APIServices are always available").await;
    cluster.stop().await;
}
