use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

use super::node_affinity::node_affinity;

/// What of a pod scheduling depends on, as bytes: pods of the same signature are one class, and
/// what is found out about one of them holds for all.
///
/// The framework writes what the built-in plugins read: requests, host ports, tolerations, node
/// name, node selector and node affinity. A plugin of another [`Scope`](crate::Scope) than
/// `Everything` adds whatever else it reads in [`Plugin::sign`](crate::Plugin::sign).
#[derive(Debug, Default)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// Adds a text.
    pub fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Adds a text that may be missing, which is not the same as an empty one.
    pub fn optional(&mut self, text: Option<&str>) {
        self.0.push(text.is_some().into());
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Adds texts by key.
    pub fn map(&mut self, map: Option<&BTreeMap<String, String>>) {
        self.number(map.map_or(0, BTreeMap::len) as u64);
        for (key, value) in map.into_iter().flatten() {
            self.text(key);
            self.text(value);
        }
    }

    pub(crate) fn start(&mut self, profile: usize) {
        self.0.clear();
        self.number(profile as u64);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What [`PodClass`](super::PodClass) reads of a pod.
    pub(crate) fn pod(&mut self, pod: &Pod) {
        let Some(spec) = &pod.spec else { return };
        self.optional(spec.node_name.as_deref());
        self.containers(&spec.containers);
        self.containers(spec.init_containers.as_deref().unwrap_or_default());
        self.quantities(spec.overhead.as_ref());
        let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        self.quantities(whole);
        self.map(spec.node_selector.as_ref());
        self.affinity(spec);
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        self.number(tolerations.len() as u64);
        for toleration in tolerations {
            self.optional(toleration.key.as_deref());
            self.optional(toleration.operator.as_deref());
            self.optional(toleration.value.as_deref());
            self.optional(toleration.effect.as_deref());
        }
    }

    fn containers(&mut self, containers: &[Container]) {
        self.number(containers.len() as u64);
        for container in containers {
            self.optional(container.restart_policy.as_deref());
            let resources = container.resources.as_ref();
            self.quantities(resources.and_then(|resources| resources.requests.as_ref()));
            for port in container.ports.iter().flatten().filter(|port| port.host_port.is_some()) {
                self.number(u64::from(port.host_port.unwrap_or_default().unsigned_abs()));
                self.optional(port.host_ip.as_deref());
                self.optional(port.protocol.as_deref());
            }
            self.number(u64::MAX);
        }
    }

    fn quantities(&mut self, quantities: Option<&BTreeMap<String, Quantity>>) {
        self.number(quantities.map_or(0, BTreeMap::len) as u64);
        for (name, quantity) in quantities.into_iter().flatten() {
            self.text(name);
            self.text(&quantity.0);
        }
    }

    fn affinity(&mut self, spec: &PodSpec) {
        let affinity = node_affinity(spec);
        self.0.push(affinity.is_some().into());
        if let Some(affinity) = affinity {
            let start = self.0.len();
            if serde_json::to_writer(&mut self.0, affinity).is_err() {
                self.0.truncate(start);
            }
            self.number((self.0.len() - start) as u64);
        }
    }
}
