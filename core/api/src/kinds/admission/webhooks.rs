use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES, conditions, rules};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{choice, complain_once};
use crate::kinds::names::rules as name_rules;
use crate::kinds::webhook_client::{self, Service};
use crate::kinds::{fill, label_selector, next_generation};

/// How long a webhook that says nothing may take, in seconds, and the least and most it may say.
const TIMEOUT: i32 = 10;
const TIMEOUTS: std::ops::RangeInclusive<i32> = 1..=30;
/// What a webhook may do beside answering, for it to be asked of requests that are only tried.
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const SIDE_EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];

/// Webhooks that are asked whether a request may pass.
pub(in crate::kinds) struct ValidatingWebhookConfigurationStrategy;

/// Webhooks that change what is written.
pub(in crate::kinds) struct MutatingWebhookConfigurationStrategy;

/// What webhooks of both kinds have in common.
#[derive(Clone, Copy)]
struct Hook<'a> {
    name: &'a str,
    client: &'a WebhookClientConfig,
    rules: &'a [RuleWithOperations],
    failure_policy: &'a Option<String>,
    match_policy: &'a Option<String>,
    selectors: [(&'static str, &'a Option<LabelSelector>); 2],
    side_effects: &'a str,
    timeout_seconds: Option<i32>,
    reinvocation_policy: Option<&'a Option<String>>,
    conditions: &'a [MatchCondition],
    versions: &'a [String],
}

/// What was let through once is let through again: rules that came later apply only where all
/// that is stored keeps them.
struct Strictness {
    conditions: bool,
    side_effects: bool,
    versions: bool,
    names: bool,
}

impl Strictness {
    const NEW: Self = Self { conditions: true, side_effects: true, versions: true, names: true };

    fn of_update(new: &[Hook<'_>], old: &[Hook<'_>]) -> Self {
        let conditions = |hooks: &[Hook<'_>]| -> Vec<Vec<MatchCondition>> {
            hooks.iter().map(|hook| hook.conditions.to_vec()).collect()
        };
        Self {
            conditions: conditions(new) != conditions(old),
            side_effects: old.iter().all(|hook| NO_SIDE_EFFECTS.contains(&hook.side_effects)),
            versions: old.iter().all(|hook| {
                hook.versions.is_empty() || webhook_client::has_known_version(hook.versions)
            }),
            names: old
                .iter()
                .enumerate()
                .all(|(index, hook)| old[..index].iter().all(|other| other.name != hook.name)),
        }
    }
}

impl Strategy for ValidatingWebhookConfigurationStrategy {
    type Kind = ValidatingWebhookConfiguration;

    fn default(&self, configuration: &mut ValidatingWebhookConfiguration) {
        for hook in configuration.webhooks.iter_mut().flatten() {
            fill(&mut hook.failure_policy, "Fail");
            fill(&mut hook.match_policy, "Equivalent");
            hook.namespace_selector.get_or_insert_default();
            hook.object_selector.get_or_insert_default();
            hook.timeout_seconds.get_or_insert(TIMEOUT);
            default_client(&mut hook.client_config);
            hook.rules.iter_mut().flatten().for_each(rules::default_rule);
        }
    }

    fn prepare_for_create(&self, configuration: &mut ValidatingWebhookConfiguration) {
        configuration.metadata.generation = Some(1);
    }

    fn validate(&self, configuration: &ValidatingWebhookConfiguration, errors: &mut ErrorList) {
        validate(&validating(configuration), &Strictness::NEW, errors);
    }

    fn prepare_for_update(
        &self,
        new: &mut ValidatingWebhookConfiguration,
        old: &ValidatingWebhookConfiguration,
    ) {
        let changed = new.webhooks != old.webhooks;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(
        &self,
        new: &ValidatingWebhookConfiguration,
        old: &ValidatingWebhookConfiguration,
        errors: &mut ErrorList,
    ) {
        let new = validating(new);
        validate(&new, &Strictness::of_update(&new, &validating(old)), errors);
    }
}

impl Strategy for MutatingWebhookConfigurationStrategy {
    type Kind = MutatingWebhookConfiguration;

    fn default(&self, configuration: &mut MutatingWebhookConfiguration) {
        for hook in configuration.webhooks.iter_mut().flatten() {
            fill(&mut hook.failure_policy, "Fail");
            fill(&mut hook.match_policy, "Equivalent");
            fill(&mut hook.reinvocation_policy, "Never");
            hook.namespace_selector.get_or_insert_default();
            hook.object_selector.get_or_insert_default();
            hook.timeout_seconds.get_or_insert(TIMEOUT);
            default_client(&mut hook.client_config);
            hook.rules.iter_mut().flatten().for_each(rules::default_rule);
        }
    }

    fn prepare_for_create(&self, configuration: &mut MutatingWebhookConfiguration) {
        configuration.metadata.generation = Some(1);
    }

    fn validate(&self, configuration: &MutatingWebhookConfiguration, errors: &mut ErrorList) {
        validate(&mutating(configuration), &Strictness::NEW, errors);
    }

    fn prepare_for_update(
        &self,
        new: &mut MutatingWebhookConfiguration,
        old: &MutatingWebhookConfiguration,
    ) {
        let changed = new.webhooks != old.webhooks;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(
        &self,
        new: &MutatingWebhookConfiguration,
        old: &MutatingWebhookConfiguration,
        errors: &mut ErrorList,
    ) {
        let new = mutating(new);
        validate(&new, &Strictness::of_update(&new, &mutating(old)), errors);
    }
}

fn default_client(client: &mut WebhookClientConfig) {
    if let Some(service) = &mut client.service {
        service.port.get_or_insert(webhook_client::PORT);
    }
}

fn validating(configuration: &ValidatingWebhookConfiguration) -> Vec<Hook<'_>> {
    let hooks = configuration.webhooks.iter().flatten();
    hooks
        .map(|hook: &ValidatingWebhook| Hook {
            name: &hook.name,
            client: &hook.client_config,
            rules: rules::list(&hook.rules),
            failure_policy: &hook.failure_policy,
            match_policy: &hook.match_policy,
            selectors: [
                ("namespaceSelector", &hook.namespace_selector),
                ("objectSelector", &hook.object_selector),
            ],
            side_effects: &hook.side_effects,
            timeout_seconds: hook.timeout_seconds,
            reinvocation_policy: None,
            conditions: rules::list(&hook.match_conditions),
            versions: &hook.admission_review_versions,
        })
        .collect()
}

fn mutating(configuration: &MutatingWebhookConfiguration) -> Vec<Hook<'_>> {
    let hooks = configuration.webhooks.iter().flatten();
    hooks
        .map(|hook: &MutatingWebhook| Hook {
            name: &hook.name,
            client: &hook.client_config,
            rules: rules::list(&hook.rules),
            failure_policy: &hook.failure_policy,
            match_policy: &hook.match_policy,
            selectors: [
                ("namespaceSelector", &hook.namespace_selector),
                ("objectSelector", &hook.object_selector),
            ],
            side_effects: &hook.side_effects,
            timeout_seconds: hook.timeout_seconds,
            reinvocation_policy: Some(&hook.reinvocation_policy),
            conditions: rules::list(&hook.match_conditions),
            versions: &hook.admission_review_versions,
        })
        .collect()
}

fn validate(hooks: &[Hook<'_>], strict: &Strictness, errors: &mut ErrorList) {
    let path = Path::root("webhooks");
    for (index, hook) in hooks.iter().enumerate() {
        let path = path.index(index);
        validate_hook(hook, strict, &path, errors);
        let at = path.child("admissionReviewVersions");
        let if_none = "must specify one of v1, v1beta1";
        webhook_client::validate_versions(hook.versions, strict.versions, if_none, &at, errors);
        let twice = hooks[..index].iter().any(|other| other.name == hook.name);
        if strict.names && twice && !hook.name.is_empty() {
            errors.duplicate(&path.child("name"), hook.name);
        }
    }
}

fn validate_hook(hook: &Hook<'_>, strict: &Strictness, path: &Path<'_>, errors: &mut ErrorList) {
    validate_name(hook.name, &path.child("name"), errors);
    let at = path.child("rules");
    for (index, rule) in hook.rules.iter().enumerate() {
        rules::validate_rule(rule, &at.index(index), errors);
    }
    choice(errors, &path.child("failurePolicy"), hook.failure_policy, &FAILURE_POLICIES);
    choice(errors, &path.child("matchPolicy"), hook.match_policy, &MATCH_POLICIES);
    let at = path.child("sideEffects");
    let allowed = if strict.side_effects { &NO_SIDE_EFFECTS[..] } else { &SIDE_EFFECTS };
    if hook.side_effects.is_empty() {
        errors.required(&at, &format!("must specify one of {}", allowed.join(", ")));
    } else if !allowed.contains(&hook.side_effects) {
        errors.not_supported(&at, hook.side_effects, allowed);
    }
    if let Some(seconds) = hook.timeout_seconds.filter(|seconds| !TIMEOUTS.contains(seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), seconds, why);
    }
    for (field, selector) in hook.selectors {
        if let Some(selector) = selector {
            label_selector::validate(selector, &path.child(field), errors);
        }
    }
    if let Some(policy) = hook.reinvocation_policy {
        choice(errors, &path.child("reinvocationPolicy"), policy, &REINVOCATION_POLICIES);
    }
    let service = hook.client.service.as_ref().map(|service| Service {
        name: &service.name,
        namespace: &service.namespace,
        path: service.path.as_deref(),
        port: service.port,
    });
    let at = path.child("clientConfig");
    webhook_client::validate(hook.client.url.as_deref(), service.as_ref(), &at, errors);
    if strict.conditions {
        conditions::validate(hook.conditions, false, &path.child("matchConditions"), errors);
    }
}

/// A webhook's name is a subdomain of three parts at least.
fn validate_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let complaints = name_rules::dns_subdomain(name);
    if !complaints.is_empty() {
        return complain_once(errors, path, name, &complaints);
    }
    if name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.invalid(path, name, why);
    }
}
