//! Definitions among each other: which names each has, and what its conditions say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition, CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use crate::Object;
pub use crate::kinds::CUSTOM_CLEANUP as CLEANUP;

const APPROVAL: &str = "api-approved.kubernetes.io";

/// Whether a condition holds.
pub fn is_true(definition: &CustomResourceDefinition, condition: &str) -> bool {
    definition.status.as_ref().is_some_and(|status| holds(status, condition))
}

fn holds(status: &CustomResourceDefinitionStatus, condition: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|one| one.type_ == condition && one.status == "True")
}

/// What a definition means to the others of its group.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'a> {
    /// It has this name of a resource.
    Resource(&'a str),
    /// It has this kind.
    Kind(&'a str),
    /// It waits for a name.
    Waits,
}

impl Standing<'_> {
    /// As text, by which it is found.
    pub fn of(self, group: &str) -> String {
        match self {
            Self::Resource(name) => format!("{group}/resource/{name}"),
            Self::Kind(kind) => format!("{group}/kind/{kind}"),
            Self::Waits => format!("{group}/waits"),
        }
    }
}

/// The part of a definition that others of its group look at.
#[derive(Deserialize)]
struct Outline {
    spec: OutlineSpec,
    #[serde(default)]
    status: Option<CustomResourceDefinitionStatus>,
}

#[derive(Deserialize)]
struct OutlineSpec {
    group: String,
    #[serde(default)]
    versions: Vec<OutlineVersion>,
}

#[derive(Deserialize)]
struct OutlineVersion {
    name: String,
    served: bool,
}

/// The versions that a definition names, or those of them that it has served, as
/// `version.group`. Reads no more of it than that.
pub fn versions(definition: &Object, only_served: bool) -> Vec<String> {
    let Ok(Outline { spec, .. }) = serde_json::from_slice(definition.json_ref()) else {
        return Vec::new();
    };
    let named = spec.versions.iter().filter(|version| version.served || !only_served);
    named.map(|version| format!("{}.{}", version.name, spec.group)).collect()
}

/// What a definition means to the others of its group, as text. Reads no more of it than that.
pub fn standing(definition: &Object) -> Vec<String> {
    let Ok(Outline { spec, status }) = serde_json::from_slice(definition.json_ref()) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut add = |standing: Standing<'_>| all.push(standing.of(&spec.group));
    if !status.as_ref().is_some_and(|status| holds(status, "NamesAccepted")) {
        add(Standing::Waits);
    }
    if let Some(names) = status.as_ref().and_then(|status| status.accepted_names.as_ref()) {
        let short = names.short_names.iter().flatten();
        let names_of_resource = [&names.plural].into_iter().chain(&names.singular).chain(short);
        names_of_resource.for_each(|name| add(Standing::Resource(name)));
        [&names.kind]
            .into_iter()
            .chain(&names.list_kind)
            .for_each(|kind| add(Standing::Kind(kind)));
    }
    all
}

/// The status that a definition should have; `is_taken` tells what others of its group have.
pub fn status(
    definition: &CustomResourceDefinition,
    is_taken: impl Fn(Standing<'_>) -> bool,
    now: &Time,
) -> CustomResourceDefinitionStatus {
    let mut status = definition.status.clone().unwrap_or_default();
    let (accepted, conflict) = accept(definition, is_taken);
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

/// The names that a definition gets, and what stands in the way of the others.
fn accept(
    definition: &CustomResourceDefinition,
    is_taken: impl Fn(Standing<'_>) -> bool,
) -> (CustomResourceDefinitionNames, Option<(&'static str, String)>) {
    let wanted = &definition.spec.names;
    let had = definition.status.as_ref().and_then(|status| status.accepted_names.clone());
    let mut names = had.unwrap_or_else(|| CustomResourceDefinitionNames {
        plural: String::new(),
        kind: String::new(),
        ..CustomResourceDefinitionNames::default()
    });
    let is_resource = |name: &str| is_taken(Standing::Resource(name));
    let is_kind = |kind: &str| is_taken(Standing::Kind(kind));
    let mut conflict = None;
    let used = |name: &str| format!("{name:?} is already in use");
    let mut refuse = |reason: &'static str, message: String| {
        conflict = Some((reason, message));
    };
    if is_resource(&wanted.plural) {
        refuse("PluralConflict", used(&wanted.plural));
    } else {
        names.plural.clone_from(&wanted.plural);
    }
    match wanted.singular.as_deref().filter(|name| is_resource(name)) {
        Some(name) => refuse("SingularConflict", used(name)),
        None => names.singular.clone_from(&wanted.singular),
    }
    let short = wanted.short_names.iter().flatten();
    let clashes: Vec<String> =
        short.filter(|name| is_resource(name)).map(|name| used(name)).collect();
    match clashes.len() {
        0 => names.short_names.clone_from(&wanted.short_names),
        1 => refuse("ShortNamesConflict", clashes[0].clone()),
        _ => refuse("ShortNamesConflict", format!("[{}]", clashes.join(", "))),
    }
    if is_kind(&wanted.kind) {
        refuse("KindConflict", used(&wanted.kind));
    } else {
        names.kind.clone_from(&wanted.kind);
    }
    match wanted.list_kind.as_deref().filter(|name| is_kind(name)) {
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
