use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use pinnace_api::Result;

use super::Review;
use crate::{Attributes, Decision, Server, User};

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

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
