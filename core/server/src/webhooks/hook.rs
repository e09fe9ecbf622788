use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, ValidatingWebhook};

use crate::extension::ExtensionConfig;
use crate::matching::Constraints;
use crate::policy::Conditions;

/// How long a webhook that says nothing may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A webhook, read from its configuration once. Clones share.
#[derive(Clone)]
pub(super) struct Hook(Arc<Inner>);

/// See [`Hook`].
pub(super) struct Inner {
    pub(super) configuration: String,
    pub(super) name: String,
    pub(super) constraints: Constraints,
    pub(super) conditions: Conditions,
    /// Whether a request goes on when it cannot be asked.
    pub(super) is_ignored: bool,
    pub(super) timeout: Duration,
    /// Whether it may be asked of what is only tried.
    pub(super) takes_dry_runs: bool,
    /// Whether it is asked again when others have changed what it has seen.
    pub(super) is_asked_again: bool,
    /// The first version of reviews that both sides know.
    pub(super) version: Option<&'static str>,
    pub(super) client: ExtensionConfig,
}

impl std::ops::Deref for Hook {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Hook {
    pub(super) fn mutating(configuration: &str, webhook: &MutatingWebhook) -> Self {
        Self(Arc::new(Inner {
            configuration: configuration.to_owned(),
            name: webhook.name.clone(),
            constraints: Constraints::of_webhook(
                webhook.rules.as_ref(),
                webhook.match_policy.as_deref(),
                webhook.namespace_selector.as_ref(),
                webhook.object_selector.as_ref(),
            ),
            conditions: Conditions::of(webhook.match_conditions.as_deref(), false),
            is_ignored: webhook.failure_policy.as_deref() == Some("Ignore"),
            timeout: timeout(webhook.timeout_seconds),
            takes_dry_runs: takes_dry_runs(&webhook.side_effects),
            is_asked_again: webhook.reinvocation_policy.as_deref() == Some("IfNeeded"),
            version: version(&webhook.admission_review_versions),
            client: ExtensionConfig::of_admission(&webhook.client_config),
        }))
    }

    pub(super) fn validating(configuration: &str, webhook: &ValidatingWebhook) -> Self {
        Self(Arc::new(Inner {
            configuration: configuration.to_owned(),
            name: webhook.name.clone(),
            constraints: Constraints::of_webhook(
                webhook.rules.as_ref(),
                webhook.match_policy.as_deref(),
                webhook.namespace_selector.as_ref(),
                webhook.object_selector.as_ref(),
            ),
            conditions: Conditions::of(webhook.match_conditions.as_deref(), false),
            is_ignored: webhook.failure_policy.as_deref() == Some("Ignore"),
            timeout: timeout(webhook.timeout_seconds),
            takes_dry_runs: takes_dry_runs(&webhook.side_effects),
            is_asked_again: false,
            version: version(&webhook.admission_review_versions),
            client: ExtensionConfig::of_admission(&webhook.client_config),
        }))
    }
}

fn timeout(seconds: Option<i32>) -> Duration {
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.filter(|seconds| *seconds > 0).map_or(TIMEOUT, Duration::from_secs)
}

fn takes_dry_runs(side_effects: &str) -> bool {
    matches!(side_effects, "None" | "NoneOnDryRun")
}

fn version(versions: &[String]) -> Option<&'static str> {
    versions.iter().find_map(|version| match version.as_str() {
        "v1" => Some("v1"),
        "v1beta1" => Some("v1beta1"),
        _ => None,
    })
}
