use k8s_openapi::api::core::v1::{ContainerPort, Pod};
use pinnace_network::{HostPort, Protocol};

use super::record;

/// The ports of the machine that lead to a pod. One on the machine's network has its ports anyway,
/// and init containers that end have none.
pub(crate) fn of(pod: &Pod) -> Vec<HostPort> {
    let spec = record::spec_of(pod);
    if spec.host_network == Some(true) {
        return Vec::new();
    }
    let stays = |restarts: Option<&str>| restarts == Some("Always");
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|one| stays(one.restart_policy.as_deref()));
    let containers = spec.containers.iter().chain(sidecars);
    containers.flat_map(|one| one.ports.iter().flatten()).filter_map(host_port).collect()
}

/// Whether a port of the machine that a pod asks for is another's: of the same protocol and
/// number, at an address that the two share. Ports on the machine's network count, too.
pub(crate) fn conflict(pod: &Pod, other: &Pod) -> bool {
    let meets = |one: &HostPort, other: &HostPort| {
        let everywhere =
            |port: &HostPort| port.address.is_none_or(|address| address.is_unspecified());
        (one.protocol, one.port) == (other.protocol, other.port)
            && (everywhere(one) || everywhere(other) || one.address == other.address)
    };
    let others = asked(other);
    !others.is_empty() && asked(pod).iter().any(|one| others.iter().any(|other| meets(one, other)))
}

/// All ports of the machine that a pod asks for.
pub(crate) fn asked(pod: &Pod) -> Vec<HostPort> {
    let containers = record::containers(record::spec_of(pod));
    containers.flat_map(|one| one.ports.iter().flatten()).filter_map(host_port).collect()
}

fn host_port(port: &ContainerPort) -> Option<HostPort> {
    Some(HostPort {
        protocol: Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"))?,
        address: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
        port: u16::try_from(port.host_port?).ok().filter(|port| *port != 0)?,
        pod_port: u16::try_from(port.container_port).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_of_the_machine_are_those_of_what_stays() {
        let ports = |port: i32| {
            json!([
                {"containerPort": 80, "hostPort": port, "protocol": "UDP", "hostIP": "192.0.2.7"},
                {"containerPort": 81},
            ])
        };
        let mut pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
            "initContainers": [
                {"name": "once", "ports": ports(1)},
                {"name": "side", "ports": ports(2), "restartPolicy": "Always"},
            ],
            "containers": [{"name": "main", "ports": ports(3)}],
        }}))
        .unwrap();
        let found = of(&pod);
        assert_eq!(found.iter().map(|one| one.port).collect::<Vec<_>>(), [3, 2]);
        let first = HostPort {
            protocol: Protocol::Udp,
            address: "192.0.2.7".parse().ok(),
            port: 3,
            pod_port: 80,
        };
        assert_eq!(found[0], first);
        let mut elsewhere = pod.clone();
        assert!(conflict(&pod, &elsewhere));
        for container in &mut elsewhere.spec.as_mut().unwrap().containers {
            container.ports.as_mut().unwrap()[0].host_ip = Some("192.0.2.8".to_owned());
        }
        elsewhere.spec.as_mut().unwrap().init_containers = None;
        assert!(!conflict(&pod, &elsewhere), "at another address");
        pod.spec.as_mut().unwrap().host_network = Some(true);
        assert_eq!((of(&pod).len(), asked(&pod).len()), (0, 3));
    }
}
