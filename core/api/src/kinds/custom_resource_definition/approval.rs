//! Groups of the Kubernetes community need its approval.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use url::Url;

use crate::field::{ErrorList, Path};

const ANNOTATION: &str = "api-approved.kubernetes.io";
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

#[derive(PartialEq, Eq)]
enum State {
    Approved,
    Bypassed,
    Invalid,
    Missing,
}

/// Checks the annotation that says who has approved; a state that was there before may stay.
pub(super) fn validate(
    new: &CustomResourceDefinition,
    old: Option<&CustomResourceDefinition>,
    errors: &mut ErrorList,
) {
    if !is_protected(&new.spec.group) {
        return;
    }
    let given = annotation(new);
    let state = state(given);
    if old.is_some_and(|old| self::state(annotation(old)) == state) {
        return;
    }
    let root = Path::root("metadata");
    let annotations = root.child("annotations");
    let path = annotations.key(ANNOTATION);
    let need = format!("protected groups must have approval annotation {ANNOTATION:?}");
    match state {
        State::Approved | State::Bypassed => {}
        State::Missing => errors.required(&path, &format!("{need}, {SEE}")),
        State::Invalid => {
            let why =
                format!("{need} with either a URL or a reason starting with \"unapproved\", {SEE}");
            errors.invalid(&path, given, &why);
        }
    }
}

fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn annotation(definition: &CustomResourceDefinition) -> &str {
    let annotations = definition.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(ANNOTATION)).map_or("", String::as_str)
}

fn state(given: &str) -> State {
    if given.is_empty() {
        State::Missing
    } else if given.starts_with("unapproved") {
        State::Bypassed
    } else if Url::parse(given).is_ok_and(|url| url.has_host()) {
        State::Approved
    } else {
        State::Invalid
    }
}
