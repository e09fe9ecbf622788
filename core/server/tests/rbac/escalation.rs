use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use pinnace_api::{ApiError, Key, Kind, Reason};
use pinnace_client::{Client, DeleteOptions, ListOptions};
use pinnace_server::{AdmissionHook, Attributes, Authorizer, Decision, Ruling, User};
use serde_json::{Value, json};

use crate::support::World;

const GROUP: &str = "rbac.authorization.k8s.io";

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources})
}

async fn create<K: Kind + k8s_openapi::Resource>(
    client: &Client,
    value: Value,
) -> Result<(), ApiError> {
    let object = serde_json::from_value(value).unwrap();
    client.of::<K>().unwrap().create(object).await.map(drop)
}

fn binding(role: &str) -> Value {
    json!({
        "metadata": {"name": format!("b-{role}"), "namespace": "a"},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": "friend"}],
    })
}

/// `ann` may write roles and bindings in `a`, and read pods there.
async fn world() -> World {
    of(World::new().await).await
}

async fn of(world: World) -> World {
    let writes = &["create", "update", "patch", "get", "delete"];
    let mine =
        [rule(writes, GROUP, &["roles", "rolebindings"]), rule(&["get", "list"], "", &["pods"])];
    world.make::<ClusterRole>(json!({"metadata": {"name": "mine"}, "rules": mine})).await;
    world.bind("a", "mine", json!({"kind": "User", "name": "ann"})).await;
    let secrets = [rule(&["get", "list"], "", &["secrets"]), rule(&["get"], "", &["pods"])];
    world.make::<ClusterRole>(json!({"metadata": {"name": "secrets"}, "rules": secrets})).await;
    world
}

#[tokio::test]
async fn nobody_gives_away_what_they_have_not() {
    let world = world().await;
    let ann = world.server.client(User::new("ann", ["staff".to_owned()]));
    let role = |name: &str, rules: Value| json!({"metadata": {"name": name, "namespace": "a"}, "rules": rules});
    let pods = json!([rule(&["get"], "", &["pods"])]);
    create::<Role>(&ann, role("ok", pods)).await.unwrap();
    let wide = json!([rule(&["get", "watch", "delete"], "", &["pods", "secrets"])]);
    let error = create::<Role>(&ann, role("wide", wide)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Forbidden);
    let expected = "roles.rbac.authorization.k8s.io \"wide\" is forbidden: \
        user \"ann\" (groups=[\"staff\"]) is attempting to grant RBAC permissions not currently held:\n\
        {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\" \"delete\"]}\n\
        {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"watch\" \"delete\"]}";
    assert_eq!(error.message(), expected);
    let error = create::<RoleBinding>(&ann, binding("secrets")).await.unwrap_err();
    assert!(
        error.message().contains("Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]"),
        "{error}"
    );
    create::<RoleBinding>(&ann, binding("mine")).await.unwrap();
    let error = create::<RoleBinding>(&ann, binding("nothing")).await.unwrap_err();
    assert_eq!(error.message(), "clusterrole.rbac.authorization.k8s.io \"nothing\" not found");
}

#[tokio::test]
async fn bind_and_escalate_are_verbs_of_their_own() {
    let world = world().await;
    let bind = json!({
        "verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"],
        "resourceNames": ["secrets"],
    });
    let escalate = rule(&["escalate"], GROUP, &["roles"]);
    world
        .make::<ClusterRole>(json!({"metadata": {"name": "more"}, "rules": [bind, escalate]}))
        .await;
    world.bind("a", "more", json!({"kind": "User", "name": "ann"})).await;
    let ann = world.server.client(User::new("ann", []));
    create::<RoleBinding>(&ann, binding("secrets")).await.unwrap();
    let all = json!([rule(&["*"], "*", &["*"])]);
    let role = json!({"metadata": {"name": "all", "namespace": "a"}, "rules": all});
    create::<Role>(&ann, role).await.unwrap();
    let everywhere = json!({
        "metadata": {"name": "x"},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "secrets"},
    });
    let error = create::<ClusterRoleBinding>(&ann, everywhere).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Forbidden, "the right is one of namespace a");
}

#[tokio::test]
async fn what_gathers_roles_is_for_administrators() {
    let world = world().await;
    let roles = json!([rule(&["create", "update", "get"], GROUP, &["clusterroles"])]);
    world.make::<ClusterRole>(json!({"metadata": {"name": "roles"}, "rules": roles})).await;
    world.bind("", "roles", json!({"kind": "Group", "name": "writers"})).await;
    let writer = world.server.client(User::new("w", ["writers".to_owned()]));
    let gathering = json!({
        "metadata": {"name": "gather"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]},
    });
    let error = create::<ClusterRole>(&writer, gathering.clone()).await.unwrap_err();
    let expected = "must have cluster-admin privileges to use the aggregationRule";
    assert!(error.message().ends_with(expected), "{error}");
    // Neither may one that is there be turned to gather something else, or nothing.
    world.make::<ClusterRole>(gathering).await;
    let roles = writer.of::<ClusterRole>().unwrap();
    let there = || async { ClusterRole::clone(&roles.get(&Key::cluster("gather")).await.unwrap()) };
    let mut turned = there().await;
    turned.aggregation_rule =
        serde_json::from_value(json!({"clusterRoleSelectors": [{"matchLabels": {"all": "mine"}}]}))
            .unwrap();
    let mut stopped = there().await;
    stopped.aggregation_rule = None;
    for changed in [turned, stopped] {
        let error = roles.update(changed).await.unwrap_err();
        assert!(error.message().ends_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_host_may_let_somebody_bind() {
    /// Lets Ann bind.
    struct Binds;
    impl Authorizer for Binds {
        fn authorize(&self, asked: &Attributes<'_>) -> Decision {
            match (&*asked.user.name, asked.verb) {
                ("ann", "bind") => Decision::Allow,
                _ => Decision::Deny(String::new()),
            }
        }
    }
    let world = of(World::asking(|rbac| rbac.allowed_by(Arc::new(Binds))).await).await;
    let ann = world.server.client(User::new("ann", []));
    create::<RoleBinding>(&ann, binding("secrets")).await.unwrap();
    let rules = json!([rule(&["get"], "", &["secrets"])]);
    let role = json!({"metadata": {"name": "wide", "namespace": "a"}, "rules": rules});
    create::<Role>(&ann, role).await.unwrap_err();
}

#[tokio::test]
async fn a_client_has_the_rights_of_its_user_as_they_change() {
    let world = world().await;
    let ann = world.server.client(User::new("ann", []));
    let maps = ann.of::<ConfigMap>().unwrap();
    let error = maps.list(Some("a"), ListOptions::default()).await.unwrap_err();
    let expected = "configmaps is forbidden: User \"ann\" cannot list resource \"configmaps\" in \
        API group \"\" in the namespace \"a\"";
    assert_eq!(error.message(), expected);
    let read = json!([rule(&["list"], "", &["configmaps"])]);
    world.make::<ClusterRole>(json!({"metadata": {"name": "maps"}, "rules": read})).await;
    world.bind("a", "maps", json!({"kind": "User", "name": "ann"})).await;
    maps.list(Some("a"), ListOptions::default()).await.unwrap();
    maps.list(Some("b"), ListOptions::default()).await.unwrap_err();
    let roles = world.host().of::<ClusterRole>().unwrap();
    roles.delete(&Key::cluster("maps"), DeleteOptions::default()).await.unwrap();
    let error = maps.list(Some("a"), ListOptions::default()).await.unwrap_err();
    let why = "RBAC: clusterrole.rbac.authorization.k8s.io \"maps\" not found";
    assert!(error.message().ends_with(why), "{error}");
    let masters = User::new("m", ["system:masters".to_owned()]);
    let asked = world.ask(&masters, "", ["anything", "example.com", "at-all"], "");
    assert_eq!(asked, Decision::Allow);
}

#[tokio::test]
async fn what_others_add_to_a_role_its_writer_must_have_too() {
    let widens = AdmissionHook::mutating("widens", |mut request: Value| {
        request["object"]["rules"] = json!([rule(&["get"], "", &["secrets"])]);
        std::future::ready(Ok(Ruling::Change(request["object"].take())))
    });
    let world = of(World::with(|server| server.hook(widens.resources(["roles"]))).await).await;
    let ann = world.server.client(User::new("ann", ["staff".to_owned()]));
    let pods = json!([rule(&["get"], "", &["pods"])]);
    let role = json!({"metadata": {"name": "ok", "namespace": "a"}, "rules": pods});
    let error = create::<Role>(&ann, role).await.unwrap_err();
    let why = "is attempting to grant RBAC permissions not currently held:\n\
               {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    assert!(error.message().ends_with(why), "{error}");
}
