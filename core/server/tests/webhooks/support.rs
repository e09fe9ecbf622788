use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Draft, Key, Object, Result};
use pinnace_client::{Client, DeleteOptions, WriteOptions};
use pinnace_env::Env;
use pinnace_server::audit::{AuditEvent, AuditSink};
use pinnace_server::{
    ExtensionAnswer, ExtensionClient, ExtensionRequest, Server, ServerBuilder, User,
};
use pinnace_store::Store;
use serde_json::{Value, json};

type Answer = Result<ExtensionAnswer, String>;
type Webhook = Arc<dyn Fn(Value) -> BoxFuture<'static, Answer> + Send + Sync>;

/// Webhooks by the hosts of their URLs, and what they were asked.
#[derive(Clone, Default)]
pub(crate) struct Webhooks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    webhooks: Mutex<HashMap<String, Webhook>>,
    asked: Mutex<Vec<(String, Value)>>,
}

#[async_trait]
impl ExtensionClient for Webhooks {
    async fn post(&self, request: ExtensionRequest) -> Answer {
        let host = request.address.authority;
        let review: Value = serde_json::from_slice(&request.body).unwrap();
        self.0.asked.lock().push((format!("{host}{}", request.path), review.clone()));
        let webhook = self.0.webhooks.lock().get(&host).cloned();
        match webhook {
            Some(webhook) => webhook(review).await,
            None => Err(format!("dial tcp: lookup {host}: no such host")),
        }
    }
}

/// A server with a namespace, and webhooks for it.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) webhooks: Webhooks,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(crate) async fn with(more: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::over(Store::memory(), more).await
    }

    /// As [`World::with`], over a store.
    pub(crate) async fn over(
        store: Store,
        more: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let webhooks = Webhooks::default();
        let env = Env::simulated(1);
        let builder = Server::builder(store, Catalog::builtin(), env);
        let server = more(builder.extensions(Arc::new(webhooks.clone()))).build();
        let client = server.client(User::new("jane", ["system:masters".to_owned()]));
        let world = Self { server, client, webhooks };
        let labels = json!({"team": "a"});
        world
            .create("namespace", json!({"metadata": {"name": "default", "labels": labels}}))
            .await
            .unwrap();
        world
    }

    /// Answers what is sent to a host.
    pub(crate) fn serve(
        &self,
        host: &str,
        webhook: impl Fn(Value) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) {
        self.webhooks.0.webhooks.lock().insert(host.to_owned(), Arc::new(webhook));
    }

    /// As [`World::serve`], with the `response` of a review.
    pub(crate) fn respond(
        &self,
        host: &str,
        respond: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) {
        self.serve(host, move |review| {
            let mut response = respond(&review["request"]);
            response["uid"] = review["request"]["uid"].clone();
            let answer = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
            Box::pin(std::future::ready(ok(&answer)))
        });
    }

    /// The reviews that were asked for since this was called last.
    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.webhooks.0.asked.lock())
            .into_iter()
            .map(|(_, review)| review)
            .collect()
    }

    /// The URLs that were asked since this was called last, without `https://`.
    pub(crate) fn urls(&self) -> Vec<String> {
        std::mem::take(&mut *self.webhooks.0.asked.lock()).into_iter().map(|(url, _)| url).collect()
    }

    /// Registers webhooks `a.example.com`, `b.example.com` and so on, each with something more than
    /// what every webhook has, at `https://a`, `https://b`.
    pub(crate) async fn register(&self, kind: &str, webhooks: &[Value]) {
        let webhooks: Vec<Value> = webhooks.iter().zip('a'..).map(|(more, letter)| {
            let mut webhook = json!({
                "name": format!("{letter}.example.com"),
                "clientConfig": {"url": format!("https://{letter}/")},
                "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
                "sideEffects": "None", "admissionReviewVersions": ["v1"],
            });
            for (field, value) in more.as_object().unwrap() {
                webhook[field] = value.clone();
            }
            webhook
        }).collect();
        self.create(kind, json!({"metadata": {"name": "w"}, "webhooks": webhooks})).await.unwrap();
    }

    pub(crate) async fn create(&self, kind: &str, object: Value) -> Result<Object> {
        self.create_with(kind, object, WriteOptions::default()).await
    }

    pub(crate) async fn create_with(
        &self,
        kind: &str,
        object: Value,
        options: WriteOptions,
    ) -> Result<Object> {
        let api = self.client.named(kind)?;
        let mut object = object;
        if api.resource().is_namespaced() {
            object["metadata"]["namespace"] = "default".into();
        }
        object["apiVersion"] = api.resource().api_version().into();
        object["kind"] = (&*api.resource().kind).into();
        api.create(Draft::from_value(api.resource().codec, object)?, options).await
    }

    pub(crate) async fn config_map(&self) -> Result<Value> {
        self.create("configmap", config_map()).await?.to_value()
    }

    pub(crate) async fn patch(&self, kind: &str, name: &str, patch: Value) -> Result<Object> {
        let api = self.client.named(kind)?;
        let key = if api.resource().is_namespaced() {
            Key::new("default", name)
        } else {
            Key::cluster(name)
        };
        api.patch(&key, Patch::Merge(patch), WriteOptions::default()).await
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) -> Result<Object> {
        let api = self.client.named(kind)?;
        let key = if api.resource().is_namespaced() {
            Key::new("default", name)
        } else {
            Key::cluster(name)
        };
        api.delete(&key, DeleteOptions::default()).await
    }
}

/// Keeps an audit log.
#[derive(Clone, Default)]
pub(crate) struct Notes(pub(crate) Arc<Mutex<Vec<AuditEvent>>>);

impl AuditSink for Notes {
    fn write(&self, event: &AuditEvent) -> std::io::Result<()> {
        self.0.lock().push(event.clone());
        Ok(())
    }
}

pub(crate) fn config_map() -> Value {
    json!({"metadata": {"name": "m", "labels": {"app": "web"}}, "data": {"a": "1"}})
}

pub(crate) fn ok(answer: &Value) -> Answer {
    Ok(ExtensionAnswer { status: 200, body: answer.to_string().into() })
}

/// A response that lets a request through, changed.
pub(crate) fn patched(operations: &Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

#[track_caller]
pub(crate) fn check_error<T: std::fmt::Debug>(
    result: Result<T, ApiError>,
    code: u16,
    message: &str,
) {
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.message()), (code, message));
}
