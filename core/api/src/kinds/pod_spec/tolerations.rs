use k8s_openapi::api::core::v1::Toleration;

use crate::field::{ErrorList, Path};
use crate::kinds::check::{complain, text};
use crate::kinds::names::{self, rules};

/// What a taint may do to pods.
pub(in crate::kinds) const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks tolerations.
pub(in crate::kinds) fn validate(
    tolerations: &[Toleration],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (index, toleration) in tolerations.iter().enumerate() {
        validate_one(toleration, &path.index(index), errors);
    }
}

fn validate_one(toleration: &Toleration, path: &Path<'_>, errors: &mut ErrorList) {
    let key = text(&toleration.key);
    let operator = text(&toleration.operator);
    let value = text(&toleration.value);
    let effect = text(&toleration.effect);
    let at = path.child("operator");
    if !key.is_empty() {
        complain(errors, &path.child("key"), key, rules::qualified_name(key));
    } else if operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values \
                   and all keys\"";
        errors.invalid(&at, operator, why);
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.invalid(&path.child("effect"), effect, why);
    }
    match operator {
        "Equal" | "" => {
            if let Err(why) = names::label_value(value) {
                errors.invalid(&at, value, &why);
            }
        }
        "Exists" => {
            if !value.is_empty() {
                errors.invalid(&at, value, "value must be empty when `operator` is 'Exists'");
            }
        }
        other => errors.not_supported(&at, other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.not_supported(&path.child("effect"), effect, &EFFECTS);
    }
}
