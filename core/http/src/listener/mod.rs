//! Listening: TCP with TLS, and a Unix socket for the owner of this process.

mod connection;
mod handover;
mod stall;
mod stream;
mod tls;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{DRAIN_TIMEOUT, MAX_CONNECTIONS};
use crate::{Authority, Body, Error, Front, Peer, RequestBody, Result, pki};
pub(crate) use tls::Tls;

/// After a failure to accept, such as too many open files, how long it is left alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked at whether the serving certificate is about to end.
const RENEWAL_CHECK: Duration = Duration::from_secs(12 * 60 * 60);

/// Where to listen. The default is nowhere.
#[derive(Clone, Debug, Default)]
pub struct ServeConfig {
    /// An address for HTTPS; port 0 takes a free one.
    pub address: Option<SocketAddr>,
    /// A Unix socket, without TLS. Whoever owns this process, and root, may do everything over it;
    /// nobody else may do anything. What a process that has ended left there is replaced.
    pub unix: Option<PathBuf>,
    /// Names and addresses that the certificate is to name beside `localhost`, the names of the
    /// service `kubernetes` and the address itself.
    pub names: Vec<String>,
}

/// A front that listens. It stops when it is told to, or dropped.
#[must_use = "it stops listening when it is dropped"]
pub struct Serving(Arc<State>);

struct State {
    address: Option<SocketAddr>,
    unix: Option<PathBuf>,
    ca: String,
    stop: CancellationToken,
    /// Ends what has not finished in time.
    abort: CancellationToken,
    tasks: TaskTracker,
}

/// Answers the requests of a listener.
#[async_trait]
pub(crate) trait Handle: Send + Sync + 'static {
    /// The answer to a request. Whatever is wrong is an answer, too.
    async fn handle(&self, request: Request<RequestBody>, peer: &Peer) -> Response<Body>;
}

#[async_trait]
impl Handle for Front {
    async fn handle(&self, request: Request<RequestBody>, peer: &Peer) -> Response<Body> {
        Front::handle(self, request, peer).await
    }
}

/// What every connection of a listener needs.
#[derive(Clone)]
struct Shared {
    handler: Arc<dyn Handle>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Shared {
    fn new(handler: Arc<dyn Handle>) -> Self {
        Self {
            handler,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }

    /// What serves nothing yet. An error drops it, and that ends what has begun.
    fn state(&self, ca: &str) -> State {
        State {
            address: None,
            unix: None,
            ca: ca.to_owned(),
            stop: self.stop.clone(),
            abort: self.abort.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

impl Front {
    /// Listens, on the Tokio runtime of the caller, until [`Serving::stop`].
    ///
    /// # Errors
    /// [`Error::Listen`] when an address or path is taken or not allowed; [`Error::Certificate`]
    /// and [`Error::Io`] for what is wrong with keys.
    pub async fn serve(&self, authority: Arc<Authority>, config: ServeConfig) -> Result<Serving> {
        let shared = Shared::new(Arc::new(self.clone()));
        let mut state = shared.state(authority.certificate_pem());
        if let Some(path) = config.unix {
            state.listen_unix(path, &shared)?;
        }
        if let Some(address) = config.address {
            let failed = |source| Error::Listen { address: address.to_string(), source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            let mut names = config.names;
            names.extend(pki::address_name(address.ip()));
            let tls = Tls::new(authority, names)?;
            state.address = Some(address);
            shared.tasks.spawn(accept_tcp(listener, tls, shared.clone()));
        }
        Ok(Serving(Arc::new(state)))
    }
}

/// Has something else than a front answer what comes to an address.
pub(crate) fn serve(
    handler: Arc<dyn Handle>,
    listener: TcpListener,
    tls: Tls,
    ca: &str,
) -> Serving {
    let shared = Shared::new(handler);
    let mut state = shared.state(ca);
    state.address = listener.local_addr().ok();
    shared.tasks.spawn(accept_tcp(listener, tls, shared.clone()));
    Serving(Arc::new(state))
}

impl Serving {
    /// The address of HTTPS, with the port that it became.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// The Unix socket.
    pub fn unix(&self) -> Option<&std::path::Path> {
        self.0.unix.as_deref()
    }

    /// The certificate of the authority that clients have to trust, in PEM.
    pub fn ca(&self) -> &str {
        &self.0.ca
    }

    /// The URL of the API for clients on this machine.
    pub fn url(&self) -> Option<String> {
        let address = self.0.address?;
        let address = match (address.ip().is_unspecified(), address.is_ipv4()) {
            (true, true) => SocketAddr::from(([127, 0, 0, 1], address.port())),
            (true, false) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port())),
            (false, _) => address,
        };
        Some(format!("https://{address}"))
    }

    /// Stops listening: watches end, requests in flight get ten seconds to finish, and everything
    /// is joined.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.finish().await;
    }

    /// Ends when this has stopped and everything is joined; stops it when `stop` is cancelled.
    pub fn until(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let state = self.0.clone();
        async move {
            tokio::select! {
                () = stop.cancelled() => state.stop.cancel(),
                () = state.stop.cancelled() => {}
            }
            state.finish().await;
        }
    }
}

impl State {
    async fn finish(&self) {
        self.tasks.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("requests in flight were cut off");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }

    #[cfg(unix)]
    fn listen_unix(&mut self, path: PathBuf, shared: &Shared) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let failed = |source| Error::Listen { address: path.display().to_string(), source };
        // A socket that nobody listens on any more would be in the way.
        if std::os::unix::net::UnixStream::connect(&path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(&path).map_err(failed)?;
        }
        let listener = tokio::net::UnixListener::bind(&path).map_err(failed)?;
        let owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, owner).map_err(failed)?;
        // Both ends of a pair are ours, so it tells who we are.
        let (own, _) = tokio::net::UnixStream::pair().map_err(failed)?;
        let owner = own.peer_cred().map_err(failed)?.uid();
        shared.tasks.spawn(accept_unix(listener, path.clone(), owner, shared.clone()));
        self.unix = Some(path);
        Ok(())
    }

    #[cfg(not(unix))]
    fn listen_unix(&mut self, path: PathBuf, _shared: &Shared) -> Result<()> {
        let source = std::io::Error::from(std::io::ErrorKind::Unsupported);
        Err(Error::Listen { address: path.display().to_string(), source })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.stop.cancel();
        self.0.abort.cancel();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serving({:?}, {:?})", self.0.address, self.0.unix)
    }
}

/// Room for one more connection; `None` when there will be none any more.
async fn room(shared: &Shared) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        () = shared.stop.cancelled() => None,
        permit = shared.room.clone().acquire_owned() => permit.ok(),
    }
}

async fn accept_tcp(listener: TcpListener, tls: Tls, shared: Shared) {
    let mut renewal = tokio::time::interval(RENEWAL_CHECK);
    renewal.reset();
    loop {
        // Room first: what finds none waits in the operating system's queue.
        let Some(permit) = room(&shared).await else { return };
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = renewal.tick() => {
                tls.renew();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                let (tls, shared_too) = (tls.clone(), shared.clone());
                shared.tasks.spawn(async move {
                    let served = connection::serve_tls(stream, remote, &tls, &shared_too);
                    if let Some(watch) = Box::pin(served).await {
                        watch.tell(&shared_too.abort).await;
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(unix)]
async fn accept_unix(
    listener: tokio::net::UnixListener,
    path: PathBuf,
    owner: u32,
    shared: Shared,
) {
    loop {
        let permit = room(&shared).await;
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => {
                // It may have been taken away already, by whoever emptied the directory.
                drop(std::fs::remove_file(&path));
                return;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let shared_too = shared.clone();
                shared.tasks.spawn(async move {
                    let served = connection::serve_unix(stream, owner, &shared_too);
                    if let Some(watch) = Box::pin(served).await {
                        watch.tell(&shared_too.abort).await;
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
