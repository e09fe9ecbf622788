use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::field::Path;
use crate::kinds::check::text;

/// Labels of nodes that have another name now, and since when.
const RENAMED_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
];
const SYSCTLS: &str = "security.alpha.kubernetes.io/sysctls";
const UNSAFE_SYSCTLS: &str = "security.alpha.kubernetes.io/unsafe-sysctls";
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// What is valid in a pod, or in the template of pods, and most often a mistake.
pub(in crate::kinds) fn pod_warnings(
    meta: Option<&ObjectMeta>,
    spec: &PodSpec,
    template: Option<&Path<'_>>,
) -> Vec<String> {
    let mut texts = Vec::new();
    let (root_spec, root_meta) = (Path::root("spec"), Path::root("metadata"));
    let path = template.map_or(root_spec, |template| template.child("spec"));
    let meta_path = template.map_or(root_meta, |template| template.child("metadata"));
    labels(spec, &path, &mut texts);
    annotations(meta, &meta_path.child("annotations"), &mut texts);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        texts.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            path.child("terminationGracePeriodSeconds")
        ));
    }
    let list = path.child("volumes");
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        volumes(volume, &list.index(index), &mut texts);
    }
    let lists = [
        ("initContainers", spec.init_containers.as_deref().unwrap_or_default()),
        ("containers", &spec.containers[..]),
    ];
    for (field, containers) in lists {
        let list = path.child(field);
        for (index, container) in containers.iter().enumerate() {
            variables(container, &list.index(index), &mut texts);
            ports(container, &list.index(index), &mut texts);
        }
    }
    texts
}

fn labels(spec: &PodSpec, path: &Path<'_>, texts: &mut Vec<String>) {
    let at = path.child("nodeSelector");
    for key in spec.node_selector.iter().flatten().map(|(key, _)| key) {
        if let Some((_, since, new)) = RENAMED_LABELS.iter().find(|(old, ..)| old == key) {
            texts.push(format!("{}: deprecated since {since}; use {new:?} instead", at.key(key)));
        }
    }
}

fn annotations(meta: Option<&ObjectMeta>, path: &Path<'_>, texts: &mut Vec<String>) {
    for (key, _) in meta.and_then(|meta| meta.annotations.as_ref()).into_iter().flatten() {
        let (since, field) = match key.as_str() {
            SYSCTLS | UNSAFE_SYSCTLS => ("v1.11+", "sysctls"),
            SECCOMP => ("v1.27+", "seccompProfile"),
            key if key.starts_with(SECCOMP_OF) => ("v1.27+", "seccompProfile"),
            _ => continue,
        };
        texts.push(format!(
            "{}: non-functional in {since}; use the {field:?} field instead",
            path.key(key)
        ));
    }
}

fn volumes(volume: &Volume, path: &Path<'_>, texts: &mut Vec<String>) {
    let gone = [
        ("cephfs", volume.cephfs.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
        (
            "gitRepo",
            volume.git_repo.is_some(),
            "deprecated in v1.11, and disabled by default in v1.33+",
        ),
        ("glusterfs", volume.glusterfs.is_some(), "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", volume.rbd.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
        ("scaleIO", volume.scale_io.is_some(), "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", volume.storageos.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
    ];
    for (field, _, what) in gone.into_iter().filter(|(_, is, _)| *is) {
        texts.push(format!("{}: {what}", path.child(field)));
    }
}

fn variables(container: &Container, path: &Path<'_>, texts: &mut Vec<String>) {
    let list = path.child("env");
    let env = container.env.as_deref().unwrap_or_default();
    for (index, variable) in env.iter().enumerate() {
        // Who names a variable in its own value means to build on what was there.
        let builds_on = text(&variable.value).contains(&format!("$({})", variable.name));
        if !builds_on && env[..index].iter().any(|before| before.name == variable.name) {
            texts.push(format!(
                "{}: hides previous definition of {:?}, which may be unexpected",
                list.index(index),
                variable.name
            ));
        }
    }
}

fn ports(container: &Container, path: &Path<'_>, texts: &mut Vec<String>) {
    let list = path.child("ports");
    let ports = container.ports.as_deref().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let at = list.index(index);
        let name = text(&port.name);
        let same = |before: &&k8s_openapi::api::core::v1::ContainerPort| {
            before.container_port == port.container_port
                && before.protocol == port.protocol
                && before.host_port == port.host_port
                && before.host_ip == port.host_ip
        };
        let before = ports[..index].iter();
        if let Some(first) = before
            .clone()
            .position(|before| !name.is_empty() && text(&before.name) == name && !same(&before))
        {
            let first = list.index(first);
            texts.push(format!(
                "{at}: duplicate port name {name:?} with {first}, services and probes that select \
                 ports by name will use {first}"
            ));
        }
        if let Some(first) = before.clone().position(|before| same(&before)) {
            texts.push(format!("{at}: duplicate port definition with {}", list.index(first)));
        }
    }
}
