use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{Context, paths};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Seen, text};

/// Checks what volumes a container mounts, and where.
pub(super) fn validate_mounts(
    container: &Container,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut places = Seen::new();
    let mut device_names = Seen::new();
    let mut device_paths = Seen::new();
    for device in container.volume_devices.iter().flatten() {
        device_names.insert(device.name.as_str());
        device_paths.insert(device.device_path.as_str());
    }
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let at = path.index(index);
        let name = mount.name.as_str();
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        }
        if context.volumes.find(name).is_none() {
            errors.not_found(&at.child("name"), name);
        }
        let place = mount.mount_path.as_str();
        if place.is_empty() {
            errors.required(&at.child("mountPath"), "");
        }
        if !places.insert(place) {
            errors.invalid(&at.child("mountPath"), place, "must be unique");
        }
        if device_names.contains(name) {
            let why = "must not already exist in volumeDevices";
            errors.invalid(&at.child("name"), name, why);
        }
        if device_paths.contains(place) {
            let why = "must not already exist as a path in volumeDevices";
            errors.invalid(&at.child("mountPath"), place, why);
        }
        validate_sub_path(mount, &at, path, errors);
        validate_propagation(mount, container, &path.child("mountPropagation"), errors);
        validate_recursion(mount, &path.child("recursiveReadOnly"), errors);
    }
}

// Upstream puts the name of the field behind the list here, without the index; so do we.
fn validate_sub_path(mount: &VolumeMount, at: &Path<'_>, list: &Path<'_>, errors: &mut ErrorList) {
    let sub_path = text(&mount.sub_path);
    if !sub_path.is_empty() {
        paths::local_descending(sub_path, &list.child("subPath"), errors);
    }
    let expression = text(&mount.sub_path_expr);
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&at.child("subPathExpr"), expression, why);
        }
        paths::local_descending(expression, &list.child("subPathExpr"), errors);
    }
}

fn validate_propagation(
    mount: &VolumeMount,
    container: &Container,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(propagation) = &mount.mount_propagation else { return };
    if !matches!(&propagation[..], "Bidirectional" | "HostToContainer" | "None") {
        let supported = ["Bidirectional", "HostToContainer", "None"];
        errors.not_supported(path, propagation, &supported);
    }
    let privileged = container.security_context.as_ref().and_then(|context| context.privileged);
    if propagation == "Bidirectional" && privileged != Some(true) {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(path, why);
    }
}

fn validate_recursion(mount: &VolumeMount, path: &Path<'_>, errors: &mut ErrorList) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_deref().is_some_and(|propagation| propagation != "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                errors.forbidden(path, why);
            }
        }
        Some(other) => {
            errors.not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]);
        }
    }
}

/// Checks what volumes a container has as raw devices, and where.
pub(super) fn validate_devices(
    container: &Container,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    if devices.is_empty() {
        return;
    }
    let mut mounted_names = Seen::new();
    let mut mounted_paths = Seen::new();
    for mount in container.volume_mounts.iter().flatten() {
        mounted_names.insert(mount.name.as_str());
        mounted_paths.insert(mount.mount_path.as_str());
    }
    let mut names = Seen::new();
    let mut places = Seen::new();
    for (index, device) in devices.iter().enumerate() {
        let path = path.index(index);
        let at = path.child("name");
        let name = device.name.as_str();
        if name.is_empty() {
            errors.required(&at, "");
        } else if !names.insert(name) {
            errors.invalid(&at, name, "must be unique");
        }
        match context.volumes.find(name) {
            None => errors.not_found(&at, name),
            Some(volume)
                if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() =>
            {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral \
                           for block mode";
                errors.invalid(&at, name, why);
            }
            Some(_) => {}
        }
        if mounted_names.contains(name) {
            errors.invalid(&at, name, "must not already exist in volumeMounts");
        }
        let at = path.child("devicePath");
        let place = device.device_path.as_str();
        if place.is_empty() {
            errors.required(&at, "");
        }
        if places.contains(place) {
            errors.invalid(&at, place, "must be unique");
        }
        if paths::has_backstep(place) {
            errors.invalid(&at, place, "can not contain backsteps ('..')");
        } else {
            places.insert(place);
        }
        if mounted_paths.contains(place) {
            let why = "must not already exist as a path in volumeMounts";
            errors.invalid(&at, place, why);
        }
        if !context.host_users {
            errors.forbidden(&path, "may not be set when `hostUsers` is false");
        }
    }
}
