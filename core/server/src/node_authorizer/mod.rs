//! What nodes may do: each reads what the pods that are bound to it need, and writes about itself.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/node/>.

mod graph;
mod references;

use std::sync::Arc;

use pinnace_api::Key;
use pinnace_api::selector::FieldSelector;
use pinnace_store::Store;

use crate::followed::Followed;
use crate::rbac::NodeRules;
use crate::{Attributes, Authorizer, Decision, Rules, User};
use graph::{Graph, is_attached, is_slice_of};
pub(crate) use references::{References, is_mirror};

const GROUP: &str = "system:nodes";
pub(crate) const USER_PREFIX: &str = "system:node:";
/// Where the leases of nodes are.
const LEASES: &str = "kube-node-lease";
/// The field by which pods and slices are selected that are on a node.
const NODE_NAME: &str = "spec.nodeName";

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
        let Some(node) = is_node(asked.user) else { return deny("") };
        if node.is_empty() {
            return deny(format!("unknown node for user {:?}", &*asked.user.name));
        }
        if asked.path.is_empty() {
            match (asked.group, asked.resource, asked.subresource) {
                ("", "secrets" | "configmaps", _) => return self.read(node, asked),
                ("", "persistentvolumeclaims", "status") => {
                    return self.claim_status(node, asked);
                }
                ("", "serviceaccounts", _) => return self.account(node, asked),
                ("", "persistentvolumeclaims" | "persistentvolumes", _)
                | ("storage.k8s.io", "volumeattachments", _)
                | ("resource.k8s.io", "resourceclaims", _) => return self.get(node, asked),
                ("coordination.k8s.io", "leases", _) => return lease(node, asked),
                ("storage.k8s.io", "csinodes", _) => return own(node, asked),
                ("resource.k8s.io", "resourceslices", _) => return self.slice(node, asked),
                ("", "nodes", part) => return itself(node, part, asked),
                ("", "pods", part) => return self.pod(node, part, asked),
                _ => {}
            }
        }
        if self.0.rules.allow(asked) { Decision::Allow } else { deny("") }
    }

    /// What a node may depends on its pods, and is not listed.
    fn rules_for(&self, user: &User, _namespace: &str) -> Rules {
        match is_node(user) {
            None => Rules::default(),
            Some(_) => Rules {
                rules: Vec::new(),
                incomplete: true,
                problems: "node authorizer does not support user rule resolution".to_owned(),
            },
        }
    }
}

impl NodeAuthorizer {
    /// Reads one object by its name, in whatever way.
    fn read(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if !matches!(asked.verb, "get" | "list" | "watch") {
            return deny("can only read resources of this type");
        }
        if !asked.subresource.is_empty() {
            return deny("cannot read subresource");
        }
        if asked.namespace.is_empty() {
            return deny("can only read namespaced object of this type");
        }
        self.related(node, asked)
    }

    fn get(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if asked.verb != "get" {
            return deny("can only get individual resources of this type");
        }
        if !asked.subresource.is_empty() {
            return deny("cannot get subresource");
        }
        self.related(node, asked)
    }

    fn claim_status(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if !matches!(asked.verb, "update" | "patch") {
            return deny("can only get/update/patch this type");
        }
        self.related(node, asked)
    }

    /// Reads the accounts of its pods, and makes tokens of them.
    fn account(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if asked.verb == "get" && asked.subresource.is_empty() {
            return self.read(node, asked);
        }
        if asked.verb != "create" || asked.name.is_empty() {
            return deny("can only create tokens for individual service accounts");
        }
        if asked.subresource != "token" {
            return deny("can only create token subresource of serviceaccount");
        }
        self.related(node, asked)
    }

    /// Does something to one object that a pod of the node needs, or that names the node.
    fn related(&self, node: &str, asked: &Attributes<'_>) -> Decision {
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
            "pods" => graph.has_pod(node, &Key::new(namespace, name)),
            "volumeattachments" => is_attached(node, name, &snapshot()),
            "resourceslices" => is_slice_of(node, name, &snapshot()),
            "resourceclaims" => graph.has_resource_claim(node, namespace, name),
            _ => false,
        };
        if needs { Decision::Allow } else { unrelated(node) }
    }

    /// Reads its pods, by name or by where they are. Which pods it makes, evicts, deletes or says
    /// something of is for admission to look at.
    fn pod(&self, node: &str, part: &str, asked: &Attributes<'_>) -> Decision {
        match (part, asked.verb) {
            ("", "get") => self.related(node, asked),
            ("", "list" | "watch") if selects(asked, node) => Decision::Allow,
            ("", "list" | "watch") if !asked.name.is_empty() => self.related(node, asked),
            ("", "list" | "watch") => {
                deny(format!("can only list/watch pods with {NODE_NAME} field selector"))
            }
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Decision::Allow
            }
            _ => deny(""),
        }
    }

    /// Admission looks at what it makes; of all others it has its own.
    fn slice(&self, node: &str, asked: &Attributes<'_>) -> Decision {
        if !asked.subresource.is_empty() {
            return deny("cannot authorize ResourceSlice subresources");
        }
        match asked.verb {
            "create" => Decision::Allow,
            "get" | "update" | "patch" | "delete" => self.related(node, asked),
            "watch" | "list" | "deletecollection" if selects(asked, node) => Decision::Allow,
            "watch" | "list" | "deletecollection" => deny(
                "can only list/watch/deletecollection resourceslices with nodeName field selector",
            ),
            _ => deny(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, \
                 create, update, patch, delete, deletecollection",
            ),
        }
    }
}

/// A node reads itself, and what it writes of nodes is for admission to look at.
fn itself(node: &str, part: &str, asked: &Attributes<'_>) -> Decision {
    match (part, asked.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Decision::Allow,
        ("", "get" | "list" | "watch") => match asked.name {
            name if name == node => Decision::Allow,
            "" => deny(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name => deny(format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => deny(""),
    }
}

/// Whether only what is on the node is asked for.
fn selects(asked: &Attributes<'_>, node: &str) -> bool {
    let fields = asked.selectors.fields.map(FieldSelector::requirements).unwrap_or_default();
    fields.iter().any(|one| one.equals && one.field == NODE_NAME && one.value == node)
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
    if !asked.subresource.is_empty() {
        return deny("cannot authorize CSINode subresources");
    }
    if asked.name == node || asked.verb == "create" {
        return Decision::Allow;
    }
    deny("can only access CSINode with the same name as the requesting node")
}
