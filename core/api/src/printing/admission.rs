//! Webhooks and policies of admission.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
    ParamKind, ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::Value;

use super::age::age;
use super::text::UNSET;
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const WEBHOOKS: &[Column] =
    &[NAME, Column::integer("Webhooks", "How many webhooks there are"), AGE];

const VALIDATING: &[Column] = &[
    NAME,
    Column::integer("Validations", "How many rules the policy has"),
    Column::text("ParamKind", "Kind of the objects that the policy takes its parameters from"),
    AGE,
];

const MUTATING: &[Column] = &[
    NAME,
    Column::integer("Mutations", "How many changes the policy makes"),
    Column::text("ParamKind", "Kind of the objects that the policy takes its parameters from"),
    AGE,
];

const BINDING: &[Column] = &[
    NAME,
    Column::text("PolicyName", "Policy that is put in force"),
    Column::text("ParamRef", "Object that the parameters are taken from"),
    AGE,
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(WEBHOOKS, mutating_webhooks),
        Entry::new(WEBHOOKS, validating_webhooks),
        Entry::new(VALIDATING, validating_policy),
        Entry::new(MUTATING, mutating_policy),
        Entry::new(BINDING, validating_binding),
        Entry::new(BINDING, mutating_binding),
    ]
}

fn mutating_webhooks(hooks: &MutatingWebhookConfiguration, now: Timestamp) -> Vec<Value> {
    let count = hooks.webhooks.as_ref().map_or(0, Vec::len);
    cells![hooks.metadata.name.as_deref(), count, age(&hooks.metadata, now)]
}

fn validating_webhooks(hooks: &ValidatingWebhookConfiguration, now: Timestamp) -> Vec<Value> {
    let count = hooks.webhooks.as_ref().map_or(0, Vec::len);
    cells![hooks.metadata.name.as_deref(), count, age(&hooks.metadata, now)]
}

fn validating_policy(policy: &ValidatingAdmissionPolicy, now: Timestamp) -> Vec<Value> {
    let spec = policy.spec.as_ref();
    let count = spec.and_then(|spec| spec.validations.as_ref()).map_or(0, Vec::len);
    policy_cells(&policy.metadata, count, spec.and_then(|spec| spec.param_kind.as_ref()), now)
}

fn mutating_policy(policy: &MutatingAdmissionPolicy, now: Timestamp) -> Vec<Value> {
    let spec = policy.spec.as_ref();
    let count = spec.and_then(|spec| spec.mutations.as_ref()).map_or(0, Vec::len);
    policy_cells(&policy.metadata, count, spec.and_then(|spec| spec.param_kind.as_ref()), now)
}

fn policy_cells(
    meta: &ObjectMeta,
    count: usize,
    kind: Option<&ParamKind>,
    now: Timestamp,
) -> Vec<Value> {
    let kind = kind.map(|kind| {
        let version = kind.api_version.as_deref().unwrap_or_default();
        format!("{version}/{}", kind.kind.as_deref().unwrap_or_default())
    });
    cells![meta.name.as_deref(), count, kind.as_deref().unwrap_or(UNSET), age(meta, now)]
}

fn validating_binding(binding: &ValidatingAdmissionPolicyBinding, now: Timestamp) -> Vec<Value> {
    let spec = &binding.spec;
    binding_cells(&binding.metadata, Some(&spec.policy_name), spec.param_ref.as_ref(), now)
}

fn mutating_binding(binding: &MutatingAdmissionPolicyBinding, now: Timestamp) -> Vec<Value> {
    let spec = binding.spec.as_ref();
    let policy = spec.and_then(|spec| spec.policy_name.as_deref());
    binding_cells(&binding.metadata, policy, spec.and_then(|spec| spec.param_ref.as_ref()), now)
}

fn binding_cells(
    meta: &ObjectMeta,
    policy: Option<&str>,
    parameters: Option<&ParamRef>,
    now: Timestamp,
) -> Vec<Value> {
    let parameters = parameters.and_then(parameters_text);
    cells![
        meta.name.as_deref(),
        policy.unwrap_or_default(),
        parameters.as_deref().unwrap_or(UNSET),
        age(meta, now),
    ]
}

/// Without a namespace it may be in any, or in none.
fn parameters_text(parameters: &ParamRef) -> Option<String> {
    let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (named(&parameters.name), named(&parameters.namespace)) {
        (Some(name), Some(namespace)) => Some(format!("{namespace}/{name}")),
        (Some(name), None) => Some(format!("*/{name}")),
        (None, _) => parameters.selector.as_ref().map(selector_text),
    }
}

/// A selector in the form of Go's generated types, which upstream shows here.
fn selector_text(selector: &LabelSelector) -> String {
    let labels: String = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}: {value},"))
        .collect();
    let expressions: String = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|one| {
            let values = one.values.as_deref().unwrap_or_default().join(" ");
            let (key, operator) = (&one.key, &one.operator);
            format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
