use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Catalog, Draft, Key, Object, Resource, Result};
use pinnace_client::wire::Wire;
use pinnace_client::{
    Annotations, DeleteOptions, List, ListOptions, Subresource, Target, Transport, WatchStream,
    WriteOptions,
};
use serde_json::{Value, json};

use crate::audit::{AuditAttributes, AuditOrigin, AuditedRequest};
use crate::elsewhere::Elsewhere;
use crate::read::check_verb;
use crate::{Attributes, Selectors, Server, User};

/// What a call that went well would be answered with over HTTP.
const OK: u16 = 200;
const CREATED: u16 = 201;

/// A request, if it is noted.
type Noting = Option<Arc<AuditedRequest>>;

/// The way from a client to the server in the same process: a function call.
#[derive(Clone, Debug)]
pub struct InProcess {
    server: Server,
    user: User,
    /// What the calls are a part of, if of anything: whoever has begun to note it also ends it.
    part_of: Option<Noting>,
}

impl InProcess {
    /// A transport that acts as `user`.
    pub fn new(server: Server, user: User) -> Self {
        Self { server, user, part_of: None }
    }

    /// The same, whose calls are part of a request about which is decided already whether it is
    /// noted.
    pub fn part_of(mut self, request: Option<Arc<AuditedRequest>>) -> Self {
        self.part_of = Some(request);
        self
    }

    /// Begins to note a call.
    fn begin(
        &self,
        verb: &'static str,
        target: &Target,
        sent: impl FnOnce() -> Option<Value>,
    ) -> Noted {
        let request = match &self.part_of {
            Some(request) => request.clone(),
            None => self.begin_own(verb, target),
        };
        if let Some(request) = &request {
            request.sent(sent);
        }
        let annotations =
            if request.is_some() { Annotations::collect() } else { Annotations::default() };
        Noted { request, own: self.part_of.is_none(), annotations }
    }

    /// The kind as it is served now: a custom kind changes and goes under whoever holds it, and so
    /// does one of another server.
    fn current(&self, resource: Arc<Resource>) -> Result<Arc<Resource>> {
        if !resource.is_custom() && !resource.is_elsewhere() {
            return Ok(resource);
        }
        let Resource { group, version, plural, .. } = &*resource;
        let found = self.server.catalog().by_path(group, version, plural);
        found.ok_or_else(ApiError::no_such_resource)
    }

    fn current_target(&self, mut target: Target) -> Result<Target> {
        target.resource = self.current(target.resource)?;
        Ok(target)
    }

    /// The way to a kind that another server serves.
    fn elsewhere(&self, resource: &Resource) -> Option<Wire<Elsewhere<'_>>> {
        self.server.elsewhere(&self.user, resource)
    }

    fn begin_own(&self, verb: &'static str, target: &Target) -> Option<Arc<AuditedRequest>> {
        self.server.auditor()?;
        let Target { resource, key, subresource } = target;
        let subresource = subresource.map_or("", Subresource::as_str);
        let asked = AuditAttributes {
            verb,
            group: &resource.group,
            version: &resource.version,
            resource: &resource.plural,
            subresource,
            namespace: key.namespace(),
            name: key.name(),
            path: "",
        };
        let origin = || AuditOrigin {
            id: self.server.env().random().uid(),
            uri: path_of(target),
            addresses: Vec::new(),
            agent: "in-process".to_owned(),
        };
        let request = self.server.audit(Some(&self.user), &asked, origin)?;
        let asked = Attributes {
            user: &self.user,
            verb,
            group: &resource.group,
            resource: &resource.plural,
            subresource,
            namespace: key.namespace(),
            name: key.name(),
            path: "",
            selectors: Selectors::default(),
        };
        let authorizer = self.server.authorizer();
        request.decided(authorizer, &asked, &authorizer.authorize(&asked));
        Some(request)
    }
}

/// A call that is noted, if it is.
struct Noted {
    request: Option<Arc<AuditedRequest>>,
    /// Whether it ends with the call.
    own: bool,
    /// What others want to be noted of it.
    annotations: Annotations,
}

impl Noted {
    fn object(self, code: u16, answer: Result<Object>) -> Result<Object> {
        self.end(code, &answer, |object| object.to_value().ok());
        answer
    }

    fn list(self, resource: &Resource, answer: Result<List<Object>>) -> Result<List<Object>> {
        self.end(OK, &answer, |list| {
            let items: Vec<_> = list.items.iter().filter_map(|item| item.to_value().ok()).collect();
            Some(json!({
                "apiVersion": resource.api_version(), "kind": format!("{}List", resource.kind),
                "metadata": {"resourceVersion": list.revision.to_string()}, "items": items,
            }))
        });
        answer
    }

    fn watch(self, answer: Result<WatchStream>) -> Result<WatchStream> {
        let Some(request) = self.request.filter(|_| self.own) else { return answer };
        match answer {
            Err(error) => {
                request.failed(&error);
                request.complete(error.code());
                Err(error)
            }
            Ok(events) => {
                request.started(OK);
                let ends = Ends(request);
                let events = events.map(move |event| {
                    let _ = &ends;
                    event
                });
                Ok(events.boxed())
            }
        }
    }

    fn end<T>(self, code: u16, answer: &Result<T>, object: impl FnOnce(&T) -> Option<Value>) {
        let Some(request) = self.request else { return };
        request.annotate(self.annotations.take());
        match answer {
            Ok(answer) => request.answered(|| object(answer)),
            Err(error) if self.own => request.failed(error),
            Err(_) => {}
        }
        if self.own {
            request.complete(answer.as_ref().map_or_else(|error| error.code(), |_| code));
        }
    }
}

/// Notes the end of a watch.
struct Ends(Arc<AuditedRequest>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.complete(OK);
    }
}

/// The path that a request over HTTP would have.
fn path_of(target: &Target) -> String {
    let Target { resource, key, subresource } = target;
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    let mut path = format!("{root}/{}", resource.api_version());
    if !key.namespace().is_empty() {
        path.push_str(&format!("/namespaces/{}", key.namespace()));
    }
    path.push_str(&format!("/{}", resource.plural));
    for part in [key.name(), subresource.map_or("", Subresource::as_str)] {
        if !part.is_empty() {
            path.push_str(&format!("/{part}"));
        }
    }
    path
}

/// Checks that what is asked can be done with a kind, if it is about an object as a whole.
fn has_verb(target: &Target, verb: &str) -> Result<()> {
    if target.subresource.is_some() { Ok(()) } else { check_verb(&target.resource, verb) }
}

/// What a list or a watch is about.
fn collection(resource: &Arc<Resource>, namespace: Option<&str>) -> Target {
    Target::new(resource.clone(), Key::new(namespace.unwrap_or_default(), ""))
}

fn deletion(options: &DeleteOptions) -> Option<Value> {
    let mut value = json!({"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions"});
    if let Some(seconds) = options.grace_period_seconds {
        value["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(policy) = options.propagation {
        value["propagationPolicy"] = format!("{policy:?}").into();
    }
    Some(value)
}

fn patch_value(patch: &Patch) -> Option<Value> {
    let (Patch::Json(value)
    | Patch::Merge(value)
    | Patch::StrategicMerge(value)
    | Patch::Apply(value)) = patch;
    Some(value.clone())
}

#[async_trait]
impl Transport for InProcess {
    fn catalog(&self) -> &Catalog {
        self.server.catalog()
    }

    async fn get(&self, target: Target) -> Result<Object> {
        let target = self.current_target(target)?;
        has_verb(&target, "get")?;
        let noted = self.begin("get", &target, || None);
        if let Some(other) = self.elsewhere(&target.resource) {
            return noted.object(OK, other.get(&target).await);
        }
        let got = self.server.read(&self.user, &target).await;
        noted.object(OK, self.server.served(&target, got).await)
    }

    async fn list(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Object>> {
        let resource = self.current(resource)?;
        let noted = self.begin("list", &collection(&resource, namespace), || None);
        if let Some(other) = self.elsewhere(&resource) {
            return noted.list(&resource, other.list(&resource, namespace, &options).await);
        }
        let list = self.server.read_all(&self.user, &resource, namespace, &options).await;
        noted.list(&resource, self.server.served_list(&resource, list).await)
    }

    async fn watch(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<WatchStream> {
        let resource = self.current(resource)?;
        let noted = self.begin("watch", &collection(&resource, namespace), || None);
        if let Some(other) = self.elsewhere(&resource) {
            return noted.watch(other.watch(&resource, namespace, &options).await);
        }
        let stream = self.server.watch(&self.user, resource.clone(), namespace, &options).await;
        noted.watch(stream.map(|stream| self.server.served_events(resource, stream)))
    }

    async fn create(
        &self,
        target: Target,
        draft: Draft,
        mut options: WriteOptions,
    ) -> Result<Object> {
        let target = self.current_target(target)?;
        has_verb(&target, "create")?;
        let noted = self.begin("create", &target, || draft.to_value().ok());
        options.annotations = noted.annotations.clone();
        if let Some(other) = self.elsewhere(&target.resource) {
            return noted.object(CREATED, other.create(&target, &draft, &options).await);
        }
        let created = match target.subresource {
            None => {
                let created = self.server.create(&self.user, target.clone(), draft, options).await;
                self.server.served(&target, created).await
            }
            Some(Subresource::Binding) => {
                self.server.bind(&self.user, target, draft, options).await
            }
            Some(Subresource::Eviction) => {
                self.server.evict(&self.user, target, draft, options).await
            }
            Some(Subresource::Token) => {
                self.server.create_token(&self.user, &target, draft, &options).await
            }
            Some(_) => Err(ApiError::method_not_supported(&target.resource, "create")),
        };
        noted.object(CREATED, created)
    }

    async fn update(
        &self,
        target: Target,
        draft: Draft,
        mut options: WriteOptions,
    ) -> Result<Object> {
        let target = self.current_target(target)?;
        has_verb(&target, "update")?;
        let noted = self.begin("update", &target, || draft.to_value().ok());
        options.annotations = noted.annotations.clone();
        if let Some(other) = self.elsewhere(&target.resource) {
            return noted.object(OK, other.update(&target, &draft, &options).await);
        }
        let updated = self.server.update(&self.user, target.clone(), draft, options).await;
        noted.object(OK, self.server.served(&target, updated).await)
    }

    async fn patch(
        &self,
        target: Target,
        patch: Patch,
        mut options: WriteOptions,
    ) -> Result<Object> {
        let target = self.current_target(target)?;
        has_verb(&target, "patch")?;
        let noted = self.begin("patch", &target, || patch_value(&patch));
        options.annotations = noted.annotations.clone();
        if let Some(other) = self.elsewhere(&target.resource) {
            return noted.object(OK, other.patch(&target, &patch, &options).await);
        }
        let patched = self.server.patch(&self.user, target.clone(), patch, options).await;
        noted.object(OK, self.server.served(&target, patched).await)
    }

    async fn delete(&self, target: Target, mut options: DeleteOptions) -> Result<Object> {
        let target = self.current_target(target)?;
        has_verb(&target, "delete")?;
        let noted = self.begin("delete", &target, || deletion(&options));
        options.annotations = noted.annotations.clone();
        if let Some(other) = self.elsewhere(&target.resource) {
            return noted.object(OK, other.delete(&target, &options).await);
        }
        let deleted = self.server.delete(&self.user, target.clone(), options).await;
        noted.object(OK, self.server.served(&target, deleted).await)
    }

    async fn delete_collection(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        selection: ListOptions,
        mut options: DeleteOptions,
    ) -> Result<List<Object>> {
        let resource = self.current(resource)?;
        let about = collection(&resource, namespace);
        let noted = self.begin("deletecollection", &about, || deletion(&options));
        options.annotations = noted.annotations.clone();
        let user = &self.user;
        if let Some(other) = self.elsewhere(&resource) {
            let deleted = other.delete_collection(&resource, namespace, &selection, &options);
            return noted.list(&resource, deleted.await);
        }
        let deleted = self
            .server
            .delete_collection(user, resource.clone(), namespace, selection, options)
            .await;
        noted.list(&resource, self.server.served_list(&resource, deleted).await)
    }
}
