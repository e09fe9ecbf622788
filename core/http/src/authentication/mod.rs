//! Who makes a request: authenticators are asked in order, the first that knows the caller wins.

mod anonymous;
mod certificate;
mod hook;
mod impersonation;
pub mod jwt;
mod token;

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use http::request::Parts;
use pinnace_api::{ApiError, Reason, Result};
use pinnace_server::User;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use anonymous::Anonymous;
pub(crate) use anonymous::is_open;
pub(crate) use certificate::certificate_user;
pub(crate) use impersonation::Impersonation;
pub(crate) use token::{BearerTokens, bearer_token};

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
pub(crate) const ANONYMOUS: &str = "system:anonymous";

/// The other side of a connection.
#[derive(Clone)]
pub struct Peer {
    pub(crate) user: Option<User>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) stop: CancellationToken,
    /// Owns what goes on after an answer has been given.
    pub(crate) tasks: TaskTracker,
}

impl Peer {
    /// A caller within this process who acts as `user`; its watches end when `stop` is cancelled.
    pub fn in_process(user: User, stop: CancellationToken) -> Self {
        Self { user: Some(user), address: None, stop, tasks: TaskTracker::new() }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({:?})", self.address)
    }
}

/// Knows some callers.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who makes this request; `None` when this authenticator cannot tell, and the next is asked.
    ///
    /// # Errors
    /// `Unauthorized` when the caller claims to be somebody and is not.
    async fn authenticate(&self, request: &Parts, peer: &Peer) -> Result<Option<User>>;
}

#[async_trait]
impl Authenticator for std::sync::Arc<dyn Authenticator> {
    async fn authenticate(&self, request: &Parts, peer: &Peer) -> Result<Option<User>> {
        (**self).authenticate(request, peer).await
    }
}

/// What the connection proves: a certificate of our authority, or the owner of a Unix socket.
#[derive(Debug)]
pub(crate) struct Connection;

#[async_trait]
impl Authenticator for Connection {
    async fn authenticate(&self, _request: &Parts, peer: &Peer) -> Result<Option<User>> {
        Ok(peer.user.clone())
    }
}

/// Asks all in order; who is known to none is anonymous.
///
/// # Errors
/// `Unauthorized`.
pub(crate) async fn authenticate(
    chain: &[Box<dyn Authenticator>],
    request: &Parts,
    peer: &Peer,
) -> Result<User> {
    for authenticator in chain {
        if let Some(user) = authenticator.authenticate(request, peer).await? {
            return Ok(with_authenticated(user));
        }
    }
    // A token that nobody knows is a failed claim, not an anonymous caller.
    if bearer_token(&request.headers).is_some() {
        return Err(unauthorized());
    }
    Ok(User::new(ANONYMOUS, [UNAUTHENTICATED.to_owned()]))
}

/// The answer to callers who are not known.
pub(crate) fn unauthorized() -> ApiError {
    ApiError::new(Reason::Unauthorized, "Unauthorized")
}

/// A user as who is known.
pub(crate) fn with_authenticated(user: User) -> User {
    with_group(user, AUTHENTICATED)
}

fn with_group(mut user: User, group: &str) -> User {
    if !user.groups.iter().any(|one| one == group) {
        user.groups = user.groups.iter().cloned().chain([group.to_owned()]).collect();
    }
    user
}
