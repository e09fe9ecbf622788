use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::selector::NodeTerm;
use pinnace_runtime::QosClass;

use super::status::Verdict;
use super::{record, resources};
use crate::config::Capacity;
use crate::eviction::{self, Pressure};

/// What a node that lacks memory is tainted with.
const MEMORY_TAINT: &str = "node.kubernetes.io/memory-pressure";

/// Whether a node may take a pod, as upstream asks before it starts one: the scheduler has
/// checked, but pods may come past it.
///
/// # Errors
/// What the pod's status says then.
pub(crate) fn admit(
    pod: &Pod,
    node: Option<&Node>,
    requests: &Capacity,
    used: &Capacity,
    capacity: &Capacity,
) -> Result<(), Verdict> {
    let checks = [
        ("pods", requests.pods, used.pods, capacity.pods),
        ("cpu", requests.cpu_millis, used.cpu_millis, capacity.cpu_millis),
        ("memory", requests.memory_bytes, used.memory_bytes, capacity.memory_bytes),
        ("ephemeral-storage", requests.storage_bytes, used.storage_bytes, capacity.storage_bytes),
    ];
    for (resource, requested, used, capacity) in checks {
        if requested > 0 && used.saturating_add(requested) > capacity {
            return Err(Verdict {
                reason: format!("OutOf{resource}"),
                message: format!(
                    "Pod was rejected: Node didn't have enough resource: {resource}, requested: \
                     {requested}, used: {used}, capacity: {capacity}"
                ),
            });
        }
    }
    sysctls(pod)?;
    if let Some(node) = node
        && !fits(pod, node)
    {
        return Err(Verdict {
            reason: "NodeAffinity".to_owned(),
            message: "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's \
                      node affinity/selector"
                .to_owned(),
        });
    }
    Ok(())
}

/// Whether a node that suffers takes a pod: critical ones always, and others only when nothing but
/// memory runs short, if they have asked for what they use or do not mind.
///
/// # Errors
/// What the pod's status says then.
pub(crate) fn pressure(pod: &Pod, pressures: &[Pressure]) -> Result<(), Verdict> {
    if pressures.is_empty() || eviction::is_critical(pod) {
        return Ok(());
    }
    let spec = record::spec_of(pod);
    let tolerates = || {
        spec.tolerations.iter().flatten().any(|one| {
            let key = one.key.as_deref().unwrap_or_default();
            let effect = one.effect.as_deref().unwrap_or_default();
            matches!(effect, "" | "NoSchedule")
                && (key == MEMORY_TAINT
                    || key.is_empty() && one.operator.as_deref() == Some("Exists"))
        })
    };
    let modest = resources::qos_class(spec) != QosClass::BestEffort;
    if pressures == [Pressure::Memory] && (modest || tolerates()) {
        return Ok(());
    }
    let names: Vec<_> = pressures.iter().map(|one| one.condition()).collect();
    Err(Verdict {
        reason: eviction::REASON.to_owned(),
        message: format!("Pod was rejected: The node had condition: [{}]. ", names.join(" ")),
    })
}

/// Whether the ports of the machine that a pod asks for are free.
///
/// # Errors
/// What the pod's status says then.
pub(crate) fn ports(taken: bool) -> Result<(), Verdict> {
    if !taken {
        return Ok(());
    }
    Err(Verdict {
        reason: "NodePorts".to_owned(),
        message:
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for \
                  the requested pod ports"
                .to_owned(),
    })
}

/// Whether a pod that is to be confined by AppArmor can be; `lacks` says that the kernel cannot.
///
/// # Errors
/// What the pod's status says then.
pub(crate) fn app_armor(pod: &Pod, lacks: impl FnOnce() -> bool) -> Result<(), Verdict> {
    let spec = record::spec_of(pod);
    let of_pod = spec.security_context.iter().filter_map(|own| own.app_armor_profile.as_ref());
    let contexts = record::containers(spec).filter_map(|one| one.security_context.as_ref());
    let mut all = of_pod.chain(contexts.filter_map(|own| own.app_armor_profile.as_ref()));
    if all.any(|profile| profile.type_ != "Unconfined") && lacks() {
        return Err(Verdict {
            reason: "AppArmor".to_owned(),
            message:
                "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
                    .to_owned(),
        });
    }
    Ok(())
}

/// The kernel parameters that a pod may set: they belong to its namespaces and harm nobody else.
const SAFE_SYSCTLS: [&str; 13] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
];

fn sysctls(pod: &Pod) -> Result<(), Verdict> {
    let spec = record::spec_of(pod);
    let context = spec.security_context.as_ref();
    for sysctl in context.into_iter().flat_map(|context| context.sysctls.iter().flatten()) {
        // Both spellings name the same parameter.
        let name = sysctl.name.replace('/', ".");
        let shared = (spec.host_network == Some(true) && name.starts_with("net."))
            || (spec.host_ipc == Some(true) && name.starts_with("kernel."));
        if shared || !SAFE_SYSCTLS.contains(&name.as_str()) {
            return Err(Verdict {
                reason: "SysctlForbidden".to_owned(),
                message: format!(
                    "Pod was rejected: forbidden sysctl: {:?} not allowlisted",
                    sysctl.name
                ),
            });
        }
    }
    Ok(())
}

/// Whether a pod wants more of its node than to fit.
pub(crate) fn asks_for_node(pod: &Pod) -> bool {
    let spec = record::spec_of(pod);
    spec.affinity.is_some() || spec.node_selector.as_ref().is_some_and(|all| !all.is_empty())
}

/// Whether node selector and required node affinity match.
fn fits(pod: &Pod, node: &Node) -> bool {
    let spec = record::spec_of(pod);
    let labels = node.metadata.labels.as_ref();
    let label = |key: &String| labels.and_then(|labels| labels.get(key));
    let selected =
        spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.as_deref().unwrap_or_default();
    selected
        && required.is_none_or(|required| {
            NodeTerm::of(required).iter().any(|term| term.matches(name, labels))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::resources::NOTHING;
    use super::*;

    fn check(spec: serde_json::Value, used: &Capacity, expected: Option<&str>) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let node: Node = serde_json::from_value(
            json!({"metadata": {"name": "n1", "labels": {"zone": "a", "cores": "8"}}}),
        )
        .unwrap();
        let capacity = Capacity { cpu_millis: 1000, memory_bytes: 1000, storage_bytes: 0, pods: 2 };
        let requests = resources::requests(record::spec_of(&pod));
        let verdict = admit(&pod, Some(&node), &requests, used, &capacity).err();
        assert_eq!(verdict.map(|verdict| verdict.reason).as_deref(), expected, "{spec}");
    }

    #[test]
    fn a_full_node_says_what_it_lacks() {
        let wants = |cpu: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
        check(wants("1"), &NOTHING, None);
        check(wants("1001m"), &NOTHING, Some("OutOfcpu"));
        check(wants("600m"), &Capacity { cpu_millis: 500, ..NOTHING }, Some("OutOfcpu"));
        check(wants("0"), &Capacity { pods: 2, ..NOTHING }, Some("OutOfpods"));
    }

    #[test]
    fn only_harmless_kernel_parameters_may_be_set() {
        let sets = |name: &str, host_network: bool| {
            let sysctls = json!([{"name": name, "value": "1"}]);
            json!({
                "containers": [], "hostNetwork": host_network,
                "securityContext": {"sysctls": sysctls}
            })
        };
        let refused = Some("SysctlForbidden");
        check(sets("net.ipv4.tcp_syncookies", false), &NOTHING, None);
        check(sets("net/ipv4/tcp_syncookies", false), &NOTHING, None);
        check(sets("net.ipv4.tcp_syncookies", true), &NOTHING, refused);
        check(sets("kernel.panic", false), &NOTHING, refused);
    }

    #[test]
    fn affinity_is_checked_again() {
        let affinity = |key: &str, operator: &str, values: &[&str]| {
            let expression = json!({"key": key, "operator": operator, "values": values});
            json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [expression]}]
                }
            }}})
        };
        let refused = Some("NodeAffinity");
        check(json!({"containers": [], "nodeSelector": {"zone": "a"}}), &NOTHING, None);
        check(json!({"containers": [], "nodeSelector": {"zone": "b"}}), &NOTHING, refused);
        check(affinity("zone", "In", &["a", "b"]), &NOTHING, None);
        check(affinity("zone", "NotIn", &["a"]), &NOTHING, refused);
        check(affinity("cores", "Gt", &["4"]), &NOTHING, None);
        check(affinity("cores", "Lt", &["4"]), &NOTHING, refused);
        check(affinity("disk", "DoesNotExist", &[]), &NOTHING, None);
    }
}
