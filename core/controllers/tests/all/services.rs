//! Where services are served, and how many pods may be missing.

use crate::harness::{Cluster, condition};
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use pinnace_client::PropagationPolicy::Background;
use serde_json::{Value, json};

async fn service(cluster: &Cluster, spec: Value) {
    let mut spec = spec;
    spec["selector"] = json!({"app": "web"});
    cluster
        .make::<Service>(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}))
        .await;
}

/// A pod `web` with an address, on a node, that is ready or not.
async fn pod(cluster: &Cluster, number: usize, node: &str, ready: bool) {
    let name = format!("web-{number}");
    cluster
        .make::<Pod>(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i",
                "ports": [{"name": "http", "containerPort": 8080}]}]}
        }))
        .await;
    let address = format!("10.0.{}.{}", number / 200, number % 200 + 1);
    let ready = if ready { "True" } else { "False" };
    let status = json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": ready}]});
    cluster
        .report::<Pod>(&format!("default/{name}"), |pod| {
            pod.status = serde_json::from_value(status.clone()).unwrap();
        })
        .await;
}

/// `address ready serving terminating` of every endpoint.
async fn endpoints(cluster: &Cluster) -> Vec<String> {
    let slices = cluster.all::<EndpointSlice>().await;
    let all = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let mut all: Vec<_> = all
        .map(|endpoint| {
            let is = endpoint.conditions.clone().unwrap();
            let flag = |value: Option<bool>| if value == Some(true) { "+" } else { "-" };
            let flags = [is.ready, is.serving, is.terminating].map(flag).concat();
            format!("{} {flags}", endpoint.addresses[0])
        })
        .collect();
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn a_service_is_served_by_its_pods() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    service(&cluster, json!({"ports": [{"port": 80, "targetPort": "http"}]})).await;
    pod(&cluster, 0, "a", true).await;
    pod(&cluster, 1, "a", false).await;
    cluster.pass(1).await;
    assert_eq!(endpoints(&cluster).await, ["10.0.0.1 ++-", "10.0.0.2 ---"]);
    let slices = cluster.all::<EndpointSlice>().await;
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8080));
    let labels = slices[0].metadata.labels.clone().unwrap();
    assert_eq!(labels["kubernetes.io/service-name"], "web");
    let subsets = cluster.get::<Endpoints>("default/web").await.subsets.clone().unwrap();
    assert_eq!(subsets[0].addresses.as_ref().unwrap()[0].ip, "10.0.0.1");
    assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap()[0].ip, "10.0.0.2");
    cluster.delete::<Pod>("default/web-0", Background).await;
    cluster.pass(1).await;
    assert_eq!(endpoints(&cluster).await, ["10.0.0.1 -++", "10.0.0.2 ---"]);
    cluster.delete::<Service>("default/web", Background).await;
    cluster.pass(5).await;
    assert!(cluster.all::<EndpointSlice>().await.is_empty());
    assert!(cluster.find::<Endpoints>("default/web").await.is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn slices_hold_a_hundred_and_endpoints_stay_where_they_are() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    service(&cluster, json!({"ports": [{"port": 80}]})).await;
    for number in 0..150 {
        pod(&cluster, number, "a", true).await;
    }
    cluster.pass(1).await;
    let lengths = |slices: Vec<pinnace_api::Typed<EndpointSlice>>| {
        let mut all: Vec<_> =
            slices.iter().map(|one| one.endpoints.iter().flatten().count()).collect();
        all.sort_unstable();
        all
    };
    let before = lengths(cluster.all::<EndpointSlice>().await);
    assert_eq!(before.iter().sum::<usize>(), 150);
    assert!(before.iter().all(|length| *length <= 100), "{before:?}");
    pod(&cluster, 150, "a", true).await;
    cluster.pass(1).await;
    assert_eq!(lengths(cluster.all::<EndpointSlice>().await).len(), before.len());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_may_publish_what_is_not_ready() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    service(&cluster, json!({"ports": [{"port": 80}], "publishNotReadyAddresses": true})).await;
    pod(&cluster, 0, "a", false).await;
    cluster.pass(1).await;
    assert_eq!(endpoints(&cluster).await, ["10.0.0.1 +--"]);
    cluster.stop().await;
}

/// A node that is ready, in a zone, with so many processors.
async fn node_in(cluster: &Cluster, name: &str, zone: &str, processors: &str) {
    cluster
        .make::<Node>(json!({
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
            "status": {"allocatable": {"cpu": processors},
                "conditions": [{"type": "Ready", "status": "True"}]}}))
        .await;
}

/// A pod `web` that is ready, on the node of a zone.
async fn pod_in(cluster: &Cluster, number: usize, zone: &str) {
    pod(cluster, number, zone, true).await;
}

/// How many endpoints serve each zone by their hints, as `a2 b2`; those without are `-`.
async fn served(cluster: &Cluster) -> String {
    let slices = cluster.all::<EndpointSlice>().await;
    let mut zones = std::collections::BTreeMap::<String, usize>::new();
    for endpoint in slices.iter().flat_map(|slice| slice.endpoints.iter().flatten()) {
        let hints = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
        let zone = hints.map_or("-".to_owned(), |zones| zones[0].name.clone());
        *zones.entry(zone).or_default() += 1;
    }
    let all: Vec<_> = zones.iter().map(|(zone, count)| format!("{zone}{count}")).collect();
    all.join(" ")
}

async fn set_mode(cluster: &Cluster, mode: Option<&str>) {
    let name = "service.kubernetes.io/topology-mode".to_owned();
    cluster
        .edit::<Service>("default/web", |service| {
            let annotations = service.metadata.annotations.get_or_insert_default();
            match mode {
                Some(mode) => annotations.insert(name.clone(), mode.to_owned()),
                None => annotations.remove(&name),
            };
        })
        .await;
    cluster.pass(1).await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_serve_zones_by_their_processors() {
    let cluster = Cluster::start().await;
    node_in(&cluster, "a", "a", "4").await;
    node_in(&cluster, "b", "b", "4000m").await;
    service(&cluster, json!({"ports": [{"port": 80}]})).await;
    for number in 0..3 {
        pod_in(&cluster, number, "a").await;
    }
    pod_in(&cluster, 3, "b").await;
    cluster.pass(1).await;
    assert_eq!(served(&cluster).await, "-4");
    set_mode(&cluster, Some("Auto")).await;
    assert_eq!(served(&cluster).await, "a2 b2");
    let enabled = ["Topology Aware Hints has been enabled, addressType: IPv4"];
    assert_eq!(cluster.events("TopologyAwareHintsEnabled").await, enabled);
    // A node with as many processors as both: its zone lacks endpoints, which shows at once.
    node_in(&cluster, "c", "c", "8").await;
    cluster.pass(1).await;
    assert_eq!(served(&cluster).await, "a1 b1 c2");
    set_mode(&cluster, None).await;
    assert_eq!(served(&cluster).await, "-4");
    let disabled = ["Topology Aware Hints has been disabled, addressType: IPv4"];
    assert_eq!(cluster.events("TopologyAwareHintsDisabled").await, disabled);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn hints_go_when_zones_cannot_be_told_or_served_and_come_back() {
    let cluster = Cluster::start().await;
    node_in(&cluster, "a", "a", "4").await;
    node_in(&cluster, "b", "b", "4").await;
    service(&cluster, json!({"ports": [{"port": 80}], "trafficDistribution": "PreferClose"})).await;
    pod_in(&cluster, 0, "a").await;
    set_mode(&cluster, Some("auto")).await;
    assert_eq!(served(&cluster).await, "-1", "the annotation comes before the field");
    let few = "Insufficient number of endpoints (1 endpoints, 2 zones), addressType: IPv4";
    assert_eq!(cluster.events("TopologyAwareHintsDisabled").await[..], [few]);
    pod_in(&cluster, 1, "a").await;
    cluster.pass(1).await;
    assert_eq!(served(&cluster).await, "a1 b1");
    cluster.node("nowhere").await;
    cluster.pass(1).await;
    assert_eq!(served(&cluster).await, "-2");
    let unknown = "Insufficient Node information: allocatable CPU or zone not specified on one or \
                   more nodes, addressType: IPv4";
    assert!(cluster.events("TopologyAwareHintsDisabled").await.contains(&unknown.to_owned()));
    cluster.delete::<Node>("nowhere", Background).await;
    cluster.pass(1).await;
    assert_eq!(served(&cluster).await, "a1 b1");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_keep_the_zones_that_they_serve() {
    let cluster = Cluster::start().await;
    node_in(&cluster, "a", "a", "4").await;
    node_in(&cluster, "b", "b", "4").await;
    service(&cluster, json!({"ports": [{"port": 80}]})).await;
    set_mode(&cluster, Some("Auto")).await;
    for number in 0..4 {
        pod_in(&cluster, number, "a").await;
    }
    cluster.pass(1).await;
    assert_eq!(served(&cluster).await, "a2 b2");
    let revision = cluster.all::<EndpointSlice>().await[0].object().revision();
    // What nobody is overloaded by changes nothing.
    node_in(&cluster, "a2", "a", "500m").await;
    cluster.pass(1).await;
    assert_eq!(cluster.all::<EndpointSlice>().await[0].object().revision(), revision);
    cluster.stop().await;
}

async fn budget(cluster: &Cluster, mut spec: Value) {
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    let budget = json!({"metadata": {"name": "b", "namespace": "default"}, "spec": spec});
    cluster.make::<PodDisruptionBudget>(budget).await;
    cluster.pass(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_says_how_many_may_go() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    for number in 0..3 {
        pod(&cluster, number, "a", true).await;
    }
    budget(&cluster, json!({"minAvailable": 2})).await;
    let status = cluster.get::<PodDisruptionBudget>("default/b").await.status.clone().unwrap();
    let counts = [
        status.current_healthy,
        status.desired_healthy,
        status.expected_pods,
        status.disruptions_allowed,
    ];
    assert_eq!(counts, [Some(3), Some(2), Some(3), Some(1)]);
    cluster.delete::<Pod>("default/web-0", Background).await;
    cluster.pass(1).await;
    let budget = cluster.get::<PodDisruptionBudget>("default/b").await;
    assert_eq!(budget.status.as_ref().unwrap().disruptions_allowed, Some(0));
    assert_eq!(condition(&*budget, "DisruptionAllowed"), "False InsufficientPods ");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_in_shares_needs_controllers() {
    let cluster = Cluster::start().await;
    cluster.node("a").await;
    pod(&cluster, 0, "a", true).await;
    budget(&cluster, json!({"maxUnavailable": "50%"})).await;
    let budget = cluster.get::<PodDisruptionBudget>("default/b").await;
    assert_eq!(condition(&*budget, "DisruptionAllowed"), "False InsufficientPods ");
    let told = cluster.events("UnmanagedPods").await;
    let selector = "&LabelSelector{MatchLabels:map[string]string{app: web,},\
                    MatchExpressions:[]LabelSelectorRequirement{},}";
    let start =
        format!("Pods selected by this PodDisruptionBudget (selector: {selector}) were found");
    assert!(told[0].starts_with(&start), "{told:?}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_written_by_hand_are_mirrored() {
    let cluster = Cluster::start().await;
    cluster
        .make::<Service>(json!({"metadata": {"name": "far", "namespace": "default"},
            "spec": {"ports": [{"port": 80}]}}))
        .await;
    cluster
        .make::<Endpoints>(json!({"metadata": {"name": "far", "namespace": "default",
            "labels": {"a": "b"}}, "subsets": [{"ports": [{"name": "http", "port": 8080}],
            "addresses": [{"ip": "10.1.2.3"}, {"ip": "10.1.2.4"}],
            "notReadyAddresses": [{"ip": "10.1.2.5"}]}]}))
        .await;
    cluster.pass(1).await;
    let all = cluster.all::<EndpointSlice>().await;
    let slice = &all[0];
    let labels = slice.metadata.labels.clone().unwrap();
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslicemirroring-controller.k8s.io"
    );
    assert_eq!((&*labels["a"], &*labels["kubernetes.io/service-name"]), ("b", "far"));
    let endpoints: Vec<_> = slice
        .endpoints
        .iter()
        .flatten()
        .map(|one| (one.addresses[0].clone(), one.conditions.as_ref().unwrap().ready.unwrap()))
        .collect();
    let expected = [("10.1.2.3", true), ("10.1.2.4", true), ("10.1.2.5", false)];
    assert_eq!(endpoints, expected.map(|(address, ready)| (address.to_owned(), ready)));
    cluster
        .edit::<Endpoints>("default/far", |endpoints| {
            let subset = &mut endpoints.subsets.as_mut().unwrap()[0];
            subset.addresses.as_mut().unwrap().remove(0);
        })
        .await;
    cluster.pass(1).await;
    let all = cluster.all::<EndpointSlice>().await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].endpoints.as_ref().unwrap().len(), 2);
    cluster
        .edit::<Service>("default/far", |service| {
            service.spec.as_mut().unwrap().selector = Some([("app".into(), "x".into())].into());
        })
        .await;
    cluster.pass(1).await;
    let all = cluster.all::<EndpointSlice>().await;
    let mirrored = all.iter().filter(|slice| {
        let labels = slice.metadata.labels.as_ref().unwrap();
        labels["endpointslice.kubernetes.io/managed-by"].contains("mirroring")
    });
    assert_eq!(mirrored.count(), 0, "pods serve it now");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_range_of_addresses_is_held_while_it_is_needed() {
    let cluster = Cluster::start().await;
    let range =
        |name: &str| json!({"metadata": {"name": name}, "spec": {"cidrs": ["10.9.0.0/24"]}});
    cluster.make::<ServiceCIDR>(range("first")).await;
    let parent = json!({"group": "", "resource": "services", "namespace": "default", "name": "x"});
    cluster
        .make::<IPAddress>(json!({"metadata": {"name": "10.9.0.7"}, "spec": {"parentRef": parent}}))
        .await;
    cluster.pass(1).await;
    let first = cluster.get::<ServiceCIDR>("first").await;
    assert_eq!(condition(&*first, "Ready"), "True Ready Kubernetes Service CIDR is ready");
    cluster.delete::<ServiceCIDR>("first", Background).await;
    cluster.pass(1).await;
    let first = cluster.get::<ServiceCIDR>("first").await;
    assert!(
        condition(&*first, "Ready").starts_with("False Terminating There are still IPAddresses")
    );
    cluster.make::<ServiceCIDR>(range("second")).await;
    cluster.pass(1).await;
    assert!(cluster.find::<ServiceCIDR>("first").await.is_none(), "the second has its address");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_are_told_how_long_their_caches_hold() {
    let cluster = Cluster::start().await;
    for number in 0..101 {
        cluster.make::<Node>(json!({"metadata": {"name": format!("n{number}")}})).await;
    }
    cluster.pass(1).await;
    let ttl = "node.alpha.kubernetes.io/ttl";
    let node = cluster.get::<Node>("n100").await;
    assert_eq!(node.metadata.annotations.as_ref().unwrap()[ttl], "15");
    cluster.stop().await;
}
