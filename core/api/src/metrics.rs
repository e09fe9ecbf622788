//! What pods and nodes use, as `metrics.k8s.io/v1beta1` shows it. Nothing of it is stored: whoever
//! asks is answered with what is measured then.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::{
    ClusterResourceScope, ListableResource, Metadata, NamespaceResourceScope, Resource as Shape,
};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::Resource;

/// The group of these kinds.
pub const GROUP: &str = "metrics.k8s.io";

/// Amounts by resource: `cpu` and `memory`, the latter being the working set.
pub type Amounts = BTreeMap<String, Quantity>;

/// What a node uses.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct NodeMetrics {
    /// Name and labels are the node's.
    pub metadata: ObjectMeta,
    /// When this was so.
    #[serde(default = "epoch")]
    pub timestamp: Time,
    /// Over how long before that the CPU was measured, as a duration of Go: `10s`.
    #[serde(default)]
    pub window: String,
    /// How much.
    #[serde(default)]
    pub usage: Amounts,
}

/// What the containers of a pod use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PodMetrics {
    /// Namespace, name and labels are the pod's.
    pub metadata: ObjectMeta,
    /// When this was so.
    #[serde(default = "epoch")]
    pub timestamp: Time,
    /// Over how long before that the CPU was measured, as a duration of Go: `10s`.
    #[serde(default)]
    pub window: String,
    /// Each container that runs.
    #[serde(default)]
    pub containers: Vec<ContainerMetrics>,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerMetrics {
    /// Its name in the pod.
    pub name: String,
    /// How much.
    #[serde(default)]
    pub usage: Amounts,
}

fn epoch() -> Time {
    Time(jiff::Timestamp::UNIX_EPOCH)
}

/// A duration as Go writes it, to the millisecond: `1m30.5s`.
pub fn window(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (minutes, millis) = (millis / 60_000, millis % 60_000);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let seconds = format!("{}s", millis as f64 / 1000.0);
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// The kinds of this group, for the catalog.
pub(crate) fn kinds() -> Vec<Resource> {
    let amounts = json!({
        "type": "object", "additionalProperties": {
            "description": "An amount, such as 250m or 64Mi.",
            "anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true,
        },
        "description": "How much is in use, by resource; of memory the working set.",
    });
    let container = json!({
        "type": "object", "required": ["name", "usage"],
        "properties": {
            "name": {"type": "string", "description": "The container's name in the pod."},
            "usage": amounts,
        },
    });
    let node = described("NodeMetrics sets resource usage metrics of a node.", "usage", amounts);
    let containers = json!({
        "type": "array", "items": container, "x-kubernetes-list-type": "atomic",
        "description": "Each container that runs, measured within the same window.",
    });
    let pod =
        described("PodMetrics sets resource usage metrics of a pod.", "containers", containers);
    vec![
        Resource::computed::<NodeMetrics>("node", node),
        Resource::computed::<PodMetrics>("pod", pod),
    ]
}

fn described(what: &str, field: &str, schema: Value) -> Value {
    json!({
        "type": "object", "description": what, "required": ["timestamp", "window", field],
        "properties": {
            "timestamp": {
                "type": "string", "format": "date-time", "description": "When this was so.",
            },
            "window": {
                "type": "string",
                "description": "Over how long before that the CPU was measured, such as 10s.",
            },
            field: schema,
        },
    })
}

impl Shape for NodeMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "NodeMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "nodes";
    type Scope = ClusterResourceScope;
}

impl ListableResource for NodeMetrics {
    const LIST_KIND: &'static str = "NodeMetricsList";
}

impl Metadata for NodeMetrics {
    type Ty = ObjectMeta;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Serialize for NodeMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct(Self::KIND, 6)?;
        object.serialize_field("apiVersion", Self::API_VERSION)?;
        object.serialize_field("kind", Self::KIND)?;
        object.serialize_field("metadata", &self.metadata)?;
        object.serialize_field("timestamp", &self.timestamp)?;
        object.serialize_field("window", &self.window)?;
        object.serialize_field("usage", &self.usage)?;
        object.end()
    }
}

impl Shape for PodMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "PodMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "pods";
    type Scope = NamespaceResourceScope;
}

impl ListableResource for PodMetrics {
    const LIST_KIND: &'static str = "PodMetricsList";
}

impl Metadata for PodMetrics {
    type Ty = ObjectMeta;
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Serialize for PodMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct(Self::KIND, 6)?;
        object.serialize_field("apiVersion", Self::API_VERSION)?;
        object.serialize_field("kind", Self::KIND)?;
        object.serialize_field("metadata", &self.metadata)?;
        object.serialize_field("timestamp", &self.timestamp)?;
        object.serialize_field("window", &self.window)?;
        object.serialize_field("containers", &self.containers)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_written_as_go_does() {
        for (millis, expected) in [
            (0, "0s"),
            (10_000, "10s"),
            (15_250, "15.25s"),
            (90_500, "1m30.5s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(window(Duration::from_millis(millis)), expected);
        }
    }
}
