//! What pods ask for and are limited to, all their containers together: what the scheduler, quotas
//! and who else adds up must agree on.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::quantity::Quantity;

/// Exact amounts by resource name, before they are rounded to whole units.
pub type Requests<'a> = BTreeMap<&'a str, Quantity>;
type Texts = BTreeMap<String, Text>;

/// How to add up what a pod asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summing<'a> {
    /// Counts what the node agent says that containers have, when that is more: for pods that
    /// are being resized in place.
    pub status: bool,
    /// What containers ask for that don't say.
    pub missing: &'a [(&'static str, Quantity)],
}

/// Whether a resource is one that a vendor names, not Kubernetes, as `example.com/gpu`.
pub fn is_extended(name: &str) -> bool {
    crate::kinds::is_extended_resource(name)
}

/// What a pod asks of its node: its containers together, or more if an init container needs
/// more, replaced by what the pod asks for as a whole, plus overhead. Sidecars run beside the init
/// containers that come after them.
pub fn requests<'a>(pod: &'a Pod, how: Summing<'_>) -> Requests<'a> {
    let Some(spec) = &pod.spec else { return Requests::new() };
    let status = pod.status.as_ref().filter(|_| how.status);
    let whole = status.and_then(whole_pod);
    let mut total = match status {
        None => sum(spec, None, how, spec_requests),
        Some(status) if is_resize_infeasible(status) => {
            greatest(measured(spec, status, how, whole))
        }
        Some(status) => {
            let mut total = sum(spec, None, how, spec_requests);
            raise(&mut total, greatest(measured(spec, status, how, whole)));
            total
        }
    };
    let own = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    if has_pod_level(own) {
        for (name, quantity) in pod_level(spec, status) {
            if is_pod_level(name) {
                total.insert(name, quantity);
            }
        }
    }
    for (name, quantity) in read(spec.overhead.as_ref()) {
        add(&mut total, name, quantity);
    }
    total
}

/// Whether a pod asks for resources as a whole.
pub fn asks_as_a_whole(pod: &Pod) -> bool {
    let requests = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    has_pod_level(requests)
}

/// Whether a pod says what it asks for, or is limited to, as a whole.
pub fn has_own(spec: &PodSpec) -> bool {
    let own = spec.resources.as_ref();
    own.is_some_and(|own| {
        has_pod_level(own.requests.as_ref()) || has_pod_level(own.limits.as_ref())
    })
}

fn has_pod_level(list: Option<&Texts>) -> bool {
    list.is_some_and(|list| list.keys().any(|name| is_pod_level(name)))
}

/// What a pod is limited to: as [`requests`], of limits. Overhead counts where there is a limit.
pub fn limits(pod: &Pod) -> Requests<'_> {
    let Some(spec) = &pod.spec else { return Requests::new() };
    let status = pod.status.as_ref();
    let mut total = aggregate(spec, |container| {
        let asked = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let found = status.and_then(|status| container_status(status, &container.name));
        let had = found.and_then(|found| found.resources.as_ref());
        let mut most: Requests<'_> = read(had.and_then(|had| had.limits.as_ref())).collect();
        if had.is_none() || !status.is_some_and(is_resize_infeasible) {
            raise(&mut most, read(asked).collect());
        }
        most
    });
    if has_own(spec) {
        let own = spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        total.extend(read(own).filter(|(name, _)| is_pod_level(name)));
    }
    for (name, overhead) in read(spec.overhead.as_ref()) {
        if let Some(limit) = total.get_mut(name) {
            *limit += overhead;
        }
    }
    total
}

type Whole<'a> = (&'a Texts, &'a Texts);

/// What the status says of the pod as a whole: allocated, actuated.
fn whole_pod(status: &PodStatus) -> Option<Whole<'_>> {
    let actuated = status.resources.as_ref()?.requests.as_ref()?;
    Some((status.allocated_resources.as_ref()?, actuated))
}

fn measured<'a>(
    spec: &'a PodSpec,
    status: &'a PodStatus,
    how: Summing<'_>,
    whole: Option<Whole<'a>>,
) -> [Requests<'a>; 2] {
    match whole {
        Some((allocated, actuated)) => {
            [read(Some(allocated)).collect(), read(Some(actuated)).collect()]
        }
        None => [
            sum(spec, Some(status), how, allocated_requests),
            sum(spec, Some(status), how, actuated_requests),
        ],
    }
}

fn greatest([mut first, second]: [Requests<'_>; 2]) -> Requests<'_> {
    raise(&mut first, second);
    first
}

/// The pod's own requests; while it is resized, the greatest of what it asks for and has.
fn pod_level<'a>(spec: &'a PodSpec, status: Option<&'a PodStatus>) -> Requests<'a> {
    let asked = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let Some(status) = status else { return read(asked).collect() };
    let actuated = status.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let allocated = status.allocated_resources.as_ref();
    if actuated.is_none() && allocated.is_none() {
        return read(asked).collect();
    }
    let mut total = Requests::new();
    if !is_resize_infeasible(status) {
        raise(&mut total, read(asked).collect());
    }
    for had in [actuated, allocated] {
        let mut had: Requests<'_> = read(had).collect();
        for (name, overhead) in read(spec.overhead.as_ref()) {
            if let Some(quantity) = had.get_mut(name) {
                *quantity -= overhead;
            }
        }
        raise(&mut total, had);
    }
    total
}

type Of<'a> = fn(&'a Container, Option<&'a ContainerStatus>, bool) -> Option<&'a Texts>;

fn sum<'a>(
    spec: &'a PodSpec,
    status: Option<&'a PodStatus>,
    how: Summing<'_>,
    of: Of<'a>,
) -> Requests<'a> {
    let infeasible = status.is_some_and(is_resize_infeasible);
    aggregate(spec, |container| {
        let status = status.and_then(|status| container_status(status, &container.name));
        let mut requests: Requests<'a> = read(of(container, status, infeasible)).collect();
        for (name, quantity) in how.missing {
            requests.entry(name).or_insert(*quantity);
        }
        requests
    })
}

/// The containers together, or more where those that run before them need more.
fn aggregate<'a>(
    spec: &'a PodSpec,
    requests: impl Fn(&'a Container) -> Requests<'a>,
) -> Requests<'a> {
    let mut total = Requests::new();
    for container in &spec.containers {
        for (name, quantity) in requests(container) {
            add(&mut total, name, quantity);
        }
    }
    let mut sidecars = Requests::new();
    let mut starting = Requests::new();
    for container in spec.init_containers.iter().flatten() {
        let mut needed = requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            for (name, quantity) in needed {
                add(&mut total, name, quantity);
                add(&mut sidecars, name, quantity);
            }
            raise(&mut starting, sidecars.clone());
        } else {
            for (name, quantity) in &sidecars {
                add(&mut needed, name, *quantity);
            }
            raise(&mut starting, needed);
        }
    }
    raise(&mut total, starting);
    total
}

fn spec_requests<'a>(
    container: &'a Container,
    _: Option<&'a ContainerStatus>,
    _: bool,
) -> Option<&'a Texts> {
    container.resources.as_ref()?.requests.as_ref()
}

fn allocated_requests<'a>(
    container: &'a Container,
    status: Option<&'a ContainerStatus>,
    infeasible: bool,
) -> Option<&'a Texts> {
    match status.and_then(|status| status.allocated_resources.as_ref()) {
        Some(allocated) => Some(allocated),
        None if infeasible => None,
        None => spec_requests(container, None, false),
    }
}

fn actuated_requests<'a>(
    container: &'a Container,
    status: Option<&'a ContainerStatus>,
    infeasible: bool,
) -> Option<&'a Texts> {
    let actuated = status.and_then(|status| status.resources.as_ref()?.requests.as_ref());
    actuated.or_else(|| allocated_requests(container, status, infeasible))
}

fn container_status<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let running = status.container_statuses.iter().flatten();
    let starting = status.init_container_statuses.iter().flatten();
    running.chain(starting).find(|status| status.name == name)
}

fn is_resize_infeasible(status: &PodStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    let pending = conditions.find(|condition| condition.type_ == "PodResizePending");
    pending.is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"))
}

fn is_pod_level(name: &str) -> bool {
    name == "cpu" || name == "memory" || name.starts_with("hugepages-")
}

fn read(texts: Option<&Texts>) -> impl Iterator<Item = (&str, Quantity)> {
    let quantity = |(name, text): (_, &Text)| {
        (String::as_str(name), Quantity::try_from(text).unwrap_or_default())
    };
    texts.into_iter().flatten().map(quantity)
}

fn add<'a>(total: &mut Requests<'a>, name: &'a str, quantity: Quantity) {
    match total.entry(name) {
        Entry::Occupied(mut found) => *found.get_mut() += quantity,
        Entry::Vacant(place) => _ = place.insert(quantity),
    }
}

fn raise<'a>(total: &mut Requests<'a>, other: Requests<'a>) {
    for (name, quantity) in other {
        let known = total.entry(name).or_insert(quantity);
        *known = quantity.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(more: Value) -> Pod {
        let container = |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}});
        let mut sidecar = container("s", "1");
        sidecar["restartPolicy"] = "Always".into();
        let init = json!([sidecar, container("i", "4")]);
        let mut pod = json!({"metadata": {}, "spec": {"initContainers": init,
            "containers": [container("a", "1"), container("b", "500m")]}});
        for (field, value) in more.as_object().into_iter().flatten() {
            pod["spec"][field] = value.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn check(pod: &Pod, expected_requests: &str, expected_limits: &str) {
        let show = |all: Requests<'_>| {
            let texts = all.iter().map(|(name, amount)| format!("{name}={amount}"));
            texts.collect::<Vec<_>>().join(",")
        };
        let how = Summing { status: true, missing: &[] };
        assert_eq!(show(requests(pod, how)), expected_requests);
        assert_eq!(show(limits(pod)), expected_limits);
    }

    #[test]
    fn what_starts_a_pod_counts_where_it_is_more() {
        check(&pod(json!({})), "cpu=5", "cpu=5");
        let overhead = json!({"overhead": {"cpu": "1", "memory": "1Gi"}});
        check(&pod(overhead), "cpu=6,memory=1Gi", "cpu=6");
        let whole = json!({"resources": {"requests": {"cpu": "7"}, "limits": {"cpu": "8"}}});
        check(&pod(whole), "cpu=7", "cpu=8");
    }

    #[test]
    fn a_pod_that_is_resized_counts_as_what_is_more() {
        let mut pod = pod(json!({"initContainers": []}));
        let had = json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "",
            "ready": true, "restartCount": 0,
            "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}}]});
        pod.status = serde_json::from_value(had).unwrap();
        check(&pod, "cpu=2500m", "cpu=3500m");
    }
}
