//! Annotations of pods that mean something to the API.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{all_security_contexts, containers, paths, tolerations};
use crate::field::{ErrorList, Path};
use crate::kinds::check::text;

/// Marks the image in the API of a pod that a node runs by itself.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Tolerations from before there was a field.
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
/// Which pods go first when there are too many.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Checks the annotations of a pod or of a template.
pub(in crate::kinds) fn validate_pod_annotations(
    meta: &ObjectMeta,
    spec: &PodSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (key, value) in meta.annotations.iter().flatten() {
        let at = path.key(key);
        if key == MIRROR && text(&spec.node_name).is_empty() {
            let why = "must set spec.nodeName if mirror pod annotation is set";
            errors.invalid(&at, value, why);
        } else if key == TOLERATIONS && !value.is_empty() {
            validate_tolerations(value, path, errors);
        } else if key == DELETION_COST && !is_deletion_cost(value) {
            errors.invalid(&at, value, "must be a 32bit integer");
        } else if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            validate_seccomp(value, &path.child(key), errors);
        } else if let Some(container) = key.strip_prefix(APP_ARMOR) {
            if !all_security_contexts(spec).any(|(_, _, name, _)| name == container) {
                errors.invalid(&at, container, "container not found");
            }
            let known = matches!(&value[..], "" | "runtime/default" | "unconfined");
            if !known && !value.starts_with("localhost/") {
                let why = format!("invalid AppArmor profile name: {value:?}");
                errors.invalid(&at, value, &why);
            }
        }
    }
}

fn validate_tolerations(value: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match serde_json::from_str::<Vec<Toleration>>(value) {
        Ok(parsed) => tolerations::validate(&parsed, &path.child(TOLERATIONS), errors),
        Err(why) => errors.invalid(path, TOLERATIONS, &why.to_string()),
    }
}

/// A whole number as people write it: no plus, no leading zeros.
fn is_deletion_cost(value: &str) -> bool {
    let first = value.as_bytes().first();
    let well_begun = value == "0" || matches!(first, Some(b'-' | b'1'..=b'9'));
    well_begun && value.parse::<i32>().is_ok()
}

fn validate_seccomp(profile: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if matches!(profile, "runtime/default" | "docker/default" | "unconfined") {
        return;
    }
    match profile.strip_prefix("localhost/") {
        Some(file) => paths::local_descending(file, path, errors),
        None => errors.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

/// Checks what may not change of a pod's annotations, and those that there are.
pub(in crate::kinds) fn validate_pod_annotation_update(
    new: &ObjectMeta,
    old: &ObjectMeta,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut check = |key: &str, what: &str| {
        if key.starts_with(APP_ARMOR) {
            let why = format!("may not {what} AppArmor annotations");
            errors.forbidden(&path.key(key), &why);
        }
        if key == MIRROR {
            let why = format!("may not {what} mirror pod annotation");
            errors.forbidden(&path.key(key), &why);
        }
    };
    let get = |meta: &ObjectMeta, key: &str| -> Option<String> {
        meta.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned()
    };
    for (key, value) in old.annotations.iter().flatten() {
        if get(new, key).as_ref() != Some(value) {
            check(key, "remove or update");
        }
    }
    for (key, _) in new.annotations.iter().flatten() {
        if get(old, key).is_none() {
            check(key, "add");
        }
    }
}

/// What is forbidden in pods but let through in templates, as ever.
pub(in crate::kinds) fn validate_pod_only(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    if text(&spec.service_account_name).is_empty() {
        let list = path.child("volumes");
        for (index, volume) in spec.volumes.iter().flatten().enumerate() {
            let at = list.index(index);
            let at = at.child("projected");
            let at = at.child("sources");
            let sources =
                volume.projected.as_ref().and_then(|projected| projected.sources.as_ref());
            for (index, source) in sources.into_iter().flatten().enumerate() {
                if source.service_account_token.is_some() {
                    let why = "must not be specified when serviceAccountName is not set";
                    errors.forbidden(&at.index(index).child("serviceAccountToken"), why);
                }
            }
        }
    }
    let list = path.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        containers::validate_image_space(container, &list.index(index), errors);
    }
    let list = path.child("initContainers");
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        containers::validate_image_space(container, &list.index(index), errors);
    }
}

/// Where a profile is named both in an annotation and in a field, both must name the same.
pub(in crate::kinds) fn validate_profiles_agree(
    meta: &ObjectMeta,
    spec: &PodSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(annotations) = meta.annotations.as_ref().filter(|all| !all.is_empty()) else { return };
    let pod = spec.security_context.as_ref();
    if let Some(profile) = pod.and_then(|context| context.seccomp_profile.as_ref())
        && let Some(annotation) = annotations.get(SECCOMP_POD)
    {
        let at = path.child("securityContext");
        agree(&annotation[..], &profile.into(), "seccomp", &at.child("seccompProfile"), errors);
    }
    let windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    for (field, index, name, security) in all_security_contexts(spec) {
        let at = path.child(field);
        let at = at.index(index);
        let at = at.child("securityContext");
        let seccomp = security.and_then(|security| security.seccomp_profile.as_ref());
        if let Some(profile) = seccomp
            && let Some(annotation) = of_container(annotations, SECCOMP_CONTAINER, name)
        {
            agree(annotation, &profile.into(), "seccomp", &at.child("seccompProfile"), errors);
        }
        let app_armor = security
            .and_then(|security| security.app_armor_profile.as_ref())
            .or_else(|| pod?.app_armor_profile.as_ref())
            .filter(|_| !windows);
        if let Some(profile) = app_armor
            && let Some(annotation) = of_container(annotations, APP_ARMOR, name)
        {
            agree(annotation, &profile.into(), "apparmor", &at.child("appArmorProfile"), errors);
        }
    }
}

fn of_container<'a>(
    annotations: &'a BTreeMap<String, String>,
    prefix: &str,
    container: &str,
) -> Option<&'a str> {
    annotations.get(&format!("{prefix}{container}")).map(String::as_str)
}

/// Seccomp and AppArmor profiles are alike.
struct Profile<'a> {
    kind: &'a str,
    file: Option<&'a str>,
}

impl<'a> From<&'a SeccompProfile> for Profile<'a> {
    fn from(profile: &'a SeccompProfile) -> Self {
        Self { kind: &profile.type_, file: profile.localhost_profile.as_deref() }
    }
}

impl<'a> From<&'a AppArmorProfile> for Profile<'a> {
    fn from(profile: &'a AppArmorProfile) -> Self {
        Self { kind: &profile.type_, file: profile.localhost_profile.as_deref() }
    }
}

fn agree(
    annotation: &str,
    profile: &Profile<'_>,
    what: &str,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let file = annotation.strip_prefix("localhost/");
    let same_type = match profile.kind {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => {
            annotation == "runtime/default" || what == "seccomp" && annotation == "docker/default"
        }
        "Localhost" => file.is_some(),
        _ => return,
    };
    if !same_type {
        let why = format!("{what} type in annotation and field must match");
        errors.forbidden(&path.child("type"), &why);
    } else if profile.kind == "Localhost" && file != profile.file {
        let why = format!("{what} profile in annotation and field must match");
        errors.forbidden(&path.child("localhostProfile"), &why);
    }
}
