use k8s_openapi::api::core::v1::{
    Container, NodeAffinity, NodeSelectorTerm, Pod, PodSchedulingGate, PodSpec, Toleration,
};

use crate::field::{Bare, ErrorList, Path};
use crate::kinds::check::{Json, Seen, text};
use crate::kinds::names::rules;
use crate::kinds::pod_spec;

const MAY_CHANGE: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks what has changed of a pod: almost nothing may.
pub(super) fn validate(new: &Pod, old: &Pod, errors: &mut ErrorList) {
    let meta = Path::root("metadata");
    let at = meta.child("annotations");
    pod_spec::validate_pod_annotation_update(&new.metadata, &old.metadata, &at, errors);
    let none = (PodSpec::default(), PodSpec::default());
    let new = new.spec.as_ref().unwrap_or(&none.0);
    let old = old.spec.as_ref().unwrap_or(&none.1);
    let path = Path::root("spec");
    let init = (new.init_containers.as_deref(), old.init_containers.as_deref());
    let init = (init.0.unwrap_or_default(), init.1.unwrap_or_default());
    if !validate_containers(&new.containers, &old.containers, &path.child("containers"), errors)
        || !validate_containers(init.0, init.1, &path.child("initContainers"), errors)
        || !validate_deadline(new, old, &path.child("activeDeadlineSeconds"), errors)
    {
        return;
    }
    let tolerations = (new.tolerations.as_deref(), old.tolerations.as_deref());
    let tolerations = (tolerations.0.unwrap_or_default(), tolerations.1.unwrap_or_default());
    validate_tolerations(tolerations.0, tolerations.1, &path.child("tolerations"), errors);
    let gates = (new.scheduling_gates.as_deref(), old.scheduling_gates.as_deref());
    let gates = (gates.0.unwrap_or_default(), gates.1.unwrap_or_default());
    validate_gates(gates.0, gates.1, &path.child("schedulingGates"), errors);
    if new == old {
        return;
    }
    let mut rest = new.clone();
    undo_what_may_change(&mut rest, old);
    if !gates.1.is_empty() {
        undo_what_may_change_of_gated(&mut rest, old, &path, errors);
    }
    if rest != *old {
        let changed = changed_fields(&rest, old);
        errors.forbidden(&path, &format!("{MAY_CHANGE}\nchanged: {changed}"));
    }
}

/// Whether containers are still the same ones; images may change.
fn validate_containers(
    new: &[Container],
    old: &[Container],
    path: &Path<'_>,
    errors: &mut ErrorList,
) -> bool {
    if new.len() != old.len() {
        errors.forbidden(path, "pod updates may not add or remove containers");
    }
    new.len() == old.len()
}

/// A deadline may be set, and drawn nearer.
fn validate_deadline(
    new: &PodSpec,
    old: &PodSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) -> bool {
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid(path, new, &rules::range_message(0, i32::MAX.into()));
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.invalid(path, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            errors.invalid(path, Bare("null"), why);
            true
        }
        _ => true,
    }
}

/// Tolerations may be added; of those that are there only the seconds may change.
fn validate_tolerations(
    new: &[Toleration],
    old: &[Toleration],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let same = |a: &Toleration, b: &Toleration| {
        let texts = |one: &Toleration| {
            [&one.key, &one.operator, &one.value, &one.effect].map(|text| text.clone())
        };
        texts(a).iter().map(text).eq(texts(b).iter().map(text))
    };
    if new != old && !old.iter().all(|old| new.iter().any(|new| same(old, new))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(path, why);
    }
}

/// Gates may be removed.
fn validate_gates(
    new: &[PodSchedulingGate],
    old: &[PodSchedulingGate],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut known = Seen::new();
    for gate in old {
        known.insert(gate.name.as_str());
    }
    for (index, gate) in new.iter().enumerate() {
        if !known.contains(gate.name.as_str()) {
            let why =
                format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.forbidden(&path.index(index).child("name"), &why);
        }
    }
}

fn undo_what_may_change(rest: &mut PodSpec, old: &PodSpec) {
    let containers = rest.containers.iter_mut().zip(&old.containers);
    let init = rest.init_containers.iter_mut().flatten();
    for (new, old) in containers.chain(init.zip(old.init_containers.iter().flatten())) {
        new.image.clone_from(&old.image);
    }
    rest.active_deadline_seconds = old.active_deadline_seconds;
    rest.scheduling_gates.clone_from(&old.scheduling_gates);
    rest.tolerations.clone_from(&old.tolerations);
    let was_negative = old.termination_grace_period_seconds.is_some_and(|period| period < 0);
    if was_negative && rest.termination_grace_period_seconds == Some(1) {
        rest.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
}

/// A pod that may not be scheduled yet can still be told where: more narrowly than before.
fn undo_what_may_change_of_gated(
    rest: &mut PodSpec,
    old: &PodSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if rest.node_selector != old.node_selector {
        let empty = Default::default();
        let new = rest.node_selector.as_ref().unwrap_or(&empty);
        if old.node_selector.iter().flatten().any(|(key, value)| new.get(key) != Some(value)) {
            let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(&path.child("nodeSelector"), Json(new), why);
        }
        rest.node_selector.clone_from(&old.node_selector);
    }
    let new_nodes = rest.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let old_nodes = old.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    if new_nodes == old_nodes {
        return;
    }
    let at = path.child("affinity");
    validate_node_affinity(new_nodes, old_nodes, &at.child("nodeAffinity"), errors);
    let affinity = rest.affinity.get_or_insert_default();
    affinity.node_affinity = old_nodes.cloned();
    if old.affinity.is_none()
        && affinity.pod_affinity.is_none()
        && affinity.pod_anti_affinity.is_none()
    {
        rest.affinity = None;
    }
}

fn validate_node_affinity(
    new: Option<&NodeAffinity>,
    old: Option<&NodeAffinity>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    fn terms(affinity: Option<&NodeAffinity>) -> &[NodeSelectorTerm] {
        affinity
            .and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref())
            .map_or(&[], |selector| &selector.node_selector_terms)
    }
    let (new, old) = (terms(new), terms(old));
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution");
    let path = path.child("nodeSelectorTerms");
    if !old.is_empty() && old.len() != new.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.invalid(&path, Json(&new), why);
    }
    for (index, (new, _)) in
        new.iter().zip(old).enumerate().filter(|(_, (new, old))| !grows(new, old))
    {
        let why = "only additions are allowed (no mutations or deletions)";
        errors.invalid(&path.index(index), Json(new), why);
    }
}

/// Whether a term asks for all that it asked for, and perhaps more. An empty one, which selects
/// nothing, stays empty.
fn grows(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let lists = |term: &NodeSelectorTerm| {
        [term.match_expressions.clone(), term.match_fields.clone()].map(Option::unwrap_or_default)
    };
    let (new, old) = (lists(new), lists(old));
    if old.iter().all(Vec::is_empty) {
        return new.iter().all(Vec::is_empty);
    }
    new.iter().zip(&old).all(|(new, old)| new.starts_with(old))
}

/// Which fields of a spec have changed, so that nobody need search for them.
fn changed_fields(new: &PodSpec, old: &PodSpec) -> String {
    let (Ok(new), Ok(old)) = (serde_json::to_value(new), serde_json::to_value(old)) else {
        return "spec".to_owned();
    };
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
        return "spec".to_owned();
    };
    let gone = old.keys().filter(|field| !new.contains_key(*field));
    let changed = new.iter().filter(|(field, value)| old.get(*field) != Some(value));
    let fields: Vec<_> =
        changed.map(|(field, _)| field).chain(gone).map(|field| format!("spec.{field}")).collect();
    fields.join(", ")
}
