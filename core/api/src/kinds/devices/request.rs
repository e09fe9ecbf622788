use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceConstraint, DeviceRequest, DeviceSelector, DeviceSubRequest,
    DeviceToleration,
};

use super::{class::CONFIG_MAX, config, each, each_once, names};
use crate::field::{Bare, ErrorList, Path};
use crate::kinds::check::{complain, text};
use crate::kinds::fill;
use crate::kinds::names::rules;

/// Most requests and constraints of a claim, alternatives of a request, and tolerations.
const REQUESTS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const TOLERATIONS_MAX: usize = 16;
const NO_SUCH: &str = "must be the name of a request in the claim or the name of a request and a \
    subrequest separated by '/'";

/// The names of requests, each with those of its alternatives.
pub(super) type Names<'a> = Vec<(&'a str, Vec<&'a str>)>;

/// Fills in how many devices are asked for.
pub(super) fn default(claim: &mut DeviceClaim) {
    for request in claim.requests.iter_mut().flatten() {
        if let Some(exactly) = &mut request.exactly {
            default_count(&mut exactly.allocation_mode, &mut exactly.count);
            default_tolerations(&mut exactly.tolerations);
        }
        for one in request.first_available.iter_mut().flatten() {
            default_count(&mut one.allocation_mode, &mut one.count);
            default_tolerations(&mut one.tolerations);
        }
    }
}

fn default_count(mode: &mut Option<String>, count: &mut Option<i64>) {
    fill(mode, "ExactCount");
    if text(mode) == "ExactCount" && count.unwrap_or(0) == 0 {
        *count = Some(1);
    }
}

/// Fills in how taints are compared.
pub(super) fn default_tolerations(all: &mut Option<Vec<DeviceToleration>>) {
    all.iter_mut().flatten().for_each(|one| fill(&mut one.operator, "Equal"));
}

/// The names of a claim's requests.
pub(super) fn names_of(claim: Option<&DeviceClaim>) -> Names<'_> {
    let requests = claim.into_iter().flat_map(|claim| claim.requests.iter().flatten());
    requests
        .map(|request| {
            let alternatives = request.first_available.iter().flatten();
            (request.name.as_str(), alternatives.map(|one| one.name.as_str()).collect())
        })
        .collect()
}

/// Checks a claim for devices.
pub(super) fn validate(claim: &DeviceClaim, path: &Path<'_>, errors: &mut ErrorList) {
    let known = names_of(Some(claim));
    let at = path.child("requests");
    let key = |request: &DeviceRequest| (request.name.clone(), request.name.clone());
    each_once(&claim.requests, REQUESTS_MAX, &at, errors, key, validate_request);
    let at = path.child("constraints");
    each(&claim.constraints, CONSTRAINTS_MAX, &at, errors, |constraint, path, errors| {
        validate_constraint(constraint, &known, path, errors);
    });
    each(&claim.config, CONFIG_MAX, &path.child("config"), errors, |one, path, errors| {
        references(&one.requests, &known, &path.child("requests"), errors);
        config::opaque(one.opaque.as_ref(), false, path, errors);
    });
}

fn validate_request(request: &DeviceRequest, path: &Path<'_>, errors: &mut ErrorList) {
    names::label(&request.name, &path.child("name"), errors);
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    match (&request.exactly, alternatives.is_empty()) {
        (None, true) => {
            errors.required(path, "exactly one of `exactly` or `firstAvailable` is required");
        }
        (Some(_), false) => {
            let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple \
                       fields are set";
            errors.invalid(path, Bare("null"), why);
        }
        (Some(exactly), true) => Wanted {
            class: &exactly.device_class_name,
            selectors: &exactly.selectors,
            mode: text(&exactly.allocation_mode),
            count: exactly.count.unwrap_or(0),
            tolerations: &exactly.tolerations,
        }
        .validate(&path.child("exactly"), errors),
        (None, false) => {
            let at = path.child("firstAvailable");
            let key = |one: &DeviceSubRequest| (one.name.clone(), one.name.clone());
            let all = &request.first_available;
            each_once(all, ALTERNATIVES_MAX, &at, errors, key, |one, path, errors| {
                names::label(&one.name, &path.child("name"), errors);
                Wanted {
                    class: &one.device_class_name,
                    selectors: &one.selectors,
                    mode: text(&one.allocation_mode),
                    count: one.count.unwrap_or(0),
                    tolerations: &one.tolerations,
                }
                .validate(path, errors);
            });
        }
    }
}

/// What a request and an alternative of one have in common.
struct Wanted<'a> {
    class: &'a str,
    selectors: &'a Option<Vec<DeviceSelector>>,
    mode: &'a str,
    count: i64,
    tolerations: &'a Option<Vec<DeviceToleration>>,
}

impl Wanted<'_> {
    fn validate(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let at = path.child("deviceClassName");
        if self.class.is_empty() {
            errors.required(&at, "");
        } else {
            complain(errors, &at, self.class, rules::dns_subdomain(self.class));
        }
        config::selectors(self.selectors, false, &path.child("selectors"), errors);
        let at = path.child("count");
        match self.mode {
            "All" if self.count != 0 => {
                let why = "must not be specified when allocationMode is 'All'";
                errors.invalid(&at, self.count, why);
            }
            "ExactCount" if self.count <= 0 => {
                errors.invalid(&at, self.count, "must be greater than zero");
            }
            "All" | "ExactCount" => {}
            other => {
                let modes = ["All", "ExactCount"];
                errors.not_supported(&path.child("allocationMode"), other, &modes);
            }
        }
        tolerations(self.tolerations, path, errors);
    }
}

/// Checks which taints do not matter.
pub(super) fn tolerations(
    all: &Option<Vec<DeviceToleration>>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    each(all, TOLERATIONS_MAX, &path.child("tolerations"), errors, names::toleration);
}

fn validate_constraint(
    constraint: &DeviceConstraint,
    known: &Names<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    references(&constraint.requests, known, &path.child("requests"), errors);
    match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(name), _) => names::fully_qualified(name, &path.child("matchAttribute"), errors),
        (None, Some(name)) => {
            names::fully_qualified(name, &path.child("distinctAttribute"), errors);
        }
        (None, None) => {
            let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but \
                       multiple fields are set";
            errors.required(path, why);
        }
    }
}

/// Checks names of requests.
pub(super) fn references(
    all: &Option<Vec<String>>,
    known: &Names<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let key = |name: &String| (name.clone(), name.clone());
    each_once(all, REQUESTS_MAX, path, errors, key, |name: &String, path, errors| {
        reference(name, known, path, errors);
    });
}

/// Checks the name of a request, or of an alternative of one: `request/alternative`.
pub(super) fn reference(name: &str, known: &Names<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 {
        return errors.invalid(path, name, NO_SUCH);
    }
    for part in &parts {
        names::label(part, path, errors);
    }
    let found = known.iter().find(|(request, _)| *request == parts[0]);
    let is_known = match (found, parts.get(1)) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some((_, alternatives)), Some(wanted)) => alternatives.contains(wanted),
    };
    if !is_known {
        errors.invalid(path, name, NO_SUCH);
    }
}
