use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use pinnace_api::Result;
use pinnace_api::selector::{FieldRequirement, FieldSelector, Selector};

use super::Review;
use crate::{Attributes, Decision, Selectors, Server, User};

/// Whether somebody may do something.
pub(super) struct Subject;

#[async_trait]
impl Review for Subject {
    type Kind = SubjectAccessReview;

    async fn answer(server: &Server, _: &User, review: &mut SubjectAccessReview) -> Result<()> {
        review.status = Some(of_subject(server, &review.spec));
        Ok(())
    }
}

/// Whether somebody may do something in one namespace.
pub(super) struct Local;

#[async_trait]
impl Review for Local {
    type Kind = LocalSubjectAccessReview;

    async fn answer(
        server: &Server,
        _: &User,
        review: &mut LocalSubjectAccessReview,
    ) -> Result<()> {
        review.status = Some(of_subject(server, &review.spec));
        Ok(())
    }
}

/// Whether who asks may do something.
pub(super) struct Own;

#[async_trait]
impl Review for Own {
    type Kind = SelfSubjectAccessReview;

    async fn answer(
        server: &Server,
        user: &User,
        review: &mut SelfSubjectAccessReview,
    ) -> Result<()> {
        let spec = &review.spec;
        let (objects, others) = (&spec.resource_attributes, &spec.non_resource_attributes);
        review.status = Some(decide(server, user, objects, others));
        Ok(())
    }
}

fn of_subject(server: &Server, spec: &SubjectAccessReviewSpec) -> SubjectAccessReviewStatus {
    let name = spec.user.as_deref().unwrap_or_default();
    let mut user = User::new(name, spec.groups.iter().flatten().cloned());
    user.uid = spec.uid.as_deref().filter(|uid| !uid.is_empty()).map(Into::into);
    user.extra = spec.extra.clone().unwrap_or_default().into();
    decide(server, &user, &spec.resource_attributes, &spec.non_resource_attributes)
}

fn decide(
    server: &Server,
    user: &User,
    objects: &Option<ResourceAttributes>,
    others: &Option<NonResourceAttributes>,
) -> SubjectAccessReviewStatus {
    let (fields, labels) = (fields_of(objects), labels_of(objects));
    let asked = match (objects, others) {
        (Some(objects), _) => Attributes {
            user,
            verb: text(&objects.verb),
            group: text(&objects.group),
            resource: text(&objects.resource),
            subresource: text(&objects.subresource),
            namespace: text(&objects.namespace),
            name: text(&objects.name),
            path: "",
            selectors: Selectors { fields: fields.as_ref(), labels: labels.as_ref() },
        },
        (None, Some(others)) => Attributes::path(user, text(&others.verb), text(&others.path)),
        // Validation has refused it.
        (None, None) => Attributes::path(user, "", ""),
    };
    match server.authorizer().authorize(&asked) {
        Decision::Allow => SubjectAccessReviewStatus { allowed: true, ..Default::default() },
        Decision::Deny(why) => SubjectAccessReviewStatus {
            allowed: false,
            reason: (!why.is_empty()).then_some(why),
            ..Default::default()
        },
    }
}

/// To which objects one would be narrowed down by their fields; what newer clients may know more of
/// narrows nothing down.
fn fields_of(objects: &Option<ResourceAttributes>) -> Option<FieldSelector> {
    let selector = objects.as_ref()?.field_selector.as_ref()?;
    if let Some(raw) = selector.raw_selector.as_deref().filter(|raw| !raw.is_empty()) {
        return FieldSelector::parse(raw).ok();
    }
    let mut found = Vec::new();
    for one in selector.requirements.iter().flatten() {
        let values = one.values.as_deref().unwrap_or_default();
        let ([value], Some(equals)) = (values, equality(&one.operator)) else { continue };
        let (field, value) = (one.key.clone(), value.clone());
        found.push(FieldRequirement { field, equals, value });
    }
    (!found.is_empty()).then(|| found.into_iter().collect())
}

/// Of several operators only two mean something for fields, with one value each.
fn equality(operator: &str) -> Option<bool> {
    match operator {
        "In" => Some(true),
        "NotIn" => Some(false),
        _ => None,
    }
}

/// As [`fields_of`], by their labels.
fn labels_of(objects: &Option<ResourceAttributes>) -> Option<Selector> {
    let selector = objects.as_ref()?.label_selector.as_ref()?;
    if let Some(raw) = selector.raw_selector.as_deref().filter(|raw| !raw.is_empty()) {
        return Selector::parse(raw).ok();
    }
    let known = ["In", "NotIn", "Exists", "DoesNotExist"];
    let mut all = selector.requirements.clone().unwrap_or_default();
    all.retain(|one| known.contains(&one.operator.as_str()));
    let found = LabelSelector { match_expressions: Some(all), ..LabelSelector::default() };
    Selector::from_label_selector(&found).ok().filter(|found| !found.is_everything())
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
