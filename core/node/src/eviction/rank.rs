//! In which order pods are evicted, and what is said of it.

use std::cmp::{Ordering, Reverse};

use k8s_openapi::api::core::v1::{Container, Pod};
use pinnace_api::Typed;
use pinnace_api::quantity::Quantity;
use pinnace_client::summary::{ContainerUse, FsUse, PodUse};

use super::config::{Observed, Resource, Threshold};
use crate::pod::{record, resources};

/// A pod that may be evicted, and what it uses; `None` when nothing is known of that.
pub(crate) struct Candidate {
    pub(crate) pod: Typed<Pod>,
    pub(crate) used: Option<PodUse>,
}

/// Puts the pods into the order in which they go: those that use more than they asked for first,
/// then those of less priority, then those that use the most beyond what they asked for. What is
/// not measured goes before what is.
pub(crate) fn rank(candidates: &mut [Candidate], resource: Resource) {
    candidates.sort_by(|a, b| compare(a, b, resource));
}

fn compare(a: &Candidate, b: &Candidate, resource: Resource) -> Ordering {
    let key = |one: &Candidate| {
        let priority = one.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        let (used, asked) = (usage(one, resource), asked(&one.pod, resource));
        // Nobody asks for processes or inodes, so nobody has too many by that.
        let exceeds = !matches!(resource, Resource::Pids) && used > asked;
        let beyond = i128::from(used) - i128::from(asked);
        (one.used.is_some(), !exceeds, priority, Reverse(beyond))
    };
    key(a).cmp(&key(b))
}

fn usage(one: &Candidate, resource: Resource) -> u64 {
    let Some(used) = &one.used else { return 0 };
    let fs = |of: fn(&FsUse) -> Option<u64>| {
        let containers = used.containers.iter().flat_map(|one| [one.rootfs, one.logs]);
        let volumes = local_volumes(&one.pod, used);
        containers.flatten().chain(volumes).filter_map(|fs| of(&fs)).fold(0, u64::saturating_add)
    };
    match resource {
        Resource::Memory => used.memory.and_then(|memory| memory.working_set_bytes).unwrap_or(0),
        Resource::Pids => used.processes.map_or(0, |processes| processes.count),
        Resource::Storage => fs(|fs| fs.used_bytes),
        Resource::Inodes => fs(|fs| fs.inodes_used),
    }
}

/// The volumes of a pod that are on the node's own disk.
fn local_volumes<'a>(pod: &Pod, used: &'a PodUse) -> impl Iterator<Item = FsUse> + 'a {
    let on_disk = |volume: &&k8s_openapi::api::core::v1::Volume| {
        volume.config_map.is_some()
            || volume.host_path.is_some()
            || volume
                .empty_dir
                .as_ref()
                .is_some_and(|source| source.medium.as_deref().unwrap_or_default() != "Memory")
    };
    let names: Vec<String> = record::spec_of(pod)
        .volumes
        .iter()
        .flatten()
        .filter(on_disk)
        .map(|volume| volume.name.clone())
        .collect();
    used.volumes.iter().filter(move |volume| names.contains(&volume.name)).map(|volume| volume.fs)
}

fn asked(pod: &Pod, resource: Resource) -> u64 {
    let asked = resources::requests(record::spec_of(pod));
    let amount = match resource {
        Resource::Memory => asked.memory_bytes,
        Resource::Storage => asked.storage_bytes,
        Resource::Inodes | Resource::Pids => 0,
    };
    u64::try_from(amount).unwrap_or(0)
}

/// Why a pod is evicted.
pub(crate) fn message(candidate: &Candidate, threshold: &Threshold, seen: Observed) -> String {
    let resource = threshold.signal.resource();
    let name = resource.name();
    let mut text = format!(
        "The node was low on resource: {name}. Threshold quantity: {}, available: {}. ",
        resource.show(threshold.amount.of(seen.capacity)),
        resource.show(seen.available),
    );
    let Some(used) = &candidate.used else { return text };
    let spec = record::spec_of(&candidate.pod);
    let own = spec.resources.as_ref().and_then(|own| own.requests.as_ref());
    if resource == Resource::Memory
        && let Some(request) = own.and_then(|requests| requests.get("memory"))
        && let Some(bytes) = used.memory.and_then(|memory| memory.working_set_bytes)
    {
        let pod = &used.pod_ref.name;
        text.push_str(&format!(
            "Pod {pod} was using {}, request is {}, has larger consumption of {name}. ",
            resource.show(bytes),
            request.0
        ));
    }
    for one in &used.containers {
        let Some(container) = record::containers(spec).find(|known| known.name == one.name) else {
            continue;
        };
        let request = requested(container, name);
        if let Some(bytes) = container_usage(one, resource)
            && i64::try_from(bytes).unwrap_or(i64::MAX) > request.value()
        {
            text.push_str(&format!(
                "Container {} was using {}, request is {request}, has larger consumption of {name}. ",
                one.name,
                resource.show(bytes)
            ));
        }
    }
    text
}

fn requested(container: &Container, resource: &str) -> Quantity {
    let requests = container.resources.as_ref().and_then(|own| own.requests.as_ref());
    let text = requests.and_then(|requests| requests.get(resource));
    text.and_then(|text| Quantity::parse(&text.0).ok()).unwrap_or(Quantity::ZERO)
}

fn container_usage(one: &ContainerUse, resource: Resource) -> Option<u64> {
    match resource {
        Resource::Memory => one.memory?.working_set_bytes,
        Resource::Storage => Some(one.rootfs?.used_bytes? + one.logs?.used_bytes?),
        Resource::Inodes | Resource::Pids => None,
    }
}

#[cfg(test)]
mod tests {
    use pinnace_client::summary::{MemoryUse, PodRef, ProcessUse};
    use serde_json::json;

    use super::super::config::{Amount, Signal};
    use super::*;

    fn candidate(name: &str, priority: i32, request: u64, bytes: u64, pids: u64) -> Candidate {
        let resources = json!({"requests": {"memory": request.to_string()}});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "priority": priority, "containers": [{"name": "c", "resources": resources}],
            }
        }))
        .unwrap();
        let time = jiff::Timestamp::UNIX_EPOCH;
        let memory = Some(MemoryUse {
            time,
            available_bytes: None,
            usage_bytes: None,
            working_set_bytes: Some(bytes),
            rss_bytes: None,
            page_faults: None,
            major_page_faults: None,
        });
        let container = ContainerUse {
            name: "c".to_owned(),
            start_time: time,
            cpu: None,
            memory,
            rootfs: None,
            logs: None,
        };
        let used = PodUse {
            pod_ref: PodRef { name: name.to_owned(), ..PodRef::default() },
            start_time: time,
            containers: vec![container],
            cpu: None,
            memory,
            network: None,
            volumes: Vec::new(),
            ephemeral_storage: None,
            processes: Some(ProcessUse { count: pids }),
        };
        Candidate { pod: Typed::new(pod), used: Some(used) }
    }

    #[test]
    fn who_uses_more_than_asked_for_goes_first() {
        let mut all = vec![
            candidate("within", 0, 100, 90, 1),
            candidate("important", 10, 10, 50, 9),
            candidate("much", 0, 10, 60, 5),
            candidate("little", 0, 10, 20, 2),
            Candidate { used: None, ..candidate("unknown", 99, 0, 0, 0) },
        ];
        let names = |all: &[Candidate]| {
            all.iter().map(|one| one.pod.object().name().to_owned()).collect::<Vec<_>>()
        };
        rank(&mut all, Resource::Memory);
        assert_eq!(names(&all), ["unknown", "much", "little", "important", "within"]);
        rank(&mut all, Resource::Pids);
        assert_eq!(names(&all), ["unknown", "much", "little", "within", "important"]);
    }

    #[test]
    fn the_message_says_what_was_used() {
        let one = candidate("p", 0, 1 << 20, 3 << 20, 1);
        let threshold = Threshold::hard(Signal::MemoryAvailable, Amount::Percent(10.0));
        let seen = Observed { available: 5 << 20, capacity: 100 << 20 };
        assert_eq!(
            message(&one, &threshold, seen),
            "The node was low on resource: memory. Threshold quantity: 10Mi, available: 5Mi. \
             Container c was using 3Mi, request is 1048576, has larger consumption of memory. "
        );
    }
}
