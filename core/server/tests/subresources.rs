//! Parts of objects, and what is done to objects through them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use pinnace_api::patch::Patch;
use pinnace_api::{Catalog, Draft, Key, Kind, Object, Result, Subresource};
use pinnace_client::{Api, Client, Target, Transport as _, Warnings, WriteOptions};
use pinnace_env::Env;
use pinnace_server::authentication::SigningKey;
use pinnace_server::{InProcess, Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};

struct Fixture {
    client: Client,
    transport: InProcess,
}

impl Fixture {
    async fn new() -> Self {
        let env = Env::simulated(1);
        let builder = Server::builder(Store::memory(), Catalog::builtin(), env);
        let server = builder.signing_key(SigningKey::generate().unwrap()).build();
        let client = server.client(User::host());
        let namespace = from(json!({"metadata": {"name": "default"}}));
        client.of::<Namespace>().unwrap().create(namespace).await.unwrap();
        Self { client, transport: InProcess::new(server, User::host()) }
    }

    fn pods(&self) -> Api<Pod> {
        self.client.of().unwrap()
    }

    async fn pod(&self, name: &str, phase: &str, ready: &str) {
        let pod = from(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "a"}},
            "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 0,
                     "containers": [{"name": "c", "image": "i"}]}
        }));
        self.pods().create(pod).await.unwrap();
        let status = json!({"phase": phase, "conditions": [{"type": "Ready", "status": ready}]});
        let patch = Patch::Merge(json!({"status": status}));
        let options = WriteOptions::default();
        self.pods().dynamic().patch_status(&key(name), patch, options).await.unwrap();
    }

    async fn budget(&self, policy: Value, status: Value) {
        let budgets: Api<PodDisruptionBudget> = self.client.of().unwrap();
        let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}},
                          "unhealthyPodEvictionPolicy": policy});
        let meta = json!({"name": "b", "namespace": "default"});
        budgets.create(from(json!({"metadata": meta, "spec": spec}))).await.unwrap();
        let patch = Patch::Merge(json!({"status": status}));
        let options = WriteOptions::default();
        budgets.dynamic().patch_status(&key("b"), patch, options).await.unwrap();
    }

    fn part<K>(&self, name: &str, part: Subresource) -> Target
    where
        K: Kind + k8s_openapi::Resource,
    {
        Target::part(self.client.catalog().of::<K>().unwrap(), key(name), part)
    }

    async fn evict(&self, name: &str) -> Result<Object> {
        let eviction: Eviction = from(json!({"metadata": {"name": name, "namespace": "default"}}));
        let target = self.part::<Pod>(name, Subresource::Eviction);
        self.transport.create(target, Draft::new(eviction), WriteOptions::default()).await
    }

    async fn patch_part(&self, part: Subresource, patch: Value) -> Result<Object> {
        let target = self.part::<Pod>("p", part);
        let patch = Patch::StrategicMerge(patch);
        self.transport.patch(target, patch, WriteOptions::default()).await
    }
}

fn from<K: Kind>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let status = |observed: i64, allowed: i32, healthy: i32| {
        json!({"observedGeneration": observed, "disruptionsAllowed": allowed,
               "currentHealthy": healthy, "desiredHealthy": 1, "expectedPods": 1})
    };
    let needs = "The disruption budget b needs 1 healthy pods and has 1 currently";
    let late = "The disruption budget b is still being processed by the server.";
    let cases = [
        ("Running", "True", Value::Null, status(1, 1, 1), ""),
        ("Running", "True", Value::Null, status(1, 0, 1), needs),
        ("Running", "True", Value::Null, status(0, 1, 1), late),
        ("Running", "False", Value::Null, status(1, 0, 1), ""),
        (
            "Running",
            "False",
            Value::Null,
            status(1, 0, 0),
            "The disruption budget b needs 1 healthy pods and has 0 currently",
        ),
        ("Running", "False", json!("AlwaysAllow"), status(1, 0, 0), ""),
        ("Pending", "False", Value::Null, status(1, 0, 0), ""),
        ("Succeeded", "False", Value::Null, status(1, 0, 0), ""),
    ];
    for (phase, ready, policy, status, cause) in cases {
        let fixture = Fixture::new().await;
        fixture.pod("p", phase, ready).await;
        fixture.budget(policy, status.clone()).await;
        let done = fixture.evict("p").await;
        let left = fixture.pods().find(&key("p")).await.unwrap().is_some();
        if cause.is_empty() {
            done.unwrap();
            assert!(!left, "{phase} {ready} {status}");
            continue;
        }
        let error = done.unwrap_err();
        assert_eq!(error.code(), 429);
        let text = "Cannot evict pod as it would violate the pod's disruption budget.";
        assert_eq!(error.message(), text);
        let causes = error.details().unwrap().causes.clone().unwrap();
        assert_eq!(causes[0].reason.as_deref(), Some("DisruptionBudget"));
        assert_eq!(causes[0].message.as_deref(), Some(cause));
        assert!(left);
    }
}

#[tokio::test]
async fn an_eviction_is_charged_to_the_budget() {
    let fixture = Fixture::new().await;
    fixture.pod("p", "Running", "True").await;
    let status = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2,
                        "desiredHealthy": 1, "expectedPods": 2});
    fixture.budget(Value::Null, status).await;
    let gone = fixture.evict("p").await.unwrap();
    let conditions = gone.get::<Pod>().unwrap().status.clone().unwrap().conditions.unwrap();
    let told = conditions.iter().find(|one| one.type_ == "DisruptionTarget").unwrap();
    assert_eq!(told.reason.as_deref(), Some("EvictionByEvictionAPI"));
    let budgets: Api<PodDisruptionBudget> = fixture.client.of().unwrap();
    let budget = budgets.get(&key("b")).await.unwrap();
    let status = budget.status.as_ref().unwrap();
    assert_eq!(status.disruptions_allowed, Some(0));
    assert!(status.disrupted_pods.as_ref().unwrap().contains_key("p"));
    assert_eq!(status.conditions.as_ref().unwrap()[0].reason, "InsufficientPods");
    assert_eq!(fixture.evict("gone").await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn ephemeral_containers_are_added_and_nothing_else_changes() {
    let fixture = Fixture::new().await;
    fixture.pod("p", "Running", "True").await;
    let part = Subresource::EphemeralContainers;
    let debugger = json!({"name": "d", "image": "busybox"});
    let patch = json!({"metadata": {"labels": {"x": "y"}}, "spec": {
        "ephemeralContainers": [debugger], "containers": [{"name": "c", "image": "other"}]}});
    let added = fixture.patch_part(part, patch).await.unwrap();
    let pod = added.get::<Pod>().unwrap();
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!(spec.ephemeral_containers.as_ref().unwrap().len(), 1);
    assert_eq!(spec.containers[0].image.as_deref(), Some("i"));
    assert_eq!(
        (pod.metadata.labels.as_ref().unwrap().len(), pod.metadata.generation),
        (1, Some(2))
    );
    for (change, what) in [
        (json!({"$patch": "delete", "name": "d"}), "removed"),
        (json!({"name": "d", "image": "x"}), "changed"),
    ] {
        let patch = json!({"spec": {"ephemeralContainers": [change]}});
        let error = fixture.patch_part(part, patch).await.unwrap_err();
        let part = format!("existing ephemeral containers \"d\" may not be {what}");
        assert!(error.message().contains(&part), "{error}");
    }
}

#[tokio::test]
async fn a_resize_changes_resources_and_not_the_class() {
    let fixture = Fixture::new().await;
    let pod = from(json!({
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
        ]}
    }));
    fixture.pods().create(pod).await.unwrap();
    let patch = |resources: Value| json!({"spec": {"containers": [{"name": "c", "image": "x", "resources": resources}]}});
    let more = patch(json!({"requests": {"cpu": "2"}}));
    let resized = fixture.patch_part(Subresource::Resize, more).await.unwrap();
    let container = &resized.get::<Pod>().unwrap().spec.as_ref().unwrap().containers[0];
    assert_eq!(container.image.as_deref(), Some("i"));
    assert_eq!(container.resources.as_ref().unwrap().requests.as_ref().unwrap()["cpu"].0, "2");
    let cases = [
        (
            json!({"requests": {"ephemeral-storage": "1Gi"}}),
            "only cpu and memory resources are mutable",
        ),
        (
            json!({"requests": {"cpu": null}}),
            "Pod QOS Class may not change as a result of resizing",
        ),
    ];
    for (resources, part) in cases {
        let error = fixture.patch_part(Subresource::Resize, patch(resources)).await.unwrap_err();
        assert!(error.message().contains(part), "{error}");
    }
    let whole = json!({"spec": {"resources": {"requests": {"cpu": "3"}}}});
    let resized = fixture.patch_part(Subresource::Resize, whole).await.unwrap();
    let whole = resized.get::<Pod>().unwrap().spec.as_ref().unwrap().resources.clone().unwrap();
    assert_eq!(whole.requests.unwrap()["cpu"].0, "3", "the pod as a whole");
}

#[tokio::test]
async fn a_request_for_a_certificate_says_who_asks_and_is_approved_apart() {
    let fixture = Fixture::new().await;
    let requests: Api<CertificateSigningRequest> = fixture.client.of().unwrap();
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0=";
    let made = requests
        .create(from(json!({"metadata": {"name": "r"}, "spec": {
            "request": pem, "signerName": "example.com/s", "usages": ["client auth"],
            "username": "somebody else"}})))
        .await
        .unwrap();
    assert_eq!(made.spec.username.as_deref(), Some("pinnace:host"));
    let resource = fixture.client.catalog().of::<CertificateSigningRequest>().unwrap();
    let target = Target::part(resource, Key::cluster("r"), Subresource::Approval);
    let condition = json!({"type": "Approved", "status": "True", "reason": "Test"});
    let patch = |status: Value| Patch::Merge(json!({"status": status}));
    let approve = patch(json!({"conditions": [condition], "certificate": "AAAA"}));
    let options = WriteOptions::default;
    let approved = fixture.transport.patch(target.clone(), approve, options()).await.unwrap();
    let status = approved.get::<CertificateSigningRequest>().unwrap().status.clone().unwrap();
    assert!(status.certificate.is_none());
    assert!(status.conditions.unwrap()[0].last_update_time.is_some());
    let error = fixture.transport.patch(target, patch(json!({"conditions": []})), options()).await;
    let error = error.unwrap_err();
    assert!(error.message().contains("may not remove a condition of type \"Approved\""), "{error}");
}

#[tokio::test]
async fn a_pod_runs_as_an_account_and_has_its_token_where_there_are_tokens() {
    let fixture = Fixture::new().await;
    let pod = |spec: Value| {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
        from::<Pod>(
            json!({"metadata": {"generateName": "p", "namespace": "default"}, "spec": spec}),
        )
    };
    let made = fixture.pods().create(pod(json!({}))).await.unwrap();
    let spec = made.spec.as_ref().unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    let volume = &spec.volumes.as_ref().unwrap()[0];
    assert!(volume.name.starts_with("kube-api-access-"));
    let mount = &spec.containers[0].volume_mounts.as_ref().unwrap()[0];
    assert_eq!((&mount.name, mount.read_only), (&volume.name, Some(true)));
    let without = pod(json!({"automountServiceAccountToken": false}));
    let made = fixture.pods().create(without).await.unwrap();
    assert!(made.spec.as_ref().unwrap().volumes.is_none());
    let gone = fixture.pods().create(pod(json!({"serviceAccountName": "x"}))).await.unwrap_err();
    let part = "error looking up service account default/x: serviceaccount \"x\" not found";
    assert!(gone.message().contains(part), "{gone}");
}

#[tokio::test]
async fn a_mirror_of_a_nodes_pod_refers_to_nothing_that_is_secret() {
    let fixture = Fixture::new().await;
    let volume =
        |source: Value| json!({"volumes": [{"name": "v", "projected": {"sources": [source]}}]});
    let variable = json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    let rows = [
        (
            json!({"serviceAccountName": "default"}),
            "a mirror pod may not reference service accounts",
        ),
        (json!({"imagePullSecrets": [{"name": "s"}]}), "a mirror pod may not reference secrets"),
        (
            json!({"containers": [{"name": "c", "image": "i", "env": variable}]}),
            "a mirror pod may not reference secrets",
        ),
        (
            volume(json!({"serviceAccountToken": {"path": "t"}})),
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
        (volume(json!({"configMap": {"name": "m"}})), ""),
    ];
    for (mut spec, why) in rows {
        spec["nodeName"] = "n".into();
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "c", "image": "i"}]);
        }
        let metadata = json!({"generateName": "p", "namespace": "default",
            "annotations": {"kubernetes.io/config.mirror": "x"}});
        let made = fixture.pods().create(from(json!({"metadata": metadata, "spec": spec}))).await;
        match why {
            "" => assert_eq!(made.unwrap().spec.as_ref().unwrap().service_account_name, None),
            why => assert!(made.unwrap_err().message().contains(why), "{spec}"),
        }
    }
}

#[tokio::test]
async fn pods_of_an_account_refer_to_its_secrets_alone_where_it_says_so() {
    let fixture = Fixture::new().await;
    let account = json!({"metadata": {"name": "strict", "namespace": "default",
        "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "mine"}], "imagePullSecrets": [{"name": "pull"}]});
    fixture.client.of::<ServiceAccount>().unwrap().create(from(account)).await.unwrap();
    let tail = "is not allowed because service account strict does not reference that";
    let env = |name: &str| json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]);
    let from_all = |name: &str| json!([{"secretRef": {"name": name}}]);
    let volume = |name: &str| json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]});
    let container = |more: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"containers": [container]})
    };
    let mut init = container(json!({}));
    init["initContainers"] = json!([{"name": "i", "image": "i", "envFrom": from_all("other")}]);
    let rows = [
        (volume("other"), format!("volume with secret.secretName=\"other\" {tail} secret")),
        (volume("mine"), String::new()),
        (
            container(json!({"env": env("other")})),
            format!(
                "container c with envVar E referencing secret.secretName=\"other\" {tail} secret"
            ),
        ),
        (
            init,
            format!(
                "init container i with envFrom referencing secret.secretName=\"other\" {tail} secret"
            ),
        ),
        (
            json!({"imagePullSecrets": [{"name": "pull"}, {"name": "mine"}]}),
            format!("imagePullSecrets[1].name=\"mine\" {tail} imagePullSecret"),
        ),
    ];
    let pod = async |name: &str, mut spec: Value, account: &str| {
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "c", "image": "i"}]);
        }
        spec["serviceAccountName"] = account.into();
        let metadata = json!({"name": name, "namespace": "default"});
        fixture.pods().create(from(json!({"metadata": metadata, "spec": spec}))).await
    };
    for (at, (spec, why)) in rows.into_iter().enumerate() {
        let made = pod(&format!("p{at}"), spec.clone(), "strict").await;
        match &*why {
            "" => drop(made.unwrap()),
            why => assert!(made.unwrap_err().message().contains(why), "{spec}"),
        }
        pod(&format!("q{at}"), spec, "default").await.unwrap();
    }
    pod("p", json!({}), "strict").await.unwrap();
    let later = |name: &str| json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "env": env(name)}]}});
    let refused = fixture.patch_part(Subresource::EphemeralContainers, later("other")).await;
    let why = format!(
        "ephemeral container e with envVar E referencing secret.secretName=\"other\" {tail} secret"
    );
    assert!(refused.unwrap_err().message().contains(&why));
    fixture.patch_part(Subresource::EphemeralContainers, later("mine")).await.unwrap();
}

#[tokio::test]
async fn an_update_makes_what_is_not_there_where_upstream_allows_it() {
    let fixture = Fixture::new().await;
    let leases: Api<Lease> = fixture.client.of().unwrap();
    let lease = || from::<Lease>(json!({"metadata": {"name": "l", "namespace": "default"}}));
    leases.update(lease()).await.unwrap();
    let error = leases.update(lease()).await.unwrap_err();
    assert!(
        error.message().contains(
            "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
        ),
        "{error}"
    );
    let pod = from(json!({"metadata": {"name": "p", "namespace": "default"},
                          "spec": {"containers": [{"name": "c", "image": "i"}]}}));
    assert_eq!(fixture.pods().update(pod).await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn a_write_warns_of_what_is_most_often_a_mistake() {
    let fixture = Fixture::new().await;
    let pod: Pod = from(json!({
        "metadata": {"name": "a.b", "namespace": "default", "finalizers": ["x.y/z", "x"]},
        "spec": {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "c", "image": "i",
                "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80}]}]
        }
    }));
    let options = WriteOptions { warnings: Warnings::collect(), ..WriteOptions::default() };
    let warnings = options.warnings.clone();
    fixture.pods().dynamic().create(Draft::new(pod), options).await.unwrap_err();
    assert_eq!(warnings.take(), Vec::<String>::new(), "what is refused is not warned of");
    let pod: Pod = from(json!({
        "metadata": {"name": "a.b", "namespace": "default", "finalizers": ["x.y/z"]},
        "spec": {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "c", "image": "i",
                "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80}]}]
        }
    }));
    let options = WriteOptions { warnings: warnings.clone(), ..WriteOptions::default() };
    fixture.pods().dynamic().create(Draft::new(pod), options).await.unwrap();
    let said = warnings.take();
    assert!(said[0].starts_with("metadata.name: this is used in the Pod's hostname"), "{said:?}");
    assert_eq!(
        said[1..],
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \
             \"kubernetes.io/os\" instead",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be unexpected",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ]
    );
}
