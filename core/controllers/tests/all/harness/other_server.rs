//! Another server, which serves flunders of `wardle.example.com/v1`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use parking_lot::Mutex;
use pinnace_api::{ApiError, Catalog, Reason, Result, elsewhere};
use pinnace_client::wire::{Answer, Request};
use pinnace_server::{OtherServers, User};
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub(crate) const GROUP: &str = "wardle.example.com";

/// A server that keeps flunders. Clones share.
#[derive(Clone, Default)]
pub(crate) struct Flunders(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By namespace and name.
    objects: BTreeMap<(String, String), Value>,
    revision: u64,
    watches: Vec<mpsc::UnboundedSender<String>>,
    is_away: bool,
    users: Vec<String>,
}

impl fmt::Debug for Flunders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flunders")
    }
}

impl Flunders {
    /// Has it answer nobody, or everybody again.
    pub(crate) fn is_away(&self, is_away: bool) {
        self.0.lock().is_away = is_away;
    }

    /// In whose names it was asked.
    pub(crate) fn users(&self) -> Vec<String> {
        self.0.lock().users.clone()
    }

    /// What it says in discovery.
    pub(super) fn describe(catalog: &Catalog) {
        let verbs = ["create", "delete", "get", "list", "update", "watch"];
        let listed = json!([{"name": "flunders", "singularName": "flunder", "namespaced": true,
            "kind": "Flunder", "verbs": verbs}]);
        let listed: Vec<_> = serde_json::from_value(listed).unwrap();
        catalog.serve_elsewhere(GROUP, "v1", elsewhere::kinds(GROUP, "v1", &listed));
    }
}

impl State {
    fn put(&mut self, key: (String, String), mut object: Value, kind: &str) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("flunder-{}", self.revision).into();
        }
        self.objects.insert(key, object.clone());
        self.tell(kind, &object);
        object
    }

    fn tell(&mut self, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.watches.retain(|watch| watch.send(line.clone()).is_ok());
    }

    fn answer(&mut self, method: &str, key: (String, String), body: &[u8]) -> (u16, Value) {
        let missing = json!({"kind": "Status", "code": 404, "reason": "NotFound",
            "message": format!("flunders.{GROUP} {:?} not found", key.1)});
        let sent = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let found = self.objects.get(&key).cloned();
        match (method, &*key.1, found) {
            ("GET", "", _) => {
                let of =
                    |(place, _): &(&(String, String), &Value)| key.0.is_empty() || place.0 == key.0;
                let items = self.objects.iter().filter(of).map(|(_, object)| object);
                let items: Vec<&Value> = items.collect();
                let revision = self.revision.to_string();
                (200, json!({"items": items, "metadata": {"resourceVersion": revision}}))
            }
            ("POST", "", _) => {
                let name = sent["metadata"]["name"].as_str().unwrap().to_owned();
                (201, self.put((key.0, name), sent, "ADDED"))
            }
            (_, _, None) => (404, missing),
            ("GET", _, Some(found)) => (200, found),
            ("PUT", _, Some(_)) => (200, self.put(key, sent, "MODIFIED")),
            ("DELETE", _, Some(found)) => {
                self.objects.remove(&key);
                self.revision += 1;
                self.tell("DELETED", &found);
                let uid = &found["metadata"]["uid"];
                (200, json!({"kind": "Status", "status": "Success", "details": {"uid": uid}}))
            }
            _ => (405, json!({"kind": "Status", "code": 405, "message": "no"})),
        }
    }
}

#[async_trait]
impl OtherServers for Flunders {
    async fn send(&self, user: &User, request: Request) -> Result<Answer> {
        let mut state = self.0.lock();
        if state.is_away {
            return Err(ApiError::new(Reason::ServiceUnavailable, "service unavailable"));
        }
        state.users.push(user.name.to_string());
        if request.is_watch() {
            let (sender, lines) = mpsc::unbounded_channel();
            state.watches.push(sender);
            let lines = stream::unfold(lines, |mut lines| async move {
                Some((Ok(Bytes::from(lines.recv().await?)), lines))
            });
            return Ok(Answer { status: 200, body: lines.boxed() });
        }
        let path = request.path.split('?').next().unwrap_or_default();
        let path = path.strip_prefix("/apis/wardle.example.com/v1/").unwrap();
        let key = match path.split('/').collect::<Vec<_>>()[..] {
            ["flunders"] => ("", ""),
            ["namespaces", namespace, "flunders"] => (namespace, ""),
            ["namespaces", namespace, "flunders", name] => (namespace, name),
            _ => panic!("{path}"),
        };
        let key = (key.0.to_owned(), key.1.to_owned());
        let (status, answer) = state.answer(request.method, key, &request.body);
        let body = stream::iter([Ok(Bytes::from(answer.to_string()))]).boxed();
        Ok(Answer { status, body })
    }
}
