use std::marker::PhantomData;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use pinnace_api::{Catalog, Kind, Resource, Strategy};
use pinnace_client::Client;
use pinnace_env::Env;
use pinnace_server::rbac::{Rbac, RbacEscalation};
use pinnace_server::{Attributes, Authorizer, Decision, Selectors, Server, ServerBuilder, User};
use pinnace_store::Store;
use serde_json::{Value, json};

/// A kind without rules of its own: what is tested here does not depend on them.
struct Plain<K>(PhantomData<K>);

impl<K: Kind> Strategy for Plain<K> {
    type Kind = K;

    fn validate_name(&self, _name: &str) -> Result<(), String> {
        Ok(())
    }
}

fn catalog() -> Catalog {
    let catalog = Catalog::builtin();
    if catalog.of::<ClusterRole>().is_err() {
        catalog.register(Resource::builtin("clusterrole", Plain::<ClusterRole>(PhantomData)));
        catalog.register(Resource::builtin("role", Plain::<Role>(PhantomData)));
        let bindings = Plain::<ClusterRoleBinding>(PhantomData);
        catalog.register(Resource::builtin("clusterrolebinding", bindings));
        catalog.register(Resource::builtin("rolebinding", Plain::<RoleBinding>(PhantomData)));
    }
    catalog
}

/// A server that asks RBAC, with the namespaces `a` and `b`.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) rbac: Rbac,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|server| server).await
    }

    /// As [`World::new`], with more to the server.
    pub(crate) async fn with(more: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::made(more, |rule| rule).await
    }

    /// As [`World::new`], with another rule against escalation.
    pub(crate) async fn asking(rule: impl FnOnce(RbacEscalation) -> RbacEscalation) -> Self {
        Self::made(|server| server, rule).await
    }

    async fn made(
        more: impl FnOnce(ServerBuilder) -> ServerBuilder,
        rule: impl FnOnce(RbacEscalation) -> RbacEscalation,
    ) -> Self {
        let store = Store::memory();
        let rbac = Rbac::new(store.clone());
        let server = more(Server::builder(store, catalog(), Env::simulated(1)))
            .authorizer(rbac.clone())
            .admission(rule(RbacEscalation::new(rbac.clone())))
            .build();
        let world = Self { server, rbac };
        for name in ["a", "b", "kube-system", "kube-public"] {
            world.make::<Namespace>(json!({"metadata": {"name": name}})).await;
        }
        world
    }

    pub(crate) fn host(&self) -> Client {
        self.server.client(User::host())
    }

    pub(crate) async fn make<K: Kind + k8s_openapi::Resource>(&self, value: Value) {
        let object = serde_json::from_value(value).unwrap();
        self.host().of::<K>().unwrap().create(object).await.unwrap();
    }

    /// Gives a role to a subject, in a namespace or, with none, in the cluster.
    pub(crate) async fn bind(&self, namespace: &str, role: &str, subject: Value) {
        let name = subject["name"].as_str().unwrap();
        let role_ref = json!({
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role,
        });
        let binding = |metadata: Value| json!({"metadata": metadata, "roleRef": role_ref, "subjects": [subject]});
        let name = format!("{role}-{name}");
        if namespace.is_empty() {
            self.make::<ClusterRoleBinding>(binding(json!({"name": name}))).await;
        } else {
            let metadata = json!({"name": name, "namespace": namespace});
            self.make::<RoleBinding>(binding(metadata)).await;
        }
    }

    /// What is said to a user who asks for `verb group resource[/part]` on an object.
    pub(crate) fn ask(
        &self,
        user: &User,
        namespace: &str,
        what: [&str; 3],
        name: &str,
    ) -> Decision {
        let [verb, group, resource] = what;
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let path = if group == "/" { resource_path(what[2]) } else { String::new() };
        let asked = if path.is_empty() {
            Attributes {
                user,
                verb,
                group,
                resource,
                subresource,
                namespace,
                name,
                path: "",
                selectors: Selectors::default(),
            }
        } else {
            Attributes::path(user, verb, &path)
        };
        self.rbac.authorize(&asked)
    }
}

fn resource_path(path: &str) -> String {
    format!("/{path}")
}
