use k8s_openapi::api::core::v1::Pod;

use super::record;

/// Whether this agent can run a pod on a real machine as its spec asks for. What it cannot do is
/// refused, never left out: a pod that believes to be confined or watched must be so.
///
/// # Errors
/// The first field that asks for something that is not there.
pub(crate) fn check(pod: &Pod) -> Result<(), String> {
    let spec = record::spec_of(pod);
    if spec.host_users == Some(false) {
        let handler = spec.runtime_class_name.as_deref().unwrap_or_default();
        let who = match handler {
            "" => "runtime".to_owned(),
            handler => format!("RuntimeClass handler {handler:?}"),
        };
        // The mounts of such a pod need mapped ids, which runc has only since 1.2.
        return Err(format!(
            "can't set `spec.hostUsers: false`, {who} does not support user namespaces"
        ));
    }
    if spec.resource_claims.as_ref().is_some_and(|all| !all.is_empty()) {
        return Err("spec.resourceClaims is not supported by this node agent".to_owned());
    }
    Ok(())
}
