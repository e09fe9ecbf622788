use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus};

use super::check::text;
use super::{fill, pod_spec};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::quantity::Quantity;

/// Claims of volumes.
pub(super) struct PersistentVolumeClaimStrategy;

impl Strategy for PersistentVolumeClaimStrategy {
    type Kind = PersistentVolumeClaim;

    fn default(&self, claim: &mut PersistentVolumeClaim) {
        default_claim(claim);
    }

    fn prepare_for_create(&self, claim: &mut PersistentVolumeClaim) {
        let phase = Some("Pending".to_owned());
        claim.status = Some(PersistentVolumeClaimStatus { phase, ..Default::default() });
    }

    fn validate(&self, claim: &PersistentVolumeClaim, errors: &mut ErrorList) {
        if let Some(spec) = &claim.spec {
            pod_spec::validate_claim(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
        new.status.clone_from(&old.status);
    }

    fn validate_update(
        &self,
        new: &PersistentVolumeClaim,
        old: &PersistentVolumeClaim,
        errors: &mut ErrorList,
    ) {
        self.validate(new, errors);
        let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return };
        let path = Path::root("spec");
        let mut same = new_spec.clone();
        // A claim is bound by writing the volume's name, and a bound one may grow.
        if text(&old_spec.volume_name).is_empty() {
            same.volume_name.clone_from(&old_spec.volume_name);
        }
        if old_spec.storage_class_name.is_none() {
            same.storage_class_name = None;
        }
        let bound = old.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        if bound {
            same.resources.clone_from(&old_spec.resources);
        }
        same.volume_attributes_class_name.clone_from(&old_spec.volume_attributes_class_name);
        if same != *old_spec {
            let why = "spec is immutable after creation except resources.requests and \
                       volumeAttributesClassName for bound claims";
            errors.forbidden(&path, why);
        }
        validate_size(new, old, &path, errors);
    }

    fn prepare_for_status_update(
        &self,
        new: &mut PersistentVolumeClaim,
        old: &PersistentVolumeClaim,
    ) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_status_update(
        &self,
        new: &PersistentVolumeClaim,
        _: &PersistentVolumeClaim,
        errors: &mut ErrorList,
    ) {
        let capacity = new.status.as_ref().and_then(|status| status.capacity.as_ref());
        let status = Path::root("status");
        let path = status.child("capacity");
        for (name, quantity) in capacity.into_iter().flatten() {
            pod_spec::validate_quantity(name, quantity, &path.key(name), errors);
        }
    }
}

/// A claim with what is not said of it.
pub(super) fn default_claim(claim: &mut PersistentVolumeClaim) {
    fill(&mut claim.spec.get_or_insert_default().volume_mode, "Filesystem");
    fill(&mut claim.status.get_or_insert_default().phase, "Pending");
}

/// A claim does not shrink below what its volume has.
fn validate_size(
    new: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let asked = |claim: &PersistentVolumeClaim| {
        let resources = claim.spec.as_ref()?.resources.as_ref()?;
        Quantity::parse(&resources.requests.as_ref()?.get("storage")?.0).ok()
    };
    let (Some(wanted), Some(before)) = (asked(new), asked(old)) else { return };
    let capacity = old.status.as_ref().and_then(|status| status.capacity.as_ref());
    let has = capacity.and_then(|all| Quantity::parse(&all.get("storage")?.0).ok());
    let shrinks = wanted < before && has.as_ref().is_none_or(|has| wanted < *has);
    if shrinks {
        let resources = path.child("resources");
        let requests = resources.child("requests");
        let why = "field can not be less than status.capacity";
        errors.forbidden(&requests.child("storage"), why);
    }
}
