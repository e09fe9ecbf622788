//! What nodes may do, and how authorizers follow each other.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount};
use pinnace_server::{
    Attributes, Authorizer, Authorizers, Decision, NodeAuthorizer, Selectors, User,
};
use serde_json::json;

use crate::support::World;

fn node(name: &str) -> User {
    let groups = ["system:nodes", "system:authenticated"].map(str::to_owned);
    User::new(&format!("system:node:{name}"), groups)
}

fn decide(by: &impl Authorizer, user: &User, what: [&str; 4], name: &str) -> Decision {
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
        selectors: Selectors::default(),
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
                "nodePublishSecretRef": {"name": "mount", "namespace": "b"}}}});
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
        ("create", "", "serviceaccounts/token", "a", "robot", true),
        ("create", "", "serviceaccounts/token", "a", "other", false),
        ("get", "", "nodes", "", "n1", true),
        ("patch", "", "nodes/status", "", "n1", true),
        ("patch", "", "nodes/status", "", "n2", false),
        ("delete", "", "nodes", "", "n1", false),
        ("get", "", "nodes/proxy", "", "n1", false),
        ("update", "coordination.k8s.io", "leases", "kube-node-lease", "n1", true),
        ("update", "coordination.k8s.io", "leases", "kube-node-lease", "n2", false),
        ("update", "coordination.k8s.io", "leases", "kube-system", "n1", false),
        ("update", "storage.k8s.io", "csinodes", "", "n2", false),
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
