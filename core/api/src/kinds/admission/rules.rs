//! Which requests webhooks and policies are about.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, RuleWithOperations,
};

use super::MATCH_POLICIES;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, choice};
use crate::kinds::{fill, label_selector, names};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

/// A rule, of a webhook or of a policy.
struct Rule<'a> {
    operations: &'a [String],
    groups: &'a [String],
    versions: &'a [String],
    resources: &'a [String],
    scope: &'a Option<String>,
}

/// Fills in the scope of a webhook's rule.
pub(super) fn default_rule(rule: &mut RuleWithOperations) {
    fill(&mut rule.scope, "*");
}

/// Checks a webhook's rule.
pub(super) fn validate_rule(rule: &RuleWithOperations, path: &Path<'_>, errors: &mut ErrorList) {
    let rule = Rule {
        operations: list(&rule.operations),
        groups: list(&rule.api_groups),
        versions: list(&rule.api_versions),
        resources: list(&rule.resources),
        scope: &rule.scope,
    };
    rule.validate(path, errors);
}

/// Fills in what a policy is about.
pub(super) fn default_match(resources: &mut MatchResources) {
    fill(&mut resources.match_policy, "Equivalent");
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let excluded = resources.exclude_resource_rules.iter_mut().flatten();
    let rules = resources.resource_rules.iter_mut().flatten().chain(excluded);
    rules.for_each(|rule| fill(&mut rule.scope, "*"));
}

/// Checks what a policy is about.
pub(super) fn validate_match(resources: &MatchResources, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("matchPolicy");
    if resources.match_policy.is_none() {
        errors.required(&at, "");
    }
    choice(errors, &at, &resources.match_policy, &MATCH_POLICIES);
    let selectors = [
        ("namespaceSelector", &resources.namespace_selector),
        ("objectSelector", &resources.object_selector),
    ];
    for (field, selector) in selectors {
        match selector {
            Some(selector) => label_selector::validate(selector, &path.child(field), errors),
            None => errors.required(&path.child(field), ""),
        }
    }
    let rules = [
        ("resourceRules", &resources.resource_rules),
        ("excludeResourceRules", &resources.exclude_resource_rules),
    ];
    for (field, rules) in rules {
        let at = path.child(field);
        for (index, rule) in rules.iter().flatten().enumerate() {
            validate_named(rule, &at.index(index), errors);
        }
    }
}

fn validate_named(rule: &NamedRuleWithOperations, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("resourceNames");
    let resource_names = list(&rule.resource_names);
    for (index, name) in resource_names.iter().enumerate() {
        if let Err(why) = names::path_segment(name) {
            errors.invalid(&at.index(index), name, &why);
        }
        if resource_names[..index].contains(name) {
            errors.duplicate(&at.index(index), name);
        }
    }
    let rule = Rule {
        operations: list(&rule.operations),
        groups: list(&rule.api_groups),
        versions: list(&rule.api_versions),
        resources: list(&rule.resources),
        scope: &rule.scope,
    };
    rule.validate(path, errors);
}

impl Rule<'_> {
    fn validate(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let at = path.child("operations");
        need_one(self.operations, &at, errors);
        alone(self.operations, "other operations", &at, errors);
        for (index, operation) in self.operations.iter().enumerate() {
            if !OPERATIONS.contains(&operation.as_str()) {
                errors.not_supported(&at.index(index), operation, &OPERATIONS);
            }
        }
        let at = path.child("apiGroups");
        need_one(self.groups, &at, errors);
        alone(self.groups, "other API groups", &at, errors);
        let at = path.child("apiVersions");
        need_one(self.versions, &at, errors);
        alone(self.versions, "other API versions", &at, errors);
        for (index, _) in self.versions.iter().enumerate().filter(|(_, one)| one.is_empty()) {
            errors.required(&at.index(index), "");
        }
        validate_resources(self.resources, &path.child("resources"), errors);
        choice(errors, &path.child("scope"), self.scope, &SCOPES);
    }
}

fn need_one(list: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        errors.required(path, "");
    }
}

/// `*` stands for all, so nothing may stand beside it.
fn alone(list: &[String], others: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if list.len() > 1 && list.iter().any(|one| one == "*") {
        let why = format!("if '*' is present, must not specify {others}");
        errors.invalid(path, Json(&list), &why);
    }
}

fn validate_resources(resources: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    need_one(resources, path, errors);
    let (mut all_parts_of, mut part_of_all) = (Vec::new(), Vec::new());
    let mut last_is_whole = false;
    for (index, text) in resources.iter().enumerate() {
        let at = path.index(index);
        if text.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let Some((resource, part)) = text.split_once('/') else {
            last_is_whole = text != "*";
            continue;
        };
        if all_parts_of.contains(&resource) {
            let why = format!("if '{resource}/*' is present, must not specify {text}");
            errors.invalid(&at, text, &why);
        }
        if part_of_all.contains(&part) {
            let why = format!("if '*/{part}' is present, must not specify {text}");
            errors.invalid(&at, text, &why);
        }
        if part == "*" {
            all_parts_of.push(resource);
        }
        if resource == "*" {
            part_of_all.push(part);
        }
    }
    let has = |wanted: &str| resources.iter().any(|text| text == wanted);
    if resources.len() > 1 && has("*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.invalid(path, Json(&resources), why);
    }
    if has("*") && last_is_whole {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(path, Json(&resources), why);
    }
}

/// What is in a list that may be absent.
pub(super) fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}
