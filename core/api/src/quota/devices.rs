use k8s_openapi::api::resource::v1::{DeviceRequest, ResourceClaim};

use super::{Amounts, add};
use crate::quantity::Quantity;

/// Behind the name of a class of devices.
pub(super) const SUFFIX: &str = ".deviceclass.resource.k8s.io/devices";
/// The most devices that a request for all of them can get.
const ALL: i64 = 32;

pub(super) fn measure(claim: &ResourceClaim, amounts: &mut Amounts) {
    let devices = claim.spec.devices.as_ref();
    for request in devices.and_then(|devices| devices.requests.as_deref()).unwrap_or_default() {
        for (class, count) in most_by_class(request) {
            add(amounts, &format!("{class}{SUFFIX}"), Quantity::from_units(count));
        }
    }
}

/// What a request can get of each class: of alternatives in one class, the greatest.
fn most_by_class(request: &DeviceRequest) -> Vec<(&str, i64)> {
    let exactly = request.exactly.as_ref().map(|exactly| {
        let mode = exactly.allocation_mode.as_deref();
        (exactly.device_class_name.as_str(), count(mode, exactly.count))
    });
    let first_of = request.first_available.iter().flatten().map(|one| {
        (one.device_class_name.as_str(), count(one.allocation_mode.as_deref(), one.count))
    });
    let mut most: Vec<(&str, i64)> = Vec::new();
    for (class, count) in exactly.into_iter().chain(first_of) {
        match most.iter_mut().find(|(known, _)| *known == class) {
            Some((_, greatest)) => *greatest = count.max(*greatest),
            None => most.push((class, count)),
        }
    }
    most
}

fn count(mode: Option<&str>, count: Option<i64>) -> i64 {
    match mode {
        Some("ExactCount") | None => count.unwrap_or(1),
        Some("All") => ALL,
        Some(_) => 0,
    }
}
