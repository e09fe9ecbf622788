use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceConversion;

use crate::field::{ErrorList, Path};
use crate::kinds::webhook_client::{self, Service};

const STRATEGIES: [&str; 2] = ["None", "Webhook"];

/// Checks how objects are converted between versions.
pub(super) fn validate(
    conversion: &CustomResourceConversion,
    preserving: bool,
    one_known: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let strategy = conversion.strategy.as_str();
    let at = path.child("strategy");
    if strategy != "None" && preserving {
        let why = "must be None if spec.preserveUnknownFields is true";
        errors.invalid(&at, strategy, why);
    }
    if strategy.is_empty() {
        errors.required(&at, "");
    } else if !STRATEGIES.contains(&strategy) {
        errors.not_supported(&at, strategy, &STRATEGIES);
    }
    let client = conversion.webhook.as_ref().and_then(|webhook| webhook.client_config.as_ref());
    let versions = conversion.webhook.as_ref().map(|webhook| &webhook.conversion_review_versions);
    let versions = versions.map_or(&[][..], Vec::as_slice);
    let (at, versions_at) =
        (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.forbidden(&at, why);
        }
        if !versions.is_empty() {
            errors.forbidden(&versions_at, why);
        }
        return;
    }
    match client {
        None => errors.required(&at, "required when strategy is set to Webhook"),
        Some(client) => {
            let service = client.service.as_ref().map(|service| Service {
                name: &service.name,
                namespace: &service.namespace,
                path: service.path.as_deref(),
                port: service.port,
            });
            webhook_client::validate(client.url.as_deref(), service.as_ref(), &at, errors);
        }
    }
    webhook_client::validate_versions(versions, one_known, "", &versions_at, errors);
}
