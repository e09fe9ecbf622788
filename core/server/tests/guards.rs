//! What nodes, approvers and signers may write, and what objects are made with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::sync::Arc;

use pinnace_api::patch::Patch;
use pinnace_api::{Catalog, Draft, Key, Object, Result};
use pinnace_client::{Client, DeleteOptions, WriteOptions};
use pinnace_env::Env;
use pinnace_server::{Attributes, Authorizer, Decision, Rules, Server, User};
use pinnace_store::Store;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

/// Allows everything but what a signer is asked for, and tokens of other audiences.
struct AllButSigners;

impl Authorizer for AllButSigners {
    fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let signs = asked.resource == "signers"
            && !asked
                .user
                .groups
                .iter()
                .any(|group| group == "signers" || group == "system:masters")
            && asked.name != "example.com/*";
        let asks = asked.verb == "request-serviceaccounts-token-audience";
        if signs || asks { Decision::Deny(String::new()) } else { Decision::Allow }
    }

    fn rules_for(&self, _: &User, _: &str) -> Rules {
        Rules::default()
    }
}

struct World {
    server: Server,
    host: Client,
    node: Client,
}

async fn world() -> World {
    let server = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1));
    let server = server.authorizer(AllButSigners).build();
    let node = User::new("system:node:a", ["system:nodes".to_owned()]);
    let world = World { host: server.client(User::host()), node: server.client(node), server };
    for name in ["default", "kube-node-lease"] {
        create(&world.host, "namespace", json!({"metadata": {"name": name}})).await.unwrap();
    }
    let account = json!({"metadata": {"name": "default"}});
    create(&world.host, "serviceaccount", account).await.unwrap();
    world
}

fn draft(client: &Client, kind: &str, mut object: Value) -> Draft {
    let api = client.named(kind).unwrap();
    object["apiVersion"] = api.resource().api_version().into();
    object["kind"] = (&*api.resource().kind).into();
    if api.resource().is_namespaced() && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = "default".into();
    }
    Draft::from_value(api.resource().codec, object).unwrap()
}

async fn create(client: &Client, kind: &str, object: Value) -> Result<Object> {
    let draft = draft(client, kind, object);
    client.named(kind)?.create(draft, WriteOptions::default()).await
}

async fn update(client: &Client, kind: &str, object: Value) -> Result<Object> {
    let draft = draft(client, kind, object);
    client.named(kind)?.update(draft, WriteOptions::default()).await
}

async fn status(client: &Client, kind: &str, object: Value) -> Result<Object> {
    let draft = draft(client, kind, object);
    client.named(kind)?.update_status(draft, WriteOptions::default()).await
}

fn check(result: Result<Object>, why: &str) {
    match (result, why) {
        (Ok(_), "") => {}
        (Ok(made), why) => panic!("{} was not refused: {why}", made.key()),
        (Err(error), why) => {
            assert!(!why.is_empty(), "{error}");
            assert_eq!(error.code(), 403, "{error}");
            assert!(error.message().ends_with(&format!("is forbidden: {why}")), "{error}");
        }
    }
}

fn pod(name: &str, node: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn a_new_node_waits_until_it_is_ready_and_claims_and_volumes_are_held() {
    let World { host, .. } = world().await;
    let taint = json!({"key": "x", "effect": "NoExecute"});
    let node = json!({"metadata": {"name": "a"}, "spec": {"taints": [taint]}});
    let made = create(&host, "node", node).await.unwrap().to_value().unwrap();
    let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    assert_eq!(made["spec"]["taints"], json!([taint, not_ready]));
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let made = create(&host, "persistentvolumeclaim", claim).await.unwrap();
    assert_eq!(made.meta().finalizers.as_deref().unwrap(), ["kubernetes.io/pvc-protection"]);
    let volume = json!({"metadata": {"name": "v", "finalizers": ["a.example/b"]},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                 "hostPath": {"path": "/v"}}});
    let made = create(&host, "persistentvolume", volume).await.unwrap();
    let held = made.meta().finalizers.as_deref().unwrap();
    assert_eq!(held, ["a.example/b", "kubernetes.io/pv-protection"]);
    let class = json!({"metadata": {"name": "fast"}, "driverName": "d", "parameters": {"a": "b"}});
    let made = create(&host, "volumeattributesclass", class).await.unwrap();
    assert_eq!(made.meta().finalizers.as_deref().unwrap(), ["kubernetes.io/vac-protection"]);
}

#[tokio::test]
async fn a_node_writes_itself_but_not_where_it_would_draw_pods() {
    let World { node, host, .. } = world().await;
    let named = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    let table = [
        (named("b", json!({})), "node \"a\" is not allowed to modify node \"b\""),
        (
            named("a", json!({"node-restriction.kubernetes.io/x": "1", "other.k8s.io/y": "1"})),
            "node \"a\" is not allowed to set the following labels: \
             node-restriction.kubernetes.io/x, other.k8s.io/y",
        ),
        (
            named(
                "a",
                json!({"kubernetes.io/hostname": "a", "topology.kubernetes.io/zone": "z",
                              "x.node.kubernetes.io/y": "1", "mine": "1"}),
            ),
            "",
        ),
    ];
    for (object, why) in table {
        check(create(&node, "node", object).await, why);
    }
    let api = node.named("node").unwrap();
    let stored = api.get(&Key::cluster("a")).await.unwrap().to_value().unwrap();
    let mut untainted = stored.clone();
    untainted["spec"]["taints"] = json!([]);
    let why = "node \"a\" is not allowed to modify taints";
    check(update(&node, "node", untainted.clone()).await, why);
    let mut owned = stored.clone();
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u"}]);
    let why = "node \"a\" is not allowed to modify ownerReferences";
    check(update(&node, "node", owned.clone()).await, why);
    let mut labelled = stored;
    labelled["metadata"]["labels"]["kubernetes.io/role"] = "x".into();
    let why = "is not allowed to modify labels: kubernetes.io/role";
    check(update(&node, "node", labelled).await, why);
    check(update(&host, "node", untainted).await, "");
    owned["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    check(update(&host, "node", owned).await, "");
    let lease =
        |namespace: &str, name: &str| json!({"metadata": {"name": name, "namespace": namespace}});
    let why = "can only access leases in the \"kube-node-lease\" system namespace";
    check(create(&node, "lease", lease("default", "a")).await, why);
    let why = "can only access node lease with the same name as the requesting node";
    check(create(&node, "lease", lease("kube-node-lease", "b")).await, why);
    check(create(&node, "lease", lease("kube-node-lease", "a")).await, "");
    let csi = |name: &str| json!({"metadata": {"name": name}, "spec": {"drivers": []}});
    let why = "can only access CSINode with the same name as the requesting node";
    check(create(&node, "csinode", csi("b")).await, why);
    check(create(&node, "csinode", csi("a")).await, "");
}

#[tokio::test]
async fn a_node_writes_only_of_pods_that_it_runs() {
    let World { node, host, .. } = world().await;
    let uid = create(&host, "node", json!({"metadata": {"name": "a"}})).await.unwrap();
    let uid = uid.uid().to_owned();
    let mirror = |change: &dyn Fn(&mut Value)| {
        let mut pod = pod("m", "a");
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Node",
            "name": "a", "uid": uid, "controller": true}]);
        change(&mut pod);
        pod
    };
    type Change = fn(&mut Value);
    let table: [(Change, &str); 8] = [
        (
            |pod| pod["metadata"]["annotations"] = json!({}),
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"a\" can only \
             create mirror pods",
        ),
        (
            |pod| pod["spec"]["nodeName"] = "b".into(),
            "node \"a\" can only create pods with spec.nodeName set to itself",
        ),
        (
            |pod| pod["metadata"]["ownerReferences"] = json!([]),
            "node \"a\" can only create pods with an owner reference set to itself",
        ),
        (
            |pod| pod["metadata"]["ownerReferences"][0]["controller"] = false.into(),
            "node \"a\" can only create pods with a controller owner reference set to itself",
        ),
        (
            |pod| pod["spec"]["serviceAccountName"] = "default".into(),
            "node \"a\" can not create pods that reference a service account",
        ),
        (
            |pod| pod["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "s"}}]),
            "node \"a\" can not create pods that reference secrets",
        ),
        (
            |pod| {
                pod["spec"]["volumes"] =
                    json!([{"name": "p", "persistentVolumeClaim": {"claimName": "c"}}]);
            },
            "node \"a\" can not create pods that reference persistentvolumeclaims",
        ),
        (|_| {}, ""),
    ];
    for (change, why) in table {
        check(create(&node, "pod", mirror(&change)).await, why);
    }
    for (name, on) in [("mine", "a"), ("other", "b")] {
        create(&host, "pod", pod(name, on)).await.unwrap();
    }
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    let api = node.named("pod").unwrap();
    let why = "node \"a\" can only update pod status for pods with spec.nodeName set to itself";
    let stored =
        async |name: &str| api.get(&Key::new("default", name)).await.unwrap().to_value().unwrap();
    let mut running = stored("other").await;
    running["status"]["phase"] = "Running".into();
    check(status(&node, "pod", running).await, why);
    let mut running = stored("mine").await;
    running["metadata"]["labels"] = json!({"x": "y"});
    let why = "node \"a\" cannot update labels through pod status";
    check(status(&node, "pod", running).await, why);
    let mut running = stored("mine").await;
    running["status"]["extendedResourceClaimStatus"] =
        json!({"resourceClaimName": "theirs", "requestMappings": []});
    let why = "node \"a\" cannot update extended resource claim status";
    check(status(&node, "pod", running).await, why);
    let mut running = stored("mine").await;
    running["status"]["phase"] = "Running".into();
    check(status(&node, "pod", running).await, "");
    let why = "unexpected operation \"UPDATE\", node \"a\" can only create and delete mirror pods";
    let mut labelled = stored("mine").await;
    labelled["metadata"]["labels"] = json!({"x": "y"});
    check(update(&node, "pod", labelled).await, why);
    let why = "node \"a\" can only delete pods with spec.nodeName set to itself";
    check(api.delete(&Key::new("default", "other"), now.clone()).await, why);
    check(api.delete(&Key::new("default", "mine"), now).await, "");
}

#[tokio::test]
async fn a_node_gets_tokens_only_for_pods_that_it_runs() {
    let World { node, host, .. } = world().await;
    let mut mine = pod("mine", "a");
    mine["spec"]["serviceAccountName"] = "default".into();
    mine["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [
        {"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}]);
    let mine = create(&host, "pod", mine).await.unwrap().uid().to_owned();
    let other = create(&host, "pod", pod("other", "b")).await.unwrap().uid().to_owned();
    let bound = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    let table = [
        (json!({}), "node requested token not bound to a pod"),
        (
            json!({"boundObjectRef": bound("mine", "")}),
            "node requested token with a pod binding without a uid",
        ),
        (
            json!({"boundObjectRef": bound("mine", "x")}),
            "the UID in the bound object reference (x) does not match the UID in record. The \
             object might have been deleted and then recreated",
        ),
        (
            json!({"boundObjectRef": bound("other", &other), "audiences": ["vault"]}),
            "node requested token bound to a pod scheduled on a different node",
        ),
        (
            json!({"boundObjectRef": bound("mine", &mine), "audiences": ["bank"]}),
            "audience \"bank\" not found in pod spec volume",
        ),
        (
            json!({"boundObjectRef": bound("mine", &mine), "audiences": ["bank", "vault"]}),
            "node may only request 0 or 1 audiences",
        ),
        (json!({"boundObjectRef": bound("mine", &mine), "audiences": ["vault"]}), ""),
    ];
    let api = node.of::<k8s_openapi::api::core::v1::ServiceAccount>().unwrap();
    for (spec, why) in table {
        let mut spec = spec;
        spec["audiences"] = spec.get("audiences").cloned().unwrap_or_else(|| json!([]));
        let request = serde_json::from_value(json!({ "spec": spec })).unwrap();
        let answer = api.token(&Key::new("default", "default"), request).await;
        check(answer.map(|token| token.object().clone()), why);
    }
}

fn request(common_name: &str, group: &str) -> String {
    use base64::Engine as _;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, group);
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    base64::prelude::BASE64_STANDARD.encode(pem)
}

fn signing(name: &str, signer: &str, request: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "request": request, "signerName": signer, "usages": ["digital signature", "client auth"]}})
}

#[tokio::test]
async fn certificates_are_for_those_who_may_and_decided_by_those_who_may() {
    let World { server, host, node } = world().await;
    let jane = server.client(User::new("jane", []));
    let signer = server.client(User::new("signer", ["signers".to_owned()]));
    let client = "kubernetes.io/kube-apiserver-client";
    let why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not \
               allowed";
    let kind = "certificatesigningrequest";
    check(create(&jane, kind, signing("m", client, &request("jane", "system:masters"))).await, why);
    check(create(&jane, kind, signing("d", client, &request("jane", "devs"))).await, "");
    let kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
    let nodes = |name: &str| request(name, "system:nodes");
    let why = "can only create a node CSR with CN=system:node:a";
    check(create(&node, kind, signing("n", kubelet, &nodes("system:node:b"))).await, why);
    check(create(&node, kind, signing("n", kubelet, &nodes("system:node:a"))).await, "");
    let example = "example.com/one";
    check(create(&jane, kind, signing("e", example, &request("x", "devs"))).await, "");

    let approve = async |by: &Client, name: &str| {
        let api = by.of::<k8s_openapi::api::certificates::v1::CertificateSigningRequest>().unwrap();
        let key = Key::cluster(name);
        let done = api.modify_approval(&key, |request| {
            let condition = json!([{"type": "Approved", "status": "True", "reason": "R"}]);
            let status = request.status.get_or_insert_default();
            status.conditions = serde_json::from_value(condition).unwrap();
            true
        });
        done.await.map(|done| done.object().clone())
    };
    let why = format!("user not permitted to approve requests with signerName {client:?}");
    check(approve(&jane, "d").await, &why);
    check(approve(&signer, "d").await, "");
    check(approve(&jane, "e").await, "");
    let sign = async |by: &Client, name: &str| {
        let api = host.named(kind).unwrap();
        let found = api.get(&Key::cluster(name)).await.unwrap();
        let mut found = found.to_value().unwrap();
        found["status"]["conditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "Failed", "status": "True", "reason": "R"}));
        status(by, kind, found).await
    };
    let why = format!("user not permitted to sign requests with signerName {client:?}");
    check(sign(&jane, "d").await, &why);
    check(sign(&signer, "d").await, "");
}

/// Asks for what is written of claims, and allows all else.
struct PartsOfClaims;

impl Authorizer for PartsOfClaims {
    fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let part = (&*asked.user.name, asked.subresource, asked.verb, asked.namespace, asked.name);
        let allowed = match part {
            ("binder", "binding", "patch", "", "") => true,
            ("driver", "driver", "arbitrary-node:patch", "default", "a.io") => true,
            (ROBOT, "driver", "associated-node:patch", "default", "b.io") => true,
            (_, part, ..) => !matches!(part, "binding" | "driver"),
        };
        if allowed { Decision::Allow } else { Decision::Deny(String::new()) }
    }
}

const ROBOT: &str = "system:serviceaccount:default:robot";

#[tokio::test]
async fn what_is_said_of_a_claim_is_said_by_who_may_say_it() {
    let server = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1));
    let server = server.authorizer(PartsOfClaims).build();
    let host = server.client(User::host());
    create(&host, "namespace", json!({"metadata": {"name": "default"}})).await.unwrap();
    let request = json!({"name": "r", "exactly": {"deviceClassName": "x"}});
    let claim = json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request]}}});
    create(&host, "resourceclaim", claim).await.unwrap();
    let write = async |by: User, status: Value| {
        let api = server.client(by).named("resourceclaim").unwrap();
        let patch = Patch::Merge(json!({"status": status}));
        let key = Key::new("default", "c");
        let written = api.patch_status(&key, patch, WriteOptions::default()).await;
        written.map_err(|error| (error.code(), error.message().to_owned()))
    };
    let user = |name: &str| User::new(name, []);
    let robot = |node: &str| {
        let key = "authentication.kubernetes.io/node-name".to_owned();
        User { extra: Arc::new([(key, vec![node.to_owned()])].into()), ..user(ROBOT) }
    };
    let refused = |answer: Result<Object, (u16, String)>, why: &str| {
        let (code, message) = answer.unwrap_err();
        assert!(code == 422 && message.contains(why), "{message}");
    };
    let device = |driver: &str| json!({"driver": driver, "pool": "p", "device": "d"});
    let result = |driver: &str| {
        let mut result = device(driver);
        result["request"] = "r".into();
        result
    };
    let term =
        json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
    let bound = json!({"allocation": {"devices": {"results": [result("a.io"), result("b.io")]},
                       "nodeSelector": {"nodeSelectorTerms": [term]}}});
    let why = "status.allocation: Forbidden: changing status.allocation or status.reservedFor requires \
               resource=\"resourceclaims/binding\", verb=\"patch\" permission: \
               resourceclaims.resource.k8s.io is forbidden: User \"driver\" cannot patch resource \
               \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope";
    refused(write(user("driver"), bound.clone()).await, why);
    write(user("binder"), bound).await.unwrap();

    let a = json!({"devices": [device("a.io")]});
    let why = "status.devices: Forbidden: changing status.devices requires \
               resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:patch]\" permission: \
               resourceclaims.resource.k8s.io \"a.io\" is forbidden: User \"binder\" cannot \
               arbitrary-node:patch resource \"resourceclaims/driver\"";
    refused(write(user("binder"), a.clone()).await, why);
    write(user("driver"), a).await.unwrap();
    let both = json!({"devices": [device("a.io"), device("b.io")]});
    let why = "verb=\"[arbitrary-node:patch]\"";
    refused(write(robot("m"), both.clone()).await, why);
    write(robot("n"), both.clone()).await.unwrap();
    // What changes nothing of that is not asked about, and what goes is.
    write(user("jane"), both).await.unwrap();
    let why = "\"[associated-node:patch arbitrary-node:patch]\"";
    refused(write(robot("n"), json!({"devices": [device("b.io")]})).await, why);
}
