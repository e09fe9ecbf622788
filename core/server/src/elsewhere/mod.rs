//! Kinds that other servers serve, for clients in the process. Requests go on to these servers in the
//! name of whoever makes them, as those of clients over HTTP do, once it is known that the caller may
//! make them. Whoever has sockets does the sending, behind [`OtherServers`].

mod answer;
mod events;
mod request;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Draft, Object, Reason, Resource, Result};
use pinnace_client::{DeleteOptions, List, ListOptions, Target, WatchStream, WriteOptions};
use serde_json::Value;

use crate::write::Options;
use crate::{Operation, Server, User};
use request::Query;

/// Most bytes of an answer that does not go on.
const MAX_ANSWER: usize = 64 << 20;
/// How long an answer that does not go on may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends requests on to the servers of other groups.
#[async_trait]
pub trait OtherServers: Send + Sync + 'static {
    /// Sends a request on, in the name of a user who may make it.
    ///
    /// # Errors
    /// `ServiceUnavailable` and its like when there is no answer.
    async fn send(&self, user: &User, request: OtherRequest) -> Result<OtherAnswer>;
}

/// A request about a kind that another server serves.
#[derive(Clone, Debug)]
pub struct OtherRequest {
    /// The group of the kind.
    pub group: String,
    /// Its version.
    pub version: String,
    /// The method of HTTP.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// What the body is; empty where there is none.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// Whether the answer goes on for hours.
    pub is_watch: bool,
}

/// What another server has answered.
pub struct OtherAnswer {
    /// The status code of HTTP.
    pub status: u16,
    /// The body, as it comes.
    pub body: BoxStream<'static, Result<Bytes, String>>,
}

/// The way of a user to the kinds of other servers.
pub(crate) struct Elsewhere<'a> {
    server: &'a Server,
    user: &'a User,
}

impl Server {
    /// The way to a kind that another server serves; `None` for kinds that are served here.
    pub(crate) fn elsewhere<'a>(
        &'a self,
        user: &'a User,
        resource: &Resource,
    ) -> Option<Elsewhere<'a>> {
        resource.is_elsewhere().then_some(Elsewhere { server: self, user })
    }
}

impl Elsewhere<'_> {
    pub(crate) async fn get(&self, target: &Target) -> Result<Object> {
        self.object("get", "GET", target, Query::new(), None).await
    }

    pub(crate) async fn create(
        &self,
        target: &Target,
        draft: &Draft,
        options: &WriteOptions,
    ) -> Result<Object> {
        // The name stands in the object; a part is posted to the object that it is of.
        let mut place = target.clone();
        if place.subresource.is_none() {
            place.key = pinnace_api::Key::new(target.key.namespace(), "");
        }
        let query = request::of_write(options, false);
        let body = (request::JSON, draft.to_value()?);
        self.object("create", "POST", &place, query, Some(body)).await
    }

    pub(crate) async fn update(
        &self,
        target: &Target,
        draft: &Draft,
        options: &WriteOptions,
    ) -> Result<Object> {
        let query = request::of_write(options, false);
        let body = (request::JSON, draft.to_value()?);
        self.object("update", "PUT", target, query, Some(body)).await
    }

    pub(crate) async fn patch(
        &self,
        target: &Target,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Object> {
        let query = request::of_write(options, matches!(patch, Patch::Apply(_)));
        self.object("patch", "PATCH", target, query, Some(request::of_patch(patch))).await
    }

    pub(crate) async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Object> {
        let body = (request::JSON, deletion(options));
        self.object("delete", "DELETE", target, Query::new(), Some(body)).await
    }

    pub(crate) async fn list(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<List<Object>> {
        let query = request::of_list(options, false);
        let target = request::collection(resource, namespace);
        let value = self.whole("list", "GET", &target, query, None).await?;
        answer::list(resource, value)
    }

    pub(crate) async fn delete_collection(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        selection: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<List<Object>> {
        let query = request::of_list(selection, false);
        let target = request::collection(resource, namespace);
        let body = Some((request::JSON, deletion(options)));
        let value = self.whole("deletecollection", "DELETE", &target, query, body).await?;
        answer::list(resource, value)
    }

    pub(crate) async fn watch(
        &self,
        resource: &Arc<Resource>,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<WatchStream> {
        let query = request::of_list(options, true);
        let target = request::collection(resource, namespace);
        let sent = self.send("watch", "GET", &target, query, None);
        let answer = tokio::time::timeout(TIMEOUT, sent).await.map_err(|_| late())??;
        if answer.status >= 400 {
            return Err(answer::failure(answer.status, &collect(answer.body).await?));
        }
        Ok(events::of(resource.clone(), answer.body))
    }

    async fn object(
        &self,
        verb: &str,
        method: &'static str,
        target: &Target,
        query: Query,
        body: Option<(&'static str, Value)>,
    ) -> Result<Object> {
        let value = self.whole(verb, method, target, query, body).await?;
        answer::object(target, value)
    }

    /// The document that a request is answered with.
    async fn whole(
        &self,
        verb: &str,
        method: &'static str,
        target: &Target,
        query: Query,
        body: Option<(&'static str, Value)>,
    ) -> Result<Value> {
        let answered = async {
            let answer = self.send(verb, method, target, query, body).await?;
            Ok::<_, ApiError>((answer.status, collect(answer.body).await?))
        };
        let (status, body) =
            tokio::time::timeout(TIMEOUT, answered).await.map_err(|_| late())??;
        if status >= 400 {
            return Err(answer::failure(status, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|error| unavailable(&format!("the answer cannot be read: {error}")))
    }

    async fn send(
        &self,
        verb: &str,
        method: &'static str,
        target: &Target,
        query: Query,
        body: Option<(&'static str, Value)>,
    ) -> Result<OtherAnswer> {
        let Target { resource, key, subresource } = target;
        let (namespace, name) = (key.namespace(), key.name());
        self.server.authorize(self.user, verb, resource, *subresource, namespace, name)?;
        let others = self.server.other_servers();
        let others = others.ok_or_else(|| unavailable("this server reaches no others"))?;
        let (content_type, body) = match body {
            Some((content_type, value)) => (content_type, Bytes::from(value.to_string())),
            None => ("", Bytes::new()),
        };
        let request = OtherRequest {
            group: resource.group.to_string(),
            version: resource.version.to_string(),
            method,
            path: request::path(target, &query)?,
            content_type,
            body,
            is_watch: verb == "watch",
        };
        others.send(self.user, request).await
    }
}

/// How something is to be deleted, as a document of the API.
fn deletion(options: &DeleteOptions) -> Value {
    let mut document = Options::Delete(options).document(Operation::Delete);
    document["apiVersion"] = "v1".into();
    document
}

async fn collect(mut body: BoxStream<'static, Result<Bytes, String>>) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(next) = body.next().await {
        let bytes = next.map_err(|why| unavailable(&why))?;
        if all.len() + bytes.len() > MAX_ANSWER {
            return Err(unavailable(&format!("the answer is longer than {MAX_ANSWER} bytes")));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

fn unavailable(why: &str) -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, format!("error trying to reach service: {why}"))
}

fn late() -> ApiError {
    let message = "Timeout: request did not complete within requested timeout - context deadline \
                   exceeded";
    ApiError::new(Reason::Timeout, message)
}
