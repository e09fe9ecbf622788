//! How much of a device's capacity can be asked for.

use k8s_openapi::api::resource::v1::{CapacityRequestPolicy, CapacityRequestPolicyRange};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::each_once;
use crate::field::{ErrorList, Path};
use crate::quantity::Quantity;

/// Most amounts of which one can be asked for.
const VALUES_MAX: usize = 10;

/// Checks a policy; `most` is the capacity.
pub(super) fn validate(
    policy: &CapacityRequestPolicy,
    most: Quantity,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let has_values = policy.valid_values.as_ref().is_some_and(|values| !values.is_empty());
    let default_at = path.child("default");
    match (&policy.valid_range, has_values) {
        (Some(_), true) => {
            let why = "exactly one policy can be specified, cannot specify \"validValues\" and \
                       \"validRange\" at the same time";
            errors.forbidden(path, why);
        }
        (None, true) => {
            let Some(default) = &policy.default else {
                return errors.required(&default_at, "required when validValues is defined");
            };
            let Some(default) = quantity(default, &default_at, errors) else { return };
            validate_values(
                &policy.valid_values,
                default,
                most,
                &path.child("validValues"),
                errors,
            );
        }
        (Some(range), false) => {
            let Some(default) = &policy.default else {
                return errors.required(&default_at, "required when validRange is defined");
            };
            let Some(default) = quantity(default, &default_at, errors) else { return };
            validate_range(range, default, most, &path.child("validRange"), errors);
        }
        (None, false) => {}
    }
}

/// Reads a quantity, or says what is wrong with it.
pub(super) fn quantity(text: &Text, path: &Path<'_>, errors: &mut ErrorList) -> Option<Quantity> {
    match Quantity::parse(&text.0) {
        Ok(quantity) => Some(quantity),
        Err(why) => {
            errors.invalid(path, &text.0, &why.to_string());
            None
        }
    }
}

fn validate_values(
    values: &Option<Vec<Text>>,
    default: Quantity,
    most: Quantity,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let read: Vec<Option<Quantity>> =
        values.iter().flatten().map(|text| Quantity::parse(&text.0).ok()).collect();
    for (index, pair) in read.windows(2).enumerate() {
        if let [Some(one), Some(next)] = pair
            && one > next
        {
            let why = "values must be sorted in ascending order";
            errors.invalid(&path.index(index + 1), next.to_string(), why);
        }
    }
    let key = |text: &Text| {
        let value = Quantity::parse(&text.0).map(Quantity::value);
        (value.ok(), value.map_or_else(|_| text.0.clone(), |value| value.to_string()))
    };
    each_once(values, VALUES_MAX, path, errors, key, |text, path, errors| {
        let Some(value) = quantity(text, path, errors) else { return };
        if value > most {
            let why = format!("option is larger than capacity value: {most}");
            errors.invalid(path, value.to_string(), &why);
        }
    });
    if !read.contains(&Some(default)) {
        let why = "default value is not valid according to the requestPolicy";
        errors.invalid(path, default.to_string(), why);
    }
}

fn validate_range(
    range: &CapacityRequestPolicyRange,
    default: Quantity,
    most: Quantity,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(min) = quantity(&range.min, &path.child("min"), errors) else { return };
    let max = match &range.max {
        Some(max) => quantity(max, &path.child("max"), errors),
        None => None,
    };
    if min > most {
        let why = format!("min is larger than capacity value: {most}");
        errors.invalid(&path.child("min"), min.to_string(), &why);
    }
    let default_at = path.child("default");
    if default < min {
        errors.invalid(
            &default_at,
            default.to_string(),
            &format!("default is less than min: {min}"),
        );
    }
    if let Some(max) = max {
        let at = path.child("max");
        if min > max {
            errors.invalid(&at, min.to_string(), &format!("min is larger than max: {max}"));
        }
        if max > most {
            let why = format!("max is larger than capacity value: {most}");
            errors.invalid(&at, max.to_string(), &why);
        }
        if default > max {
            let why = format!("default is more than max: {max}");
            errors.invalid(&default_at, default.to_string(), &why);
        }
    }
    let at = path.child("step");
    if let Some(step) = range.step.as_ref().and_then(|step| quantity(step, &at, errors)) {
        validate_step(step, min, [Some(default), max], most, &at, errors);
    }
}

fn validate_step(
    step: Quantity,
    min: Quantity,
    values: [Option<Quantity>; 2],
    most: Quantity,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if step.is_negative() || step.is_zero() {
        return errors.invalid(path, step.to_string(), "must be greater than zero");
    }
    if let Some(added) = min.checked_add(step).filter(|added| *added > most) {
        let why = format!("one step {added} is larger than capacity value: {most}");
        errors.invalid(path, step.to_string(), &why);
    }
    for value in values.into_iter().flatten() {
        // A step below one counts as one, as upstream counts in whole numbers.
        let distance = value.value().saturating_sub(min.value());
        if distance % step.value().max(1) != 0 {
            let why = format!("value is not a multiple of a given step ({step}) from ({min})");
            errors.invalid(path, value.to_string(), &why);
        }
    }
}
