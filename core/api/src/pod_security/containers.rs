//! Containers of all sorts, as the checks see them, and how they are spoken of.

use k8s_openapi::api::core::v1::{ContainerPort, Lifecycle, PodSpec, Probe, SecurityContext};

use super::Subject;

/// A container, whether it starts the pod, runs in it or looks into it.
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    pub(super) security: Option<&'a SecurityContext>,
    pub(super) ports: &'a [ContainerPort],
    pub(super) probes: [Option<&'a Probe>; 3],
    pub(super) lifecycle: Option<&'a Lifecycle>,
}

macro_rules! view {
    ($container:expr) => {
        Container {
            name: &$container.name,
            security: $container.security_context.as_ref(),
            ports: $container.ports.as_deref().unwrap_or_default(),
            probes: [
                $container.liveness_probe.as_ref(),
                $container.readiness_probe.as_ref(),
                $container.startup_probe.as_ref(),
            ],
            lifecycle: $container.lifecycle.as_ref(),
        }
    };
}

/// All containers of a pod.
pub(super) fn of(spec: &PodSpec) -> impl Iterator<Item = Container<'_>> {
    let init = spec.init_containers.iter().flatten().map(|one| view!(one));
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|one| view!(one));
    init.chain(spec.containers.iter().map(|one| view!(one))).chain(ephemeral)
}

/// The names of the containers of which something is true.
pub(super) fn where_<'a>(
    pod: &Subject<'a>,
    mut is: impl FnMut(&Container<'a>) -> bool,
) -> Vec<&'a str> {
    pod.containers.iter().filter(|one| is(one)).map(|one| one.name).collect()
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn named(names: &[&str]) -> String {
    format!("{} {}", plural("container", names.len()), quoted(names))
}

/// Who sets something: the pod, some of its containers, or both.
pub(super) fn setters(pod: bool, containers: &[&str]) -> Vec<String> {
    let mut setters = Vec::new();
    if pod {
        setters.push("pod".to_owned());
    }
    if !containers.is_empty() {
        setters.push(named(containers));
    }
    setters
}

pub(super) fn quoted<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(|item| format!("\"{}\"", item.as_ref())).collect();
    items.join(", ")
}

pub(super) fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Adds what is not there yet, in order.
pub(super) fn insert<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(place) = list.binary_search(&item) {
        list.insert(place, item);
    }
}
