//! The engine for programs without an async runtime: every verb waits until it is done.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use parking_lot::RwLock;
use pinnace_api::Object;
use pinnace_client::{DeleteOptions, List, ListOptions};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{Applied, EngineBuilder, Error, Result};

/// Threads that run an engine which has a Tokio runtime of its own.
const THREADS: usize = 2;

/// How long work that cannot be cancelled may keep its threads after the shutdown; then they are
/// left alone.
const THREAD_GRACE: Duration = Duration::from_secs(5);

/// An [`Engine`](crate::Engine) on a Tokio runtime of its own. Its verbs wait; they must not be
/// called from async code. Any thread may use it; a shutdown ends the calls of the others with
/// [`Error::Closed`]. Dropping it shuts the engine down and joins every thread.
pub struct Engine {
    engine: crate::Engine,
    handle: Handle,
    closing: CancellationToken,
    /// Read by every call while it lasts; `None` once shut down.
    tokio: RwLock<Option<tokio::runtime::Runtime>>,
}

impl Engine {
    /// Starts an engine as configured.
    ///
    /// # Errors
    /// As [`EngineBuilder::start`].
    pub fn start(builder: EngineBuilder) -> Result<Self> {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("pinnace")
            .enable_all()
            .build()
            .map_err(|source| Error::Io { path: "tokio runtime".into(), source })?;
        let engine = tokio.block_on(builder.start())?;
        let handle = tokio.handle().clone();
        let closing = CancellationToken::new();
        Ok(Self { engine, handle, closing, tokio: RwLock::new(Some(tokio)) })
    }

    /// The async engine behind it; its futures run on [`Engine::handle`].
    pub fn engine(&self) -> &crate::Engine {
        &self.engine
    }

    /// The Tokio runtime that it runs on. What is spawned there is dropped by the shutdown.
    ///
    /// # Errors
    /// [`Error::Closed`] after the shutdown.
    pub fn handle(&self) -> Result<&Handle> {
        if self.closing.is_cancelled() { Err(Error::Closed) } else { Ok(&self.handle) }
    }

    /// Waits for a future of the async engine.
    ///
    /// # Errors
    /// [`Error::Closed`] after the shutdown, or when it comes meanwhile, else those of the future.
    pub fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let tokio = self.tokio.read();
        let tokio = tokio.as_ref().filter(|_| !self.closing.is_cancelled()).ok_or(Error::Closed)?;
        tokio.block_on(async {
            self.closing.run_until_cancelled(future).await.unwrap_or(Err(Error::Closed))
        })
    }

    /// See [`Engine::apply`](crate::Engine::apply).
    ///
    /// # Errors
    /// As there.
    pub fn apply(&self, manifest: &str) -> Result<Vec<Applied>> {
        self.block_on(self.engine.apply(manifest))
    }

    /// See [`Engine::get`](crate::Engine::get).
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, object: &str) -> Result<Object> {
        self.block_on(self.engine.get(object))
    }

    /// See [`Engine::list`](crate::Engine::list).
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, kind: &str, options: ListOptions) -> Result<List<Object>> {
        self.block_on(self.engine.list(kind, options))
    }

    /// See [`Engine::delete`](crate::Engine::delete).
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self, object: &str, options: DeleteOptions) -> Result<Object> {
        self.block_on(self.engine.delete(object, options))
    }

    /// See [`Engine::scale`](crate::Engine::scale).
    ///
    /// # Errors
    /// As there.
    pub fn scale(&self, object: &str, replicas: i32) -> Result<()> {
        self.block_on(self.engine.scale(object, replicas))
    }

    /// See [`Engine::wait`](crate::Engine::wait).
    ///
    /// # Errors
    /// As there.
    pub fn wait(&self, object: &str, condition: &str, timeout: Duration) -> Result<()> {
        self.block_on(self.engine.wait(object, condition, timeout))
    }

    /// See [`Engine::shutdown`](crate::Engine::shutdown). Every thread of the engine has ended
    /// when this returns. Later calls, and calls of other threads while the first lasts, wait for
    /// the same end.
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&self) -> Result<()> {
        self.closing.cancel();
        let ended = match &*self.tokio.read() {
            Some(tokio) => tokio.block_on(self.engine.shutdown()),
            None => return Ok(()),
        };
        if let Some(tokio) = self.tokio.write().take() {
            tokio.shutdown_timeout(THREAD_GRACE);
        }
        ended
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::warn!(%error, "engine did not end cleanly");
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.engine, f)
    }
}
