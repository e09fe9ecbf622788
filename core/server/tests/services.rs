//! Addresses and ports of services.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use pinnace_api::patch::Patch;
use pinnace_api::{Catalog, Key, Result, Typed};
use pinnace_client::{Api, Client, DeleteOptions, ListOptions};
use pinnace_env::Env;
use pinnace_server::{Server, ServiceNetwork, User};
use pinnace_store::Store;
use serde_json::{Value, json};

async fn client(ranges: &[&str]) -> Client {
    let network = ServiceNetwork {
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        node_ports: 30_000..=30_039,
    };
    let builder = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1));
    let client = builder.services(network).build().client(User::host());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    client.of::<Namespace>().unwrap().create(namespace).await.unwrap();
    client
}

fn service(name: &str, spec: Value) -> Service {
    let mut spec = spec;
    if spec["ports"].is_null() && spec["type"] != "ExternalName" {
        spec["ports"] = json!([{"port": 80}]);
    }
    let metadata = json!({"name": name, "namespace": "default"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn shown(service: &Typed<Service>) -> String {
    let spec = service.spec.as_ref().unwrap();
    let join = |list: &Option<Vec<String>>| list.clone().unwrap_or_default().join(",");
    format!(
        "{} {} {}",
        join(&spec.cluster_ips),
        join(&spec.ip_families),
        spec.ip_family_policy.as_deref().unwrap_or("-")
    )
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

fn check_error<T: std::fmt::Debug>(result: Result<T>, part: &str) {
    let error = result.unwrap_err();
    assert!(error.message().contains(part), "{:?} lacks {part:?}", error.message());
}

async fn taken(client: &Client) -> Vec<String> {
    let api: Api<IPAddress> = client.of().unwrap();
    let list = api.list(None, ListOptions::default()).await.unwrap();
    list.items.iter().map(|address| address.object().name().to_owned()).collect()
}

#[tokio::test]
async fn families_and_addresses_follow_from_what_is_asked_for() {
    let single: &[&str] = &["10.0.0.0/30"];
    let dual: &[&str] = &["10.0.0.0/30", "fd00::/126"];
    let cases: &[(&[&str], Value, &str)] = &[
        (single, json!({"clusterIP": "10.0.0.2"}), "10.0.0.2 IPv4 SingleStack"),
        (single, json!({"clusterIP": "None", "selector": {"a": "b"}}), "None IPv4 SingleStack"),
        (single, json!({"clusterIP": "None"}), "None IPv4,IPv6 RequireDualStack"),
        (single, json!({"type": "ExternalName", "externalName": "a.b"}), "  -"),
        (
            dual,
            json!({"clusterIPs": ["fd00::2"], "clusterIP": "fd00::2"}),
            "fd00::2 IPv6 SingleStack",
        ),
        (
            dual,
            json!({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.0.0.1",
                   "clusterIPs": ["10.0.0.1", "fd00::1"]}),
            "10.0.0.1,fd00::1 IPv4,IPv6 PreferDualStack",
        ),
    ];
    for (ranges, spec, expected) in cases {
        let services: Api<Service> = client(ranges).await.of().unwrap();
        let made = services.create(service("a", spec.clone())).await.unwrap();
        assert_eq!(shown(&made), *expected, "{spec}");
    }
}

#[tokio::test]
async fn what_is_taken_or_not_to_be_had_is_refused() {
    let services: Api<Service> = client(&["10.0.0.0/24"]).await.of().unwrap();
    let first = json!({"type": "NodePort", "clusterIP": "10.0.0.9",
        "ports": [{"port": 80, "nodePort": 30_001}]});
    services.create(service("first", first)).await.unwrap();
    let cases = [
        (
            json!({"clusterIP": "10.0.0.9"}),
            "failed to allocate IP 10.0.0.9: provided IP is already allocated",
        ),
        (json!({"clusterIP": "10.0.1.9"}), "The range of valid IPs is 10.0.0.0/24"),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_001}]}),
            "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 99}]}),
            "The range of valid ports is 30000-30039",
        ),
        (json!({"ipFamilyPolicy": "RequireDualStack"}), "not configured for dual-stack services"),
        (
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
    ];
    for (spec, part) in cases {
        check_error(services.create(service("a", spec)).await, part);
    }
}

#[tokio::test]
async fn addresses_come_back_when_a_service_goes_or_no_longer_has_one() {
    let client = client(&["10.0.0.0/24"]).await;
    let services: Api<Service> = client.of().unwrap();
    let made = services.create(service("a", json!({}))).await.unwrap();
    let address = made.spec.as_ref().unwrap().cluster_ip.clone().unwrap();
    assert_eq!(taken(&client).await, std::slice::from_ref(&address));
    let name = json!({"spec": {"type": "ExternalName", "externalName": "x.y", "ports": null}});
    services.patch(&key("a"), Patch::Merge(name)).await.unwrap();
    assert_eq!(taken(&client).await, Vec::<String>::new());
    let back = json!({"spec": {"type": "ClusterIP", "externalName": null, "ports": [{"port": 1}]}});
    services.patch(&key("a"), Patch::Merge(back)).await.unwrap();
    assert_eq!(taken(&client).await.len(), 1);
    services.delete(&key("a"), DeleteOptions::default()).await.unwrap();
    assert_eq!(taken(&client).await, Vec::<String>::new());
    services.create(service("b", json!({"clusterIP": address}))).await.unwrap();
}

#[tokio::test]
async fn services_made_at_once_share_nothing_and_the_range_ends() {
    let services: Api<Service> = client(&["10.0.0.0/27"]).await.of().unwrap();
    let create = |index: usize| {
        let services = services.clone();
        async move { services.create(service(&format!("s{index}"), json!({"type": "NodePort"}))).await }
    };
    let made: Vec<_> =
        join_all((0..30).map(create)).await.into_iter().map(Result::unwrap).collect();
    let spec = |made: &Typed<Service>| made.spec.clone().unwrap();
    let addresses: BTreeSet<_> = made.iter().map(|made| spec(made).cluster_ip).collect();
    let ports: BTreeSet<_> =
        made.iter().map(|made| spec(made).ports.unwrap()[0].node_port).collect();
    assert_eq!((addresses.len(), ports.len()), (30, 30));
    check_error(create(99).await, "failed to allocate a serviceIP: range is full");
}

#[tokio::test]
async fn a_range_that_an_object_adds_is_used_when_the_first_is_full() {
    let client = client(&["10.0.0.0/30"]).await;
    let services: Api<Service> = client.of().unwrap();
    let added = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.1.0.0/24"]}});
    let ranges: Api<ServiceCIDR> = client.of().unwrap();
    ranges.create(serde_json::from_value(added).unwrap()).await.unwrap();
    for (name, expected) in [("a", "10.0.0."), ("b", "10.0.0."), ("c", "10.1.0.")] {
        let made = services.create(service(name, json!({}))).await.unwrap();
        let address = made.spec.as_ref().unwrap().cluster_ip.clone().unwrap();
        assert!(address.starts_with(expected), "{name} has {address}");
    }
    services.create(service("d", json!({"clusterIP": "10.1.0.7"}))).await.unwrap();
    let outside = services.create(service("e", json!({"clusterIP": "10.2.0.7"}))).await;
    check_error(outside, "is not in the valid range");
}

#[tokio::test]
async fn ports_are_shared_by_protocols_kept_and_given_back() {
    let services: Api<Service> = client(&["10.0.0.0/24"]).await.of().unwrap();
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [
        {"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53, "protocol": "TCP"}
    ]});
    let made = services.create(service("a", spec)).await.unwrap();
    let ports = |made: &Typed<Service>| -> Vec<_> {
        let ports = made.spec.clone().unwrap().ports.unwrap();
        ports.iter().map(|port| port.node_port).collect()
    };
    let given = ports(&made);
    assert!(given[0].is_some() && given[0] == given[1], "{given:?}");
    let health = made.spec.as_ref().unwrap().health_check_node_port;
    assert!(health.is_some() && health != given[0]);
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    let same = services.patch(&key("a"), Patch::Merge(label)).await.unwrap();
    assert_eq!(ports(&same), given);
    let inside = json!({"spec": {"type": "ClusterIP"}});
    let inside = services.patch(&key("a"), Patch::Merge(inside)).await.unwrap();
    assert_eq!(ports(&inside), [None, None]);
    let spec = json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": given[0]}]});
    services.create(service("b", spec)).await.unwrap();
}
