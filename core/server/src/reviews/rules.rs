use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{
    NonResourceRule, ResourceRule, SelfSubjectRulesReview, SubjectRulesReviewStatus,
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use pinnace_api::{ApiError, Result};

use super::Review;
use crate::{Server, User};

/// All that who asks may do in a namespace.
pub(super) struct OwnRules;

#[async_trait]
impl Review for OwnRules {
    type Kind = SelfSubjectRulesReview;

    async fn answer(
        server: &Server,
        user: &User,
        review: &mut SelfSubjectRulesReview,
    ) -> Result<()> {
        let namespace = review.spec.namespace.as_deref().unwrap_or_default();
        if namespace.is_empty() {
            return Err(ApiError::bad_request("no namespace on request"));
        }
        let rules = server.authorizer().rules_for(user, namespace);
        let (paths, objects): (Vec<_>, Vec<_>) =
            rules.rules.into_iter().partition(|rule| has(&rule.non_resource_urls));
        review.status = Some(SubjectRulesReviewStatus {
            resource_rules: objects.into_iter().filter_map(of_objects).collect(),
            non_resource_rules: paths.into_iter().map(of_paths).collect(),
            incomplete: rules.incomplete,
            evaluation_error: (!rules.problems.is_empty()).then_some(rules.problems),
        });
        Ok(())
    }
}

fn has(names: &Option<Vec<String>>) -> bool {
    names.as_ref().is_some_and(|names| !names.is_empty())
}

fn of_objects(rule: PolicyRule) -> Option<ResourceRule> {
    has(&rule.resources).then_some(ResourceRule {
        verbs: rule.verbs,
        api_groups: rule.api_groups,
        resources: rule.resources,
        resource_names: rule.resource_names,
    })
}

fn of_paths(rule: PolicyRule) -> NonResourceRule {
    NonResourceRule { verbs: rule.verbs, non_resource_urls: rule.non_resource_urls }
}
