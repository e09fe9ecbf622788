//! How long a decision takes for a user with 10 bindings among 10,000, allowed and not.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should say so and end")]

use std::hint::black_box;
use std::marker::PhantomData;

use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use pinnace_api::{Catalog, Draft, Kind, Resource, Strategy};
use pinnace_env::Stopwatch;
use pinnace_server::rbac::Rbac;
use pinnace_server::{Attributes, Authorizer, Selectors, User};
use pinnace_store::{Expect, Store, Transaction};
use serde_json::{Value, json};

const BINDINGS: usize = 10_000;
const OF_EACH: usize = 10;
const ROUNDS: u32 = 200_000;

struct Plain<K>(PhantomData<K>);

impl<K: Kind> Strategy for Plain<K> {
    type Kind = K;
}

async fn put(store: &Store, resource: &Resource, value: Value) {
    let draft = Draft::from_value(resource.codec, value).unwrap();
    let mut transaction = Transaction::new();
    transaction.put(resource.name(), draft.key(), Expect::Absent, draft);
    store.commit(transaction).await.unwrap();
}

/// A decision takes at most so many microseconds.
const TARGET: f64 = 2.0;

fn report(what: &str, value: f64) {
    let met = value <= TARGET;
    println!(
        r#"{{"name": "rbac decision, {what}, 10 of 10,000 bindings", "value": {value:.3}, "unit": "us", "target": {TARGET}, "met": {met}}}"#
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = Store::memory();
    let catalog = Catalog::builtin();
    let roles =
        catalog.register(Resource::builtin("clusterrole", Plain::<ClusterRole>(PhantomData)));
    let bindings =
        catalog.register(Resource::builtin("rolebinding", Plain::<RoleBinding>(PhantomData)));
    let read = ["get", "list", "watch"];
    let group = "rbac.authorization.k8s.io/v1";
    let rules: Vec<_> = (0..10)
        .map(|n| json!({"verbs": read, "apiGroups": [""], "resources": ["pods", format!("r{n}")]}))
        .collect();
    put(
        &store,
        &roles,
        json!({
            "apiVersion": group, "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": rules,
        }),
    )
    .await;
    for at in 0..BINDINGS {
        put(
            &store,
            &bindings,
            json!({
                "apiVersion": group, "kind": "RoleBinding",
                "metadata": {"name": format!("b{at}"), "namespace": "a"},
                "roleRef": {"kind": "ClusterRole", "name": "r"},
                "subjects": [{"kind": "User", "name": format!("u{}", at / OF_EACH)}],
            }),
        )
        .await;
    }
    let rbac = Rbac::new(store);
    let user = User::new("u7", ["system:authenticated".to_owned()]);
    for (what, verb) in [("allowed", "list"), ("refused", "delete")] {
        let asked = Attributes {
            user: &user,
            verb,
            group: "",
            resource: "pods",
            subresource: "",
            namespace: "a",
            name: "",
            path: "",
            selectors: Selectors::default(),
        };
        black_box(rbac.authorize(&asked));
        let watch = Stopwatch::start();
        for _ in 0..ROUNDS {
            black_box(rbac.authorize(black_box(&asked)));
        }
        report(what, watch.elapsed().as_nanos() as f64 / f64::from(ROUNDS) / 1000.0);
    }
}
