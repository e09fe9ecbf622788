//! Kinds whose objects are questions: who somebody is, and what somebody may do.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::check::Json;
use super::is_blank;
use crate::Strategy;
use crate::field::{ErrorList, Path};

const SPEC: Path<'_> = Path::root("spec");
const METADATA: Path<'_> = Path::root("metadata");

/// Who the asking user is.
pub(super) struct SelfSubjectReviewStrategy;

impl Strategy for SelfSubjectReviewStrategy {
    type Kind = SelfSubjectReview;
}

/// Whose token something is.
pub(super) struct TokenReviewStrategy;

impl Strategy for TokenReviewStrategy {
    type Kind = TokenReview;
}

/// All that the asking user may do in a namespace.
pub(super) struct SelfSubjectRulesReviewStrategy;

impl Strategy for SelfSubjectRulesReviewStrategy {
    type Kind = SelfSubjectRulesReview;
}

/// Whether somebody may do something.
pub(super) struct SubjectAccessReviewStrategy;

impl Strategy for SubjectAccessReviewStrategy {
    type Kind = SubjectAccessReview;

    fn validate(&self, review: &SubjectAccessReview, errors: &mut ErrorList) {
        subject(&review.spec, errors);
        empty(&review.metadata, "must be empty", errors);
    }
}

/// Whether the asking user may do something.
pub(super) struct SelfSubjectAccessReviewStrategy;

impl Strategy for SelfSubjectAccessReviewStrategy {
    type Kind = SelfSubjectAccessReview;

    fn validate(&self, review: &SelfSubjectAccessReview, errors: &mut ErrorList) {
        let spec = &review.spec;
        one_of(&spec.resource_attributes, &spec.non_resource_attributes, errors);
        selectors(&spec.resource_attributes, errors);
        empty(&review.metadata, "must be empty", errors);
    }
}

/// Whether somebody may do something in the namespace of the review.
pub(super) struct LocalSubjectAccessReviewStrategy;

impl Strategy for LocalSubjectAccessReviewStrategy {
    type Kind = LocalSubjectAccessReview;

    fn validate(&self, review: &LocalSubjectAccessReview, errors: &mut ErrorList) {
        let spec = &review.spec;
        subject(spec, errors);
        let mut metadata = review.metadata.clone();
        metadata.namespace = None;
        empty(&metadata, "must be empty except for namespace", errors);
        if let Some(asked) = &spec.resource_attributes {
            let asked = asked.namespace.as_deref().unwrap_or_default();
            if asked != review.metadata.namespace.as_deref().unwrap_or_default() {
                let at = SPEC.child("resourceAttributes");
                errors.invalid(&at.child("namespace"), asked, "must match metadata.namespace");
            }
        }
        if let Some(asked) = &spec.non_resource_attributes {
            let at = SPEC.child("nonResourceAttributes");
            errors.invalid(&at, Json(asked), "disallowed on this kind of request");
        }
    }
}

fn subject(spec: &SubjectAccessReviewSpec, errors: &mut ErrorList) {
    one_of(&spec.resource_attributes, &spec.non_resource_attributes, errors);
    if is_blank(&spec.user) && spec.groups.as_ref().is_none_or(Vec::is_empty) {
        let why = "at least one of user or group must be specified";
        errors.invalid(&SPEC.child("user"), "", why);
    }
    selectors(&spec.resource_attributes, errors);
}

fn one_of(
    objects: &Option<ResourceAttributes>,
    others: &Option<NonResourceAttributes>,
    errors: &mut ErrorList,
) {
    match (objects, others) {
        (Some(_), Some(others)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            errors.invalid(&SPEC.child("nonResourceAttributes"), Json(others), why);
        }
        (None, None) => {
            let why =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.invalid(&SPEC.child("resourceAttributes"), Json(others), why);
        }
        _ => {}
    }
}

fn selectors(asked: &Option<ResourceAttributes>, errors: &mut ErrorList) {
    let Some(asked) = asked else { return };
    let at = SPEC.child("resourceAttributes");
    if let Some(selector) = &asked.field_selector {
        let each = selector.requirements.iter().flatten();
        let each = each.map(|one| (&*one.key, &*one.operator, &one.values));
        let at = at.child("fieldSelector");
        requirements(&selector.raw_selector, each.collect(), &at, errors);
    }
    if let Some(selector) = &asked.label_selector {
        let each = selector.requirements.iter().flatten();
        let each = each.map(|one| (&*one.key, &*one.operator, &one.values));
        let at = at.child("labelSelector");
        requirements(&selector.raw_selector, each.collect(), &at, errors);
        for (index, one) in selector.requirements.iter().flatten().enumerate() {
            if !one.key.is_empty() {
                let at = at.child("requirements");
                for why in super::names::rules::qualified_name(&one.key) {
                    errors.invalid(&at.index(index).child("key"), &one.key, &why);
                }
            }
        }
    }
}

/// A key, an operator and values.
type Requirement<'a> = (&'a str, &'a str, &'a Option<Vec<String>>);

/// Operators that are not known are let through: newer clients may know more.
fn requirements(
    raw: &Option<String>,
    requirements: Vec<Requirement<'_>>,
    at: &Path<'_>,
    errors: &mut ErrorList,
) {
    let raw = raw.as_deref().unwrap_or_default();
    if !raw.is_empty() && !requirements.is_empty() {
        let why = "may not specified at the same time as requirements";
        errors.invalid(&at.child("rawSelector"), raw, why);
    }
    if raw.is_empty() && requirements.is_empty() {
        let why = format!("when {at} is specified, requirements or rawSelector is required");
        errors.required(&at.child("requirements"), &why);
    }
    for (index, (key, operator, values)) in requirements.into_iter().enumerate() {
        let at = at.child("requirements");
        let at = at.index(index);
        let none = values.as_ref().is_none_or(Vec::is_empty);
        if key.is_empty() {
            errors.required(&at.child("key"), "must be specified");
        }
        match operator {
            "In" | "NotIn" if none => errors.required(
                &at.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            ),
            "Exists" | "DoesNotExist" if !none => errors.forbidden(
                &at.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            _ => {}
        }
    }
}

/// A question is about nobody's object: it has no name and belongs to nothing.
fn empty(metadata: &ObjectMeta, why: &str, errors: &mut ErrorList) {
    let kept = ObjectMeta { managed_fields: metadata.managed_fields.clone(), ..Default::default() };
    if *metadata != kept {
        errors.invalid(&METADATA, Json(metadata), why);
    }
}
