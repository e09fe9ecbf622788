use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyDataStream, BodyExt as _, Full};
use pinnace_api::{ApiError, Reason, Result};
use pinnace_client::wire::{Answer, Request};
use pinnace_server::{OtherServers, User};
use tokio_util::sync::CancellationToken;

use super::{Aggregator, Forwarded, Inner};
use crate::authentication::Peer;

/// The way of clients in the process to other servers.
pub(super) fn sender(inner: &Arc<Inner>) -> Arc<dyn OtherServers> {
    Arc::new(Sender(Arc::downgrade(inner)))
}

/// The server holds it, and is held by what it leads to.
struct Sender(Weak<Inner>);

#[async_trait]
impl OtherServers for Sender {
    async fn send(&self, user: &User, request: Request) -> Result<Answer> {
        let unavailable = || ApiError::new(Reason::ServiceUnavailable, "service unavailable");
        let aggregator = Aggregator(self.0.upgrade().ok_or_else(unavailable)?);
        let resource = &request.target.resource;
        let remote = aggregator.find(&resource.group, &resource.version);
        let remote = remote.ok_or_else(ApiError::no_such_resource)?;
        let is_watch = request.is_watch();
        let mut head = http::Request::builder().method(request.method).uri(request.path);
        head = head.header(ACCEPT, "application/json").header(USER_AGENT, "pinnace");
        if !request.content_type.is_empty() {
            head = head.header(CONTENT_TYPE, request.content_type);
        }
        let (parts, ()) = head.body(()).map_err(ApiError::internal)?.into_parts();
        let body = Full::new(request.body).map_err(|never| match never {});
        let forwarded = Forwarded {
            parts: &parts,
            body: UnsyncBoxBody::new(body),
            upgrade: None,
            user,
            peer: &Peer::in_process(user.clone(), CancellationToken::new()),
            is_watch,
        };
        let response = aggregator.forward(&remote, forwarded).await?;
        let status = response.status().as_u16();
        let body = BodyDataStream::new(response.into_body());
        Ok(Answer { status, body: body.map_err(|error| error.to_string()).boxed() })
    }
}
