use serde::Serialize;

/// What stands between a pod and a node, as something that could be changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Obstacle {
    /// So much of a resource must become free on the node.
    Free {
        /// The resource; `pods` for places.
        resource: String,
        /// How much more, as a quantity.
        amount: String,
        /// Which part of what the node has that is; above 1 when the node is too small as it is.
        part: f64,
    },
    /// The pod must tolerate a taint of the node.
    Tolerate {
        /// The taint's key.
        key: String,
        /// Its value.
        value: String,
        /// Its effect.
        effect: String,
    },
    /// The node must be made schedulable (`kubectl uncordon`).
    Uncordon,
    /// The pod must ask for another node than by `spec.nodeName`.
    DropNodeName,
    /// `nodeSelector` or the required node affinity must allow the node.
    AllowNode,
    /// Another pod must give up a host port.
    FreePort {
        /// The port.
        port: i32,
        /// Its protocol.
        protocol: String,
    },
    /// What a plugin has against the node must be settled in another way.
    Other {
        /// The plugin.
        plugin: String,
        /// Its reasons.
        reasons: Vec<String>,
    },
}

impl Obstacle {
    /// How much it takes: 1 for a setting, for a resource the part of the node that is missing;
    /// 10 for what nobody knows a setting for, or what no eviction can bring.
    pub fn effort(&self) -> f64 {
        match self {
            Self::Free { part, .. } if *part > 1.0 => 10.0 * part,
            Self::Free { part, .. } => *part,
            Self::Other { .. } => 10.0,
            _ => 1.0,
        }
    }
}
