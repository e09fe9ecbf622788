use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use pinnace_api::Result;

use super::Asked;

/// Labels that nodes may give themselves, of those of Kubernetes.
const LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "node.kubernetes.io/windows-build",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// Domains of labels that are theirs.
const DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The domain of labels that they never give themselves.
const RESTRICTED: &str = "node-restriction.kubernetes.io";

impl Asked<'_> {
    /// Nodes write themselves, but for what would draw pods to them.
    pub(super) fn node(&self) -> Result<()> {
        let (node, name) = (self.node, self.request.key.name());
        if name != node {
            return self.refuse(format!("node {node:?} is not allowed to modify node {name:?}"));
        }
        let Some(new) = self.written().and_then(|new| new.get::<Node>()) else { return Ok(()) };
        let source = |node: &Node| node.spec.as_ref().and_then(|spec| spec.config_source.clone());
        let Some(old) = self.request.old else {
            if source(new).is_some() {
                return self.refuse(format!(
                    "node {node:?} is not allowed to create pods with a non-nil configSource"
                ));
            }
            let forbidden = forbidden_labels(new.metadata.labels.as_ref(), None);
            if forbidden.is_empty() {
                return Ok(());
            }
            return self.refuse(format!(
                "node {node:?} is not allowed to set the following labels: {}",
                forbidden.join(", ")
            ));
        };
        let old = old.get::<Node>()?;
        if source(new).is_some() && source(new) != source(old) {
            return self.refuse(format!(
                "node {node:?} is not allowed to update configSource to a new non-nil configSource"
            ));
        }
        let taints = |node: &Node| {
            let spec = node.spec.as_ref();
            spec.and_then(|spec| spec.taints.clone()).unwrap_or_default()
        };
        if taints(new) != taints(old) {
            return self.refuse(format!("node {node:?} is not allowed to modify taints"));
        }
        // Whose owner is gone is deleted, and could come back without its taints.
        let owners = |node: &Node| node.metadata.owner_references.clone().unwrap_or_default();
        if owners(new) != owners(old) {
            return self.refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
        }
        let forbidden =
            forbidden_labels(new.metadata.labels.as_ref(), old.metadata.labels.as_ref());
        if forbidden.is_empty() {
            return Ok(());
        }
        self.refuse(format!("is not allowed to modify labels: {}", forbidden.join(", ")))
    }
}

/// The labels that differ and that a node may not change.
fn forbidden_labels<'l>(
    new: Option<&'l BTreeMap<String, String>>,
    old: Option<&'l BTreeMap<String, String>>,
) -> Vec<&'l str> {
    let none = BTreeMap::new();
    let (a, b) = (new.into_iter().flatten(), old.into_iter().flatten());
    let changed: BTreeSet<&str> = a
        .chain(b)
        .map(|(key, _)| key.as_str())
        .filter(|key| new.unwrap_or(&none).get(*key) != old.unwrap_or(&none).get(*key))
        .collect();
    changed.into_iter().filter(|key| is_forbidden(key)).collect()
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let is_in = |of: &str| domain == of || domain.ends_with(&format!(".{of}"));
    let is_theirs = || LABELS.contains(&label) || DOMAINS.iter().any(|of| is_in(of));
    is_in(RESTRICTED) || (is_in("kubernetes.io") || is_in("k8s.io")) && !is_theirs()
}
