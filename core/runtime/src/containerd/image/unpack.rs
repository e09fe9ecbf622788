use std::collections::HashMap;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest,
};
use containerd_client::tonic::{Code, Status};
use containerd_client::types::Descriptor as Target;
use oci_spec::image::Descriptor;

use super::super::connection::{exists_is_fine, leased};
use super::{Images, ParsedImage, content};
use crate::{Error, Result};

/// Makes the snapshot of every layer that has none yet. containerd unpacks: the layers never pass
/// through this process.
pub(super) async fn unpack(
    images: &Images,
    lease: &str,
    reference: &str,
    image: &ParsedImage,
) -> Result<()> {
    let key = format!("containerd.io/gc.ref.snapshot.{}", images.snapshotter);
    let label = HashMap::from([(key, image.snapshot().to_owned())]);
    if !image.chain.is_empty() {
        content::set_labels(&images.connection, &image.id, label).await?;
    }
    if image.chain.is_empty() || exists(images, image.snapshot()).await? {
        return Ok(());
    }
    for (number, layer) in image.layers.iter().enumerate() {
        let name = &image.chain[number];
        if exists(images, name).await? {
            continue;
        }
        let parent = number.checked_sub(1).map_or("", |parent| image.chain[parent].as_str());
        let diff = &image.config.rootfs().diff_ids()[number];
        let step = Step { images, lease, reference, layer, diff, parent, name };
        step.run().await?;
    }
    Ok(())
}

async fn exists(images: &Images, name: &str) -> Result<bool> {
    let request =
        StatSnapshotRequest { snapshotter: images.snapshotter.clone(), key: name.to_owned() };
    match images.connection.snapshots().stat(images.connection.request(request)).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(images.connection.error(format!("look at snapshot {name}"), &status)),
    }
}

/// One layer on top of its parent.
struct Step<'a> {
    images: &'a Images,
    lease: &'a str,
    reference: &'a str,
    layer: &'a Descriptor,
    /// Digest of the layer uncompressed, as the configuration promises it.
    diff: &'a str,
    parent: &'a str,
    name: &'a str,
}

impl Step<'_> {
    async fn run(&self) -> Result<()> {
        // A name of its own lets two unpack the same layer at once; the first to commit wins.
        let key = format!("extract-{} {}", self.images.env.random().uid(), self.name);
        let outcome = self.extract(&key).await;
        if !matches!(outcome, Ok(true)) {
            self.discard(key).await;
        }
        outcome?;
        let digest = self.layer.digest().to_string();
        let label = HashMap::from([("containerd.io/uncompressed".into(), self.diff.to_owned())]);
        content::set_labels(&self.images.connection, &digest, label).await
    }

    /// Whether this one was committed, and not another's.
    async fn extract(&self, key: &str) -> Result<bool> {
        let connection = &self.images.connection;
        let prepare = PrepareSnapshotRequest {
            snapshotter: self.images.snapshotter.clone(),
            key: key.to_owned(),
            parent: self.parent.to_owned(),
            labels: HashMap::new(),
        };
        let prepare = leased(connection.request(prepare), self.lease);
        let mounts = connection.snapshots().prepare(prepare).await;
        let mounts = mounts.map_err(|status| self.failed(&status))?.into_inner().mounts;

        let apply = ApplyRequest {
            diff: Some(Target {
                media_type: self.layer.media_type().to_string(),
                digest: self.layer.digest().to_string(),
                size: i64::try_from(self.layer.size()).unwrap_or(i64::MAX),
                annotations: HashMap::new(),
            }),
            mounts,
            ..ApplyRequest::default()
        };
        let apply = leased(connection.long_request(apply), self.lease);
        let applied = connection.diff().apply(apply).await;
        let applied = applied.map_err(|status| self.failed(&status))?.into_inner().applied;
        let digest = applied.map(|descriptor| descriptor.digest).unwrap_or_default();
        if digest != self.diff {
            return Err(self.invalid(format!(
                "wrong diff id calculated on extraction {digest:?}, expected {:?}",
                self.diff
            )));
        }

        let commit = CommitSnapshotRequest {
            snapshotter: self.images.snapshotter.clone(),
            name: self.name.to_owned(),
            key: key.to_owned(),
            labels: HashMap::new(),
        };
        let commit = leased(connection.request(commit), self.lease);
        let committed = connection.snapshots().commit(commit).await;
        let mine = committed.is_ok();
        exists_is_fine(committed).map_err(|status| self.failed(&status))?;
        Ok(mine)
    }

    async fn discard(&self, key: String) {
        let connection = &self.images.connection;
        let remove = RemoveSnapshotRequest { snapshotter: self.images.snapshotter.clone(), key };
        if let Err(status) = connection.snapshots().remove(connection.request(remove)).await
            && status.code() != Code::NotFound
        {
            // The lease's end lets containerd collect it.
            tracing::debug!(message = status.message(), "a partial snapshot stays for now");
        }
    }

    fn failed(&self, status: &Status) -> Error {
        match status.code() {
            Code::NotFound | Code::Unimplemented | Code::InvalidArgument => {
                self.invalid(status.message().to_owned())
            }
            _ => self.images.connection.error(format!("unpack {}", self.layer.digest()), status),
        }
    }

    fn invalid(&self, message: String) -> Error {
        Error::InvalidImage { reference: self.reference.to_owned(), message }
    }
}
