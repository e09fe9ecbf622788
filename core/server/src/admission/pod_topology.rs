use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Binding, Pod};
use pinnace_api::{Key, Result};
use pinnace_client::Subresource;

use super::{Admission, AdmissionRequest, Operation};

/// Where a node is, as its labels say.
const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// Has pods know by their own labels where they are: those of their node are copied when they are bound
/// to it, or made on it.
pub(super) struct PodTopologyLabels;

impl Admission for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.operation != Operation::Create || &**request.resource.name() != "pods" {
            return Ok(());
        }
        let Some(new) = request.new.as_deref_mut() else { return Ok(()) };
        let node = match request.subresource {
            None => new.get::<Pod>().and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
            Some(Subresource::Binding) => new.get::<Binding>().and_then(|binding| {
                let target = &binding.target;
                target.name.clone().filter(|_| target.kind.as_deref() == Some("Node"))
            }),
            Some(_) => None,
        };
        let Some(node) = node.filter(|node| !node.is_empty()) else { return Ok(()) };
        // A node that is not there has nothing to say, and that is no reason to refuse.
        let found = request.snapshot.get("nodes", &Key::cluster(node));
        let told = found.and_then(|node| node.labels());
        let known = LABELS.iter().filter_map(|name| Some((*name, told?.get(*name)?)));
        let labels: BTreeMap<String, String> =
            known.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        if !labels.is_empty() {
            new.meta_mut().labels.get_or_insert_default().extend(labels);
        }
        Ok(())
    }
}
