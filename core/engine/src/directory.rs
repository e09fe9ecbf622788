use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::Node;
use pinnace_api::{ApiError, Key, Reason, Result};
use pinnace_client::Lister;
use pinnace_client::nodes::{NodeConnection, NodeDirectory};
use pinnace_http::NodeClients;

/// Where the nodes of a cluster are found: those of this process a function call away, others where
/// their Node says. Whoever knows them comes after the server that asks for them.
#[derive(Default)]
pub(crate) struct Directory {
    local: OnceLock<Local>,
    others: OnceLock<Others>,
}

/// The nodes of this process.
pub(crate) struct Local {
    pub(crate) nodes: pinnace_node::Nodes,
    pub(crate) names: HashSet<String>,
}

/// The nodes of other machines.
struct Others {
    nodes: Lister<Node>,
    clients: NodeClients,
}

impl Directory {
    /// Says who knows the nodes of this process; the first who does is believed.
    pub(crate) fn fill(&self, local: Local) {
        let _ = self.local.set(local);
    }

    /// Says how others are reached; the first way is taken.
    pub(crate) fn reach(&self, nodes: Lister<Node>, clients: NodeClients) {
        let _ = self.others.set(Others { nodes, clients });
    }
}

impl NodeDirectory for Directory {
    fn node(&self, name: &str) -> Result<Arc<dyn NodeConnection>> {
        let local = self.local.get();
        let local = local.ok_or_else(|| unavailable("the node agent has not started yet"))?;
        if local.names.contains(name) {
            return local.nodes.node(name);
        }
        let found = self.others.get().map(|others| others.find(name)).transpose()?.flatten();
        found.ok_or_else(|| {
            unavailable(format!("node {name:?} is served by no agent that can be reached"))
        })
    }
}

impl Others {
    /// The way to a node; `None` for one that listens nowhere.
    fn find(&self, name: &str) -> Result<Option<Arc<dyn NodeConnection>>> {
        let node = self.nodes.get(&Key::cluster(name));
        let Some(status) = node.as_ref().and_then(|node| node.status.as_ref()) else {
            return Ok(None);
        };
        let port = status.daemon_endpoints.as_ref();
        let port = port.and_then(|all| u16::try_from(all.kubelet_endpoint.as_ref()?.port).ok());
        let mut addresses = status.addresses.iter().flatten();
        let address = addresses.find(|address| address.type_ == "InternalIP");
        let address = address.and_then(|address| address.address.parse().ok());
        let Some((port, address)) = port.filter(|port| *port != 0).zip(address) else {
            return Ok(None);
        };
        self.clients.node(name, address, port).map(Some)
    }
}

fn unavailable(message: impl Into<String>) -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, message)
}
