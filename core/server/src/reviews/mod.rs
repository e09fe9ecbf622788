//! Kinds whose objects are questions: `create` answers them and keeps nothing.

mod access;
mod identity;
mod rules;

use async_trait::async_trait;
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::UserInfo;
use pinnace_api::field::ErrorList;
use pinnace_api::{ApiError, Draft, Kind, Object, Resource, Result};
use pinnace_client::{Target, WriteOptions};

use crate::write::Write;
use crate::{Operation, Server, User};

/// A kind of question.
#[async_trait]
trait Review: Send + Sync + 'static {
    /// Its objects.
    type Kind: Kind + k8s_openapi::Resource;

    /// Writes the answer into the status.
    async fn answer(server: &Server, user: &User, review: &mut Self::Kind) -> Result<()>;
}

/// Answers a draft of one kind.
type Answer = for<'a> fn(&'a Server, &'a User, &'a mut Draft) -> BoxFuture<'a, Result<()>>;

/// How each kind of question is answered.
struct Entry {
    group: &'static str,
    kind: &'static str,
    answer: Answer,
}

const fn entry<R: Review>() -> Entry {
    use k8s_openapi::Resource as _;
    Entry {
        group: R::Kind::GROUP,
        kind: R::Kind::KIND,
        answer: |server, user, draft| match draft.get_mut::<R::Kind>() {
            Some(review) => R::answer(server, user, review),
            None => {
                let wrong = ApiError::bad_request("the body of a review must be of its kind");
                Box::pin(std::future::ready(Err(wrong)))
            }
        },
    }
}

const REVIEWS: [Entry; 6] = [
    entry::<identity::OwnIdentity>(),
    entry::<identity::Token>(),
    entry::<access::Local>(),
    entry::<access::Own>(),
    entry::<access::Subject>(),
    entry::<rules::OwnRules>(),
];

/// How objects of a kind are answered; `None` for kinds that are kept.
pub(crate) fn of(resource: &Resource) -> Option<Answer> {
    let found = REVIEWS.iter().find(|one| one.kind == resource.kind && one.group == resource.group);
    found.map(|one| one.answer)
}

impl Server {
    /// Answers a question from somebody who may ask it.
    ///
    /// # Errors
    /// `Invalid` and `BadRequest` for what is no question.
    pub(crate) async fn review(
        &self,
        user: &User,
        target: &Target,
        mut draft: Draft,
        answer: Answer,
        options: &WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        Self::check_kind(resource, &draft)?;
        Self::check_namespace(&mut draft, resource, target.key.namespace())?;
        resource.strategy.default(&mut draft);
        let write = Write::to(user, Operation::Create, target, None, options);
        self.admit_part(&write, &mut draft)?;
        self.mutate(&write, Some(&mut draft), |draft| self.admit_part(&write, draft)).await?;
        let mut errors = ErrorList::default();
        resource.strategy.validate(&draft, &mut errors);
        if !errors.is_empty() {
            return Err(ApiError::invalid(resource, "", &errors));
        }
        self.review_final(&write, Some(&mut draft)).await?;
        answer(self, user, &mut draft).await?;
        Ok(draft.freeze())
    }
}

/// A user as the API shows it.
pub(crate) fn user_info(user: &User) -> UserInfo {
    let extra = &user.extra;
    UserInfo {
        username: Some(user.name.to_string()),
        uid: user.uid.as_deref().map(str::to_owned),
        groups: (!user.groups.is_empty()).then(|| user.groups.to_vec()),
        extra: (!extra.is_empty()).then(|| (**extra).clone()),
    }
}
