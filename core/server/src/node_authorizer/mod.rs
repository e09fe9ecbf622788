//! What nodes may do: each reads what the pods that are bound to it need, and writes about itself.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/node/>.

mod graph;
mod references;

use std::sync::Arc;

use pinnace_api::Key;
use pinnace_store::Store;

use crate::followed::Followed;
use crate::rbac::NodeRules;
use crate::{Attributes, Authorizer, Decision, Rules, User};
use graph::{Graph, is_attached};
pub(crate) use references::References;

const GROUP: &str = "system:nodes";
pub(crate) const USER_PREFIX: &str = "system:node:";
/// Where the leases of nodes are.
const LEASES: &str = "kube-node-lease";

/// Decides about nodes, and has no opinion about anybody else. Cheap to clone; clones share.
#[derive(Clone, Debug)]
pub struct NodeAuthorizer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    graph: Followed<Graph>,
    rules: NodeRules,
}

impl NodeAuthorizer {
    /// An authorizer by the pods of a store.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Inner { graph: Followed::new(store), rules: NodeRules::read() }))
    }
}

/// The node that a user is; empty for one that is a node and does not say which.
fn node_of<'u>(asked: &Attributes<'u>) -> Option<&'u str> {
    let node = asked.user.groups.iter().any(|group| group == GROUP);
    node.then(|| asked.user.name.strip_prefix(USER_PREFIX).unwrap_or_default())
}

/// The node that a user is, by name and group; empty for a name that says none.
pub(crate) fn is_node(user: &User) -> Option<&str> {
    let node = user.name.strip_prefix(USER_PREFIX)?;
    user.groups.iter().any(|group| group == GROUP).then_some(node)
}

fn deny(why: impl Into<String>) -> Decision {
    Decision::Deny(why.into())
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let Some(node) = node_of(asked) else { return deny("") };
        if node.is_empty() {
            return deny(format!("unknown node for user {:?}", &*asked.user.name));
        }
        if asked.path.is_empty() {
            match (asked.group, asked.resource, asked.subresource) {
                ("", "secrets" | "configmaps", _) => return self.read(node, asked),
                ("", "persistentvolumeclaims", "status") => {
                    return self.related(node, asked, &["update", "patch"]);
                }
                ("", "serviceaccounts", "token") => return self.related(node, asked, &["create"]),
                ("", "persistentvolumeclaims" | "persistentvolumes" | "serviceaccounts", _)
                | ("storage.k8s.io", "volumeattachments", _)
                | ("resource.k8s.io", "resourceclaims", _) => {
                    return self.get(node, asked);
                }
                ("coordination.k8s.io", "leases", "") => return lease(node, asked),
                ("storage.k8s.io", "csinodes", "") => return own(node, asked),
                ("", "nodes", _) => return self.node(node, asked),
                ("", "pods", "") if asked.verb == "get" => {
                    return self.pod(node, asked);
                }
                _ => {}
            }
        }
        if self.0.rules.allow(asked) { Decision::Allow } else { deny("") }
    }

    /// As upstream, which lists nothing: what a node may depends on its pods.
    fn rules_for(&self, _user: &User, _namespace: &str) -> Rules {
        Rules::default()
    }
}

impl NodeAuthorizer {
    /// Reads one object by its name, in whatever way.
    fn read(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if !asked.subresource.is_empty() {
            return deny("cannot read subresource");
        }
        if asked.namespace.is_empty() {
            return deny("can only read namespaced object of this type");
        }
        if !matches!(asked.verb, "get" | "list" | "watch") {
            return deny("can only read resources of this type");
        }
        self.related(node, asked, &["get", "list", "watch"])
    }

    fn get(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if asked.verb != "get" {
            return deny("can only get individual resources of this type");
        }
        if !asked.subresource.is_empty() {
            return deny("cannot get subresource");
        }
        self.related(node, asked, &["get"])
    }

    /// Does something to one object that a pod of the node needs.
    fn related(&self, node: &str, asked: &Attributes<'_>, verbs: &[&str]) -> Decision {
        if !verbs.contains(&asked.verb) {
            return deny(format!("can only {} resources of this type", verbs.join("/")));
        }
        if asked.name.is_empty() {
            return deny("No Object name found");
        }
        let state = self.0.graph.state();
        let (graph, namespace, name) = (&state.index, asked.namespace, asked.name);
        let snapshot = || self.0.graph.store().snapshot();
        let needs = match asked.resource {
            "secrets" => graph.has_secret(node, namespace, name, &snapshot()),
            "configmaps" => graph.has_config_map(node, namespace, name),
            "serviceaccounts" => graph.has_account(node, namespace, name),
            "persistentvolumeclaims" => graph.has_claim(node, namespace, name),
            "persistentvolumes" => graph.has_volume(node, name, &snapshot()),
            "volumeattachments" => is_attached(node, name, &snapshot()),
            "resourceclaims" => graph.has_resource_claim(node, namespace, name),
            _ => false,
        };
        if needs { Decision::Allow } else { unrelated(node) }
    }

    fn pod(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        let key = Key::new(asked.namespace, asked.name);
        let here = self.0.graph.state().index.has_pod(node, &key);
        if here { Decision::Allow } else { unrelated(node) }
    }

    /// A node reads and writes itself; which labels and taints is for admission to say.
    fn node(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        let other = matches!(asked.verb, "get" | "update" | "patch") && asked.name != node;
        if other {
            let (verb, name) = (asked.verb, asked.name);
            return deny(format!(
                "node '{node}' cannot {verb} node '{name}', only its own Node object"
            ));
        }
        if self.0.rules.allow(asked) { Decision::Allow } else { deny("") }
    }
}

fn unrelated(node: &str) -> Decision {
    deny(format!("no relationship found between node '{node}' and this object"))
}

/// A node's lease has its name.
fn lease(node: &str, asked: &Attributes<'_>) -> Decision {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return deny("can only get, create, update, patch, or delete a node lease");
    }
    if asked.namespace != LEASES {
        return deny(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // Upstream sees no name of what is created, and leaves that to admission.
    if asked.name == node || asked.verb == "create" {
        return Decision::Allow;
    }
    deny("can only access node lease with the same name as the requesting node")
}

/// A node's CSINode has its name.
fn own(node: &str, asked: &Attributes<'_>) -> Decision {
    if !matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete") {
        return deny("can only get, create, update, patch, or delete a CSINode");
    }
    if asked.name == node || asked.verb == "create" {
        return Decision::Allow;
    }
    deny("can only access CSINode with the same name as the requesting node")
}
