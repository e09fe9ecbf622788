//! Who writes policies may read what they are evaluated with.

use pinnace_api::patch::Patch;
use pinnace_api::{Draft, Key};
use pinnace_client::WriteOptions;
use pinnace_server::User;
use serde_json::{Value, json};

use crate::support::World;

const GROUP: &str = "admissionregistration.k8s.io";

/// `ann` may write policies, and read config maps everywhere but secrets nowhere; `bob` may read the
/// secret `s` of `a`, besides.
async fn world() -> World {
    let world = World::new().await;
    let rule = |verbs: &[&str], group: &str, resources: &[&str]| json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
    let role = async |name: &str, rules: Value| {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        world.make::<k8s_openapi::api::rbac::v1::ClusterRole>(role).await;
    };
    let writes = rule(&["*"], GROUP, &["*"]);
    role("writes", json!([writes, rule(&["get", "list"], "", &["configmaps"])])).await;
    let mut one = rule(&["get"], "", &["secrets"]);
    one["resourceNames"] = json!(["s"]);
    role("one", json!([one])).await;
    for user in ["ann", "bob"] {
        world.bind("", "writes", json!({"kind": "User", "name": user})).await;
    }
    world.bind("a", "one", json!({"kind": "User", "name": "bob"})).await;
    world
}

/// What is said to a user who writes an object.
async fn write(world: &World, user: &str, kind: &str, object: Value) -> String {
    let client = match user {
        "root" => world.host(),
        user => world.server.client(User::new(user, [])),
    };
    let api = client.named(kind).unwrap();
    let mut object = object;
    object["apiVersion"] = api.resource().api_version().into();
    object["kind"] = (&*api.resource().kind).into();
    let draft = Draft::from_value(api.resource().codec, object).unwrap();
    match api.create(draft, WriteOptions::default()).await {
        Ok(_) => String::new(),
        Err(error) => format!("{} {}", error.code(), error.message()),
    }
}

fn policy(kind: &str, name: &str, param: &str) -> Value {
    let rules = json!({"resourceRules": [{"operations": ["CREATE"], "apiGroups": [""],
        "apiVersions": ["v1"], "resources": ["pods"]}]});
    let mut spec =
        json!({"paramKind": {"apiVersion": "v1", "kind": param}, "matchConstraints": rules});
    match kind {
        "validatingadmissionpolicy" => spec["validations"] = json!([{"expression": "true"}]),
        _ => {
            spec["reinvocationPolicy"] = "Never".into();
            spec["mutations"] = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: \"test\", path: \"/kind\", value: \"Pod\"}]"}}]);
        }
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

fn binding(kind: &str, name: &str, policy: &str, param: Value) -> Value {
    let mut spec = json!({"policyName": policy, "paramRef": param});
    spec["paramRef"]["parameterNotFoundAction"] = "Deny".into();
    if kind.starts_with("validating") {
        spec["validationActions"] = json!(["Deny"]);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn policies_are_of_params_that_their_writers_may_read() {
    let world = world().await;
    for kind in ["validatingadmissionpolicy", "mutatingadmissionpolicy"] {
        let refused = write(&world, "ann", kind, policy(kind, "s", "Secret")).await;
        let why = "spec.paramKind: Forbidden: user ann must have \"get\" permission on all objects \
                   of the referenced paramKind (kind=Secret, apiVersion=v1)";
        assert!(refused.starts_with("422") && refused.contains(why), "{kind}: {refused}");
        // To read one is not to read all.
        let refused = write(&world, "bob", kind, policy(kind, "s", "Secret")).await;
        assert!(refused.contains("user bob must have"), "{kind}: {refused}");
        let refused = write(&world, "ann", kind, policy(kind, "u", "Unheard")).await;
        assert!(refused.contains("kind=Unheard"), "{kind}: {refused}");
        assert_eq!(write(&world, "ann", kind, policy(kind, "c", "ConfigMap")).await, "");
        assert_eq!(write(&world, "root", kind, policy(kind, "s", "Secret")).await, "");

        // What was there may stay, and may not be turned elsewhere.
        let ann = world.server.client(User::new("ann", [])).named(kind).unwrap();
        let patch = async |name: &str, change: Value| {
            let (key, change) = (Key::cluster(name), Patch::Merge(change));
            let done = ann.patch(&key, change, WriteOptions::default());
            done.await.map(drop).map_err(|error| error.code())
        };
        assert_eq!(patch("s", json!({"spec": {"failurePolicy": "Ignore"}})).await, Ok(()));
        let secrets = json!({"spec": {"paramKind": {"kind": "Secret"}}});
        assert_eq!(patch("c", secrets).await, Err(422));
    }
}

#[tokio::test]
async fn bindings_are_to_params_that_their_writers_may_read() {
    let world = world().await;
    for kind in ["validatingadmissionpolicy", "mutatingadmissionpolicy"] {
        let bound = format!("{kind}binding");
        for (name, param) in [("s", "Secret"), ("c", "ConfigMap")] {
            assert_eq!(write(&world, "root", kind, policy(kind, name, param)).await, "");
        }
        let one = json!({"name": "s", "namespace": "a"});
        let all = json!({"selector": {"matchLabels": {"x": "y"}}, "namespace": "a"});
        let get = "user ann does not have \"get\" permission on the object referenced by paramRef";
        let list =
            "user bob does not have \"list\" permission on the object referenced by paramRef";
        let unknown = "unable to get policy none to determine minimum required permissions and user \
                       ann does not have \"get\" permission for all groups, versions and resources";
        let rows = [
            ("ann", "s", &one, get),
            ("bob", "s", &all, list),
            ("ann", "none", &one, unknown),
            ("bob", "s", &one, ""),
            ("ann", "c", &all, ""),
            ("root", "s", &all, ""),
        ];
        for (at, (user, policy, param, why)) in rows.into_iter().enumerate() {
            let object = binding(&bound, &format!("b{at}"), policy, param.clone());
            let said = write(&world, user, &bound, object).await;
            let expected = format!("spec.paramRef: Forbidden: {why}");
            match why {
                "" => assert_eq!(said, "", "{bound} {at}"),
                _ => assert!(said.contains(&expected), "{bound} {at}: {said}"),
            }
        }
    }
}
