use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use pinnace_api::quantity::Quantity;
use pinnace_api::{ApiError, Key, Result};

use super::{Admission, AdmissionRequest, Operation};

/// Lets claims grow only where their class says that volumes can.
pub(super) struct PersistentVolumeClaimResize;

impl Admission for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.operation != Operation::Update || request.subresource.is_some() {
            return Ok(());
        }
        let new = request.new.as_ref().and_then(|new| new.get::<PersistentVolumeClaim>());
        let old = request.old.and_then(|old| old.get::<PersistentVolumeClaim>().ok());
        let (Some(new), Some(old)) = (new, old) else { return Ok(()) };
        if size(new) <= size(old) {
            return Ok(());
        }
        let refused = |why| Err(ApiError::forbidden(request.resource, request.key.name(), why));
        let phase = old.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase != Some("Bound") {
            return refused("Only bound persistent volume claims can be expanded");
        }
        let class = old.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
        let key = Key::cluster(class.unwrap_or_default());
        let class = request.snapshot.get("storageclasses.storage.k8s.io", &key);
        let class = class.and_then(|class| class.get::<StorageClass>().ok());
        if class.and_then(|class| class.allow_volume_expansion) != Some(true) {
            return refused(
                "only dynamically provisioned pvc can be resized and the storageclass that \
                 provisions the pvc must support resize",
            );
        }
        Ok(())
    }
}

fn size(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Quantity::try_from(requests.get("storage")?).ok()
}
