//! How controllers make and delete the pods of an owner: in batches that grow, with Events.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{ApiError, Key, Object, Result, Typed};
use pinnace_client::{Api, DeleteOptions, EventType, Preconditions, Recorder};

use crate::Context;
use crate::written::Written;

/// How many pods one look at an owner makes or deletes at most.
pub(crate) const BURST: usize = 500;
/// How many pods are made at first; the number doubles as long as none fails.
const FIRST_BATCH: usize = 1;
/// After how many pods other tasks get their turn: about a millisecond.
const YIELD_EVERY: usize = 64;

/// Makes and deletes pods in the name of a component.
pub(crate) struct PodControl {
    api: Api<Pod>,
    recorder: Recorder,
}

impl PodControl {
    /// For the controller of a name, such as `job-controller`.
    ///
    /// # Errors
    /// `NotFound` when the API does not serve pods.
    pub(crate) fn new(context: &Context, component: &str) -> Result<Self> {
        let recorder = context.recorder.component(component);
        Ok(Self { api: context.client().of()?, recorder })
    }

    /// Where its Events go.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Makes pods in batches that double in size, so that a template that cannot work fails once
    /// and not five hundred times. Gives how many were made, and the first failure.
    pub(crate) async fn create(
        &self,
        owner: &Object,
        pods: Vec<Pod>,
        written: &Written,
    ) -> (usize, Option<ApiError>) {
        let mut made = 0;
        let mut pods = pods.into_iter();
        let mut batch = FIRST_BATCH;
        while pods.len() > 0 {
            let mut failure = None;
            let mut left = batch;
            while left > 0 && pods.len() > 0 {
                let chunk: Vec<Pod> = pods.by_ref().take(left.min(YIELD_EVERY)).collect();
                left -= chunk.len();
                for pod in join_all(chunk.into_iter().map(|pod| self.api.create(pod))).await {
                    match pod {
                        Ok(pod) => {
                            made += 1;
                            self.made(owner, pod.object(), written);
                        }
                        Err(error) => failure = Some(error),
                    }
                }
                tokio::task::yield_now().await;
            }
            if let Some(error) = failure {
                // In a namespace that goes nothing can be made: no news to anybody.
                if !error.message().contains("because it is being terminated") {
                    let message = format!("Error creating: {error}");
                    self.recorder.record(owner, EventType::Warning, "FailedCreate", message);
                }
                return (made, Some(error));
            }
            batch *= 2;
        }
        (made, None)
    }

    fn made(&self, owner: &Object, pod: &Object, written: &Written) {
        written.note(&owner.key(), pod.revision());
        let message = format!("Created pod: {}", pod.name());
        self.recorder.record(owner, EventType::Normal, "SuccessfulCreate", message);
    }

    /// Deletes pods. Gives the last failure; a pod that is gone already is none.
    pub(crate) async fn delete(
        &self,
        owner: &Object,
        victims: &[Typed<Pod>],
        written: &Written,
    ) -> Option<ApiError> {
        let mut failure = None;
        for chunk in victims.chunks(YIELD_EVERY) {
            let deleted = join_all(chunk.iter().map(|pod| async move {
                let uid = pod.metadata.uid.clone();
                let options = DeleteOptions {
                    preconditions: Some(Preconditions { uid, resource_version: None }),
                    ..DeleteOptions::default()
                };
                (pod, self.api.delete(&pod.object().key(), options).await)
            }));
            for (pod, deleted) in deleted.await {
                match deleted {
                    Ok(last) => {
                        written.note(&owner.key(), last.object().revision());
                        let message = format!("Deleted pod: {}", pod.object().name());
                        self.recorder.record(owner, EventType::Normal, "SuccessfulDelete", message);
                    }
                    Err(error) if error.is_not_found() => {}
                    Err(error) => {
                        let message = format!("Error deleting: {error}");
                        self.recorder.record(owner, EventType::Warning, "FailedDelete", message);
                        failure = Some(error);
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        failure
    }

    /// Takes a finalizer from pods. Gives those that it was taken from, or that are gone.
    ///
    /// # Errors
    /// The first failure; the others may have succeeded.
    pub(crate) async fn take_finalizer(
        &self,
        owner: &Key,
        pods: &[Typed<Pod>],
        finalizer: &str,
        written: &Written,
    ) -> Result<()> {
        let mut failure = None;
        for chunk in pods.chunks(YIELD_EVERY) {
            let taken = join_all(chunk.iter().map(|pod| async move {
                self.api
                    .modify(&pod.object().key(), |fresh| {
                        let mut all = fresh.metadata.finalizers.take().unwrap_or_default();
                        let before = all.len();
                        all.retain(|one| one != finalizer);
                        let taken = before != all.len();
                        fresh.metadata.finalizers = Some(all).filter(|all| !all.is_empty());
                        fresh.metadata.uid == pod.metadata.uid && taken
                    })
                    .await
            }));
            for taken in taken.await {
                match taken {
                    Ok(pod) => written.note(owner, pod.object().revision()),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => failure = Some(error),
                }
            }
            tokio::task::yield_now().await;
        }
        failure.map_or(Ok(()), Err)
    }
}
