//! The engine for programs without an async runtime: every verb waits until it is done.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use pinnace_api::Object;
use pinnace_client::{DeleteOptions, List, ListOptions};

use crate::{Applied, EngineBuilder, Error, Result};

/// Threads that run an engine which has a Tokio runtime of its own.
const THREADS: usize = 2;

/// An [`Engine`](crate::Engine) on a Tokio runtime of its own. Its verbs wait; they must not be
/// called from async code. Dropping it shuts the engine down and joins every thread.
pub struct Engine {
    engine: crate::Engine,
    /// `None` once shut down.
    tokio: Option<tokio::runtime::Runtime>,
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
        Ok(Self { engine, tokio: Some(tokio) })
    }

    /// The async engine behind it; its futures run on [`Engine::handle`].
    pub fn engine(&self) -> &crate::Engine {
        &self.engine
    }

    /// The Tokio runtime that it runs on.
    ///
    /// # Errors
    /// [`Error::Closed`] after the shutdown.
    pub fn handle(&self) -> Result<&tokio::runtime::Handle> {
        self.tokio.as_ref().map(tokio::runtime::Runtime::handle).ok_or(Error::Closed)
    }

    /// Waits for a future of the async engine.
    ///
    /// # Errors
    /// [`Error::Closed`] after the shutdown, else those of the future.
    pub fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.handle()?.block_on(future)
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
    /// when this returns.
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&mut self) -> Result<()> {
        match self.tokio.take() {
            Some(tokio) => tokio.block_on(self.engine.shutdown()),
            None => Ok(()),
        }
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
