//! A cluster that is reached by a kubeconfig, to read once: this engine's own or anybody else's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Draft, Object, Resource, Result, manifest};
use pinnace_client::{
    DeleteOptions, List, ListOptions, Target, Transport, WatchStream, WriteOptions,
};
use serde_json::Value;
use tokio::sync::watch;

/// How many objects are asked for at once.
const PAGE: usize = 500;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Reads over HTTPS; watches never tell anything, so that caches stay as they were first.
pub(crate) struct Remote {
    catalog: Catalog,
    client: reqwest::Client,
    server: String,
    token: Option<String>,
    /// The first thing that cannot be read.
    failed: watch::Sender<Option<String>>,
}

/// A cluster, the namespace of the context, and where is told what cannot be read.
type Opened = (Remote, Option<String>, watch::Receiver<Option<String>>);

impl Remote {
    /// The cluster of a kubeconfig's current context, and the namespace of that; and where is told what
    /// cannot be read.
    pub(crate) fn open(path: &Path) -> std::result::Result<Opened, String> {
        let about = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| about(&error))?;
        let config = manifest::read_one(text.as_bytes()).map_err(|error| about(&error))?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let read = Kubeconfig { config: &config, directory };
        read.open().map_err(|error| about(&error))
    }

    async fn ask(&self, path: &str) -> Result<Value> {
        let mut request = self.client.get(format!("{}{path}", self.server));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let unreachable = |error: reqwest::Error| ApiError::internal(words(&error));
        let response = request.send().await.map_err(unreachable)?;
        let code = response.status().as_u16();
        let body = response.bytes().await.map_err(unreachable)?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if code == 200 {
            return Ok(answer);
        }
        let said = answer.get("message").and_then(Value::as_str);
        let said = said.map_or_else(|| format!("{path}: code {code}"), str::to_owned);
        Err(match code {
            404 => ApiError::no_such_resource(),
            _ => ApiError::internal(said),
        })
    }

    async fn pages(&self, resource: &Resource, path: &str) -> Result<List<Object>> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let page = match self.ask(&format!("{path}?{}", query(&next))).await {
                Ok(page) => page,
                // A cluster that does not serve a kind has no objects of it.
                Err(error) if error.code() == 404 => Value::Null,
                Err(error) => return Err(error),
            };
            let text = |pointer: &str| {
                page.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let revision = text("/metadata/resourceVersion").parse().unwrap_or(1);
            next = text("/metadata/continue");
            for item in page.get("items").and_then(Value::as_array).into_iter().flatten() {
                items.push(object(resource, item.clone())?);
            }
            if next.is_empty() {
                return Ok(List { items, revision, continue_token: None, remaining: None });
            }
        }
    }
}

fn query(next: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &PAGE.to_string());
    if !next.is_empty() {
        query.append_pair("continue", next);
    }
    query.finish()
}

fn object(resource: &Resource, mut item: Value) -> Result<Object> {
    item["apiVersion"] = resource.api_version().into();
    item["kind"] = resource.kind.as_ref().into();
    let revision = item.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    let revision = revision.and_then(|revision| revision.parse().ok()).unwrap_or(1);
    let json = serde_json::to_vec(&item).map_err(|error| ApiError::encode(&error))?;
    Ok(Object::from_stored(resource.codec, Bytes::from(json), revision))
}

fn path_of(resource: &Resource, namespace: &str, name: &str) -> String {
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    let mut path = format!("{root}/{}", resource.api_version());
    if !namespace.is_empty() {
        path.push_str(&format!("/namespaces/{namespace}"));
    }
    path.push_str(&format!("/{}", resource.plural));
    if !name.is_empty() {
        path.push_str(&format!("/{name}"));
    }
    path
}

#[async_trait]
impl Transport for Remote {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    async fn get(&self, target: Target) -> Result<Object> {
        let (resource, key) = (&target.resource, &target.key);
        let path = path_of(resource, key.namespace(), key.name());
        match self.ask(&path).await {
            Ok(item) => object(resource, item),
            Err(error) if error.code() == 404 => Err(ApiError::not_found(resource, key.name())),
            Err(error) => Err(error),
        }
    }

    async fn list(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        _: ListOptions,
    ) -> Result<List<Object>> {
        let path = path_of(&resource, namespace.unwrap_or_default(), "");
        let list = self.pages(&resource, &path).await;
        list.inspect_err(|error| {
            self.failed.send_if_modified(|failed| {
                let first = failed.is_none();
                failed.get_or_insert_with(|| format!("{}: {error}", resource.plural));
                first
            });
        })
    }

    async fn watch(
        &self,
        _: Arc<Resource>,
        _: Option<&str>,
        _: ListOptions,
    ) -> Result<WatchStream> {
        Ok(futures::stream::pending().boxed())
    }

    async fn create(&self, target: Target, _: Draft, _: WriteOptions) -> Result<Object> {
        Err(ApiError::method_not_supported(&target.resource, "create"))
    }

    async fn update(&self, target: Target, _: Draft, _: WriteOptions) -> Result<Object> {
        Err(ApiError::method_not_supported(&target.resource, "update"))
    }

    async fn patch(&self, target: Target, _: Patch, _: WriteOptions) -> Result<Object> {
        Err(ApiError::method_not_supported(&target.resource, "patch"))
    }

    async fn delete(&self, target: Target, _: DeleteOptions) -> Result<Object> {
        Err(ApiError::method_not_supported(&target.resource, "delete"))
    }

    async fn delete_collection(
        &self,
        resource: Arc<Resource>,
        _: Option<&str>,
        _: ListOptions,
        _: DeleteOptions,
    ) -> Result<List<Object>> {
        Err(ApiError::method_not_supported(&resource, "delete"))
    }
}

/// An error with what it comes from: the first says only what was tried.
fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", words(source)),
        None => error.to_string(),
    }
}

/// A kubeconfig; files that it names are beside it.
struct Kubeconfig<'a> {
    config: &'a Value,
    directory: PathBuf,
}

impl Kubeconfig<'_> {
    fn open(&self) -> std::result::Result<Opened, String> {
        let current = text(self.config, "current-context").ok_or("there is no current-context")?;
        let context = self.named("contexts", "context", current)?;
        let cluster =
            self.named("clusters", "cluster", text(context, "cluster").unwrap_or_default())?;
        let user = self.named("users", "user", text(context, "user").unwrap_or_default())?;
        let server = text(cluster, "server").ok_or("the cluster has no server")?;
        let mut client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
        if let Some(pem) = self.data(cluster, "certificate-authority")? {
            let roots = reqwest::Certificate::from_pem_bundle(&pem);
            client = client.tls_certs_only(roots.map_err(|error| words(&error))?);
        }
        if cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool) == Some(true) {
            client = client.tls_danger_accept_invalid_certs(true);
        }
        let pair = (self.data(user, "client-certificate")?, self.data(user, "client-key")?);
        if let (Some(mut pem), Some(key)) = pair {
            pem.push(b'\n');
            pem.extend(key);
            let identity = reqwest::Identity::from_pem(&pem).map_err(|error| words(&error))?;
            client = client.identity(identity);
        } else if user.get("exec").is_some() {
            return Err("users with exec are not supported".to_owned());
        }
        let (failed, failures) = watch::channel(None);
        let remote = Remote {
            catalog: Catalog::builtin(),
            client: client.build().map_err(|error| words(&error))?,
            server: server.trim_end_matches('/').to_owned(),
            token: text(user, "token").map(str::to_owned),
            failed,
        };
        Ok((remote, text(context, "namespace").map(str::to_owned), failures))
    }

    fn named(&self, list: &str, field: &str, name: &str) -> std::result::Result<&Value, String> {
        let entries = self.config.get(list).and_then(Value::as_array);
        let mut entries = entries.into_iter().flatten();
        let found = entries.find(|entry| text(entry, "name") == Some(name));
        found.and_then(|entry| entry.get(field)).ok_or_else(|| format!("no {field} {name:?}"))
    }

    fn data(&self, entry: &Value, field: &str) -> std::result::Result<Option<Vec<u8>>, String> {
        if let Some(data) = text(entry, &format!("{field}-data")) {
            let data = STANDARD.decode(data);
            return data.map(Some).map_err(|error| format!("{field}-data: {error}"));
        }
        let Some(file) = text(entry, field) else { return Ok(None) };
        let file = self.directory.join(file);
        std::fs::read(&file).map(Some).map_err(|error| format!("{}: {error}", file.display()))
    }
}

fn text<'a>(entry: &'a Value, field: &str) -> Option<&'a str> {
    entry.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}
