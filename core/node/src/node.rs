//! Node objects, as functions of what is known of a node.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pinnace_api::quantity::Quantity;

use crate::config::{Capacity, Machine};
use crate::eviction::Pressure;
use crate::host::{Health, Host};
use crate::machine::Facts;

/// The version that nodes show: what it is made after, and what it is.
const KUBELET_VERSION: &str = concat!("v1.36.0-pinnace.", env!("CARGO_PKG_VERSION"));

/// A new Node.
pub(crate) fn object(host: &Host, machine: &Machine, health: &Health, now: Timestamp) -> Node {
    let mut node = Node {
        metadata: ObjectMeta { name: Some(host.name.to_string()), ..ObjectMeta::default() },
        spec: Some(NodeSpec {
            taints: (!host.taints.is_empty()).then(|| host.taints.clone()),
            ..NodeSpec::default()
        }),
        status: Some(status(host, machine, health, None, Vec::new(), now)),
    };
    adopt(host, &mut node);
    node
}

/// Sets what belongs to the agent on a Node, and says whether that changed anything.
pub(crate) fn adopt(host: &Host, node: &mut Node) -> bool {
    let before = (node.metadata.labels.clone(), node.spec.clone());
    let labels = node.metadata.labels.get_or_insert_default();
    let own = [
        ("kubernetes.io/hostname", &*host.name),
        ("kubernetes.io/os", std::env::consts::OS),
        ("kubernetes.io/arch", architecture()),
    ];
    for (key, value) in own {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels.extend(host.labels.clone());
    let spec = node.spec.get_or_insert_default();
    let cidrs: Vec<String> = host.network.pod_cidrs().iter().map(ToString::to_string).collect();
    // They cannot be changed once they are set.
    if spec.pod_cidrs.is_none() && !cidrs.is_empty() {
        spec.pod_cidr = cidrs.first().cloned();
        spec.pod_cidrs = Some(cidrs);
    }
    before != (node.metadata.labels.clone(), node.spec.clone())
}

/// The architecture by the name that images are labelled with.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The status of a Node, given the one that is there.
pub(crate) fn status(
    host: &Host,
    machine: &Machine,
    health: &Health,
    current: Option<&NodeStatus>,
    volumes_in_use: Vec<String>,
    now: Timestamp,
) -> NodeStatus {
    let current = current.cloned().unwrap_or_default();
    let facts = match machine {
        Machine::Simulated => Facts::simulated(&host.name),
        Machine::Local { .. } => Facts::of_this_machine(),
    };
    let address = |kind: &str, address: &str| NodeAddress {
        type_: kind.to_owned(),
        address: address.to_owned(),
    };
    let addresses = host.ips.iter().map(|ip| address("InternalIP", ip));
    let addresses = addresses.chain([address("Hostname", &host.name)]).collect();
    NodeStatus {
        addresses: Some(addresses),
        capacity: Some(amounts(&host.capacity)),
        allocatable: Some(amounts(&host.allocatable)),
        daemon_endpoints: host.port.map(|port| NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: port.into() }),
        }),
        conditions: Some(conditions(&host.pressures(), health, current.conditions.as_deref(), now)),
        node_info: Some(NodeSystemInfo {
            architecture: architecture().to_owned(),
            boot_id: facts.boot_id,
            container_runtime_version: health.version.clone(),
            kernel_version: facts.kernel_version,
            kube_proxy_version: String::new(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            machine_id: facts.machine_id.clone(),
            operating_system: std::env::consts::OS.to_owned(),
            os_image: facts.os_image,
            swap: None,
            system_uuid: facts.system_uuid,
        }),
        // Nobody has to choose among simulated nodes by them, and there are many.
        features: machine.state().map(|_| NodeFeatures { supplemental_groups_policy: Some(true) }),
        runtime_handlers: machine.state().map(|_| handlers(health)),
        volumes_in_use: Some(volumes_in_use).filter(|all| !all.is_empty()),
        ..current
    }
}

/// What carries out pods of no RuntimeClass.
fn handlers(health: &Health) -> Vec<NodeRuntimeHandler> {
    let features = NodeRuntimeHandlerFeatures {
        recursive_read_only_mounts: Some(health.features.recursive_read_only),
        user_namespaces: Some(false),
    };
    vec![NodeRuntimeHandler { name: Some(String::new()), features: Some(features) }]
}

fn amounts(capacity: &Capacity) -> BTreeMap<String, Text> {
    let all = [
        ("cpu", Quantity::from_millis(capacity.cpu_millis)),
        ("memory", Quantity::from_bytes(capacity.memory_bytes)),
        ("ephemeral-storage", Quantity::from_bytes(capacity.storage_bytes)),
        ("pods", Quantity::from_units(capacity.pods)),
    ];
    all.into_iter().map(|(name, amount)| (name.to_owned(), Text(amount.to_string()))).collect()
}

/// The node's conditions: those of the agent, each with the time since when it is so, and those
/// that belong to others.
fn conditions(
    pressures: &[Pressure],
    health: &Health,
    current: Option<&[NodeCondition]>,
    now: Timestamp,
) -> Vec<NodeCondition> {
    let ready = match &health.failure {
        _ if health.version.is_empty() && health.failure.is_none() => (
            false,
            "KubeletNotReady",
            "container runtime status check may not have completed yet".to_owned(),
        ),
        Some(message) => {
            (false, "KubeletNotReady", format!("container runtime is down: {message}"))
        }
        None => (true, "KubeletReady", "kubelet is posting ready status".to_owned()),
    };
    let pressure = |one: Pressure| {
        let is_so = pressures.contains(&one);
        let (reason, message) = one.words(is_so);
        (one.condition(), (is_so, reason, message.to_owned()))
    };
    let [memory, disk, pid] = Pressure::ALL.map(pressure);
    let wanted = [memory, disk, pid, ("Ready", ready)];
    let current = current.unwrap_or_default();
    let own = wanted.iter().map(|(name, (holds, reason, message))| {
        let status = if *holds { "True" } else { "False" };
        let same = current.iter().find(|old| old.type_ == *name && old.status == status);
        let since = same.and_then(|old| old.last_transition_time.clone());
        NodeCondition {
            type_: (*name).to_owned(),
            status: status.to_owned(),
            reason: Some((*reason).to_owned()),
            message: Some(message.clone()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        }
    });
    let foreign = current.iter().filter(|old| !wanted.iter().any(|(name, _)| old.type_ == *name));
    own.chain(foreign.cloned()).collect()
}
