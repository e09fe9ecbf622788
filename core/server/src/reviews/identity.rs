use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::{ApiError, Result};

use super::{Review, user_info};
use crate::{Server, User};

/// Who asks.
pub(super) struct OwnIdentity;

#[async_trait]
impl Review for OwnIdentity {
    type Kind = SelfSubjectReview;

    async fn answer(server: &Server, user: &User, review: &mut SelfSubjectReview) -> Result<()> {
        let now = server.env().clock().now_seconds();
        review.metadata.creation_timestamp = Some(Time(now));
        review.status = Some(SelfSubjectReviewStatus { user_info: Some(user_info(user)) });
        Ok(())
    }
}

/// Whose token something is.
pub(super) struct Token;

#[async_trait]
impl Review for Token {
    type Kind = TokenReview;

    async fn answer(server: &Server, _: &User, review: &mut TokenReview) -> Result<()> {
        if review.spec.token.is_empty() {
            let why = "token is required for TokenReview in authentication";
            return Err(ApiError::bad_request(why));
        }
        let audiences = review.spec.audiences.as_deref().unwrap_or_default();
        let mut status = TokenReviewStatus::default();
        match server.authenticate_bearer(&review.spec.token, audiences).await {
            Ok(Some(proven)) => {
                status.authenticated = Some(true);
                status.audiences = Some(proven.audiences);
                status.user = Some(user_info(&proven.user.authenticated()));
            }
            Ok(None) => {}
            Err(why) => status.error = Some(why),
        }
        review.status = Some(status);
        Ok(())
    }
}
