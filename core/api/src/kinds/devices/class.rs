use k8s_openapi::api::resource::v1::DeviceClass;

use super::{config, each};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::kinds::next_generation;
use crate::kinds::pod_spec::is_extended;

/// Most configurations of a class.
pub(super) const CONFIG_MAX: usize = 32;

/// Classes of devices.
pub(in crate::kinds) struct DeviceClassStrategy;

impl Strategy for DeviceClassStrategy {
    type Kind = DeviceClass;

    fn prepare_for_create(&self, class: &mut DeviceClass) {
        class.metadata.generation = Some(1);
    }

    fn validate(&self, class: &DeviceClass, errors: &mut ErrorList) {
        validate(class, None, errors);
    }

    fn prepare_for_update(&self, new: &mut DeviceClass, old: &DeviceClass) {
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &DeviceClass, old: &DeviceClass, errors: &mut ErrorList) {
        validate(new, Some(old), errors);
    }
}

/// What is stored unchanged is not held to limits that came later.
fn validate(class: &DeviceClass, old: Option<&DeviceClass>, errors: &mut ErrorList) {
    let path = Path::root("spec");
    let spec = &class.spec;
    let stored = old.is_some_and(|old| old.spec.selectors == spec.selectors);
    config::selectors(&spec.selectors, stored, &path.child("selectors"), errors);
    let stored = old.is_some_and(|old| old.spec.config == spec.config);
    each(&spec.config, CONFIG_MAX, &path.child("config"), errors, |one, path, errors| {
        config::opaque(one.opaque.as_ref(), stored, path, errors);
    });
    if let Some(name) = spec.extended_resource_name.as_deref().filter(|name| !is_extended(name)) {
        let why = "must be a valid extended resource name";
        errors.invalid(&path.child("extendedResourceName"), name, why);
    }
}
