//! What nodes may do, and how authorizers follow each other.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount};
use k8s_openapi::api::resource::v1::ResourceSlice;
use pinnace_api::Catalog;
use pinnace_api::selector::FieldSelector;
use pinnace_client::ListOptions;
use pinnace_env::Env;
use pinnace_server::{
    Attributes, Authorizer, Authorizers, Decision, NodeAuthorizer, Rules, Selectors, Server, User,
};
use serde_json::json;

use crate::support::World;

fn node(name: &str) -> User {
    let groups = ["system:nodes", "system:authenticated"].map(str::to_owned);
    User::new(&format!("system:node:{name}"), groups)
}

fn decide(by: &impl Authorizer, user: &User, what: [&str; 4], name: &str) -> Decision {
    decide_of(by, user, what, name, "")
}

/// As [`decide`], of what a field selector selects.
fn decide_of(
    by: &impl Authorizer,
    user: &User,
    what: [&str; 4],
    name: &str,
    selector: &str,
) -> Decision {
    let fields = FieldSelector::parse(selector).unwrap();
    let selectors = Selectors { fields: Some(&fields), labels: None };
    let [verb, group, resource, namespace] = what;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let asked = Attributes {
        user,
        verb,
        group,
        resource,
        subresource,
        namespace,
        name,
        path: "",
        selectors,
    };
    by.authorize(&asked)
}

/// A pod on `n1` that refers to all that a pod can refer to, and one on `n2`.
async fn world() -> (World, NodeAuthorizer) {
    let world = World::new().await;
    for name in ["robot", "other"] {
        let account = json!({"metadata": {"name": name, "namespace": "a"}});
        world.make::<ServiceAccount>(account).await;
    }
    let volume = json!({"metadata": {"name": "disk"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "claimRef": {"namespace": "a", "name": "data"},
        "csi": {"driver": "d", "volumeHandle": "h",
                "nodePublishSecretRef": {"name": "mount", "namespace": "b"},
                "nodeStageSecretRef": {"name": "stage", "namespace": "b"},
                "nodeExpandSecretRef": {"name": "grow", "namespace": "b"},
                "controllerPublishSecretRef": {"name": "attach", "namespace": "b"},
                "controllerExpandSecretRef": {"name": "resize", "namespace": "b"}}}});
    world.make::<PersistentVolume>(volume).await;
    let claim = json!({"metadata": {"name": "data", "namespace": "a"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "volumeName": "disk",
        "resources": {"requests": {"storage": "1Gi"}}}});
    world.make::<PersistentVolumeClaim>(claim).await;
    let spec = json!({
        "nodeName": "n1", "serviceAccountName": "robot",
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [{"name": "c", "image": "i",
            "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}],
            "envFrom": [{"configMapRef": {"name": "from"}}]}],
        "volumes": [
            {"name": "s", "secret": {"secretName": "files"}},
            {"name": "p", "projected": {"sources": [{"configMap": {"name": "shown"}}]}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]});
    world.make::<Pod>(json!({"metadata": {"name": "p", "namespace": "a"}, "spec": spec})).await;
    let spec = json!({"nodeName": "n2", "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "s", "secret": {"secretName": "theirs"}}]});
    world.make::<Pod>(json!({"metadata": {"name": "q", "namespace": "a"}, "spec": spec})).await;
    for node in ["n1", "n2"] {
        let slice = json!({"metadata": {"name": format!("devices-{node}")}, "spec": {
            "driver": "d.example.com", "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}}});
        world.make::<ResourceSlice>(slice).await;
    }
    let nodes = NodeAuthorizer::new(world.server.store().clone());
    (world, nodes)
}

#[tokio::test]
async fn a_node_may_what_its_pods_need_and_no_more() {
    let (_world, nodes) = world().await;
    let user = node("n1");
    let rows = [
        ("get", "", "secrets", "a", "pull", true),
        ("get", "", "secrets", "a", "env", true),
        ("watch", "", "secrets", "a", "files", true),
        ("get", "", "secrets", "b", "mount", true),
        ("get", "", "secrets", "b", "stage", true),
        ("get", "", "secrets", "b", "grow", true),
        ("get", "", "secrets", "b", "attach", false),
        ("get", "", "secrets", "b", "resize", false),
        ("get", "", "secrets", "a", "theirs", false),
        ("get", "", "secrets", "b", "files", false),
        ("list", "", "secrets", "a", "", false),
        ("delete", "", "secrets", "a", "files", false),
        ("get", "", "configmaps", "a", "from", true),
        ("get", "", "configmaps", "a", "shown", true),
        ("get", "", "configmaps", "a", "another", false),
        ("get", "", "persistentvolumeclaims", "a", "data", true),
        ("get", "", "persistentvolumes", "", "disk", true),
        ("get", "", "persistentvolumes", "", "another", false),
        ("list", "", "persistentvolumes", "", "", false),
        ("get", "", "pods", "a", "p", true),
        ("get", "", "pods", "a", "q", false),
        ("list", "", "pods", "", "", false),
        ("list", "", "pods", "a", "", false),
        ("watch", "", "pods", "a", "p", true),
        ("watch", "", "pods", "a", "q", false),
        ("deletecollection", "", "pods", "a", "", false),
        ("patch", "", "pods", "a", "p", false),
        ("get", "", "pods/log", "a", "p", false),
        // Which pods is for admission to look at.
        ("create", "", "pods", "a", "", true),
        ("delete", "", "pods", "a", "q", true),
        ("patch", "", "pods/status", "a", "q", true),
        ("create", "", "pods/eviction", "a", "q", true),
        ("get", "", "serviceaccounts", "a", "robot", true),
        ("get", "", "serviceaccounts", "a", "other", false),
        ("create", "", "serviceaccounts/token", "a", "robot", true),
        ("create", "", "serviceaccounts/token", "a", "other", false),
        ("get", "", "nodes", "", "n1", true),
        ("patch", "", "nodes/status", "", "n1", true),
        ("get", "", "nodes", "", "n2", false),
        ("watch", "", "nodes", "", "n1", true),
        ("list", "", "nodes", "", "", false),
        ("get", "", "nodes/status", "", "n1", false),
        ("patch", "", "nodes/status", "", "n2", true),
        ("delete", "", "nodes", "", "n1", false),
        ("get", "", "nodes/proxy", "", "n1", false),
        ("update", "coordination.k8s.io", "leases", "kube-node-lease", "n1", true),
        ("update", "coordination.k8s.io", "leases", "kube-node-lease", "n2", false),
        ("update", "coordination.k8s.io", "leases", "kube-system", "n1", false),
        ("update", "storage.k8s.io", "csinodes", "", "n2", false),
        ("create", "resource.k8s.io", "resourceslices", "", "", true),
        ("get", "resource.k8s.io", "resourceslices", "", "devices-n1", true),
        ("patch", "resource.k8s.io", "resourceslices", "", "devices-n2", false),
        ("delete", "resource.k8s.io", "resourceslices", "", "devices-n2", false),
        ("list", "resource.k8s.io", "resourceslices", "", "", false),
        ("list", "", "services", "", "", true),
        ("create", "", "events", "a", "", true),
        ("create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "", false),
    ];
    for (verb, group, resource, namespace, name, expected) in rows {
        let decision = decide(&nodes, &user, [verb, group, resource, namespace], name);
        let shown = format!("{verb} {resource} {namespace}/{name}: {decision:?}");
        assert_eq!(decision == Decision::Allow, expected, "{shown}");
    }
    let refused = decide(&nodes, &user, ["get", "", "secrets", "a"], "theirs");
    let why = "no relationship found between node 'n1' and this object";
    assert_eq!(refused, Decision::Deny(why.to_owned()));
    // The name alone makes nobody a node, nor does the group alone.
    let named = User::new("system:node:n1", []);
    let grouped = User::new("eve", ["system:nodes".to_owned()]);
    for user in [named, grouped] {
        let decision = decide(&nodes, &user, ["get", "", "secrets", "a"], "files");
        assert_ne!(decision, Decision::Allow, "{user:?}");
    }
}

#[tokio::test]
async fn a_node_lists_what_is_on_it() {
    let (world, nodes) = world().await;
    let pods = |verb| [verb, "", "pods", ""];
    let slices = |verb| [verb, "resource.k8s.io", "resourceslices", ""];
    let rows = [
        (pods("list"), "spec.nodeName=n1", true),
        (pods("watch"), "status.phase=Running,spec.nodeName=n1", true),
        (pods("list"), "spec.nodeName=n2", false),
        (pods("list"), "spec.nodeName!=n1", false),
        (pods("deletecollection"), "spec.nodeName=n1", false),
        (slices("list"), "spec.nodeName=n1", true),
        (slices("deletecollection"), "spec.nodeName=n1", true),
        (slices("watch"), "spec.nodeName=n2", false),
    ];
    for (what, selector, expected) in rows {
        let decision = decide_of(&nodes, &node("n1"), what, "", selector);
        assert_eq!(decision == Decision::Allow, expected, "{what:?} {selector}: {decision:?}");
    }
    let refused = decide(&nodes, &node("n1"), ["list", "", "nodes", ""], "");
    let why = "node 'n1' cannot read all nodes, only its own Node object";
    assert_eq!(refused, Decision::Deny(why.to_owned()));

    // A server asks with the selector, and with the name that it selects.
    let server =
        Server::builder(world.server.store().clone(), Catalog::builtin(), Env::simulated(1));
    let client = server.authorizer(nodes).build().client(node("n1"));
    let list = async |selector: &str| {
        let options = ListOptions::default().fields(selector).unwrap();
        let pods = client.of::<Pod>().unwrap().list(Some("a"), options).await;
        pods.map(|pods| pods.items.len()).map_err(|error| error.code())
    };
    assert_eq!(list("spec.nodeName=n1").await, Ok(1));
    assert_eq!(list("metadata.name=p").await, Ok(1));
    assert_eq!(list("metadata.name=q").await, Err(403));
    assert_eq!(list("").await, Err(403));
}

#[tokio::test]
async fn rules_of_a_node_are_not_listed() {
    let (_world, nodes) = world().await;
    let rules = nodes.rules_for(&node("n1"), "a");
    assert_eq!(rules.problems, "node authorizer does not support user rule resolution");
    assert!(rules.incomplete && rules.rules.is_empty(), "{rules:?}");
    assert_eq!(nodes.rules_for(&User::new("ann", []), "a"), Rules::default());
}

#[tokio::test]
async fn what_a_node_may_ends_with_its_pod() {
    let (world, nodes) = world().await;
    let ask = || decide(&nodes, &node("n1"), ["get", "", "secrets", "a"], "files");
    assert_eq!(ask(), Decision::Allow);
    let pods = world.host().of::<Pod>().unwrap();
    let now = pinnace_client::DeleteOptions {
        grace_period_seconds: Some(0),
        ..pinnace_client::DeleteOptions::default()
    };
    pods.delete(&pinnace_api::Key::new("a", "p"), now).await.unwrap();
    assert_ne!(ask(), Decision::Allow);
}

#[tokio::test]
async fn a_further_authorizer_is_asked_when_the_others_do_not_allow() {
    /// A host's own: Ann reads.
    struct Ann;
    impl Authorizer for Ann {
        fn authorize(&self, asked: &Attributes<'_>) -> Decision {
            match (&*asked.user.name, asked.verb) {
                ("ann", "get") => Decision::Allow,
                _ => Decision::Deny("the host says no".to_owned()),
            }
        }
    }
    let (world, nodes) = world().await;
    let chain = Authorizers::default().and(Arc::new(nodes)).and(Arc::new(world.rbac.clone()));
    let chain = chain.and(Arc::new(Ann));
    let ann = User::new("ann", []);
    assert_eq!(decide(&chain, &ann, ["get", "", "secrets", "a"], "s"), Decision::Allow);
    let refused = decide(&chain, &ann, ["delete", "", "secrets", "a"], "s");
    assert_eq!(refused, Decision::Deny("the host says no".to_owned()));
    let refused = decide(&chain, &node("n1"), ["get", "", "secrets", "a"], "theirs");
    let why = "no relationship found between node 'n1' and this object\nthe host says no";
    assert_eq!(refused, Decision::Deny(why.to_owned()));
}
