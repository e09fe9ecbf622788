use k8s_openapi::api::core::v1::ConfigMap;

use super::check::complain;
use super::names::rules;
use super::omit_empty;
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Most bytes of all values of a config map or secret together.
pub(super) const SIZE_MAX: usize = 1024 * 1024;
/// Said of what may not change because the object says so itself.
pub(super) const FROZEN: &str = "field is immutable when `immutable` is set";

/// Config maps.
pub(super) struct ConfigMapStrategy;

impl Strategy for ConfigMapStrategy {
    type Kind = ConfigMap;

    fn default(&self, map: &mut ConfigMap) {
        omit_empty!(map; data, binary_data);
    }

    fn validate(&self, map: &ConfigMap, errors: &mut ErrorList) {
        let mut size = 0;
        let path = Path::root("data");
        for (key, value) in map.data.iter().flatten() {
            complain(errors, &path.key(key), key, rules::config_key(key));
            if map.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
                errors.invalid(&path.key(key), key, "duplicate of key present in binaryData");
            }
            size += value.len();
        }
        let path = Path::root("binaryData");
        for (key, value) in map.binary_data.iter().flatten() {
            complain(errors, &path.key(key), key, rules::config_key(key));
            size += value.0.len();
        }
        if size > SIZE_MAX {
            errors.too_long(&Path::root(""), SIZE_MAX);
        }
    }

    fn validate_update(&self, new: &ConfigMap, old: &ConfigMap, errors: &mut ErrorList) {
        if old.immutable == Some(true) {
            let changed = [
                ("immutable", new.immutable != Some(true)),
                ("data", new.data != old.data),
                ("binaryData", new.binary_data != old.binary_data),
            ];
            for (field, _) in changed.into_iter().filter(|(_, changed)| *changed) {
                errors.forbidden(&Path::root(field), FROZEN);
            }
        }
        self.validate(new, errors);
    }
}
