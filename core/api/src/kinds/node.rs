use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapNodeConfigSource, Node, NodeConfigSource, NodeSpec, NodeStatus, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::check::{Json, Seen, cidr, complain, is_dual_stack, text};
use super::names::{self, rules};
use super::omit_empty;
use super::pod_spec::tolerations::EFFECTS;
use super::pod_spec::{canonical_list, validate_quantity};
use crate::Strategy;
use crate::field::{Bare, ErrorList, Path};

/// Taints from before there was a field.
const TAINTS: &str = "scheduler.alpha.kubernetes.io/taints";

/// Nodes.
pub(super) struct NodeStrategy;

impl Strategy for NodeStrategy {
    type Kind = Node;

    fn default(&self, node: &mut Node) {
        let spec = node.spec.get_or_insert_default();
        omit_empty!(spec; external_id, pod_cidr, pod_cidrs, provider_id, taints, unschedulable);
        let first = spec.pod_cidrs.iter().flatten().next();
        match (&spec.pod_cidr, first) {
            (Some(range), None) => spec.pod_cidrs = Some(vec![range.clone()]),
            (None, Some(range)) => spec.pod_cidr = Some(range.clone()),
            _ => {}
        }
        let status = node.status.get_or_insert_default();
        status.capacity.iter_mut().for_each(canonical_list);
        status.allocatable.iter_mut().for_each(canonical_list);
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
    }

    fn validate(&self, node: &Node, errors: &mut ErrorList) {
        validate_taints(node, errors);
        validate_resources(node, errors);
        if let Some(spec) = &node.spec {
            validate_pod_ranges(spec, errors);
        }
    }

    fn prepare_for_update(&self, new: &mut Node, old: &Node) {
        new.status.clone_from(&old.status);
    }

    fn validate_update(&self, new: &Node, old: &Node, errors: &mut ErrorList) {
        validate_resources(new, errors);
        validate_addresses(new, errors);
        let none = (NodeSpec::default(), NodeSpec::default());
        let new_spec = new.spec.as_ref().unwrap_or(&none.0);
        let old_spec = old.spec.as_ref().unwrap_or(&none.1);
        validate_set_once(new_spec, old_spec, errors);
        let path = Path::root("spec");
        if let Some(source) = &new_spec.config_source {
            validate_config(source, false, &path.child("configSource"), errors);
        }
        validate_status_config(new.status.as_ref(), errors);
        validate_taints(new, errors);
        if text(&new_spec.external_id) != text(&old_spec.external_id) {
            errors.forbidden(&path.child("externalID"), "may not be updated");
        }
    }

    fn prepare_for_status_update(&self, new: &mut Node, old: &Node) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_status_update(&self, new: &Node, old: &Node, errors: &mut ErrorList) {
        self.validate_update(new, old, errors);
    }

    fn field<'a>(&self, node: &'a Node, path: &str) -> Option<Cow<'a, str>> {
        let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        let text = if unschedulable { "true" } else { "false" };
        (path == "spec.unschedulable").then_some(Cow::Borrowed(text))
    }
}

// Upstream reports taints as if they stood in the metadata; so do we.
fn validate_taints(node: &Node, errors: &mut ErrorList) {
    let meta = Path::root("metadata");
    let annotation = node.metadata.annotations.as_ref().and_then(|all| all.get(TAINTS));
    if let Some(annotation) = annotation.filter(|annotation| !annotation.is_empty()) {
        let path = meta.child("annotations");
        match serde_json::from_str::<Vec<Taint>>(annotation) {
            Ok(taints) => validate_taint_list(&taints, &path.child(TAINTS), errors),
            Err(why) => errors.invalid(&path, TAINTS, &why.to_string()),
        }
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    validate_taint_list(taints.unwrap_or_default(), &meta.child("taints"), errors);
}

fn validate_taint_list(taints: &[Taint], path: &Path<'_>, errors: &mut ErrorList) {
    let mut seen = Seen::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        let value = text(&taint.value);
        complain(errors, &path.child("key"), &taint.key, rules::qualified_name(&taint.key));
        if let Err(why) = names::label_value(value) {
            errors.invalid(&path.child("value"), value, &why);
        }
        match &taint.effect[..] {
            "" => errors.required(&path.child("effect"), ""),
            effect if EFFECTS.contains(&effect) => {}
            effect => errors.not_supported(&path.child("effect"), effect, &EFFECTS),
        }
        if !seen.insert((taint.key.as_str(), taint.effect.as_str())) {
            let shown = serde_json::to_string(taint).unwrap_or_default();
            let shown = format!("{shown}: taints must be unique by key and effect pair");
            errors.duplicate(&path, Bare(shown));
        }
    }
}

fn validate_resources(node: &Node, errors: &mut ErrorList) {
    let Some(status) = &node.status else { return };
    let path = Path::root("status");
    let mut check = |field: &str, list: &Option<BTreeMap<String, Quantity>>| {
        let path = path.child(field);
        for (name, quantity) in list.iter().flatten() {
            validate_quantity(name, quantity, &path.child(name), errors);
        }
    };
    check("capacity", &status.capacity);
    check("allocatable", &status.allocatable);
}

fn validate_pod_ranges(spec: &NodeSpec, errors: &mut ErrorList) {
    let ranges = spec.pod_cidrs.as_deref().unwrap_or_default();
    let path = Path::root("spec");
    let path = path.child("podCIDRs");
    let mut parsed = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        parsed.extend(cidr(errors, &path.index(index), range));
    }
    if ranges.len() < 2 {
        return;
    }
    if !is_dual_stack(&parsed) || ranges.len() > 2 {
        let why = "may specify no more than one CIDR for each IP family";
        errors.invalid(&path, Json(&ranges), why);
    }
    let mut seen = Seen::new();
    for (index, range) in ranges.iter().enumerate() {
        if !seen.insert(range.as_str()) {
            errors.duplicate(&path.index(index), range);
        }
    }
}

fn validate_addresses(node: &Node, errors: &mut ErrorList) {
    let path = Path::root("status");
    let path = path.child("addresses");
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    let mut seen = Seen::new();
    for (index, address) in addresses.into_iter().flatten().enumerate() {
        if !seen.insert((address.type_.as_str(), address.address.as_str())) {
            errors.duplicate(&path.index(index), Json(address));
        }
    }
}

/// What is given to a node once stays with it.
fn validate_set_once(new: &NodeSpec, old: &NodeSpec, errors: &mut ErrorList) {
    let path = Path::root("spec");
    let ranges = old.pod_cidrs.as_deref().unwrap_or_default();
    if !ranges.is_empty() && new.pod_cidrs.as_deref() != Some(ranges) {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&path.child("podCIDRs"), why);
    }
    let provider = text(&old.provider_id);
    if !provider.is_empty() && text(&new.provider_id) != provider {
        let why = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&path.child("providerID"), why);
    }
}

fn validate_status_config(status: Option<&NodeStatus>, errors: &mut ErrorList) {
    let Some(config) = status.and_then(|status| status.config.as_ref()) else { return };
    let path = Path::root("status");
    let path = path.child("config");
    let sources = [
        ("assigned", &config.assigned),
        ("active", &config.active),
        ("lastKnownGood", &config.last_known_good),
    ];
    for (field, source) in sources {
        if let Some(source) = source {
            validate_config(source, true, &path.child(field), errors);
        }
    }
}

/// Checks where a node's configuration came from, in times when it came from the API.
fn validate_config(
    source: &NodeConfigSource,
    in_status: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    match &source.config_map {
        Some(map) => validate_config_map(map, in_status, &path.child("configMap"), errors),
        None => {
            let why = "exactly one reference subfield must be non-nil";
            errors.invalid(path, Json(source), why);
        }
    }
}

fn validate_config_map(
    map: &ConfigMapNodeConfigSource,
    in_status: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (field, value) in [("uid", &map.uid), ("resourceVersion", &map.resource_version)] {
        let at = path.child(field);
        match (in_status, text(value).is_empty()) {
            (true, true) => errors.required(&at, &format!("{field} must be set in status")),
            (false, false) => errors.forbidden(&at, &format!("{field} must not be set in spec")),
            _ => {}
        }
    }
    type Rule = fn(&str) -> Vec<String>;
    let names: [(&str, &str, Rule); 3] = [
        ("namespace", &map.namespace, rules::dns_label),
        ("name", &map.name, rules::dns_subdomain),
        ("kubeletConfigKey", &map.kubelet_config_key, rules::config_key),
    ];
    for (field, value, rule) in names {
        let at = path.child(field);
        if value.is_empty() {
            errors.required(&at, &format!("{field} must be set"));
        } else {
            complain(errors, &at, value, rule(value));
        }
    }
}
