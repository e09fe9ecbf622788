use pinnace_api::Result;

use super::{Admission, AdmissionRequest, Operation};

/// Holds claims, volumes and their classes of attributes from the start, so that none goes that is used; controllers let go.
pub(super) struct StorageObjectInUseProtection;

impl Admission for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.operation != Operation::Create || request.subresource.is_some() {
            return Ok(());
        }
        let finalizer = match &**request.resource.name() {
            "persistentvolumeclaims" => "kubernetes.io/pvc-protection",
            "persistentvolumes" => "kubernetes.io/pv-protection",
            "volumeattributesclasses.storage.k8s.io" => "kubernetes.io/vac-protection",
            _ => return Ok(()),
        };
        let Some(new) = request.new.as_mut() else { return Ok(()) };
        let finalizers = new.meta_mut().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|known| known == finalizer) {
            finalizers.push(finalizer.to_owned());
        }
        Ok(())
    }
}
