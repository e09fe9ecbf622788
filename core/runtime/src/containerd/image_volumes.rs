//! Images as volumes: their content, to be read, for as long as the pod lives.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containerd_client::services::v1::snapshots::ViewSnapshotRequest;
use containerd_client::tonic::Code;
use rustix::mount::{UnmountFlags, unmount};
use sha2::{Digest as _, Sha256};

use super::image::ParsedImage;
use super::records::PodPaths;
use super::{Core, rootfs};
use crate::{ContainerId, Error, PodId, Result, namespaces};

impl Core {
    /// Mounts the content of an image for a pod. A repeated call gives the same place.
    pub(super) async fn mount_image(
        self: &Arc<Self>,
        pod: &PodId,
        reference: &str,
    ) -> Result<PathBuf> {
        let making = self.table.making(pod);
        let _making = making.lock().await;
        let pod = self.table.pod(pod).ok_or_else(|| Error::PodNotFound(pod.0.clone()))?;
        let (_, image) = self.images.find(reference).await?.ok_or_else(|| {
            let message = "not present on this machine".into();
            Error::ImageNotFound { reference: reference.to_owned(), message }
        })?;
        let key = self.view_key(&pod.id(), &image.id);
        let place = pod.paths.images().join(&key);
        if namespaces::is_mount(&place) {
            return Ok(place);
        }
        let mounts = self.view(&key, reference, &image).await?;
        let target = place.clone();
        super::blocking(move || {
            std::fs::create_dir_all(&target).map_err(|error| failed("make", &target, error))?;
            rootfs::show(&mounts, &target)
        })
        .await?;
        Ok(place)
    }

    /// The same for the same image of a pod, and a name that containers do not have.
    fn view_key(&self, pod: &PodId, image_id: &str) -> String {
        let mut hasher = Sha256::new();
        for part in ["image", self.connection.namespace(), &pod.0, image_id] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Makes a snapshot that can only be read.
    async fn view(
        &self,
        key: &str,
        reference: &str,
        image: &ParsedImage,
    ) -> Result<Vec<containerd_client::types::Mount>> {
        for attempt in 0.. {
            let now = self.env.clock().now_seconds().to_string();
            let request = ViewSnapshotRequest {
                snapshotter: self.snapshotter.clone(),
                key: key.to_owned(),
                parent: image.snapshot().to_owned(),
                // Nothing else refers to it; it goes with the pod.
                labels: HashMap::from([("containerd.io/gc.root".to_owned(), now)]),
            };
            let request = self.connection.request(request);
            match self.connection.snapshots().view(request).await {
                Ok(answer) => return Ok(answer.into_inner().mounts),
                Err(status) if status.code() == Code::AlreadyExists => break,
                Err(status) if status.code() == Code::NotFound && attempt == 0 => {
                    self.images.unpack(reference, image).await?;
                }
                Err(status) => return Err(self.connection.error("mount an image", &status)),
            }
        }
        self.mounts(&ContainerId(key.to_owned())).await
    }

    /// Lets go of all images of a pod.
    pub(super) async fn unmount_images(&self, paths: &PodPaths) -> Result<()> {
        let directory = paths.images();
        let keys = super::blocking(move || unmount_below(&directory)).await?;
        for key in keys {
            self.remove_snapshot(&ContainerId(key)).await?;
        }
        Ok(())
    }
}

fn unmount_below(directory: &Path) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(keys),
        other => other.map_err(|error| failed("read", directory, error))?,
    };
    for entry in entries {
        let place = entry.map_err(|error| failed("read", directory, error))?.path();
        while namespaces::is_mount(&place) {
            unmount(&place, UnmountFlags::DETACH)
                .map_err(|errno| failed("unmount", &place, errno.into()))?;
        }
        keys.extend(place.file_name().and_then(|name| name.to_str()).map(str::to_owned));
    }
    Ok(keys)
}

fn failed(verb: &str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { operation: format!("{verb} {}", path.display()), source }
}
