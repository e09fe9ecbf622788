//! The API for others: over HTTPS, over a Unix socket, and as a `kube::Client`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use pinnace_env::Env;
use pinnace_http::{Authority, ServeConfig, Serving, kubeconfig};
use pinnace_server::authentication::SigningKey;

use crate::{Engine, Error, Result, own_service};

/// Where, below the data directory, keys and certificates are.
const PKI: &str = "pki";
/// Where, below that, what vouches for the engine to other servers is.
const FRONT_PROXY: &str = "front-proxy";

/// The keys of an engine: made or read when it starts.
pub(crate) struct Keys {
    directory: Option<PathBuf>,
    authority: Mutex<Option<Arc<Authority>>>,
    /// The URL of what was served last.
    url: Mutex<Option<String>>,
}

impl Keys {
    pub(crate) fn new(data_dir: Option<&Path>) -> Self {
        let directory = data_dir.map(|directory| directory.join(PKI));
        Self { directory, authority: Mutex::new(None), url: Mutex::new(None) }
    }

    /// What the engine needs from its start: the authority, and the key that signs tokens.
    pub(crate) fn open(&self, env: &Env) -> Result<(Arc<Authority>, SigningKey)> {
        let signing_key = pinnace_http::signing_key(self.directory.as_deref())?;
        Ok((self.authority(env)?, signing_key))
    }

    /// The authority that vouches for this engine to the servers of other groups, and for nobody
    /// else: whoever it has signed may say who makes a request.
    pub(crate) fn front_proxy(&self, env: &Env) -> Result<Authority> {
        let directory = self.directory.as_ref().map(|directory| directory.join(FRONT_PROXY));
        Ok(Authority::open(directory.as_deref(), env)?)
    }

    fn authority(&self, env: &Env) -> Result<Arc<Authority>> {
        let mut authority = self.authority.lock();
        if let Some(authority) = &*authority {
            return Ok(authority.clone());
        }
        let opened = Arc::new(Authority::open(self.directory.as_deref(), env)?);
        *authority = Some(opened.clone());
        Ok(opened)
    }
}

impl Engine {
    /// Serves the API as Kubernetes does, for kubectl and every other client. Nothing listens
    /// before this is called; it ends when the [`Serving`] is stopped or dropped, and with the
    /// engine.
    ///
    /// Keys and certificates are kept in the data directory, below `pki`; those of an engine in
    /// memory live as long as it does.
    ///
    /// ```no_run
    /// # async fn example(engine: pinnace::Engine) -> Result<(), pinnace::Error> {
    /// use pinnace::ServeConfig;
    ///
    /// let address = Some(([127, 0, 0, 1], 6443).into());
    /// let serving = engine.serve(ServeConfig { address, ..ServeConfig::default() }).await?;
    /// let config = engine.kubeconfig("admin", &["system:masters"])?;
    /// std::fs::write("kubeconfig", config).unwrap();
    /// # serving.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Serve`] when an address cannot be listened on or keys cannot be kept;
    /// [`Error::Closed`].
    pub async fn serve(&self, config: ServeConfig) -> Result<Serving> {
        self.check_open()?;
        let parts = self.parts();
        let authority = parts.keys.authority(&parts.env)?;
        let serving = parts.front.serve(authority, config).await?;
        if let Some(url) = serving.url() {
            *parts.keys.url.lock() = Some(url);
        }
        if let Some(address) = serving.address() {
            own_service::publish(self.client(), address).await;
        }
        parts.spawn(serving.until(parts.stop.clone()));
        Ok(serving)
    }

    /// A kubeconfig for what [`Engine::serve`] serves, with a key and a certificate that make its
    /// holder `user`, a member of `groups`, for a year. The group `system:masters` may do
    /// everything.
    ///
    /// # Errors
    /// [`Error::Config`] when nothing serves HTTPS; [`Error::Serve`] for what is wrong with keys.
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> Result<String> {
        self.check_open()?;
        let parts = self.parts();
        let url = parts.keys.url.lock().clone();
        let url = url.ok_or_else(|| {
            Error::Config("a kubeconfig needs an address: call `serve` with one first".into())
        })?;
        let authority = parts.keys.authority(&parts.env)?;
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let identity = authority.client(user, &groups)?;
        Ok(kubeconfig(&url, &authority, user, &identity))
    }

    /// A client of the crate `kube` that may do everything, in this handle's namespace. Its
    /// requests go straight to the API, without a socket.
    ///
    /// Call it on a Tokio runtime: the client keeps a task there.
    ///
    /// # Errors
    /// [`Error::Closed`].
    #[cfg(feature = "kube")]
    pub fn kube_client(&self) -> Result<kube::Client> {
        self.check_open()?;
        let parts = self.parts();
        let host = pinnace_server::User::host();
        let peer = pinnace_http::Peer::in_process(host, parts.stop.clone());
        Ok(kube::Client::new(parts.front.service(peer), self.namespace()))
    }
}
