//! Writes of pods through `ephemeralcontainers` and `resize`: each changes one thing and nothing
//! else.

use k8s_openapi::api::core::v1::{Pod, PodSpec, ResourceRequirements};

use crate::field::{ErrorList, Path};
use crate::kinds::check::Seen;
use crate::kinds::{next_generation, qos};

/// What a pod may be given more or less of while it runs.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// What tells a mirror of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Takes over everything from `old` but the ephemeral containers.
pub(super) fn keep_all_but_ephemeral_containers(new: &mut Pod, old: &Pod) {
    let wanted = new.spec.take().and_then(|spec| spec.ephemeral_containers);
    keep(new, old, |spec| spec.ephemeral_containers = wanted);
}

/// Takes over everything from `old` but the resources of containers. When the containers are not
/// the same ones, the spec stays, for validation to refuse.
pub(super) fn keep_all_but_resources(new: &mut Pod, old: &Pod) {
    let none = PodSpec::default();
    let (wanted, had) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    let names = |spec: &PodSpec| -> Vec<String> {
        let init = spec.init_containers.iter().flatten();
        init.chain(&spec.containers).map(|container| container.name.clone()).collect()
    };
    if names(wanted) != names(had) {
        new.status.clone_from(&old.status);
        return;
    }
    let wanted = wanted.clone();
    keep(new, old, |spec| {
        spec.resources = wanted.resources;
        let init = spec.init_containers.iter_mut().flatten();
        let sources = wanted.init_containers.into_iter().flatten().chain(wanted.containers);
        for (container, source) in init.chain(&mut spec.containers).zip(sources) {
            container.resources = source.resources;
            container.resize_policy = source.resize_policy;
        }
    });
}

fn keep(new: &mut Pod, old: &Pod, change: impl FnOnce(&mut PodSpec)) {
    let version = new.metadata.resource_version.take();
    new.clone_from(old);
    new.metadata.resource_version = version;
    change(new.spec.get_or_insert_default());
    let changed = new.spec != old.spec;
    next_generation(&mut new.metadata, &old.metadata, changed);
}

/// Ephemeral containers are only added.
pub(super) fn validate_ephemeral_containers(new: &Pod, old: &Pod, errors: &mut ErrorList) {
    let containers = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        spec.and_then(|spec| spec.ephemeral_containers.clone()).unwrap_or_default()
    };
    let new = containers(new);
    let path = Path::root("spec");
    let at = path.child("ephemeralContainers");
    for old in containers(old) {
        let what = match new.iter().find(|new| new.name == old.name) {
            None => "removed",
            Some(new) if *new != old => "changed",
            Some(_) => continue,
        };
        let why = format!("existing ephemeral containers {:?} may not be {what}", old.name);
        errors.forbidden(&at, &why);
    }
}

/// Only what containers have of processors and memory changes, and never the class of the pod.
pub(super) fn validate_resize(new: &Pod, old: &Pod, errors: &mut ErrorList) {
    let none = PodSpec::default();
    if old.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
        errors.forbidden(&Path::root(""), "static pods cannot be resized");
        return;
    }
    let (new, old) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    let path = Path::root("spec");
    validate_resources(new.resources.as_ref(), old.resources.as_ref(), &path, errors);
    if qos::class(new) != qos::class(old) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(&path, qos::class(new), why);
    }
    let init = (new.init_containers.as_deref(), old.init_containers.as_deref());
    let lists = [
        ("initContainers", init.0.unwrap_or_default(), init.1.unwrap_or_default()),
        ("containers", &new.containers[..], &old.containers[..]),
    ];
    for (field, new, old) in lists {
        let list = path.child(field);
        if new.len() != old.len() || new.iter().zip(old).any(|(a, b)| a.name != b.name) {
            errors.forbidden(&list, "containers may not be added, removed, reordered or renamed");
            continue;
        }
        for (index, (new, old)) in new.iter().zip(old).enumerate() {
            let (new, old) = (new.resources.as_ref(), old.resources.as_ref());
            validate_resources(new, old, &list.index(index), errors);
        }
    }
}

fn validate_resources(
    new: Option<&ResourceRequirements>,
    old: Option<&ResourceRequirements>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let none = ResourceRequirements::default();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    let path = path.child("resources");
    let lists = [("requests", &new.requests, &old.requests), ("limits", &new.limits, &old.limits)];
    for (field, new, old) in lists {
        let at = path.child(field);
        let mut names = Seen::new();
        for (name, _) in new.iter().flatten().chain(old.iter().flatten()) {
            if !names.insert(name.as_str()) || RESIZABLE.contains(&name.as_str()) {
                continue;
            }
            let value = |list: &Option<std::collections::BTreeMap<String, _>>| {
                list.as_ref().and_then(|list| list.get(name)).cloned()
            };
            if value(new) != value(old) {
                errors.forbidden(&at.child(name), "only cpu and memory resources are mutable");
            }
        }
        let removed = RESIZABLE.into_iter().any(|name| {
            let has = |list: &Option<std::collections::BTreeMap<String, _>>| {
                list.as_ref().is_some_and(|list| list.contains_key(name))
            };
            has(old) && !has(new)
        });
        if removed {
            errors.forbidden(&at, &format!("resource {field} cannot be removed"));
        }
    }
}
