use std::borrow::Cow;

use k8s_openapi::api::core::v1::Pod;

/// The fields that selectors of pods may name.
pub(in crate::kinds) const FIELDS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
    "spec.host",
];

/// The value of such a field.
pub(super) fn field<'a>(pod: &'a Pod, path: &str) -> Option<Cow<'a, str>> {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let text = match path {
        // The other is its name from before v1.
        "spec.nodeName" | "spec.host" => spec.and_then(|spec| spec.node_name.as_deref()),
        "spec.restartPolicy" => spec.and_then(|spec| spec.restart_policy.as_deref()),
        "spec.schedulerName" => spec.and_then(|spec| spec.scheduler_name.as_deref()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.as_deref()),
        "spec.hostNetwork" => {
            let host = spec.and_then(|spec| spec.host_network) == Some(true);
            Some(if host { "true" } else { "false" })
        }
        "status.phase" => status.and_then(|status| status.phase.as_deref()),
        "status.podIP" => status.and_then(|status| status.pod_ip.as_deref()),
        // As upstream: it may be asked for, and is never there.
        "status.podIPs" => None,
        "status.nominatedNodeName" => {
            status.and_then(|status| status.nominated_node_name.as_deref())
        }
        _ => return None,
    };
    Some(Cow::Borrowed(text.unwrap_or_default()))
}
