//! Drivers let go of the volumes of pods that end.

use std::path::Path;
use std::sync::Arc;

use super::in_use;
use super::protocol::{self, CALL_TIMEOUT, Empty, UndoRequest};
use super::state::{self, Published};
use super::{RETRY_FIRST, RETRY_MAX, blocking};
use crate::agent::Shared;
use crate::volumes;

/// Has drivers unpublish all volumes of a pod, and unstage those that no other pod has.
///
/// # Errors
/// The first that fails; it and those after it stay, to be tried again.
pub(crate) async fn unpublish_all(shared: &Arc<Shared>, uid: &str) -> Result<(), String> {
    let Some(root) = shared.machine.state().map(Path::to_owned) else { return Ok(()) };
    for published in shared.csi.in_use.of_pod(uid) {
        unpublish(shared, &root, uid, &published).await.map_err(|why| {
            format!("UnmountVolume.TearDown failed for volume {:?} : {why}", published.name)
        })?;
        if let Err(error) = in_use::tell(shared).await {
            tracing::warn!(volume = published.name, error, "still shown to be in use");
        }
    }
    Ok(())
}

/// Removes what a pod has left that the API does not have any more, as soon as its drivers are
/// there; until then its volumes stay mounted.
pub(crate) async fn remove_orphan(shared: Arc<Shared>, uid: String) {
    let mut delay = RETRY_FIRST;
    while let Err(error) = unpublish_all(&shared, &uid).await {
        tracing::warn!(uid, error, "orphaned volumes not unmounted");
        let waited = shared.stop.run_until_cancelled(tokio::time::sleep(delay)).await;
        if waited.is_none() {
            return;
        }
        delay = (delay * 2).min(RETRY_MAX);
    }
    let Some(root) = shared.machine.state().map(Path::to_owned) else { return };
    let of = uid.clone();
    if let Err(error) = blocking(&shared, move || volumes::remove(&root, &of)).await {
        tracing::warn!(uid, error, "orphaned volumes not removed");
    }
}

async fn unpublish(
    shared: &Arc<Shared>,
    root: &Path,
    uid: &str,
    published: &Published,
) -> Result<(), String> {
    // What is under way for the volume, such as another publication, comes to its end first.
    let target = shared.csi.lock(&published.target_path);
    let _held = target.lock().await;
    let driver = shared.csi.driver(&published.driver_name)?;
    let undo = |path: &Path| UndoRequest {
        volume_id: published.volume_handle.clone(),
        path: path.to_string_lossy().into_owned(),
    };
    let method = "/csi.v1.Node/NodeUnpublishVolume";
    let request = undo(&published.target_path);
    protocol::call::<_, Empty>(&driver.endpoint, method, request, CALL_TIMEOUT).await?;
    let staging = published.staging_path.clone();
    let lock = shared.csi.lock(&staging);
    let _held = if staging.as_os_str().is_empty() { None } else { Some(lock.lock().await) };
    let last =
        !staging.as_os_str().is_empty() && !shared.csi.in_use.is_staged_for_another(uid, &staging);
    if last {
        let method = "/csi.v1.Node/NodeUnstageVolume";
        protocol::call::<_, Empty>(&driver.endpoint, method, undo(&staging), CALL_TIMEOUT).await?;
    }
    let directory = state::directory(root, uid, &published.name);
    blocking(shared, move || {
        if last {
            // Only if it is empty: what a driver has left mounted is not touched.
            let _ = std::fs::remove_dir(&staging);
        }
        state::forget(&directory)
    })
    .await?;
    shared.csi.in_use.remove(&(uid.to_owned(), published.name.clone()));
    Ok(())
}
