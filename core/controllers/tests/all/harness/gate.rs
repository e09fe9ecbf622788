//! A way to the API that breaks off after so many writes: what a killed engine looks like from the
//! store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pinnace_api::patch::Patch;
use pinnace_api::{Catalog, Draft, Object, Resource, Result};
use pinnace_client::{
    DeleteOptions, List, ListOptions, Target, Transport, WatchStream, WriteOptions,
};
use pinnace_server::InProcess;
use pinnace_store::Store;
use tokio_util::sync::CancellationToken;

/// One life of an engine. It ends with the write whose number is `last`: the write is stored, and
/// nobody learns of it.
#[derive(Debug)]
pub(crate) struct Life {
    writes: AtomicUsize,
    last: usize,
    pub(crate) over: CancellationToken,
}

impl Life {
    pub(crate) fn until(last: usize) -> Arc<Self> {
        Arc::new(Self { writes: AtomicUsize::new(0), last, over: CancellationToken::new() })
    }

    /// How many writes were counted.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    /// Counts a write, which may be the last.
    pub(crate) fn count(&self) {
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        if number == self.last {
            self.over.cancel();
        }
    }

    async fn check(&self) {
        if self.over.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}

/// A transport that works as long as a life lasts.
pub(crate) struct Gate {
    pub(crate) inner: InProcess,
    pub(crate) life: Arc<Life>,
    /// The kinds whose writes are not counted. Of all others those are that change what is stored.
    pub(crate) uncounted: &'static [&'static str],
    pub(crate) store: Store,
}

impl Gate {
    async fn write<T>(
        &self,
        kind: Arc<Resource>,
        write: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.life.check().await;
        let before = self.store.snapshot().revision();
        let written = write.await;
        let counts = !self.uncounted.contains(&&*kind.kind);
        if counts && self.store.snapshot().revision() != before {
            self.life.count();
        }
        self.life.check().await;
        written
    }
}

#[async_trait]
impl Transport for Gate {
    fn catalog(&self) -> &Catalog {
        self.inner.catalog()
    }
    async fn get(&self, target: Target) -> Result<Object> {
        self.life.check().await;
        self.inner.get(target).await
    }
    async fn list(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<List<Object>> {
        self.life.check().await;
        self.inner.list(resource, namespace, options).await
    }
    async fn watch(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        options: ListOptions,
    ) -> Result<WatchStream> {
        self.life.check().await;
        self.inner.watch(resource, namespace, options).await
    }
    async fn create(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object> {
        self.write(target.resource.clone(), self.inner.create(target, draft, options)).await
    }
    async fn update(&self, target: Target, draft: Draft, options: WriteOptions) -> Result<Object> {
        self.write(target.resource.clone(), self.inner.update(target, draft, options)).await
    }
    async fn patch(&self, target: Target, patch: Patch, options: WriteOptions) -> Result<Object> {
        self.write(target.resource.clone(), self.inner.patch(target, patch, options)).await
    }
    async fn delete(&self, target: Target, options: DeleteOptions) -> Result<Object> {
        self.write(target.resource.clone(), self.inner.delete(target, options)).await
    }
    async fn delete_collection(
        &self,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Result<List<Object>> {
        self.write(
            resource.clone(),
            self.inner.delete_collection(resource, namespace, selection, options),
        )
        .await
    }
}
