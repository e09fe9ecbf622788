use std::sync::{Arc, OnceLock};

use pinnace_api::{ApiError, Reason};
use pinnace_client::nodes::{NodeConnection, NodeDirectory};

/// Where the nodes of an engine are found. The agent that serves them comes after the server that
/// asks for them.
#[derive(Default)]
pub(crate) struct Directory(OnceLock<Box<dyn NodeDirectory>>);

impl Directory {
    /// Says who knows the nodes; the first who does is believed.
    pub(crate) fn fill(&self, nodes: impl NodeDirectory) {
        let _ = self.0.set(Box::new(nodes));
    }
}

impl NodeDirectory for Directory {
    fn node(&self, name: &str) -> pinnace_api::Result<Arc<dyn NodeConnection>> {
        let nodes = self.0.get().ok_or_else(|| {
            ApiError::new(Reason::ServiceUnavailable, "the node agent has not started yet")
        })?;
        nodes.node(name)
    }
}
