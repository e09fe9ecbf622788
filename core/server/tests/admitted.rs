//! Whatever is said of objects is admitted, too: bindings, evictions, requests for tokens, questions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::authorization::v1::{LocalSubjectAccessReview, SubjectAccessReview};
use k8s_openapi::api::core::v1::{Binding, Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::Eviction;
use pinnace_api::quota::LimitedResource;
use pinnace_api::{Catalog, Draft, Key, Kind, Object, Result};
use pinnace_client::{Client, DeleteOptions, Subresource, Target, Transport as _, WriteOptions};
use pinnace_env::Env;
use pinnace_server::{AdmissionHook, InProcess, Ruling, Server, ServerBuilder, User};
use pinnace_store::Store;
use serde_json::{Value, json};

struct World {
    server: Server,
    client: Client,
}

impl World {
    async fn new(more: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let builder = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1));
        let server = more(builder).build();
        let world = Self { client: server.client(User::host()), server };
        world.make::<Namespace>(json!({"metadata": {"name": "a"}})).await.unwrap();
        world
    }

    async fn make<K: Kind + k8s_openapi::Resource>(&self, value: Value) -> Result<Value> {
        let object: K = serde_json::from_value(value).unwrap();
        self.client.of::<K>()?.create(object).await?.object().to_value()
    }

    async fn post<K: Kind>(&self, pod: &str, part: Subresource, value: Value) -> Result<Object> {
        let resource = self.server.catalog().of::<Pod>()?;
        let target = Target::part(resource, Key::new("a", pod), part);
        let draft = Draft::new(serde_json::from_value::<K>(value).unwrap());
        let host = InProcess::new(self.server.clone(), User::host());
        host.create(target, draft, WriteOptions::default()).await
    }

    async fn bind(&self, pod: &str, node: &str) -> Result<Object> {
        let target = json!({"kind": "Node", "name": node});
        let binding = json!({"metadata": {"name": pod}, "target": target});
        self.post::<Binding>(pod, Subresource::Binding, binding).await
    }

    async fn labels(&self, pod: &str) -> Value {
        let pod = self.client.named("pods").unwrap().get(&Key::new("a", pod)).await.unwrap();
        pod.to_value().unwrap()["metadata"]["labels"].clone()
    }
}

fn pod(name: &str, labels: Value, spec: Value) -> Value {
    let mut whole = json!({"containers": [{"name": "c", "image": "i"}]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": name, "namespace": "a", "labels": labels}, "spec": whole})
}

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";

#[tokio::test]
async fn pods_know_by_their_labels_where_they_are() {
    let world = World::new(|server| server).await;
    let labels = json!({ZONE: "z", REGION: "r", "topology.kubernetes.io/rack": "k", "disk": "ssd"});
    let node = json!({"metadata": {"name": "n", "labels": labels}});
    world.make::<Node>(node).await.unwrap();
    world.make::<Node>(json!({"metadata": {"name": "plain"}})).await.unwrap();
    world.make::<Pod>(pod("p", json!({"app": "x", ZONE: "elsewhere"}), json!({}))).await.unwrap();
    world.bind("p", "n").await.unwrap();
    assert_eq!(world.labels("p").await, json!({"app": "x", ZONE: "z", REGION: "r"}));
    world.make::<Pod>(pod("q", json!({}), json!({"nodeName": "n"}))).await.unwrap();
    assert_eq!(world.labels("q").await, json!({ZONE: "z", REGION: "r"}));
    for (name, node) in [("r", "plain"), ("s", "nowhere")] {
        world.make::<Pod>(pod(name, json!({"app": "x"}), json!({}))).await.unwrap();
        world.bind(name, node).await.unwrap();
        assert_eq!(world.labels(name).await, json!({"app": "x"}), "{node}");
    }
    let without =
        |server: ServerBuilder| server.disable_admission(["PodTopologyLabels".to_owned()]);
    let world = World::new(without).await;
    world.make::<Node>(json!({"metadata": {"name": "n", "labels": {ZONE: "z"}}})).await.unwrap();
    world.make::<Pod>(pod("p", json!({"app": "x"}), json!({}))).await.unwrap();
    world.bind("p", "n").await.unwrap();
    assert_eq!(world.labels("p").await, json!({"app": "x"}));
}

#[tokio::test]
async fn nothing_is_said_of_pods_of_a_namespace_that_goes_but_who_may_what_is_still_told() {
    let world = World::new(|server| server).await;
    world.make::<Pod>(pod("p", json!({}), json!({}))).await.unwrap();
    let namespaces = world.client.named("namespaces").unwrap();
    namespaces.delete(&Key::cluster("a"), DeleteOptions::default()).await.unwrap();
    let eviction = json!({"metadata": {"name": "p", "namespace": "a"}});
    let evicted = world.post::<Eviction>("p", Subresource::Eviction, eviction).await;
    let refused = [world.bind("p", "n").await.unwrap_err(), evicted.unwrap_err()];
    for error in refused {
        let why = "pods \"p\" is forbidden: unable to create new content in namespace a because it \
                   is being terminated";
        assert_eq!((error.code(), error.message()), (403, why));
        let causes = error.details().unwrap().causes.clone().unwrap();
        assert_eq!(causes[0].reason.as_deref(), Some("NamespaceTerminating"));
    }
    for namespace in ["a", "nowhere"] {
        let asked = json!({"namespace": namespace, "verb": "get", "resource": "pods"});
        let review = json!({"metadata": {"namespace": namespace},
            "spec": {"user": "jane", "resourceAttributes": asked}});
        let told = world.make::<LocalSubjectAccessReview>(review).await.unwrap();
        assert_eq!(told["status"]["allowed"], false);
    }
}

#[tokio::test]
async fn questions_are_asked_of_those_who_are_asked_about_writes() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let hook = AdmissionHook::mutating("test", move |mut request: Value| {
        counted.fetch_add(1, Ordering::Relaxed);
        let made = match request["object"]["spec"]["user"].as_str() {
            Some("root") => Ruling::Refuse("not about root".to_owned()),
            _ => {
                request["object"]["spec"]["groups"] = json!(["system:masters"]);
                Ruling::Change(request["object"].take())
            }
        };
        std::future::ready(Ok(made))
    });
    let world = World::new(|server| server.hook(hook.resources(["subjectaccessreviews"]))).await;
    let ask = async |user: &str| {
        let attributes = json!({"verb": "get", "resource": "pods"});
        let spec = json!({"user": user, "resourceAttributes": attributes});
        world.make::<SubjectAccessReview>(json!({ "spec": spec })).await
    };
    assert_eq!(ask("jane").await.unwrap()["status"]["allowed"], true, "it was made a master");
    let refused = ask("root").await.unwrap_err();
    assert_eq!(
        refused.message(),
        "subjectaccessreviews.authorization.k8s.io \"\" is forbidden: not about root"
    );
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_is_limited_is_used_only_where_a_quota_is_about_it() {
    let limited = json!([
        {"resource": "pods", "matchContains": ["requests.cpu"]},
        {"resource": "pods", "matchScopes": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["vip", "vvip"]}]},
        {"resource": "configmaps", "matchContains": ["count/"]},
        {"apiGroup": "apps", "resource": "deployments", "matchContains": ["count/"]},
    ]);
    let limited: Vec<LimitedResource> = serde_json::from_value(limited).unwrap();
    let world = World::new(|server| server.limited_resources(limited)).await;
    let classes = json!({"metadata": {"name": "vip"}, "value": 5});
    world.make::<k8s_openapi::api::scheduling::v1::PriorityClass>(classes).await.unwrap();
    let map = json!({"metadata": {"name": "m", "namespace": "a"}});
    let make_map = || world.make::<k8s_openapi::api::core::v1::ConfigMap>(map.clone());
    let wants = json!({"containers": [{"name": "c", "image": "i", "resources":
        {"requests": {"cpu": "1"}}}]});
    let vip = json!({"priorityClassName": "vip"});
    world.make::<Pod>(pod("free", json!({}), json!({}))).await.unwrap();
    let check = |result: Result<Value>, code: u16, expected: &str| {
        let error = result.unwrap_err();
        assert_eq!((error.code(), error.message()), (code, expected));
    };
    check(
        make_map().await,
        403,
        "configmaps \"m\" is forbidden: insufficient quota to consume: count/configmaps",
    );
    check(
        world.make::<Pod>(pod("wants", json!({}), wants.clone())).await,
        403,
        "pods \"wants\" is forbidden: insufficient quota to consume: requests.cpu",
    );
    check(
        world.make::<Pod>(pod("vip", json!({}), vip.clone())).await,
        500,
        "insufficient quota to match these scopes: [{PriorityClass In [vip vvip]}]",
    );
    let quota = |name: &str, hard: Value, more: Value| {
        let mut spec = json!({ "hard": hard });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let used: Value =
            hard.as_object().unwrap().keys().map(|key| (key.clone(), json!("0"))).collect();
        json!({"metadata": {"name": name, "namespace": "a"}, "spec": spec,
               "status": {"hard": hard, "used": used}})
    };
    let selector = json!({"scopeSelector": {"matchExpressions": [
        {"scopeName": "PriorityClass", "operator": "In", "values": ["vip"]}]}});
    let quotas = [
        quota("cpu", json!({"requests.cpu": "5", "count/configmaps": "5"}), json!({})),
        quota("vip", json!({"pods": "5"}), selector),
    ];
    for made in quotas {
        let status = made.clone();
        world.make::<k8s_openapi::api::core::v1::ResourceQuota>(made).await.unwrap();
        let api = world.client.named("resourcequotas").unwrap();
        let codec = api.resource().codec;
        let mut status = status;
        status["apiVersion"] = "v1".into();
        status["kind"] = "ResourceQuota".into();
        let draft = Draft::from_value(codec, status).unwrap();
        api.update_status(draft, WriteOptions::default()).await.unwrap();
    }
    make_map().await.unwrap();
    world.make::<Pod>(pod("wants", json!({}), wants)).await.unwrap();
    let both = json!({"priorityClassName": "vip", "containers": [{"name": "c", "image": "i",
        "resources": {"requests": {"cpu": "1"}}}]});
    world.make::<Pod>(pod("vip", json!({}), both)).await.unwrap();
}
