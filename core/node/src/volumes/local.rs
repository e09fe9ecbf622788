use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, PersistentVolume, Pod, Volume, VolumeDevice, VolumeMount,
};
use pinnace_runtime::{Device, Features, Mount, Propagation};

use super::{
    MountError, Prepared, atomic, content, empty_dir, host_path, pod_directory, sub_path, tmpfs,
};
use crate::pod::expansion::expand;
use crate::pod::fields::Surroundings;
use crate::pod::{read_only, record};
use crate::sources::{self, Sources};

/// Prepares all volumes of a pod, or brings them up to date.
///
/// # Errors
/// Which volume cannot be prepared and why; what was prepared before stays for the next attempt.
pub(crate) fn prepare(
    state: &Path,
    pod: &Pod,
    found: &Sources,
    around: &Surroundings<'_>,
) -> Result<Prepared, MountError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let root = pod_directory(state, uid).join("volumes");
    let mut prepared = Prepared::new();
    for volume in record::spec_of(pod).volumes.iter().flatten() {
        if volume.image.is_some() {
            continue;
        }
        let path = prepare_one(&root, pod, volume, found, around)
            .map_err(|why| MountError::new(&volume.name, why))?;
        prepared.insert(volume.name.clone(), path);
    }
    Ok(prepared)
}

fn prepare_one(
    root: &Path,
    pod: &Pod,
    volume: &Volume,
    found: &Sources,
    around: &Surroundings<'_>,
) -> Result<PathBuf, String> {
    if let Some(path) = found.published(&volume.name) {
        return Ok(path.clone());
    }
    let at = |plugin: &str| root.join(plugin).join(&volume.name);
    let context = record::spec_of(pod).security_context.as_ref();
    let group = context.and_then(|context| context.fs_group);
    if let Some(source) = &volume.empty_dir {
        let path = at("kubernetes.io~empty-dir");
        return empty_dir::prepare(&path, source, group).map(|()| path);
    }
    if let Some(source) = &volume.host_path {
        return host_path::prepare(source);
    }
    if let Some(claim) = sources::claim_of(pod, volume) {
        return claimed(found.claimed(&claim)?);
    }
    let plugin = if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else {
        "kubernetes.io~projected"
    };
    let files = content::files(pod, volume, found, around)?;
    let path = at(plugin);
    atomic::write(&path, &files, group).map_err(|error| error.to_string())?;
    Ok(path)
}

/// Where a persistent volume is on this machine.
fn claimed(volume: &PersistentVolume) -> Result<PathBuf, String> {
    let spec = volume.spec.as_ref();
    if spec.and_then(|spec| spec.volume_mode.as_deref()) == Some("Block") {
        return block_device(volume);
    }
    if let Some(source) = spec.and_then(|spec| spec.host_path.as_ref()) {
        return host_path::prepare(source);
    }
    if let Some(source) = spec.and_then(|spec| spec.local.as_ref()) {
        let path = PathBuf::from(&source.path);
        return match fs::metadata(&path) {
            Ok(found) if found.is_dir() => Ok(path),
            Ok(_) => Err(format!("path {:?} is not a directory", source.path)),
            Err(error) => Err(format!("path {:?}: {error}", source.path)),
        };
    }
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    Err(format!("persistent volume {name:?} is of a kind that this node agent cannot mount"))
}

/// The device of a persistent volume that has no file system.
fn block_device(volume: &PersistentVolume) -> Result<PathBuf, String> {
    use std::os::unix::fs::FileTypeExt as _;
    let spec = volume.spec.as_ref();
    let local = spec.and_then(|spec| spec.local.as_ref()).map(|source| &source.path);
    let host = spec.and_then(|spec| spec.host_path.as_ref()).map(|source| &source.path);
    let Some(path) = local.or(host) else {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        return Err(format!(
            "persistent volume {name:?} is of a kind that this node agent cannot map"
        ));
    };
    match fs::metadata(path) {
        Ok(found) if found.file_type().is_block_device() => Ok(path.into()),
        Ok(_) => Err(format!("path {path:?} is not a block device")),
        Err(error) => Err(format!("path {path:?}: {error}")),
    }
}

/// The block devices of a container.
///
/// # Errors
/// The message of a `CreateContainerConfigError`.
pub(crate) fn devices(
    pod: &Pod,
    container: &Container,
    prepared: &Prepared,
) -> Result<Vec<Device>, String> {
    let device = |device: &VolumeDevice| {
        let host_path = prepared
            .get(&device.name)
            .ok_or_else(|| format!("volume {:?} is not there", device.name))?;
        Ok(Device {
            host_path: host_path.clone(),
            container_path: absolute(&device.device_path),
            read_only: VolumeKind::of(pod, &device.name).is_read_only(),
        })
    };
    container.volume_devices.iter().flatten().map(device).collect()
}

/// The mounts of a container, and what undoes them: bind mounts for sub-paths.
///
/// # Errors
/// The message of a `CreateContainerConfigError`.
pub(crate) fn mounts(
    state: &Path,
    pod: &Pod,
    container: &Container,
    prepared: &Prepared,
    features: Features,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>, String> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let directory = pod_directory(state, uid);
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = prepared
            .get(&mount.name)
            .ok_or_else(|| format!("volume {:?} is not there", mount.name))?;
        let host_path = match wanted_sub_path(mount, lookup)? {
            None => volume.clone(),
            Some(path) => {
                let place = directory
                    .join("volume-subpaths")
                    .join(&mount.name)
                    .join(&container.name)
                    .join(index.to_string());
                sub_path::resolve(volume, Path::new(&path), &place).map_err(|why| {
                    format!(
                        "failed to prepare subPath for volumeMount {:?} of container {:?}: {why}",
                        mount.name, container.name
                    )
                })?
            }
        };
        let config = VolumeKind::of(pod, &mount.name);
        let recursive = read_only::is_recursive(mount, features.recursive_read_only)
            .map_err(|why| format!("failed to resolve recursive read-only mode: {why}"))?;
        mounts.push(Mount {
            host_path,
            container_path: absolute(&mount.mount_path),
            read_only: mount.read_only == Some(true) || config.is_read_only(),
            recursive_read_only: recursive,
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::None,
            },
        });
    }
    Ok(mounts)
}

/// Whether containers may write to a volume: what comes from the API is for reading.
#[derive(Clone, Copy)]
enum VolumeKind {
    Content,
    Storage,
}

impl VolumeKind {
    fn of(pod: &Pod, name: &str) -> Self {
        let volumes = record::spec_of(pod).volumes.iter().flatten();
        let volume = volumes.into_iter().find(|volume| volume.name == name);
        let read_only = |volume: &Volume| {
            let claim = volume.persistent_volume_claim.as_ref();
            let inline = volume.csi.as_ref();
            claim.is_some_and(|claim| claim.read_only == Some(true))
                || inline.is_some_and(|inline| inline.read_only == Some(true))
        };
        let storage = |volume: &Volume| {
            volume.empty_dir.is_some()
                || volume.host_path.is_some()
                || volume.ephemeral.is_some()
                || volume.csi.is_some()
                || volume.persistent_volume_claim.is_some()
        };
        let writable = |volume: &Volume| storage(volume) && !read_only(volume);
        if volume.is_none_or(writable) { Self::Storage } else { Self::Content }
    }

    fn is_read_only(self) -> bool {
        matches!(self, Self::Content)
    }
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

fn wanted_sub_path(
    mount: &VolumeMount,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    if let Some(expression) = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) {
        let names: Vec<(String, String)> = variables(expression)
            .map(|name| {
                let missing =
                    || format!("missing value for {name:?} in subPathExpr {expression:?}");
                lookup(name).map(|value| (name.to_owned(), value)).ok_or_else(missing)
            })
            .collect::<Result<_, _>>()?;
        let find = |name: &str| {
            names.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        return Ok(Some(expand(expression, find).into_owned()));
    }
    Ok(mount.sub_path.clone().filter(|path| !path.is_empty()))
}

/// The names in `$(NAME)` of a text.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split("$(").skip(1).filter_map(|rest| rest.split_once(')').map(|(name, _)| name))
}

/// Lets go of what a stopped container's sub-paths hold, and of the whole pod when `container` is
/// `None`.
///
/// # Errors
/// What cannot be removed; nothing outside of the pod's directory is touched.
pub(crate) fn remove(state: &Path, uid: &str) -> io::Result<()> {
    let directory = pod_directory(state, uid);
    tmpfs::unmount_below(&directory)?;
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives all files of a volume to a group, which may read and write what the owner may; what is
/// made in its directories later belongs to it, too. Links are not followed.
///
/// # Errors
/// What cannot be read or changed.
pub(crate) fn give_to_group(root: &Path, group: u32) -> io::Result<()> {
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let found = fs::symlink_metadata(&path)?;
        lchown(&path, None, Some(group))?;
        if found.is_symlink() {
            continue;
        }
        let more = if found.is_dir() { 0o2770 } else { 0o660 };
        fs::set_permissions(&path, Permissions::from_mode(found.mode() & 0o7777 | more))?;
        if found.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

/// The uids of the pods that have something under the state directory.
pub(crate) fn pods_on_disk(state: &Path) -> Vec<String> {
    let entries = fs::read_dir(state.join("pods")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Unmounts and removes the volumes of all pods below an agent's state directory: what is left to
/// do when the agent has ended and its pods were removed.
///
/// # Errors
/// What cannot be unmounted or removed.
pub fn remove_all(state: &Path) -> io::Result<()> {
    for uid in pods_on_disk(state) {
        remove(state, &uid)?;
    }
    Ok(())
}
