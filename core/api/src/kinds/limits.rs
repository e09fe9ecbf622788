//! What a namespace may use: ResourceQuota and LimitRange.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::check::{Json, complain};
use super::names::rules;
use super::pod_spec::{canonical_list, validate_quantity};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::quantity::Quantity;

type Quantities = BTreeMap<String, Text>;

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
const TYPES: [&str; 3] = ["Container", "PersistentVolumeClaim", "Pod"];

/// How much all of a namespace may use.
pub(super) struct ResourceQuotaStrategy;

impl Strategy for ResourceQuotaStrategy {
    type Kind = ResourceQuota;

    fn default(&self, quota: &mut ResourceQuota) {
        if let Some(hard) = quota.spec.as_mut().and_then(|spec| spec.hard.as_mut()) {
            canonical_list(hard);
        }
    }

    fn prepare_for_create(&self, quota: &mut ResourceQuota) {
        quota.status = Some(ResourceQuotaStatus::default());
    }

    fn validate(&self, quota: &ResourceQuota, errors: &mut ErrorList) {
        let Some(spec) = &quota.spec else { return };
        let path = Path::root("spec");
        validate_list(spec.hard.as_ref(), &path.child("hard"), errors);
        let at = path.child("scopes");
        let scopes = spec.scopes.as_deref().unwrap_or_default();
        for scope in scopes {
            if !SCOPES.contains(&scope.as_str()) {
                errors.invalid(&at, Json(&scopes), "unsupported scope");
            }
        }
        let has = |name: &str| scopes.iter().any(|scope| scope == name);
        for pair in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
            if has(pair.0) && has(pair.1) {
                errors.invalid(&at, Json(&scopes), "conflicting scopes");
            }
        }
        let selector = path.child("scopeSelector");
        let at = selector.child("matchExpressions");
        let expressions =
            spec.scope_selector.as_ref().and_then(|selector| selector.match_expressions.as_ref());
        for expression in expressions.into_iter().flatten() {
            let values = expression.values.as_deref().unwrap_or_default();
            if !SCOPES.contains(&expression.scope_name.as_str()) {
                errors.invalid(&at.child("scopeName"), &expression.scope_name, "unsupported scope");
            }
            let at_values = at.child("values");
            match expression.operator.as_str() {
                "In" | "NotIn" if values.is_empty() => {
                    let why = "must be at least one value when `operator` is 'In' or 'NotIn' for \
                               scope selector";
                    errors.required(&at_values, why);
                }
                "In" | "NotIn" => {}
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for \
                               scope selector";
                    errors.invalid(&at_values, Json(&values), why);
                }
                "Exists" | "DoesNotExist" => {}
                other => {
                    errors.invalid(&at.child("operator"), other, "not a valid selector operator");
                }
            }
        }
    }

    fn prepare_for_update(&self, new: &mut ResourceQuota, old: &ResourceQuota) {
        new.status.clone_from(&old.status);
    }

    fn validate_update(&self, new: &ResourceQuota, old: &ResourceQuota, errors: &mut ErrorList) {
        self.validate(new, errors);
        let scopes = |quota: &ResourceQuota| {
            let mut scopes = quota.spec.as_ref().and_then(|spec| spec.scopes.clone());
            scopes.iter_mut().for_each(|scopes| scopes.sort());
            scopes.unwrap_or_default()
        };
        if scopes(new) != scopes(old) {
            let path = Path::root("spec");
            errors.invalid(&path.child("scopes"), Json(&scopes(new)), "field is immutable");
        }
    }

    fn prepare_for_status_update(&self, new: &mut ResourceQuota, old: &ResourceQuota) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_status_update(
        &self,
        new: &ResourceQuota,
        _: &ResourceQuota,
        errors: &mut ErrorList,
    ) {
        let Some(status) = &new.status else { return };
        let path = Path::root("status");
        validate_list(status.hard.as_ref(), &path.child("hard"), errors);
        validate_list(status.used.as_ref(), &path.child("used"), errors);
    }
}

fn validate_list(list: Option<&Quantities>, path: &Path<'_>, errors: &mut ErrorList) {
    for (name, quantity) in list.into_iter().flatten() {
        let at = path.key(name);
        complain(errors, &at, name, rules::qualified_name(name));
        validate_quantity(name, quantity, &at, errors);
    }
}

/// How much each pod, container or claim of a namespace may use.
pub(super) struct LimitRangeStrategy;

impl Strategy for LimitRangeStrategy {
    type Kind = LimitRange;

    fn default(&self, range: &mut LimitRange) {
        let Some(spec) = &mut range.spec else { return };
        for item in spec.limits.iter_mut().filter(|item| item.type_ == "Container") {
            default_item(item);
        }
    }

    fn validate(&self, range: &LimitRange, errors: &mut ErrorList) {
        let spec = Path::root("spec");
        let path = spec.child("limits");
        let items = range.spec.as_ref().map_or(&[][..], |spec| &spec.limits);
        for (index, item) in items.iter().enumerate() {
            let at = path.index(index);
            if items[..index].iter().any(|other| other.type_ == item.type_) {
                errors.duplicate(&at.child("type"), &item.type_);
            }
            validate_item(item, &at, errors);
        }
    }
}

/// What is not said follows from what is: the most is the default, the default is asked for, and
/// so is the least.
fn default_item(item: &mut LimitRangeItem) {
    let fill = |into: &mut Option<Quantities>, from: &Option<Quantities>| {
        for (name, quantity) in from.iter().flatten() {
            let into = into.get_or_insert_default();
            into.entry(name.clone()).or_insert_with(|| quantity.clone());
        }
    };
    fill(&mut item.default, &item.max.clone());
    fill(&mut item.default_request, &item.default.clone());
    fill(&mut item.default_request, &item.min.clone());
}

fn validate_item(item: &LimitRangeItem, path: &Path<'_>, errors: &mut ErrorList) {
    let kind = item.type_.as_str();
    if !TYPES.contains(&kind) {
        complain(errors, &path.child("type"), kind, rules::qualified_name(kind));
        if !kind.contains('/') {
            let why = "must be a standard limit type or fully qualified";
            errors.invalid(&path.child("type"), kind, why);
        }
    }
    let lists = [
        ("max", &item.max),
        ("min", &item.min),
        ("default", &item.default),
        ("defaultRequest", &item.default_request),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio),
    ];
    for (field, list) in lists {
        validate_list(list.as_ref(), &path.child(field), errors);
    }
    if kind == "Pod" {
        for (field, list) in [("default", &item.default), ("defaultRequest", &item.default_request)]
        {
            if list.as_ref().is_some_and(|list| !list.is_empty()) {
                errors.forbidden(&path.child(field), "may not be specified when `type` is 'Pod'");
            }
        }
    }
    if kind == "PersistentVolumeClaim" {
        let has = |list: &Option<Quantities>| {
            list.as_ref().is_some_and(|list| list.contains_key("storage"))
        };
        if !has(&item.min) && !has(&item.max) {
            errors.required(
                path,
                "either minimum or maximum storage value is required, but neither was provided",
            );
        }
    }
    validate_order(item, path, errors);
}

/// The least is not above the default request, that not above the default, that not above the most.
fn validate_order(item: &LimitRangeItem, path: &Path<'_>, errors: &mut ErrorList) {
    let pairs = [
        ("min", &item.min, "min", "max", &item.max),
        ("defaultRequest", &item.default_request, "default request", "max", &item.max),
        (
            "defaultRequest",
            &item.default_request,
            "default request",
            "default limit",
            &item.default,
        ),
        ("default", &item.default, "default", "max", &item.max),
    ];
    for (field, lower, low_name, high_name, upper) in pairs {
        compare(lower, upper, path, field, (low_name, high_name), errors);
    }
    let mins = [
        ("defaultRequest", &item.default_request, "default request"),
        ("default", &item.default, "default"),
    ];
    for (field, list, name) in mins {
        compare_below(&item.min, list, path, field, name, errors);
    }
}

fn both<'a>(
    a: &'a Option<Quantities>,
    b: &'a Option<Quantities>,
) -> impl Iterator<Item = (&'a str, &'a Text, &'a Text, Quantity, Quantity)> {
    a.iter().flatten().filter_map(move |(name, low)| {
        let high = b.as_ref()?.get(name)?;
        let parsed = (Quantity::parse(&low.0).ok()?, Quantity::parse(&high.0).ok()?);
        Some((name.as_str(), low, high, parsed.0, parsed.1))
    })
}

fn compare(
    lower: &Option<Quantities>,
    upper: &Option<Quantities>,
    path: &Path<'_>,
    field: &str,
    names: (&str, &str),
    errors: &mut ErrorList,
) {
    for (name, low, high, a, b) in both(lower, upper) {
        if a > b {
            let at = path.child(field);
            let why =
                format!("{} value {} is greater than {} value {}", names.0, low.0, names.1, high.0);
            errors.invalid(&at.key(name), low.0.as_str(), &why);
        }
    }
}

fn compare_below(
    min: &Option<Quantities>,
    list: &Option<Quantities>,
    path: &Path<'_>,
    field: &str,
    what: &str,
    errors: &mut ErrorList,
) {
    for (name, low, value, a, b) in both(min, list) {
        if a > b {
            let at = path.child(field);
            let why = format!("min value {} is greater than {what} value {}", low.0, value.0);
            errors.invalid(&at.key(name), value.0.as_str(), &why);
        }
    }
}
