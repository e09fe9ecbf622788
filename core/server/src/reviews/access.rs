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
            selectors: Selectors { fields: fields.found.as_ref(), labels: labels.found.as_ref() },
        },
        (None, Some(others)) => Attributes::path(user, text(&others.verb), text(&others.path)),
        // Validation has refused it.
        (None, None) => Attributes::path(user, "", ""),
    };
    let authorizer = server.authorizer();
    let (allowed, why) = match authorizer.authorize(&asked) {
        Decision::Allow => (true, authorizer.why_allowed(&asked)),
        Decision::Deny(why) => (false, why),
    };
    let problems = [fields.problem("fieldSelector"), labels.problem("labelSelector")];
    let problems = problems.into_iter().flatten().collect::<Vec<_>>().join("; ");
    SubjectAccessReviewStatus {
        allowed,
        reason: Some(why).filter(|why| !why.is_empty()),
        evaluation_error: Some(problems).filter(|problems| !problems.is_empty()),
        ..Default::default()
    }
}

/// What can be read of a selector: what can't narrows nothing down.
struct Read<S> {
    found: Option<S>,
    is_whole: bool,
}

impl<S> Read<S> {
    fn nothing() -> Self {
        Self { found: None, is_whole: true }
    }

    fn of(found: Option<S>) -> Self {
        Self { is_whole: found.is_some(), found }
    }

    fn problem(&self, field: &str) -> Option<String> {
        let how = if self.found.is_some() { "partially ignored" } else { "ignored" };
        (!self.is_whole)
            .then(|| format!("spec.resourceAttributes.{field} {how} due to parse error"))
    }
}

/// To which objects one would be narrowed down by their fields.
fn fields_of(objects: &Option<ResourceAttributes>) -> Read<FieldSelector> {
    let Some(selector) = objects.as_ref().and_then(|objects| objects.field_selector.as_ref())
    else {
        return Read::nothing();
    };
    if let Some(raw) = selector.raw_selector.as_deref().filter(|raw| !raw.is_empty()) {
        return Read::of(FieldSelector::parse(raw).ok());
    }
    let all = selector.requirements.as_deref().unwrap_or_default();
    let mut found = Vec::with_capacity(all.len());
    for one in all {
        let values = one.values.as_deref().unwrap_or_default();
        let ([value], Some(equals)) = (values, equality(&one.operator)) else { continue };
        let (field, value) = (one.key.clone(), value.clone());
        found.push(FieldRequirement { field, equals, value });
    }
    let is_whole = found.len() == all.len();
    Read { found: (!found.is_empty()).then(|| found.into_iter().collect()), is_whole }
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
fn labels_of(objects: &Option<ResourceAttributes>) -> Read<Selector> {
    let Some(selector) = objects.as_ref().and_then(|objects| objects.label_selector.as_ref())
    else {
        return Read::nothing();
    };
    if let Some(raw) = selector.raw_selector.as_deref().filter(|raw| !raw.is_empty()) {
        return Read::of(Selector::parse(raw).ok());
    }
    let mut read = Read { found: None, is_whole: true };
    for one in selector.requirements.iter().flatten() {
        let known = ["In", "NotIn", "Exists", "DoesNotExist"].contains(&one.operator.as_str());
        let one = LabelSelector {
            match_expressions: Some(vec![one.clone()]),
            ..LabelSelector::default()
        };
        match Selector::from_label_selector(&one) {
            Ok(one) if known => {
                read.found =
                    Some(read.found.map_or_else(|| one.clone(), |found: Selector| found.and(&one)));
            }
            _ => read.is_whole = false,
        }
    }
    read
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
