//! Questions that are answered when they are created, and tokens of service accounts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use parking_lot::Mutex;
use pinnace_api::{Catalog, Draft, Key, Kind, Object};
use pinnace_client::{
    Client, DeleteOptions, ListOptions, Subresource, Target, Transport as _, WriteOptions,
};
use pinnace_env::Env;
use pinnace_server::audit::{AuditEvent, AuditLevel, AuditPolicy, AuditSink, Auditor};
use pinnace_server::rbac::Rbac;
use pinnace_server::{InProcess, Server, ServerBuilder, User};
use pinnace_store::Store;
use serde_json::{Value, json};

struct World {
    server: Server,
    host: Client,
}

impl World {
    /// A server with the namespace `a`, the account `robot` in it, and `ann`, who reads pods.
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// As [`World::new`], with more to the server.
    async fn with(more: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let store = Store::memory();
        let rbac = Rbac::new(store.clone());
        let builder = Server::builder(store, Catalog::builtin(), Env::simulated(1));
        let server = more(builder).authorizer(rbac).build();
        let world = Self { host: server.client(User::host()), server };
        for name in ["a", "kube-system", "kube-public"] {
            world.make::<Namespace>(json!({"metadata": {"name": name}})).await;
        }
        world
            .make::<ServiceAccount>(json!({"metadata": {"name": "robot", "namespace": "a"}}))
            .await;
        let rules = json!([
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"], "nonResourceURLs": ["/metrics"]},
        ]);
        world.make::<ClusterRole>(json!({"metadata": {"name": "reader"}, "rules": rules})).await;
        let subjects =
            json!([{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}]);
        let role = json!({
            "kind": "ClusterRole", "name": "reader", "apiGroup": "rbac.authorization.k8s.io",
        });
        let metadata = json!({"name": "ann"});
        let binding = json!({"metadata": metadata, "roleRef": role, "subjects": subjects});
        world.make::<ClusterRoleBinding>(binding).await;
        world
    }

    async fn make<K: Kind + k8s_openapi::Resource>(&self, value: Value) {
        let object = serde_json::from_value(value).unwrap();
        self.host.of::<K>().unwrap().create(object).await.unwrap();
    }

    /// The status of an answered question, or the message of what is wrong with it.
    async fn ask<K: Kind + k8s_openapi::Resource>(&self, value: Value) -> Value {
        let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let resource = self.server.catalog().of::<K>().unwrap();
        let target = Target { resource, key: Key::new(namespace, ""), subresource: None };
        let draft = Draft::new(serde_json::from_value::<K>(value).unwrap());
        let host = InProcess::new(self.server.clone(), User::host());
        answer(host.create(target, draft, WriteOptions::default()).await)
    }

    async fn token(&self, account: &str, spec: Value) -> Value {
        let resource = self.server.catalog().of::<ServiceAccount>().unwrap();
        let part = Some(Subresource::Token);
        let target = Target { resource, key: Key::new("a", account), subresource: part };
        let request: TokenRequest = serde_json::from_value(json!({"spec": spec})).unwrap();
        let host = InProcess::new(self.server.clone(), User::host());
        answer(host.create(target, Draft::new(request), WriteOptions::default()).await)
    }

    async fn review(&self, token: &Value) -> Value {
        self.ask::<TokenReview>(json!({"spec": {"token": token["token"]}})).await
    }
}

fn answer(result: pinnace_api::Result<Object>) -> Value {
    match result {
        Ok(object) => object.to_value().unwrap()["status"].clone(),
        Err(error) => json!(error.message()),
    }
}

#[tokio::test(start_paused = true)]
async fn access_is_what_the_authorizer_says() {
    let world = World::new().await;
    let check = async |verb: &str, resource: &str, expected: bool| {
        let attributes = json!({"verb": verb, "resource": resource, "namespace": "a"});
        let spec = json!({"user": "ann", "resourceAttributes": attributes});
        let status = world.ask::<SubjectAccessReview>(json!({"spec": spec})).await;
        assert_eq!(status["allowed"], json!(expected), "{verb} {resource}: {status}");
        let local = json!({"metadata": {"namespace": "a"}, "spec": spec});
        assert_eq!(world.ask::<LocalSubjectAccessReview>(local).await, status);
    };
    check("get", "pods", true).await;
    check("get", "secrets", false).await;
    check("delete", "pods", false).await;
    let path = |path: &str| json!({"spec": {"user": "ann", "nonResourceAttributes": {"path": path, "verb": "get"}}});
    assert_eq!(world.ask::<SubjectAccessReview>(path("/metrics")).await["allowed"], true);
    assert_eq!(world.ask::<SubjectAccessReview>(path("/logs")).await["allowed"], false);
    let own = json!({"spec": {"resourceAttributes": {"verb": "x", "resource": "y"}}});
    assert_eq!(world.ask::<SelfSubjectAccessReview>(own).await["allowed"], true);
    assert_eq!(
        world.ask::<SelfSubjectReview>(json!({})).await["userInfo"]["username"],
        "pinnace:host"
    );
    let kinds = world.server.store().snapshot();
    assert_eq!(kinds.iter("subjectaccessreviews.authorization.k8s.io").count(), 0, "not kept");
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_by_what_and_what_it_could_not_read() {
    let world = World::new().await;
    let ask = async |user: Value, namespace: &str| {
        let mut spec = user;
        spec["resourceAttributes"] =
            json!({"verb": "get", "resource": "pods", "namespace": namespace});
        world.ask::<SubjectAccessReview>(json!({"spec": spec})).await
    };
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    let role = json!({"metadata": {"name": "sees", "namespace": "a"}, "rules": rules});
    world.make::<Role>(role).await;
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sees"});
    let subjects = json!([
        {"kind": "Group", "name": "staff", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": "robot"},
    ]);
    let binding = json!({"metadata": {"name": "b", "namespace": "a"}, "roleRef": role_ref, "subjects": subjects});
    world.make::<RoleBinding>(binding).await;
    let why = "RBAC: allowed by RoleBinding \"b/a\" of Role \"sees\" to";
    let bob = json!({"user": "bob", "groups": ["staff"]});
    assert_eq!(ask(bob.clone(), "a").await["reason"], format!("{why} Group \"staff\""));
    let robot = json!({"user": "system:serviceaccount:a:robot"});
    assert_eq!(ask(robot, "a").await["reason"], format!("{why} ServiceAccount \"robot/a\""));
    let ann =
        "RBAC: allowed by ClusterRoleBinding \"ann\" of ClusterRole \"reader\" to User \"ann\"";
    assert_eq!(ask(json!({"user": "ann"}), "b").await["reason"], ann);
    assert_eq!(ask(bob, "b").await, json!({"allowed": false}));
    let root = json!({"user": "root", "groups": ["system:masters"]});
    assert_eq!(ask(root, "a").await, json!({"allowed": true}));

    let field =
        |operator: &str, values: Value| json!({"key": "k", "operator": operator, "values": values});
    let (good, bad) = (field("In", json!(["v"])), field("Exists", json!([])));
    let partly = "spec.resourceAttributes.fieldSelector partially ignored due to parse error";
    let wholly = "spec.resourceAttributes.labelSelector ignored due to parse error";
    let rows = [
        (json!([good]), json!([field("In", json!(["v"]))]), Value::Null),
        (json!([good, bad]), json!([field("Exists", json!([]))]), json!(partly)),
        (json!([good]), json!([field("Near", json!([]))]), json!(wholly)),
        (
            json!([good, bad]),
            json!([field("Near", json!([]))]),
            json!(format!("{partly}; {wholly}")),
        ),
    ];
    for (fields, labels, expected) in rows {
        let attributes = json!({"verb": "list", "resource": "pods",
            "fieldSelector": {"requirements": fields}, "labelSelector": {"requirements": labels}});
        let spec = json!({"user": "ann", "resourceAttributes": attributes});
        let status = world.ask::<SubjectAccessReview>(json!({"spec": spec})).await;
        assert_eq!(status["evaluationError"], expected, "{fields} {labels}");
    }
}

/// Keeps an audit log.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<AuditEvent>>>);

impl AuditSink for Notes {
    fn write(&self, event: &AuditEvent) -> std::io::Result<()> {
        self.0.lock().push(event.clone());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_is_told_by_what_something_is_allowed() {
    let notes = Notes::default();
    let policy = AuditPolicy::all(AuditLevel::Metadata);
    let auditor = Auditor::new(policy, Arc::new(notes.clone())).unwrap();
    let kept = auditor.clone();
    let world = World::with(|builder| builder.auditor(auditor)).await;
    let ann = world.server.client(User::new("ann", []));
    ann.of::<Pod>().unwrap().list(Some("a"), ListOptions::default()).await.unwrap();
    kept.close();
    let events = notes.0.lock();
    let reason = &events.last().unwrap().annotations["authorization.k8s.io/reason"];
    let why =
        "RBAC: allowed by ClusterRoleBinding \"ann\" of ClusterRole \"reader\" to User \"ann\"";
    assert_eq!(reason, why);
}

#[tokio::test(start_paused = true)]
async fn rules_are_those_of_who_asks() {
    let world = World::new().await;
    let ann = InProcess::new(world.server.clone(), User::new("ann", []));
    let resource = world.server.catalog().of::<SelfSubjectRulesReview>().unwrap();
    let target = Target { resource, key: Key::cluster(""), subresource: None };
    let ask = Draft::new(SelfSubjectRulesReview::default());
    let refused = ann.create(target.clone(), ask, WriteOptions::default()).await.unwrap_err();
    assert_eq!(refused.code(), 403, "nobody has given ann the role that may ask");
    pinnace_server::rbac::bootstrap(&world.host).await.unwrap();
    let ann = InProcess::new(world.server.clone(), User::new("ann", []).authenticated());
    let mut ask = SelfSubjectRulesReview::default();
    ask.spec.namespace = Some("a".to_owned());
    let given = ann.create(target, Draft::new(ask), WriteOptions::default()).await;
    let status = answer(given);
    let all = status["resourceRules"].as_array().unwrap();
    assert!(all.iter().any(|rule| rule["resources"] == json!(["pods"])), "{status}");
    let paths = status["nonResourceRules"].as_array().unwrap();
    assert!(paths.iter().any(|rule| rule["nonResourceURLs"] == json!(["/metrics"])), "{status}");
    assert_eq!(status["incomplete"], false);
    let none = world.ask::<SelfSubjectRulesReview>(json!({"spec": {}})).await;
    assert_eq!(none, "no namespace on request");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_question_is_refused_in_upstreams_words() {
    let world = World::new().await;
    let check = async |value: Value, expected: &str| {
        let message = world.ask::<SubjectAccessReview>(value).await;
        assert!(message.as_str().unwrap().contains(expected), "{message}");
    };
    let pods = json!({"verb": "get", "resource": "pods"});
    let why = "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes \
               or resourceAttributes must be specified";
    check(json!({"spec": {"user": "u"}}), why).await;
    let why = "spec.user: Invalid value: \"\": at least one of user or group must be specified";
    check(json!({"spec": {"resourceAttributes": pods}}), why).await;
    let named =
        json!({"metadata": {"name": "x"}, "spec": {"user": "u", "resourceAttributes": pods}});
    check(named, "must be empty").await;
    let selected = json!({"verb": "list", "resource": "pods", "fieldSelector": {}});
    let why = "spec.resourceAttributes.fieldSelector.requirements: Required value: when \
               spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is \
               required";
    check(json!({"spec": {"user": "u", "resourceAttributes": selected}}), why).await;
    let elsewhere = json!({"verb": "get", "resource": "pods", "namespace": "b"});
    let local = json!({
        "metadata": {"namespace": "a"}, "spec": {"user": "u", "resourceAttributes": elsewhere},
    });
    let message = world.ask::<LocalSubjectAccessReview>(local).await;
    assert!(
        message.as_str().unwrap().contains("\"b\": must match metadata.namespace"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_until_it_ends_or_its_account_goes() {
    let world = World::new().await;
    let token = world.token("robot", json!({"audiences": [], "expirationSeconds": 600})).await;
    let status = world.review(&token).await;
    assert_eq!(status["authenticated"], true, "{status}");
    let user = &status["user"];
    assert_eq!(user["username"], "system:serviceaccount:a:robot");
    let groups =
        json!(["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
    assert_eq!(user["groups"], groups);
    tokio::time::advance(Duration::from_secs(670)).await;
    assert_eq!(world.review(&token).await["error"], "service account token has expired");
    let token = world.token("robot", json!({"audiences": []})).await;
    let accounts = world.host.of::<ServiceAccount>().unwrap();
    accounts.delete(&Key::new("a", "robot"), DeleteOptions::default()).await.unwrap();
    assert_eq!(world.review(&token).await["error"], "serviceaccounts \"robot\" not found");
    world.make::<ServiceAccount>(json!({"metadata": {"name": "robot", "namespace": "a"}})).await;
    let why = world.review(&token).await["error"].to_string();
    assert!(why.contains("does not match claim"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_only_for_its_audiences() {
    let world = World::new().await;
    let token = world.token("robot", json!({"audiences": ["vault"]})).await;
    let why = world.review(&token).await["error"].to_string();
    assert!(why.contains("is invalid for the target audiences"), "{why}");
    let spec = json!({"token": token["token"], "audiences": ["vault", "other"]});
    let status = world.ask::<TokenReview>(json!({"spec": spec})).await;
    assert_eq!(status["audiences"], json!(["vault"]));
}

#[tokio::test(start_paused = true)]
async fn forged_tokens_and_those_of_others_are_told_apart() {
    let world = World::new().await;
    let other = World::new().await;
    let forged = other.token("robot", json!({"audiences": []})).await;
    assert_eq!(world.review(&forged).await["error"], "invalid bearer token");
    for strange in ["abc", "a.b.c", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0."] {
        let status = world.review(&json!({"token": strange})).await;
        assert_eq!(status, json!({}), "{strange}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bound_token_goes_with_what_it_is_bound_to() {
    let world = World::new().await;
    world.make::<Secret>(json!({"metadata": {"name": "s", "namespace": "a"}})).await;
    let reference = json!({"apiVersion": "v1", "kind": "Secret", "name": "s"});
    let token = world.token("robot", json!({"audiences": [], "boundObjectRef": reference})).await;
    assert_eq!(world.review(&token).await["authenticated"], true);
    let secrets = world.host.of::<Secret>().unwrap();
    secrets.delete(&Key::new("a", "s"), DeleteOptions::default()).await.unwrap();
    let gone = "service account token has been invalidated";
    assert_eq!(world.review(&token).await["error"], gone);
    let containers = json!([{"name": "c", "image": "i"}]);
    let spec = json!({"serviceAccountName": "robot", "nodeName": "n", "containers": containers});
    world.make::<Pod>(json!({"metadata": {"name": "p", "namespace": "a"}, "spec": spec})).await;
    let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "p"});
    let spec = json!({"audiences": [], "boundObjectRef": reference, "expirationSeconds": 3607});
    let token = world.token("robot", spec).await;
    let extra = world.review(&token).await["user"]["extra"].clone();
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n"]));
    tokio::time::advance(Duration::from_secs(7200)).await;
    assert_eq!(world.review(&token).await["authenticated"], true, "lasts for slow readers");
}

#[tokio::test(start_paused = true)]
async fn what_no_token_can_be_is_refused() {
    let world = World::new().await;
    let check = async |account: &str, spec: Value, expected: &str| {
        let message = world.token(account, spec).await;
        assert!(message.as_str().unwrap().contains(expected), "{message}");
    };
    let short = json!({"audiences": [], "expirationSeconds": 599});
    check("robot", short, "may not specify a duration less than 10 minutes").await;
    let long = json!({"audiences": [], "expirationSeconds": 1_i64 << 33});
    check("robot", long, "may not specify a duration larger than 2^32 seconds").await;
    check("nobody", json!({"audiences": []}), "serviceaccounts \"nobody\" not found").await;
    let bound = |kind: &str, name: &str| {
        let reference = json!({"apiVersion": "v1", "kind": kind, "name": name});
        json!({"audiences": [], "boundObjectRef": reference})
    };
    check("robot", bound("Service", "s"), "cannot bind token to object of type").await;
    check("robot", bound("Pod", "p"), "pods \"p\" not found").await;
}
