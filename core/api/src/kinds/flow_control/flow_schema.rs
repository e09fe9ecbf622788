use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, FlowSchemaStatus, NonResourcePolicyRule, PolicyRulesWithSubjects,
    ResourcePolicyRule, Subject,
};

use super::super::check::{Json, complain, text};
use super::super::metadata::keep_for_status;
use super::super::names::rules;
use super::super::{fill_number, next_generation};
use super::validate_conditions;
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Where a schema stands unless it says so; smaller is looked at first.
const PRECEDENCE: i32 = 1000;
const PRECEDENCE_MAX: i32 = 10_000;
const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// Which requests belong together.
pub(in crate::kinds) struct FlowSchemaStrategy;

impl Strategy for FlowSchemaStrategy {
    type Kind = FlowSchema;

    fn default(&self, schema: &mut FlowSchema) {
        let spec = schema.spec.get_or_insert_default();
        fill_number(&mut spec.matching_precedence, PRECEDENCE);
    }

    fn prepare_for_create(&self, schema: &mut FlowSchema) {
        schema.metadata.generation = Some(1);
        schema.status = Some(FlowSchemaStatus::default());
    }

    fn validate(&self, schema: &FlowSchema, errors: &mut ErrorList) {
        let none = FlowSchemaSpec::default();
        let spec = schema.spec.as_ref().unwrap_or(&none);
        validate_spec(text(&schema.metadata.name), spec, &Path::root("spec"), errors);
    }

    fn prepare_for_update(&self, new: &mut FlowSchema, old: &FlowSchema) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(&self, new: &mut FlowSchema, old: &FlowSchema) {
        new.spec.clone_from(&old.spec);
        keep_for_status(&mut new.metadata, &old.metadata);
    }

    fn validate_status_update(&self, new: &FlowSchema, _: &FlowSchema, errors: &mut ErrorList) {
        let all = new.status.iter().flat_map(|status| status.conditions.iter().flatten());
        validate_conditions(all.map(|condition| text(&condition.type_)), errors);
    }
}

fn validate_spec(name: &str, spec: &FlowSchemaSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("matchingPrecedence");
    let precedence = spec.matching_precedence.unwrap_or(0);
    if precedence <= 0 {
        errors.invalid(&at, precedence, "must be a positive value");
    }
    if precedence > PRECEDENCE_MAX {
        errors.invalid(&at, precedence, &format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if precedence == 1 && name != "exempt" {
        errors.invalid(
            &at,
            precedence,
            "only the schema named 'exempt' may have matchingPrecedence 1",
        );
    }
    if let Some(method) = &spec.distinguisher_method
        && !matches!(method.type_.as_str(), "ByUser" | "ByNamespace")
    {
        let at = path.child("distinguisherMethod");
        errors.not_supported(&at, Json(method), &["ByNamespace", "ByUser"]);
    }
    let level = &spec.priority_level_configuration.name;
    let at = path.child("priorityLevelConfiguration");
    let at = at.child("name");
    if level.is_empty() {
        errors.required(&at, "must reference a priority level");
    } else {
        complain(errors, &at, level, rules::dns_subdomain(level));
    }
    let at = path.child("rules");
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        validate_rule(rule, &at.index(index), errors);
    }
}

fn validate_rule(rule: &PolicyRulesWithSubjects, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("subjects");
    if rule.subjects.is_empty() {
        errors.required(&at, "subjects must contain at least one value");
    }
    for (index, subject) in rule.subjects.iter().enumerate() {
        validate_subject(subject, &at.index(index), errors);
    }
    let resources = rule.resource_rules.as_deref().unwrap_or_default();
    let others = rule.non_resource_rules.as_deref().unwrap_or_default();
    if resources.is_empty() && others.is_empty() {
        errors.required(
            path,
            "at least one of resourceRules and nonResourceRules has to be non-empty",
        );
    }
    let at = path.child("resourceRules");
    for (index, rule) in resources.iter().enumerate() {
        validate_resources(rule, &at.index(index), errors);
    }
    let at = path.child("nonResourceRules");
    for (index, rule) in others.iter().enumerate() {
        validate_urls(rule, &at.index(index), errors);
    }
}

fn validate_subject(subject: &Subject, path: &Path<'_>, errors: &mut ErrorList) {
    let given = [
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
    ];
    let kind = subject.kind.as_str();
    if !given.iter().any(|(known, ..)| *known == kind) {
        return errors.not_supported(
            &path.child("kind"),
            kind,
            &["Group", "ServiceAccount", "User"],
        );
    }
    for (of, field, is_given) in given {
        let at = path.child(field);
        if of == kind && !is_given {
            errors.required(&at, &format!("{field} is required when subject kind is '{of}'"));
        } else if of != kind && is_given {
            errors.forbidden(&at, &format!("{field} is forbidden when subject kind is not '{of}'"));
        }
    }
    let named = [
        ("user", subject.user.as_ref().map(|user| &user.name)),
        ("group", subject.group.as_ref().map(|group| &group.name)),
        ("serviceAccount", subject.service_account.as_ref().map(|account| &account.name)),
    ];
    for (field, name) in named {
        if name.is_some_and(String::is_empty) {
            let at = path.child(field);
            errors.required(&at.child("name"), "");
        }
    }
    let account = path.child("serviceAccount");
    if subject.service_account.as_ref().is_some_and(|account| account.namespace.is_empty()) {
        errors.required(&account.child("namespace"), "must specify namespace for service account");
    }
}

fn validate_verbs(verbs: &[String], path: &Path<'_>, errors: &mut ErrorList) {
    if verbs.is_empty() {
        errors.required(path, "verbs must contain at least one value");
    } else if verbs.iter().any(|verb| verb == "*") {
        if verbs.len() > 1 {
            errors.invalid(path, Json(&verbs), "if '*' is present, must not specify other verbs");
        }
    } else if verbs.iter().any(|verb| !VERBS.contains(&verb.as_str())) {
        errors.not_supported(path, Json(&verbs), &VERBS);
    }
}

fn only_star(list: &[String], what: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        let why = format!("resource rules must supply at least one {what}");
        errors.required(path, &why);
    } else if list.len() > 1 && list.iter().any(|one| one == "*") {
        let why = format!("if '*' is present, must not specify other {what}s");
        errors.invalid(path, Json(&list), &why);
    }
}

fn validate_resources(rule: &ResourcePolicyRule, path: &Path<'_>, errors: &mut ErrorList) {
    validate_verbs(&rule.verbs, &path.child("verbs"), errors);
    only_star(&rule.api_groups, "api group", &path.child("apiGroups"), errors);
    only_star(&rule.resources, "resource", &path.child("resources"), errors);
    let at = path.child("namespaces");
    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    if namespaces.is_empty() && rule.cluster_scope != Some(true) {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&at, why);
    }
    let star = namespaces.iter().any(|namespace| namespace == "*");
    if star && namespaces.len() > 1 {
        let why = "if '*' is present, must not specify other namespaces";
        errors.invalid(&at, Json(&namespaces), why);
    } else if !star {
        for (index, namespace) in namespaces.iter().enumerate() {
            complain(errors, &at.index(index), namespace, rules::dns_label(namespace));
        }
    }
}

fn validate_urls(rule: &NonResourcePolicyRule, path: &Path<'_>, errors: &mut ErrorList) {
    validate_verbs(&rule.verbs, &path.child("verbs"), errors);
    let at = path.child("nonResourceURLs");
    let urls = &rule.non_resource_urls;
    if urls.is_empty() {
        errors.required(&at, "nonResourceURLs must contain at least one value");
    } else if urls.len() > 1 && urls.iter().any(|url| url == "*") {
        let why = "if '*' is present, must not specify other non-resource URLs";
        errors.invalid(&at, Json(urls), why);
    } else {
        for (index, url) in urls.iter().enumerate().filter(|(_, url)| *url != "*") {
            validate_url(url, &at.index(index), errors);
        }
    }
}

fn validate_url(url: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if url.is_empty() {
        return errors.required(path, "must not be empty");
    }
    if url == "/" {
        return;
    }
    if !url.starts_with('/') {
        errors.invalid(path, url, "must start with slash");
    }
    if url.contains(' ') {
        errors.invalid(path, url, "must not contain white-space");
    }
    if url.contains("//") {
        errors.invalid(path, url, "must not contain double slash");
    }
    if url.trim_end_matches("/*").contains('*') {
        errors.invalid(path, url, "wildcard can only do suffix matching");
    }
}
