//! Roles and who has them.

use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef,
    Subject,
};

use super::check::{Json, text};
use super::{fill, label_selector, names};
use crate::Strategy;
use crate::field::{ErrorList, Path};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Roles within a namespace.
pub(super) struct RoleStrategy;

impl Strategy for RoleStrategy {
    type Kind = Role;

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::path_segment(name)
    }

    fn validate(&self, role: &Role, errors: &mut ErrorList) {
        validate_rules(role.rules.as_deref(), true, errors);
    }
}

/// Roles in the cluster as a whole.
pub(super) struct ClusterRoleStrategy;

impl Strategy for ClusterRoleStrategy {
    type Kind = ClusterRole;

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::path_segment(name)
    }

    fn validate(&self, role: &ClusterRole, errors: &mut ErrorList) {
        validate_rules(role.rules.as_deref(), false, errors);
        if let Some(aggregation) = &role.aggregation_rule {
            validate_aggregation(aggregation, &Path::root("aggregationRule"), errors);
        }
    }
}

/// Who has a role within a namespace.
pub(super) struct RoleBindingStrategy;

impl Strategy for RoleBindingStrategy {
    type Kind = RoleBinding;

    fn default(&self, binding: &mut RoleBinding) {
        fill(&mut binding.role_ref.api_group, GROUP);
        binding.subjects.iter_mut().flatten().for_each(default_subject);
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::path_segment(name)
    }

    fn validate(&self, binding: &RoleBinding, errors: &mut ErrorList) {
        validate_role_ref(&binding.role_ref, &["Role", "ClusterRole"], errors);
        validate_subjects(binding.subjects.as_deref(), true, errors);
    }

    fn validate_update(&self, new: &RoleBinding, old: &RoleBinding, errors: &mut ErrorList) {
        self.validate(new, errors);
        same_role(&new.role_ref, &old.role_ref, errors);
    }
}

/// Who has a role in the cluster as a whole.
pub(super) struct ClusterRoleBindingStrategy;

impl Strategy for ClusterRoleBindingStrategy {
    type Kind = ClusterRoleBinding;

    fn default(&self, binding: &mut ClusterRoleBinding) {
        fill(&mut binding.role_ref.api_group, GROUP);
        binding.subjects.iter_mut().flatten().for_each(default_subject);
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::path_segment(name)
    }

    fn validate(&self, binding: &ClusterRoleBinding, errors: &mut ErrorList) {
        validate_role_ref(&binding.role_ref, &["ClusterRole"], errors);
        validate_subjects(binding.subjects.as_deref(), false, errors);
    }

    fn validate_update(
        &self,
        new: &ClusterRoleBinding,
        old: &ClusterRoleBinding,
        errors: &mut ErrorList,
    ) {
        self.validate(new, errors);
        same_role(&new.role_ref, &old.role_ref, errors);
    }
}

fn default_subject(subject: &mut Subject) {
    if matches!(subject.kind.as_str(), "User" | "Group") {
        fill(&mut subject.api_group, GROUP);
    }
}

fn validate_rules(rules: Option<&[PolicyRule]>, namespaced: bool, errors: &mut ErrorList) {
    let path = Path::root("rules");
    for (index, rule) in rules.unwrap_or_default().iter().enumerate() {
        validate_rule(rule, namespaced, &path.index(index), errors);
    }
}

fn validate_rule(rule: &PolicyRule, namespaced: bool, path: &Path<'_>, errors: &mut ErrorList) {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if rule.verbs.is_empty() {
        errors.required(&path.child("verbs"), "verbs must contain at least one value");
    }
    if !is_empty(&rule.non_resource_urls) {
        let at = path.child("nonResourceURLs");
        if namespaced {
            let why = "namespaced rules cannot apply to non-resource URLs";
            errors.invalid(&at, Json(&rule.non_resource_urls), why);
        }
        let others = [&rule.api_groups, &rule.resources, &rule.resource_names];
        if others.into_iter().any(|list| !is_empty(list)) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid(&at, Json(&rule.non_resource_urls), why);
        }
        return;
    }
    if is_empty(&rule.api_groups) {
        let why = "resource rules must supply at least one api group";
        errors.required(&path.child("apiGroups"), why);
    }
    if is_empty(&rule.resources) {
        let why = "resource rules must supply at least one resource";
        errors.required(&path.child("resources"), why);
    }
}

fn validate_aggregation(rule: &AggregationRule, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("clusterRoleSelectors");
    let selectors = rule.cluster_role_selectors.as_deref().unwrap_or_default();
    if selectors.is_empty() {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.required(&at, why);
    }
    for (index, selector) in selectors.iter().enumerate() {
        let at = at.index(index);
        label_selector::validate(selector, &at, errors);
    }
}

fn validate_role_ref(role: &RoleRef, kinds: &[&str], errors: &mut ErrorList) {
    let path = Path::root("roleRef");
    if text(&role.api_group) != GROUP {
        errors.not_supported(&path.child("apiGroup"), text(&role.api_group), &[GROUP]);
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&path.child("kind"), &role.kind, kinds);
    }
    let at = path.child("name");
    if role.name.is_empty() {
        errors.required(&at, "");
    } else if let Err(why) = names::path_segment(&role.name) {
        errors.invalid(&at, &role.name, &why);
    }
}

fn same_role(new: &RoleRef, old: &RoleRef, errors: &mut ErrorList) {
    if new != old {
        errors.invalid(&Path::root("roleRef"), Json(new), "cannot change roleRef");
    }
}

fn validate_subjects(subjects: Option<&[Subject]>, namespaced: bool, errors: &mut ErrorList) {
    let path = Path::root("subjects");
    for (index, subject) in subjects.unwrap_or_default().iter().enumerate() {
        validate_subject(subject, namespaced, &path.index(index), errors);
    }
}

fn validate_subject(subject: &Subject, namespaced: bool, path: &Path<'_>, errors: &mut ErrorList) {
    if subject.name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    let at = path.child("apiGroup");
    let group = text(&subject.api_group);
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty()
                && let Err(why) = names::dns_subdomain(&subject.name)
            {
                errors.invalid(&path.child("name"), &subject.name, &why);
            }
            if !group.is_empty() {
                errors.not_supported(&at, group, &[""]);
            }
            if !namespaced && text(&subject.namespace).is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.not_supported(&at, group, &[GROUP]);
            }
        }
        other => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.not_supported(&path.child("kind"), other, &kinds);
        }
    }
}
