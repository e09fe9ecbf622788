//! What a pod may learn of itself: the downward API.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use pinnace_api::quantity::Quantity;

use super::record;
use crate::config::Capacity;

/// What is known of a pod beside its object.
pub(crate) struct Surroundings<'a> {
    pub(crate) host_ips: &'a [String],
    pub(crate) pod_ips: &'a [String],
    /// What limits take the place of, where a container has none.
    pub(crate) allocatable: &'a Capacity,
}

/// The value of `fieldRef.fieldPath`.
///
/// # Errors
/// Says that there is no such field.
pub(crate) fn field(pod: &Pod, path: &str, around: &Surroundings<'_>) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = record::spec_of(pod);
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Ok(match path {
        "metadata.name" => text(&meta.name),
        "metadata.namespace" => text(&meta.namespace),
        "metadata.uid" => text(&meta.uid),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => text(&spec.node_name),
        "spec.serviceAccountName" => text(&spec.service_account_name),
        "status.hostIP" => around.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => around.host_ips.join(","),
        "status.podIP" => around.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => around.pod_ips.join(","),
        _ => return Err(unsupported(path)),
    })
}

fn unsupported(path: &str) -> String {
    format!("unsupported fieldPath: {path}")
}

/// A map as a file of the downward API shows it.
fn lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let mut out = String::new();
    for (key, value) in map.into_iter().flatten() {
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{key}={value:?}");
    }
    out
}

/// The value of `resourceFieldRef`, of the container itself or of the one that it names.
///
/// # Errors
/// Says what does not fit: resource, container or divisor.
pub(crate) fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    allocatable: &Capacity,
) -> Result<String, String> {
    let spec = record::spec_of(pod);
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        None => own.ok_or_else(|| "no container is named".to_owned())?,
        Some(name) => record::containers(spec)
            .find(|container| container.name == name)
            .ok_or_else(|| format!("container {name} not found"))?,
    };
    let (list, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let resources = container.resources.as_ref();
    let of = |limits: bool| {
        let list = resources
            .and_then(|all| if limits { all.limits.as_ref() } else { all.requests.as_ref() });
        list.and_then(|list| list.get(name)).and_then(|quantity| Quantity::parse(&quantity.0).ok())
    };
    let amount = match list {
        "limits" => of(true).unwrap_or_else(|| whole_node(name, allocatable)),
        "requests" => of(false).or_else(|| of(true)).unwrap_or(Quantity::ZERO),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let divisor = selector.divisor.as_ref().map_or("", |divisor| divisor.0.as_str());
    divide(name, amount, divisor)
}

fn whole_node(name: &str, allocatable: &Capacity) -> Quantity {
    match name {
        "cpu" => Quantity::from_millis(allocatable.cpu_millis),
        "memory" => Quantity::from_bytes(allocatable.memory_bytes),
        "ephemeral-storage" => Quantity::from_bytes(allocatable.storage_bytes),
        _ => Quantity::ZERO,
    }
}

/// The amount in units of the divisor, rounded up.
fn divide(name: &str, amount: Quantity, divisor: &str) -> Result<String, String> {
    let divisor = match Quantity::parse(divisor) {
        Ok(divisor) if !divisor.is_zero() => divisor,
        Ok(_) => Quantity::from_units(1),
        Err(_) if divisor.is_empty() => Quantity::from_units(1),
        Err(error) => return Err(error.to_string()),
    };
    let (amount, divisor) = if name == "cpu" {
        (amount.millis(), divisor.millis())
    } else {
        (amount.value(), divisor.value())
    };
    let divisor = divisor.max(1);
    Ok((amount / divisor + i64::from(amount % divisor > 0)).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "web-0", "namespace": "shop", "uid": "u-1",
                "labels": {"app": "web", "tier": "front"}
            },
            "spec": {
                "nodeName": "n1", "serviceAccountName": "default",
                "containers": [{"name": "web", "resources": {
                    "limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}
                }}]
            }
        }))
        .unwrap()
    }

    #[test]
    fn fields_of_a_pod() {
        let (host_ips, pod_ips) =
            (vec!["10.0.0.1".to_owned()], vec!["10.1.0.2".to_owned(), "fd::2".to_owned()]);
        let allocatable = Capacity::default();
        let around =
            Surroundings { host_ips: &host_ips, pod_ips: &pod_ips, allocatable: &allocatable };
        for (path, expected) in [
            ("metadata.name", "web-0"),
            ("metadata.namespace", "shop"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            ("metadata.labels", "app=\"web\"\ntier=\"front\""),
            ("spec.nodeName", "n1"),
            ("status.hostIP", "10.0.0.1"),
            ("status.podIPs", "10.1.0.2,fd::2"),
        ] {
            assert_eq!(field(&pod(), path, &around).unwrap(), expected, "{path}");
        }
        assert!(field(&pod(), "spec.priority", &around).is_err());
    }

    #[test]
    fn resources_of_a_container() {
        let pod = pod();
        let check = |resource_name: &str, divisor: &str, expected: &str| {
            let selector = ResourceFieldSelector {
                resource: resource_name.to_owned(),
                divisor: Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity(
                    divisor.to_owned(),
                )),
                ..Default::default()
            };
            let own = pod.spec.as_ref().unwrap().containers.first();
            let got = resource(&pod, own, &selector, &Capacity::default()).unwrap();
            assert_eq!(got, expected, "{resource_name} / {divisor}");
        };
        check("limits.cpu", "", "2");
        check("limits.cpu", "1m", "1500");
        check("requests.cpu", "1m", "1500");
        check("requests.memory", "1Mi", "64");
        check("limits.memory", "1Gi", "256");
    }
}
