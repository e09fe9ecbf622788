use k8s_openapi::api::resource::v1::{
    ResourceClaim, ResourceClaimSpec, ResourceClaimStatus, ResourceClaimTemplate,
};

use super::{allocation, claim_status, request};
use crate::field::{ErrorList, Path};
use crate::kinds::check::immutable;
use crate::kinds::metadata;
use crate::{Caller, Strategy};

/// Claims for devices.
pub(in crate::kinds) struct ResourceClaimStrategy;

impl Strategy for ResourceClaimStrategy {
    type Kind = ResourceClaim;

    fn default(&self, claim: &mut ResourceClaim) {
        claim.spec.devices.iter_mut().for_each(request::default);
        let allocation = claim.status.as_mut().and_then(|status| status.allocation.as_mut());
        let devices = allocation.and_then(|allocation| allocation.devices.as_mut());
        for result in devices.into_iter().flat_map(|devices| devices.results.iter_mut().flatten()) {
            request::default_tolerations(&mut result.tolerations);
        }
    }

    fn prepare_for_create(&self, claim: &mut ResourceClaim) {
        claim.status = Some(ResourceClaimStatus::default());
    }

    fn validate(&self, claim: &ResourceClaim, errors: &mut ErrorList) {
        validate_spec(&claim.spec, &Path::root("spec"), errors);
    }

    fn prepare_for_update(&self, new: &mut ResourceClaim, old: &ResourceClaim) {
        new.status.clone_from(&old.status);
    }

    fn validate_update(&self, new: &ResourceClaim, old: &ResourceClaim, errors: &mut ErrorList) {
        immutable(errors, &Path::root("spec"), &new.spec, &old.spec);
    }

    fn prepare_for_status_update(&self, new: &mut ResourceClaim, old: &ResourceClaim) {
        new.spec = old.spec.clone();
        metadata::keep_for_status(&mut new.metadata, &old.metadata);
        allocation::forget_released(new, old);
    }

    fn validate_status_update(
        &self,
        new: &ResourceClaim,
        old: &ResourceClaim,
        errors: &mut ErrorList,
    ) {
        allocation::validate_status(new, old, errors);
    }

    fn authorize_status_update(
        &self,
        caller: &dyn Caller,
        new: &ResourceClaim,
        old: &ResourceClaim,
        errors: &mut ErrorList,
    ) {
        claim_status::authorize(caller, new, old, errors);
    }
}

/// What claims of pods are made of.
pub(in crate::kinds) struct ResourceClaimTemplateStrategy;

impl Strategy for ResourceClaimTemplateStrategy {
    type Kind = ResourceClaimTemplate;

    fn default(&self, template: &mut ResourceClaimTemplate) {
        template.spec.spec.devices.iter_mut().for_each(request::default);
    }

    fn validate(&self, template: &ResourceClaimTemplate, errors: &mut ErrorList) {
        let path = Path::root("spec");
        if let Some(meta) = &template.spec.metadata {
            let at = path.child("metadata");
            metadata::annotations(
                meta.annotations.iter().flatten(),
                &at.child("annotations"),
                errors,
            );
            metadata::labels(meta.labels.iter().flatten(), &at.child("labels"), errors);
        }
        validate_spec(&template.spec.spec, &path.child("spec"), errors);
    }

    fn validate_update(
        &self,
        new: &ResourceClaimTemplate,
        old: &ResourceClaimTemplate,
        errors: &mut ErrorList,
    ) {
        immutable(errors, &Path::root("spec"), &new.spec, &old.spec);
    }
}

fn validate_spec(spec: &ResourceClaimSpec, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(devices) = &spec.devices {
        request::validate(devices, &path.child("devices"), errors);
    }
}
