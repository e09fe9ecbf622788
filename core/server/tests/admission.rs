//! The rules that every server has for what may be written.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::patch::Patch;
use pinnace_api::{Catalog, Draft, Key, Object, Result};
use pinnace_client::{Client, WriteOptions};
use pinnace_env::Env;
use pinnace_server::{Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};

async fn client() -> Client {
    let server = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1)).build();
    let client = server.client(User::host());
    create(&client, "namespace", json!({"metadata": {"name": "default"}})).await.unwrap();
    client
}

async fn create(client: &Client, kind: &str, mut object: Value) -> Result<Object> {
    let api = client.named(kind)?;
    if api.resource().is_namespaced() {
        object["metadata"]["namespace"] = "default".into();
    }
    object["apiVersion"] = api.resource().api_version().into();
    object["kind"] = (&*api.resource().kind).into();
    let draft = Draft::from_value(api.resource().codec, object)?;
    api.create(draft, WriteOptions::default()).await
}

fn pod(spec: Value) -> Value {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
    }
    json!({"metadata": {"name": "p"}, "spec": spec})
}

fn check_error(result: Result<Object>, part: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), 403, "{error}");
    assert!(error.message().contains(part), "{:?} lacks {part:?}", error.message());
}

#[tokio::test(start_paused = true)]
async fn what_names_no_class_gets_the_default_one() {
    let client = client().await;
    let class = |name: &str, mark: &str| {
        json!({
            "metadata": {"name": name, "annotations": {mark: "true"}},
            "provisioner": "x.y/z", "spec": {"controller": "x.y/z"}
        })
    };
    let claim = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let ingress = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {
        "defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}})
    };
    let class_of = |object: &Object, field: &str| object.to_value().unwrap()["spec"][field].clone();

    let before = create(&client, "persistentvolumeclaim", claim("a")).await.unwrap();
    assert_eq!(class_of(&before, "storageClassName"), Value::Null);
    let mark = "storageclass.kubernetes.io/is-default-class";
    create(&client, "storageclass", class("b", mark)).await.unwrap();
    create(&client, "storageclass", class("a", mark)).await.unwrap();
    let after = create(&client, "persistentvolumeclaim", claim("b")).await.unwrap();
    assert_eq!(class_of(&after, "storageClassName"), "a", "the first by name of those as new");
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    create(&client, "storageclass", class("z", mark)).await.unwrap();
    let newest = create(&client, "persistentvolumeclaim", claim("c")).await.unwrap();
    assert_eq!(class_of(&newest, "storageClassName"), "z");
    let mut none = claim("d");
    none["spec"]["storageClassName"] = "".into();
    let none = create(&client, "persistentvolumeclaim", none).await.unwrap();
    assert_eq!(class_of(&none, "storageClassName"), "", "that is to have none");

    let mark = "ingressclass.kubernetes.io/is-default-class";
    create(&client, "ingressclass", class("web", mark)).await.unwrap();
    let made = create(&client, "ingress", ingress("i")).await.unwrap();
    assert_eq!(class_of(&made, "ingressClassName"), "web");
}

#[tokio::test]
async fn a_runtime_says_what_it_costs_and_where_it_is() {
    let client = client().await;
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm",
        "overhead": {"podFixed": {"memory": "100Mi"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [
            {"key": "vm", "operator": "Exists"},
            {"key": "slow", "operator": "Equal", "value": "x", "effect": "NoSchedule"}]}});
    create(&client, "runtimeclass", class).await.unwrap();
    let made = create(&client, "pod", pod(json!({"runtimeClassName": "vm"}))).await.unwrap();
    let spec = made.to_value().unwrap()["spec"].clone();
    assert_eq!(spec["overhead"]["memory"], "100Mi");
    assert_eq!(spec["nodeSelector"]["vm"], "yes");
    // What the class tolerates and what the pod does stand once, however the overhead is written.
    let mine = json!([
        {"key": "vm", "operator": "Equal", "value": "big", "effect": "NoSchedule"},
        {"key": "slow", "operator": "Exists"},
    ]);
    let mut same = pod(json!({"runtimeClassName": "vm", "overhead": {"memory": "104857600"},
                              "tolerations": mine}));
    same["metadata"]["name"] = "same".into();
    let made = create(&client, "pod", same).await.unwrap().to_value().unwrap();
    let tolerations = made["spec"]["tolerations"].as_array().unwrap().iter();
    let shown = tolerations.map(|one| format!("{} {}", one["key"], one["operator"]));
    let shown: Vec<_> = shown.filter(|one| !one.contains("node.kubernetes.io")).collect();
    assert_eq!(shown, ["\"slow\" \"Exists\"", "\"vm\" \"Exists\""]);
    let cases = [
        (
            json!({"runtimeClassName": "vm", "overhead": {"memory": "1Mi"}}),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (json!({"runtimeClassName": "x"}), "pod rejected: RuntimeClass \"x\" not found"),
        (
            json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
        ),
        (
            json!({"overhead": {"memory": "1Mi"}}),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
    ];
    for (spec, part) in cases {
        check_error(create(&client, "pod", pod(spec)).await, part);
    }
}

#[tokio::test]
async fn tolerations_of_failing_nodes_come_back_when_a_change_leaves_them_out() {
    let client = client().await;
    create(&client, "pod", pod(json!({}))).await.unwrap();
    let pods = client.named("pod").unwrap();
    let other = json!([{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]);
    let patch = Patch::Merge(json!({"spec": {"tolerations": other}}));
    let options = WriteOptions::default();
    let patched = pods.patch(&Key::new("default", "p"), patch, options).await.unwrap();
    let patched = patched.to_value().unwrap();
    let tolerations = patched["spec"]["tolerations"].as_array().unwrap().iter();
    let keys: Vec<_> = tolerations.map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
}

#[tokio::test]
async fn limit_ranges_fill_in_and_refuse() {
    let client = client().await;
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"},
         "min": {"cpu": "50m"}, "max": {"cpu": "1"}},
        {"type": "Pod", "max": {"cpu": "1500m"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}
    ]}});
    create(&client, "limitrange", range).await.unwrap();
    let made = create(&client, "pod", pod(json!({}))).await.unwrap().to_value().unwrap();
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let with = |limits: &[&str]| {
        let container = |(index, cpu)| {
            json!({"name": format!("c{index}"), "image": "i", "resources": {
                "requests": {"cpu": cpu}, "limits": {"cpu": cpu}}})
        };
        let containers: Vec<_> = limits.iter().enumerate().map(container).collect();
        json!({"metadata": {"name": "q"}, "spec": {"containers": containers}})
    };
    let cases = [
        (with(&["2"]), "maximum cpu usage per Container is 1, but limit is 2"),
        (with(&["10m"]), "minimum cpu usage per Container is 50m, but request is 10m"),
        (with(&["1", "1"]), "maximum cpu usage per Pod is 1500m, but limit is 2"),
    ];
    for (pod, part) in cases {
        check_error(create(&client, "pod", pod).await, part);
    }
    let claim = json!({"metadata": {"name": "small"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}});
    let part = "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi";
    check_error(create(&client, "persistentvolumeclaim", claim).await, part);
}

#[tokio::test]
async fn limit_ranges_look_at_sidecars_at_the_whole_and_at_what_grows() {
    let client = client().await;
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Pod", "max": {"cpu": "2"}, "maxLimitRequestRatio": {"memory": "2"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}}
    ]}});
    create(&client, "limitrange", range).await.unwrap();
    let container = |name: &str, cpu: &str| {
        json!({"name": name, "image": "i", "resources": {
        "requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"cpu": cpu, "memory": "1Gi"}}})
    };
    let spec = |name: &str, main: &str, init: Value| {
        json!({"metadata": {"name": name}, "spec": {
        "containers": [container("c", main)], "initContainers": [init]}})
    };
    let mut sidecar = container("s", "1500m");
    create(&client, "pod", spec("one-by-one", "1", sidecar.clone())).await.unwrap();
    sidecar["restartPolicy"] = "Always".into();
    let why = "maximum cpu usage per Pod is 2, but limit is 2500m";
    check_error(create(&client, "pod", spec("beside", "1", sidecar)).await, why);
    let mut whole = spec("whole", "1", container("i", "1"));
    whole["spec"]["resources"] = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "3"}});
    let why = "maximum cpu usage per Pod is 2, but limit is 3";
    check_error(create(&client, "pod", whole).await, why);

    let pods = client.of::<Pod>().unwrap();
    let key = Key::new("default", "one-by-one");
    let resize = async |cpu: &str| {
        let resources = json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
        let containers = json!([{"name": "c", "resources": resources}]);
        let patch = Patch::StrategicMerge(json!({"spec": {"containers": containers}}));
        pods.resize(&key, patch).await.map(|pod| pod.object().clone())
    };
    resize("2").await.unwrap();
    check_error(resize("3").await, "maximum cpu usage per Pod is 2, but limit is 3");

    let class = json!({"metadata": {"name": "s"}, "provisioner": "x.y/z",
                       "allowVolumeExpansion": true});
    create(&client, "storageclass", class).await.unwrap();
    let claim = json!({"metadata": {"name": "c"}, "spec": {"storageClassName": "s",
        "volumeName": "v", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    create(&client, "persistentvolumeclaim", claim).await.unwrap();
    let (claims, key) = (client.named("persistentvolumeclaim").unwrap(), Key::new("default", "c"));
    let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    claims.patch_status(&key, bound, WriteOptions::default()).await.unwrap();
    let grow = async |size: &str| {
        let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        claims.patch(&key, Patch::Merge(patch), WriteOptions::default()).await
    };
    let why = "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi";
    check_error(grow("3Gi").await, why);
    grow("2Gi").await.unwrap();
}

#[tokio::test]
async fn priorities_are_those_of_classes() {
    let client = client().await;
    let class = |name: &str, value: i32, more: Value| {
        let mut class = json!({"metadata": {"name": name}, "value": value});
        class.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        class
    };
    let never = json!({"preemptionPolicy": "Never"});
    create(&client, "priorityclass", class("high", 100, never)).await.unwrap();
    let check = async |name: &str, spec: Value, expected: Value| {
        let mut object = pod(spec);
        object["metadata"]["name"] = name.into();
        let made = create(&client, "pod", object).await;
        match expected.as_str() {
            Some(why) => check_error(made, why),
            None => {
                let spec = made.unwrap().to_value().unwrap()["spec"].take();
                let found =
                    json!([spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]]);
                assert_eq!(found, expected, "{name}");
            }
        }
    };
    let lower = "PreemptLowerPriority";
    check("none", json!({}), json!([null, 0, lower])).await;
    check("high", json!({"priorityClassName": "high"}), json!(["high", 100, "Never"])).await;
    let system = json!({"priorityClassName": "system-node-critical"});
    check("system", system, json!(["system-node-critical", 2_000_001_000, lower])).await;
    let unknown = json!({"priorityClassName": "low"});
    check("unknown", unknown, json!("no PriorityClass with name low was found")).await;
    let given = json!({"priorityClassName": "high", "priority": 7});
    let why = "the integer value of priority (7) must not be provided in pod spec; priority admission \
               controller computed 100 from the given PriorityClass name";
    check("given", given, json!(why)).await;
    let policy = json!({"priorityClassName": "high", "preemptionPolicy": lower});
    let why = "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod \
               spec; priority admission controller computed Never from the given PriorityClass name";
    check("policy", policy, json!(why)).await;

    let default = || json!({"globalDefault": true});
    create(&client, "priorityclass", class("usual", 10, default())).await.unwrap();
    check("usual", json!({}), json!(["usual", 10, lower])).await;
    let why = "PriorityClass usual is already marked as default. Only one default can exist";
    check_error(create(&client, "priorityclass", class("other", 5, default())).await, why);
    let classes = client.named("priorityclass").unwrap();
    let patch = async |name: &str, change: Value| {
        classes.patch(&Key::cluster(name), Patch::Merge(change), WriteOptions::default()).await
    };
    check_error(patch("high", default()).await, why);
    patch("usual", json!({"description": "as ever", "globalDefault": true})).await.unwrap();
    patch("usual", json!({"globalDefault": false})).await.unwrap();
    patch("high", json!({"globalDefault": true})).await.unwrap();
    check("new", json!({}), json!(["high", 100, "Never"])).await;

    // What was resolved stays when a pod is written as it was asked for.
    let pods = client.named("pod").unwrap();
    let mut asked = pods.get(&Key::new("default", "usual")).await.unwrap().to_value().unwrap();
    for field in ["priority", "preemptionPolicy"] {
        asked["spec"].as_object_mut().unwrap().remove(field);
    }
    asked["metadata"]["labels"] = json!({"a": "b"});
    let draft = Draft::from_value(pods.resource().codec, asked).unwrap();
    let kept = pods.update(draft, WriteOptions::default()).await.unwrap().to_value().unwrap();
    assert_eq!(kept["spec"]["priority"], 10);
    assert_eq!(kept["spec"]["preemptionPolicy"], lower);
}

#[tokio::test]
async fn a_claim_grows_where_its_class_allows() {
    for (allowed, bound, expected) in [
        (true, true, ""),
        (true, false, "Only bound persistent volume claims can be expanded"),
        (false, true, "only dynamically provisioned pvc can be resized"),
    ] {
        let client = client().await;
        let class = json!({"metadata": {"name": "s"}, "provisioner": "x.y/z",
                           "allowVolumeExpansion": allowed});
        create(&client, "storageclass", class).await.unwrap();
        let claim = json!({"metadata": {"name": "c"}, "spec": {"storageClassName": "s",
            "volumeName": "v",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        create(&client, "persistentvolumeclaim", claim).await.unwrap();
        let claims = client.named("persistentvolumeclaim").unwrap();
        let key = Key::new("default", "c");
        let phase = if bound { "Bound" } else { "Pending" };
        let status = Patch::Merge(json!({"status": {"phase": phase}}));
        claims.patch_status(&key, status, WriteOptions::default()).await.unwrap();
        let spec = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let grown = claims.patch(&key, Patch::Merge(spec), WriteOptions::default()).await;
        match expected {
            "" => drop(grown.unwrap()),
            part => check_error(grown, part),
        }
    }
}

#[tokio::test]
async fn devices_are_looked_after_in_namespaces_for_it_alone() {
    let client = client().await;
    let request = json!({"name": "one", "exactly": {"deviceClassName": "a", "adminAccess": true}});
    let spec = json!({"devices": {"requests": [request]}});
    let claim = json!({"metadata": {"name": "c"}, "spec": spec});
    let template = json!({"metadata": {"name": "t"}, "spec": {"spec": spec}});
    for (kind, object) in [("resourceclaim", &claim), ("resourceclaimtemplate", &template)] {
        let error = create(&client, kind, object.clone()).await.unwrap_err();
        assert_eq!(error.code(), 422, "{error}");
        let why = "spec.devices.requests[0].adminAccess: Forbidden: admin access to devices \
                   requires the `resource.kubernetes.io/admin-access: true` label on the \
                   containing namespace";
        assert!(error.message().contains(why), "{error}");
    }
    let label = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}});
    let namespaces = client.named("namespace").unwrap();
    let key = Key::cluster("default");
    namespaces.patch(&key, Patch::Merge(label), WriteOptions::default()).await.unwrap();
    create(&client, "resourceclaim", claim).await.unwrap();
    create(&client, "resourceclaimtemplate", template).await.unwrap();
}
