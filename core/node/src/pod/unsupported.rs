use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};

use super::record;

/// Whether this agent can run a pod on a real machine as its spec asks for. What it cannot do is
/// refused, never left out: a pod that believes to be confined or watched must be so.
///
/// # Errors
/// The first field that asks for something that is not there.
pub(crate) fn check(pod: &Pod) -> Result<(), String> {
    let spec = record::spec_of(pod);
    let refuse = |field: &str| Err(format!("{field} is not supported by this node agent"));
    let pod_fields = [
        (
            "spec.runtimeClassName",
            spec.runtime_class_name.as_ref().is_some_and(|name| !name.is_empty()),
        ),
        ("spec.hostUsers", spec.host_users == Some(false)),
        ("spec.resourceClaims", spec.resource_claims.as_ref().is_some_and(|all| !all.is_empty())),
    ];
    if let Some((field, _)) = pod_fields.iter().find(|(_, asked)| *asked) {
        return refuse(field);
    }
    let mut ports = record::containers(spec).flat_map(|one| one.ports.iter().flatten());
    let maps = |port: &ContainerPort| port.host_port.is_some_and(|port| port != 0);
    if spec.host_network != Some(true) && ports.any(maps) {
        return refuse("hostPort without hostNetwork");
    }
    for container in record::containers(spec) {
        if let Some(field) = asked(container) {
            return refuse(&format!("{field} of container {:?}", container.name));
        }
    }
    Ok(())
}

fn asked(container: &Container) -> Option<&'static str> {
    let fields =
        [("volumeDevices", container.volume_devices.as_ref().is_some_and(|all| !all.is_empty()))];
    fields.iter().find(|(_, asked)| *asked).map(|(field, _)| *field)
}
