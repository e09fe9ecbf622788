//! What namespaces ask of their pods.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::io;
use std::sync::{Arc, Mutex};

use pinnace_api::pod_security::{Exemptions, PodSecurityConfiguration};
use pinnace_api::{Catalog, Draft, Key, Object, Result};
use pinnace_client::{Client, Warnings, WriteOptions};
use pinnace_env::Env;
use pinnace_server::audit::{AuditEvent, AuditLevel, AuditPolicy, AuditSink, Auditor};
use pinnace_server::{Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};

const PRIVILEGED: &str =
    "privileged (container \"c\" must not set securityContext.privileged=true)";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<AuditEvent>>>);

impl AuditSink for Log {
    fn write(&self, event: &AuditEvent) -> io::Result<()> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

struct World {
    client: Client,
    /// Of a user that is exempt.
    jane: Client,
    auditor: Auditor,
    log: Log,
}

impl World {
    /// What is noted of the creation of an object.
    fn notes(&self, name: &str) -> Value {
        self.auditor.close();
        let log = self.log.0.lock().unwrap();
        let mut events = log.iter().map(|event| serde_json::to_value(event).unwrap());
        let found = events.rfind(|event| event["objectRef"]["name"] == name).unwrap();
        let all = found["annotations"].as_object().unwrap().iter();
        let own = all.filter_map(|(key, value)| {
            Some((key.strip_prefix("pod-security.kubernetes.io/")?.to_owned(), value.clone()))
        });
        own.collect::<serde_json::Map<_, _>>().into()
    }
}

fn world() -> World {
    let exemptions = Exemptions {
        usernames: vec!["jane".to_owned()],
        namespaces: vec!["free".to_owned()],
        runtime_classes: vec!["vm".to_owned()],
    };
    let config = PodSecurityConfiguration { exemptions, ..Default::default() };
    let server = Server::builder(Store::memory(), Catalog::builtin(), Env::simulated(1));
    let log = Log::default();
    let policy = AuditPolicy::all(AuditLevel::Metadata);
    let auditor = Auditor::new(policy, Arc::new(log.clone())).unwrap();
    let server = server.pod_security(config).auditor(auditor.clone()).build();
    let jane = server.client(User::new("jane", ["system:masters".to_owned()]));
    World { client: server.client(User::host()), jane, auditor, log }
}

struct Answer {
    result: Result<Object>,
    warnings: Vec<String>,
}

async fn write(client: &Client, kind: &str, object: Value, update: bool) -> Answer {
    let api = client.named(kind).unwrap();
    let mut object = object;
    object["apiVersion"] = api.resource().api_version().into();
    object["kind"] = (&*api.resource().kind).into();
    if api.resource().is_namespaced() && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = "n".into();
    }
    let draft = Draft::from_value(api.resource().codec, object).unwrap();
    let options = WriteOptions { warnings: Warnings::collect(), ..WriteOptions::default() };
    let result = match update {
        true => api.update(draft, options.clone()).await,
        false => api.create(draft, options.clone()).await,
    };
    Answer { result, warnings: options.warnings.take() }
}

fn namespace(name: &str, labels: Value) -> Value {
    let labels = labels.as_object().unwrap().iter();
    let labels: serde_json::Map<String, Value> = labels
        .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value.clone()))
        .collect();
    json!({"metadata": {"name": name, "labels": labels}})
}

fn pod(name: &str, privileged: bool) -> Value {
    let container =
        json!({"name": "c", "image": "i", "securityContext": {"privileged": privileged}});
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

#[tokio::test]
async fn pods_are_refused_warned_of_and_noted() {
    let world = world();
    let client = &world.client;
    let labels = json!({"enforce": "baseline", "audit": "baseline", "warn": "restricted",
                        "warn-version": "v1.20"});
    write(client, "namespace", namespace("n", labels), false).await.result.unwrap();
    let refused = write(client, "pod", pod("a", true), false).await;
    assert_eq!(
        refused.result.unwrap_err().message(),
        format!("pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": {PRIVILEGED}")
    );
    assert_eq!(refused.warnings, [""; 0]);
    let warned = write(client, "pod", pod("b", false), false).await;
    warned.result.unwrap();
    assert!(warned.warnings[0].starts_with("would violate PodSecurity \"restricted:v1.20\": "));
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("", true)["spec"]});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let job = json!({"template": {"spec": {"restartPolicy": "Never",
        "containers": pod("", true)["spec"]["containers"]}}});
    let workloads = [
        ("deployment", spec.clone()),
        ("replicaset", spec.clone()),
        ("daemonset", spec),
        ("job", job.clone()),
        ("cronjob", json!({"schedule": "* * * * *", "jobTemplate": {"spec": job}})),
    ];
    for (kind, spec) in workloads {
        let made = json!({"metadata": {"name": "w"}, "spec": spec});
        let made = write(client, kind, made, false).await;
        made.result.unwrap();
        assert!(made.warnings[0].contains("privileged (container \"c\""), "{kind}");
    }
    let violates = format!("would violate PodSecurity \"baseline:latest\": {PRIVILEGED}");
    let noted = json!({"enforce-policy": "baseline:latest", "audit-violations": violates});
    assert_eq!(world.notes("a"), noted);
}

#[tokio::test]
async fn exempt_users_namespaces_and_runtimes_are_let_be() {
    let world = world();
    let client = &world.client;
    let server_of = json!({"enforce": "restricted"});
    for name in ["n", "free"] {
        let made = write(client, "namespace", namespace(name, server_of.clone()), false).await;
        made.result.unwrap();
        let warned = "namespace \"free\" is exempt from Pod Security, and the policy \
                      (enforce=restricted:latest, warn=restricted:latest) will be ignored";
        assert_eq!(made.warnings, if name == "free" { vec![warned] } else { vec![] });
    }
    let mut free = pod("a", true);
    free["metadata"]["namespace"] = "free".into();
    write(client, "pod", free, false).await.result.unwrap();
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm"});
    write(client, "runtimeclass", class, false).await.result.unwrap();
    let mut vm = pod("b", true);
    vm["spec"]["runtimeClassName"] = "vm".into();
    write(client, "pod", vm, false).await.result.unwrap();
    assert!(write(client, "pod", pod("c", true), false).await.result.is_err());
    write(&world.jane, "pod", pod("d", true), false).await.result.unwrap();
    assert_eq!(world.notes("d"), json!({"exempt": "user"}));
    assert_eq!(world.notes("a"), json!({"exempt": "namespace"}));
    assert_eq!(world.notes("b"), json!({"exempt": "runtimeClass"}));
}

#[tokio::test]
async fn labels_must_be_known_and_tell_of_the_pods_there_are() {
    let world = world();
    let client = &world.client;
    let wrong = write(client, "namespace", namespace("n", json!({"enforce": "x"})), false).await;
    assert_eq!(
        wrong.result.unwrap_err().message(),
        "Namespace \"n\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid \
         value: \"x\": must be one of privileged, baseline, restricted"
    );
    write(client, "namespace", namespace("n", json!({})), false).await.result.unwrap();
    for name in ["a", "b", "c"] {
        write(client, "pod", pod(name, name != "c"), false).await.result.unwrap();
    }
    let stricter = namespace("n", json!({"enforce": "baseline"}));
    let changed = write(client, "namespace", stricter, true).await;
    changed.result.unwrap();
    assert_eq!(
        changed.warnings,
        [
            "existing pods in namespace \"n\" violate the new PodSecurity enforce level \
             \"baseline:latest\"",
            "a (and 1 other pod): privileged",
        ]
    );
    // What was there before may change where it does not matter, and not where it does.
    let api = client.named("pod").unwrap();
    let mut labelled = api.get(&Key::new("n", "a")).await.unwrap().to_value().unwrap();
    labelled["metadata"]["labels"] = json!({"x": "y"});
    write(client, "pod", labelled.clone(), true).await.result.unwrap();
    labelled["metadata"]["resourceVersion"] = Value::Null;
    labelled["spec"]["containers"][0]["image"] = "other".into();
    let refused = write(client, "pod", labelled, true).await.result.unwrap_err();
    assert!(refused.message().contains("violates PodSecurity \"baseline:latest\""), "{refused}");
}
