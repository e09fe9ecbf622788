//! What drivers are told, and which devices are meant.

use k8s_openapi::api::resource::v1::{DeviceSelector, OpaqueDeviceConfiguration};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::Value;

use super::{each, names};
use crate::expressions::{Scope, Yields, compile, variables_of_device};
use crate::field::{ErrorList, Path};

/// Most selectors of a request or a class.
const SELECTORS_MAX: usize = 32;
/// Longest expression, and most that drivers are told, in bytes.
const EXPRESSION_MAX: usize = 10 * 1024;
const PARAMETERS_MAX: usize = 10 * 1024;

/// Checks selectors; expressions that are stored already are not compiled again.
pub(super) fn selectors(
    all: &Option<Vec<DeviceSelector>>,
    stored: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    each(all, SELECTORS_MAX, path, errors, |selector, path, errors| {
        let at = path.child("cel");
        match &selector.cel {
            None => errors.required(&at, ""),
            Some(_) if stored => {}
            Some(cel) => expression(&cel.expression, &at.child("expression"), errors),
        }
    });
}

fn expression(text: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if text.len() > EXPRESSION_MAX {
        return errors.too_long(path, EXPRESSION_MAX);
    }
    let scope = Scope { variables: &variables_of_device(), ..Scope::default() };
    if let Err(why) = compile(text, scope, Yields::BoolOrUnknown) {
        errors.invalid(path, text, &why);
    }
}

/// Checks what a driver is told.
pub(super) fn opaque(
    config: Option<&OpaqueDeviceConfiguration>,
    stored: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("opaque");
    let Some(config) = config else { return errors.required(&at, "") };
    names::driver(&config.driver, &at.child("driver"), errors);
    let max = if stored { usize::MAX } else { PARAMETERS_MAX };
    raw(&config.parameters, max, &at.child("parameters"), errors);
}

/// Checks that something that only a driver reads is an object of a size that can be kept.
pub(super) fn raw(value: &RawExtension, max: usize, path: &Path<'_>, errors: &mut ErrorList) {
    match &value.0 {
        Value::Null => errors.required(path, ""),
        value if value.to_string().len() > max => errors.too_long(path, max),
        Value::Object(_) => {}
        _ => errors.invalid(path, "<value omitted>", "must be a valid JSON object"),
    }
}
