use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{Object, Result};

use super::record;
use super::status::{self, View};
use super::worker::{Cx, Stage, Worker};
use crate::static_pods;

impl Worker {
    /// Waits for `work`, and tells the API meanwhile how the pod stands if it cannot be done at
    /// once. So a pod that starts instantly is written once, and one that does not shows why.
    pub(super) async fn busy<T>(&mut self, cx: &Cx, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Poll::Ready(done) = futures::poll!(work.as_mut()) {
            return done;
        }
        if self.replacing {
            return work.await;
        }
        // Boxed, so that the many who are seldom made to wait stay small.
        let (done, ()) = tokio::join!(work, Box::pin(self.publish(cx)));
        done
    }

    /// Writes the pod's status if it is not what the API has.
    pub(super) async fn publish(&mut self, cx: &Cx) {
        if self.records.len() < record::containers(record::spec_of(self.pod())).count() {
            // It has not begun.
            return;
        }
        let now = cx.shared.env.clock().now_seconds();
        let over = self.over && self.stage >= Stage::Stopping;
        let view = View {
            pod: self.pod(),
            records: &self.records,
            ephemeral: &self.ephemeral,
            runtime: cx.host().runtime.runtime.name(),
            host_ips: &cx.host().ips,
            pod_ips: &self.pod_ips,
            has_sandbox: self.has_sandbox,
            started_at: self.started_at,
            over,
            verdict: self.verdict.as_ref(),
            disrupted: self.evicted.as_ref().is_some_and(|evicted| evicted.disruption),
            resize: self.resize.as_deref(),
            recursive_read_only: self.features.recursive_read_only,
            pod_level: &self.pod_level,
        };
        let known = self.pod().status.as_ref();
        let wanted = status::status(&view, known, now);
        if known == Some(&wanted) {
            return;
        }
        let mut new = self.pod().clone();
        if static_pods::mirrored_on(cx.host(), &self.object()).is_some() {
            // Its mirror has another.
            new.metadata.uid = None;
        }
        new.status = Some(wanted);
        let written = match cx.shared.pods.update_status(new).await {
            // Somebody has changed the pod meanwhile: what is to be said is said on top of that.
            Err(error) if error.is_conflict() => {
                let change = |pod: &mut Pod| {
                    if !cx.is_of(pod) {
                        return false;
                    }
                    let wanted = status::status(&view, pod.status.as_ref(), now);
                    let changed = pod.status.as_ref() != Some(&wanted);
                    pod.status = Some(wanted);
                    changed
                };
                Box::pin(cx.shared.pods.modify_status(&cx.slot.key, change)).await
            }
            written => written,
        };
        match written {
            // If it is gone, or another has its name, the cache is about to say so.
            Ok(pod) => {
                if let Some(pod) = cx.known(pod.object()) {
                    self.note_written(pod);
                }
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(pod = %cx.slot.key, %error, "pod status not written");
                self.try_later(cx);
            }
        }
    }

    /// Tells the API that nothing is left of a deleted pod.
    pub(super) async fn let_go(&mut self, cx: &Cx) {
        if self.released || !self.object().is_deleting() {
            return;
        }
        self.publish(cx).await;
        let done = match cx.uid_in_api(&self.object()).await {
            Ok(Some(uid)) => static_pods::delete(&cx.shared, &cx.slot.key, &uid, Some(0)).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => self.released = true,
            Err(error) => {
                tracing::warn!(pod = %cx.slot.key, %error, "pod not deleted");
                self.try_later(cx);
            }
        }
    }
}

impl Cx {
    /// Whether what the API has under the pod's name is this pod.
    fn is_of(&self, pod: &Pod) -> bool {
        pod.metadata.uid.as_deref() == Some(&*self.slot.uid)
            || self.known(&Object::new(pod.clone())).is_some()
    }

    /// An object of the API as the pod of this slot; `None` when it is another's.
    fn known(&self, pod: &Object) -> Option<Object> {
        static_pods::as_known(&self.shared, self.host(), pod)
            .filter(|pod| pod.uid() == &*self.slot.uid)
    }

    /// The uid that the API knows the pod by; `None` when it has no mirror of it any more.
    async fn uid_in_api(&self, pod: &Object) -> Result<Option<String>> {
        if static_pods::mirrored_on(self.host(), pod).is_none() {
            return Ok(Some(self.slot.uid.to_string()));
        }
        let mirror = self.shared.find_pod(&self.slot.key).await?;
        let mirror = mirror.filter(|mirror| self.known(mirror.object()).is_some());
        Ok(mirror.map(|mirror| mirror.object().uid().to_owned()))
    }
}
