//! Kinds that other servers serve, for clients in the process. Requests go on to these servers in the
//! name of whoever makes them, as those of clients over HTTP do, once it is known that the caller may
//! make them. Whoever has sockets does the sending, behind [`OtherServers`].

use async_trait::async_trait;
use pinnace_api::{ApiError, Reason, Resource, Result};
use pinnace_client::wire::{Answer, Request, Sender, Wire};

use crate::{Server, User};

/// Sends requests on to the servers of other groups.
#[async_trait]
pub trait OtherServers: Send + Sync + 'static {
    /// Sends a request on, in the name of a user who may make it.
    ///
    /// # Errors
    /// `ServiceUnavailable` and its like when there is no answer.
    async fn send(&self, user: &User, request: Request) -> Result<Answer>;
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
    ) -> Option<Wire<Elsewhere<'a>>> {
        resource.is_elsewhere().then_some(Wire(Elsewhere { server: self, user }))
    }
}

#[async_trait]
impl Sender for Elsewhere<'_> {
    async fn send(&self, request: Request) -> Result<Answer> {
        let target = &request.target;
        let (namespace, name) = (target.key.namespace(), target.key.name());
        let (resource, part) = (&target.resource, target.subresource);
        self.server.authorize(self.user, request.verb, resource, part, namespace, name)?;
        let others = self.server.other_servers();
        let others = others.ok_or_else(|| {
            let message = "error trying to reach service: this server reaches no others";
            ApiError::new(Reason::ServiceUnavailable, message)
        })?;
        others.send(self.user, request).await
    }
}
