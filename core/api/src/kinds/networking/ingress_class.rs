use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference};

use super::super::check::{complain, immutable, text};
use super::super::names::rules;
use super::super::{fill, names, next_generation};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Longest name of a controller.
const CONTROLLER_MAX: usize = 250;

/// Classes of Ingresses.
pub(in crate::kinds) struct IngressClassStrategy;

impl Strategy for IngressClassStrategy {
    type Kind = IngressClass;

    fn default(&self, class: &mut IngressClass) {
        let parameters = class.spec.as_mut().and_then(|spec| spec.parameters.as_mut());
        if let Some(parameters) = parameters {
            fill(&mut parameters.scope, "Cluster");
        }
    }

    fn prepare_for_create(&self, class: &mut IngressClass) {
        class.metadata.generation = Some(1);
    }

    fn validate(&self, class: &IngressClass, errors: &mut ErrorList) {
        let path = Path::root("spec");
        let controller = class.spec.as_ref().map_or("", |spec| text(&spec.controller));
        let at = path.child("controller");
        if controller.len() > CONTROLLER_MAX {
            errors.too_long(&at, CONTROLLER_MAX);
        }
        match controller.split_once('/') {
            _ if controller.is_empty() => errors.required(&at, ""),
            Some((domain, rest)) if !rest.is_empty() => {
                complain(errors, &at, controller, rules::dns_subdomain(domain));
            }
            _ => {
                let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
                errors.invalid(&at, controller, why);
            }
        }
        if let Some(parameters) = class.spec.as_ref().and_then(|spec| spec.parameters.as_ref()) {
            validate_parameters(parameters, &path.child("parameters"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut IngressClass, old: &IngressClass) {
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &IngressClass, old: &IngressClass, errors: &mut ErrorList) {
        self.validate(new, errors);
        let controller = |class: &IngressClass| {
            class.spec.as_ref().map(|spec| text(&spec.controller).to_owned())
        };
        let path = Path::root("spec");
        immutable(errors, &path.child("controller"), &controller(new), &controller(old));
    }
}

fn validate_parameters(
    parameters: &IngressClassParametersReference,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let group = text(&parameters.api_group);
    if !group.is_empty() {
        complain(errors, &path.child("apiGroup"), group, rules::dns_subdomain(group));
    }
    for (field, value) in [("kind", &parameters.kind), ("name", &parameters.name)] {
        let at = path.child(field);
        if value.is_empty() {
            errors.required(&at, "");
        } else if let Err(why) = names::path_segment(value) {
            errors.invalid(&at, value, &why);
        }
    }
    let at = path.child("namespace");
    let namespace = parameters.namespace.as_deref();
    match text(&parameters.scope) {
        "" => errors.required(&path.child("scope"), ""),
        "Namespace" => match namespace {
            None | Some("") => {
                let why = "`parameters.scope` is set to 'Namespace'";
                errors.required(&at, why);
            }
            Some(namespace) => complain(errors, &at, namespace, rules::dns_label(namespace)),
        },
        "Cluster" => {
            if namespace.is_some() {
                errors.forbidden(&at, "`parameters.scope` is set to 'Cluster'");
            }
        }
        other => {
            errors.not_supported(&path.child("scope"), other, &["Cluster", "Namespace"]);
        }
    }
}
