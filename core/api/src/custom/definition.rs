//! Definitions among each other: which names each has, and what its conditions say.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition, CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use crate::kinds::CUSTOM_CLEANUP as CLEANUP;

const APPROVAL: &str = "api-approved.kubernetes.io";

/// Whether a condition holds.
pub fn is_true(definition: &CustomResourceDefinition, condition: &str) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == condition && one.status == "True")
}

/// The status that a definition should have beside the others of its group.
pub fn status<'a>(
    definition: &CustomResourceDefinition,
    others: impl Iterator<Item = &'a CustomResourceDefinition>,
    now: &Time,
) -> CustomResourceDefinitionStatus {
    let mut status = definition.status.clone().unwrap_or_default();
    let (accepted, conflict) = accept(definition, &Taken::of(others));
    status.accepted_names = Some(accepted);
    let conditions = status.conditions.get_or_insert_default();
    let names = match &conflict {
        None => ("True", "NoConflicts", "no conflicts found".to_owned()),
        Some((reason, message)) => ("False", *reason, message.clone()),
    };
    set(conditions, "NamesAccepted", names, now);
    let established =
        conditions.iter().any(|one| one.type_ == "Established" && one.status == "True");
    let answer = match (established, conflict.is_none()) {
        // Once is for ever: there may be objects.
        (true, _) => None,
        (false, true) => Some((
            "True",
            "InitialNamesAccepted",
            "the initial names have been accepted".to_owned(),
        )),
        (false, false) => Some(("False", "NotAccepted", "not all names are accepted".to_owned())),
    };
    if let Some(answer) = answer {
        set(conditions, "Established", answer, now);
    }
    if let Some(answer) = approval(definition) {
        set(conditions, "KubernetesAPIApprovalPolicyConformant", answer, now);
    }
    status
}

/// Says in a status how far the deletion of a definition's objects has come.
pub fn set_terminating(
    status: &mut CustomResourceDefinitionStatus,
    value: &'static str,
    reason: &'static str,
    message: &str,
    now: &Time,
) {
    let conditions = status.conditions.get_or_insert_default();
    set(conditions, "Terminating", (value, reason, message.to_owned()), now);
}

fn set(
    conditions: &mut Vec<CustomResourceDefinitionCondition>,
    type_: &str,
    (status, reason, message): (&str, &str, String),
    now: &Time,
) {
    let old = conditions.iter().position(|one| one.type_ == type_);
    let since = old.map(|at| &conditions[at]).filter(|old| old.status == status);
    let since = since.and_then(|old| old.last_transition_time.clone());
    let new = CustomResourceDefinitionCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
        observed_generation: old.and_then(|at| conditions[at].observed_generation),
    };
    match old {
        Some(at) => conditions[at] = new,
        None => conditions.push(new),
    }
}

/// The names that others have.
#[derive(Default)]
struct Taken<'a> {
    resources: BTreeSet<&'a str>,
    kinds: BTreeSet<&'a str>,
}

impl<'a> Taken<'a> {
    fn of(others: impl Iterator<Item = &'a CustomResourceDefinition>) -> Self {
        let mut taken = Self::default();
        for other in others {
            let Some(names) = other.status.as_ref().and_then(|one| one.accepted_names.as_ref())
            else {
                continue;
            };
            taken.resources.insert(&names.plural);
            taken.resources.extend(names.singular.as_deref());
            taken.resources.extend(names.short_names.iter().flatten().map(String::as_str));
            taken.kinds.insert(&names.kind);
            taken.kinds.extend(names.list_kind.as_deref());
        }
        taken
    }
}

/// The names that a definition gets, and what stands in the way of the others.
fn accept(
    definition: &CustomResourceDefinition,
    taken: &Taken<'_>,
) -> (CustomResourceDefinitionNames, Option<(&'static str, String)>) {
    let wanted = &definition.spec.names;
    let had = definition.status.as_ref().and_then(|status| status.accepted_names.clone());
    let mut names = had.unwrap_or_else(|| CustomResourceDefinitionNames {
        plural: String::new(),
        kind: String::new(),
        ..CustomResourceDefinitionNames::default()
    });
    let mut conflict = None;
    let used = |name: &str| format!("{name:?} is already in use");
    let mut refuse = |reason: &'static str, message: String| {
        conflict = Some((reason, message));
    };
    if taken.resources.contains(&*wanted.plural) {
        refuse("PluralConflict", used(&wanted.plural));
    } else {
        names.plural.clone_from(&wanted.plural);
    }
    match wanted.singular.as_deref().filter(|name| taken.resources.contains(name)) {
        Some(name) => refuse("SingularConflict", used(name)),
        None => names.singular.clone_from(&wanted.singular),
    }
    let short = wanted.short_names.iter().flatten();
    let clashes: Vec<String> =
        short.filter(|name| taken.resources.contains(&***name)).map(|name| used(name)).collect();
    match clashes.len() {
        0 => names.short_names.clone_from(&wanted.short_names),
        1 => refuse("ShortNamesConflict", clashes[0].clone()),
        _ => refuse("ShortNamesConflict", format!("[{}]", clashes.join(", "))),
    }
    if taken.kinds.contains(&*wanted.kind) {
        refuse("KindConflict", used(&wanted.kind));
    } else {
        names.kind.clone_from(&wanted.kind);
    }
    match wanted.list_kind.as_deref().filter(|name| taken.kinds.contains(name)) {
        Some(name) => refuse("ListKindConflict", used(name)),
        None => names.list_kind.clone_from(&wanted.list_kind),
    }
    names.categories.clone_from(&wanted.categories);
    (names, conflict)
}

/// What is to be said of a definition in a group of the community's.
fn approval(definition: &CustomResourceDefinition) -> Option<(&'static str, &'static str, String)> {
    let group = &definition.spec.group;
    let is_protected = ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    if !is_protected {
        return None;
    }
    let annotations = definition.metadata.annotations.as_ref();
    let given = annotations.and_then(|all| all.get(APPROVAL)).map_or("", String::as_str);
    Some(if given.is_empty() {
        let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\", \
                   see https://github.com/kubernetes/enhancements/pull/1111";
        ("False", "MissingAnnotation", why.to_owned())
    } else if given.starts_with("unapproved") {
        ("False", "UnapprovedAnnotation", format!("not approved: {given:?}"))
    } else {
        ("True", "ApprovedAnnotation", format!("approved in {given}"))
    })
}
