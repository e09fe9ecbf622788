//! The verbs of a [`Transport`](crate::Transport) as requests over HTTP, and the answers to them, for
//! whoever does the sending: [`Wire`] over a [`Sender`].

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
use pinnace_api::{ApiError, Draft, Key, Object, Reason, Resource, Result};
use serde_json::Value;

use crate::{DeleteOptions, List, ListOptions, Target, WatchStream, WriteOptions};
pub use answer::failure;
use request::Query;
pub use request::deletion;

/// Most bytes of an answer that does not go on.
const MAX_ANSWER: usize = 64 << 20;
/// How long an answer that does not go on may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request about objects, as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it does, as authorization names it.
    pub verb: &'static str,
    /// What it is about; without a name where it is about all, or about one that is made.
    pub target: Target,
    /// The method of HTTP.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// What the body is; empty where there is none.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// Whether the answer goes on for hours.
    pub fn is_watch(&self) -> bool {
        self.verb == "watch"
    }
}

/// What is answered to a [`Request`].
pub struct Answer {
    /// The status code of HTTP.
    pub status: u16,
    /// The body, as it comes.
    pub body: BoxStream<'static, Result<Bytes, String>>,
}

/// Sends requests, and has the answers.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Sends a request.
    ///
    /// # Errors
    /// `ServiceUnavailable` and its like when there is no answer.
    async fn send(&self, request: Request) -> Result<Answer>;
}

/// All verbs, by way of a [`Sender`]. Errors are what the other side says; an answer is bounded in
/// bytes and in time, and only a watch goes on.
#[derive(Debug)]
pub struct Wire<S>(pub S);

/// A document, and what it is.
type Document = (&'static str, Value);

impl<S: Sender> Wire<S> {
    /// See [`Transport::get`](crate::Transport::get).
    ///
    /// # Errors
    /// As there.
    pub async fn get(&self, target: &Target) -> Result<Object> {
        self.object("get", "GET", target, Query::new(), None).await
    }

    /// See [`Transport::create`](crate::Transport::create).
    ///
    /// # Errors
    /// As there.
    pub async fn create(
        &self,
        target: &Target,
        draft: &Draft,
        options: &WriteOptions,
    ) -> Result<Object> {
        // The name stands in the object; a part is posted to the object that it is of.
        let mut place = target.clone();
        if place.subresource.is_none() {
            place.key = Key::new(target.key.namespace(), "");
        }
        let query = request::of_write(options, false);
        let body = (request::JSON, draft.to_value()?);
        self.object("create", "POST", &place, query, Some(body)).await
    }

    /// See [`Transport::update`](crate::Transport::update).
    ///
    /// # Errors
    /// As there.
    pub async fn update(
        &self,
        target: &Target,
        draft: &Draft,
        options: &WriteOptions,
    ) -> Result<Object> {
        let query = request::of_write(options, false);
        let body = (request::JSON, draft.to_value()?);
        self.object("update", "PUT", target, query, Some(body)).await
    }

    /// See [`Transport::patch`](crate::Transport::patch).
    ///
    /// # Errors
    /// As there.
    pub async fn patch(
        &self,
        target: &Target,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Object> {
        let query = request::of_write(options, matches!(patch, Patch::Apply(_)));
        self.object("patch", "PATCH", target, query, Some(request::of_patch(patch))).await
    }

    /// See [`Transport::delete`](crate::Transport::delete).
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Object> {
        let body = (request::JSON, deletion(options));
        self.object("delete", "DELETE", target, Query::new(), Some(body)).await
    }

    /// See [`Transport::list`](crate::Transport::list).
    ///
    /// # Errors
    /// As there.
    pub async fn list(
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

    /// See [`Transport::delete_collection`](crate::Transport::delete_collection).
    ///
    /// # Errors
    /// As there.
    pub async fn delete_collection(
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

    /// See [`Transport::watch`](crate::Transport::watch).
    ///
    /// # Errors
    /// As there.
    pub async fn watch(
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
        verb: &'static str,
        method: &'static str,
        target: &Target,
        query: Query,
        body: Option<Document>,
    ) -> Result<Object> {
        let value = self.whole(verb, method, target, query, body).await?;
        answer::object(target, value)
    }

    /// The document that a request is answered with.
    async fn whole(
        &self,
        verb: &'static str,
        method: &'static str,
        target: &Target,
        query: Query,
        body: Option<Document>,
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
        verb: &'static str,
        method: &'static str,
        target: &Target,
        query: Query,
        body: Option<Document>,
    ) -> Result<Answer> {
        let (content_type, body) = match body {
            Some((content_type, value)) => (content_type, Bytes::from(value.to_string())),
            None => ("", Bytes::new()),
        };
        let path = request::path(target, &query)?;
        let target = target.clone();
        self.0.send(Request { verb, target, method, path, content_type, body }).await
    }
}

/// All of an answer.
///
/// # Errors
/// `ServiceUnavailable` when it breaks off or is too long.
pub async fn collect(mut body: BoxStream<'static, Result<Bytes, String>>) -> Result<Bytes> {
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
