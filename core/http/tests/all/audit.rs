//! Who has done what is noted, over HTTP and within the process.

use std::fs;
use std::io;
use std::sync::Arc;

use http::Method;
use parking_lot::Mutex;
use pinnace_client::WriteOptions;
use pinnace_env::Env;
use pinnace_server::User;
use pinnace_server::audit::{AuditEvent, AuditFile, AuditLevel, AuditPolicy, AuditSink, Auditor};
use serde_json::{Value, json};

use crate::world::{CONFIG_MAPS, World, config_map};

/// Keeps events.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Value>>>);

impl AuditSink for Kept {
    fn write(&self, event: &AuditEvent) -> io::Result<()> {
        self.0.lock().push(serde_json::to_value(event)?);
        Ok(())
    }
}

/// A world that notes what a policy says.
async fn world(policy: AuditPolicy) -> (World, Auditor, Kept) {
    let kept = Kept::default();
    let auditor = Auditor::new(policy, Arc::new(kept.clone())).unwrap();
    let noting = auditor.clone();
    let world = World::built(|server| server.auditor(noting), |front| front).await;
    (world, auditor, kept)
}

/// Rules, after one that leaves the making of the namespace out.
fn policy(rules: &str) -> AuditPolicy {
    let text = format!(
        "{{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{{level: None, resources: \
         [{{group: '', resources: [namespaces]}}]}}, {rules}]}}"
    );
    AuditPolicy::read(&text).unwrap()
}

fn named(events: &[Value], stage: &str) -> Vec<Value> {
    events.iter().filter(|event| event["stage"] == stage).cloned().collect()
}

#[tokio::test]
async fn a_request_is_noted_with_what_the_level_allows() {
    let (world, auditor, kept) = world(policy("{level: RequestResponse}")).await;
    let (code, _) = world.admin().send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    assert_eq!(code, 201);
    auditor.close();
    let events = kept.0.lock().clone();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(
        (&events[0]["stage"], &events[0]["responseStatus"]),
        (&json!("RequestReceived"), &Value::Null)
    );
    let event = &events[1];
    assert_eq!(event["auditID"], events[0]["auditID"]);
    let expected = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse", "stage": "ResponseComplete", "requestURI": CONFIG_MAPS,
        "verb": "create", "sourceIPs": ["127.0.0.1"],
        "objectRef": {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"},
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&event[field], value, "{field}");
    }
    assert_eq!(event["user"]["username"], "admin");
    assert_eq!(event["responseStatus"]["code"], 201);
    assert_eq!(event["requestObject"]["data"]["key"], "1");
    assert!(event["responseObject"]["metadata"]["uid"].is_string());
}

#[tokio::test]
async fn refusals_and_strangers_are_noted() {
    let (world, auditor, kept) = world(policy("{level: Metadata}")).await;
    assert_eq!(world.user("ann", &[]).get(CONFIG_MAPS).await.0, 403);
    assert_eq!(world.nobody().get(CONFIG_MAPS).await.0, 401);
    let as_ann = world.admin().with("impersonate-user", "ann");
    assert_eq!(as_ann.get("/apis").await.0, 403);
    auditor.close();
    let events = named(&kept.0.lock(), "ResponseComplete");
    let decision = "authorization.k8s.io/decision";
    assert_eq!(events[0]["annotations"][decision], "forbid");
    assert_eq!(events[0]["responseStatus"]["code"], 403);
    assert!(events[0]["requestObject"].is_null());
    assert_eq!(
        (&events[1]["user"], &events[1]["responseStatus"]["code"]),
        (
            &json!({"username": "system:anonymous", "groups": ["system:unauthenticated"]}),
            &json!(401)
        )
    );
    assert_eq!(events[2]["user"]["username"], "admin");
    assert_eq!(events[2]["impersonatedUser"]["username"], "ann");
    assert_eq!(
        (&events[2]["requestURI"], &events[2]["objectRef"]),
        (&json!("/apis"), &Value::Null)
    );
}

#[tokio::test]
async fn calls_within_the_process_are_noted_too_and_watches_end() {
    let (world, auditor, kept) =
        world(policy("{level: Request, omitStages: [RequestReceived]}")).await;
    let ann = world.server.client(User::new("ann", ["system:masters".to_owned()]));
    let maps = ann.named("configmaps").unwrap();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}});
    let draft = pinnace_api::Draft::from_value(maps.resource().codec, map).unwrap();
    maps.create(draft, WriteOptions::default()).await.unwrap();
    drop(maps.watch(Some("default"), Default::default()).await.unwrap());
    let bob = world.server.client(User::new("bob", []));
    assert!(bob.named("configmaps").unwrap().list(None, Default::default()).await.is_err());
    auditor.close();
    let events = kept.0.lock().clone();
    let short: Vec<_> = events
        .iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let code = &event["responseStatus"]["code"];
            format!(
                "{} {} {} {} {code}",
                text(&event["user"]["username"]),
                text(&event["stage"]),
                text(&event["verb"]),
                text(&event["requestURI"])
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            "ann ResponseComplete create /api/v1/namespaces/default/configmaps/a 201",
            "ann ResponseStarted watch /api/v1/namespaces/default/configmaps 200",
            "ann ResponseComplete watch /api/v1/namespaces/default/configmaps 200",
            "bob ResponseComplete list /api/v1/configmaps 403",
        ]
    );
    assert_eq!(events[0]["requestObject"]["metadata"]["name"], "a");
    assert_eq!(events[3]["annotations"]["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn a_file_is_renamed_when_it_is_full_and_old_ones_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let file = AuditFile::new(&path, &Env::system()).max_bytes(2_000).max_backups(2);
    let auditor = Auditor::new(AuditPolicy::all(AuditLevel::Metadata), Arc::new(file)).unwrap();
    let noting = auditor.clone();
    let world = World::built(|server| server.auditor(noting), |front| front).await;
    for _ in 0..20 {
        world
            .server
            .client(User::host())
            .named("pods")
            .unwrap()
            .list(None, Default::default())
            .await
            .unwrap();
    }
    auditor.close();
    assert_eq!(auditor.lost(), 0);
    let mut files: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.len() <= 2_000 && !text.is_empty());
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["kind"], "Event");
        }
    }
    assert!(files.contains(&path));
}

#[tokio::test]
async fn events_that_nobody_can_write_are_counted() {
    /// A disk that is full.
    struct Full;
    impl AuditSink for Full {
        fn write(&self, _event: &AuditEvent) -> io::Result<()> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
    }
    let auditor = Auditor::new(AuditPolicy::all(AuditLevel::Metadata), Arc::new(Full)).unwrap();
    let noting = auditor.clone();
    let world = World::built(|server| server.auditor(noting), |front| front).await;
    assert_eq!(world.admin().get(CONFIG_MAPS).await.0, 200, "the API goes on");
    auditor.close();
    assert!(auditor.lost() >= 2);
}
