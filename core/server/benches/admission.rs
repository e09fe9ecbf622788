//! What the built-in rules of admission add to a write, without webhooks and policies: the same
//! objects are created on a server with them and on one without.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should say so and end")]

use pinnace_api::{Catalog, Draft};
use pinnace_client::{Client, DynamicApi, WriteOptions};
use pinnace_env::{Env, Stopwatch};
use pinnace_server::{ADMISSION_PLUGINS, Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};

const OBJECTS: usize = 1_000;
const ROUNDS: usize = 21;
/// Admission adds at most so many microseconds to a write.
const TARGET: f64 = 5.0;

fn draft(api: &DynamicApi, mut object: Value) -> Draft {
    object["apiVersion"] = api.resource().api_version().into();
    object["kind"] = (&*api.resource().kind).into();
    Draft::from_value(api.resource().codec, object).unwrap()
}

async fn client(disabled: &[&str]) -> Client {
    let server = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1));
    let server = server.disable_admission(disabled.iter().map(|name| (*name).to_owned())).build();
    let client = server.client(User::host());
    let namespaces = client.named("namespace").unwrap();
    // Policies and quotas that are looked at, as a cluster that is shared has them.
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let namespace = json!({"metadata": {"name": "a", "labels": labels}});
    let options = WriteOptions::default();
    namespaces.create(draft(&namespaces, namespace), options).await.unwrap();
    client
}

fn object(kind: &str, name: &str) -> Value {
    let mut object = json!({"metadata": {"name": name, "namespace": "a"}});
    if kind == "pod" {
        // What admission would fill in, so that both servers have as much to store.
        let toleration = |key: &str| {
            json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
                   "effect": "NoExecute", "tolerationSeconds": 300})
        };
        object["spec"] = json!({"containers": [{"name": "c", "image": "i"}], "priority": 0,
            "preemptionPolicy": "PreemptLowerPriority",
            "tolerations": [toleration("not-ready"), toleration("unreachable")]});
    }
    object
}

/// Microseconds per write.
async fn write(client: &Client, kind: &str, round: usize) -> f64 {
    let api = client.named(kind).unwrap();
    let drafts: Vec<_> =
        (0..OBJECTS).map(|at| draft(&api, object(kind, &format!("o-{round}-{at}")))).collect();
    let watch = Stopwatch::start();
    for draft in drafts {
        api.create(draft, WriteOptions::default()).await.unwrap();
    }
    watch.elapsed().as_nanos() as f64 / OBJECTS as f64 / 1000.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for kind in ["configmap", "pod"] {
        let (with, without) = (client(&[]).await, client(&ADMISSION_PLUGINS).await);
        // In turn, and by the median of the differences: what else the machine does hits both.
        let mut added = Vec::new();
        for round in 0..ROUNDS {
            let plain = write(&without, kind, round).await;
            added.push(write(&with, kind, round).await - plain);
        }
        added.sort_by(f64::total_cmp);
        let value = added[ROUNDS / 2];
        let met = value <= TARGET;
        println!(
            r#"{{"name": "admission without webhooks, per {kind}", "value": {value:.3}, "unit": "us", "target": {TARGET}, "met": {met}}}"#
        );
    }
}
