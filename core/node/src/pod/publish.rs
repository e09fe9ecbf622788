use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use k8s_openapi::api::core::v1::Pod;
use pinnace_client::{DeleteOptions, Preconditions};

use super::record;
use super::status::{self, View};
use super::worker::{Cx, Stage, Worker};

impl Worker {
    /// Waits for `work`, and tells the API meanwhile how the pod stands if it cannot be done at
    /// once. So a pod that starts instantly is written once, and one that does not shows why.
    pub(super) async fn busy<T>(&mut self, cx: &Cx, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Poll::Ready(done) = futures::poll!(work.as_mut()) {
            return done;
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
            pod_level: &self.pod_level,
        };
        let known = self.pod().status.as_ref();
        let wanted = status::status(&view, known, now);
        if known == Some(&wanted) {
            return;
        }
        let uid = cx.slot.uid.clone();
        let mut new = self.pod().clone();
        new.status = Some(wanted);
        let written = match cx.shared.pods.update_status(new).await {
            // Somebody has changed the pod meanwhile: what is to be said is said on top of that.
            Err(error) if error.is_conflict() => {
                let change = |pod: &mut Pod| {
                    if pod.metadata.uid.as_deref() != Some(&*uid) {
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
            Ok(pod) if pod.metadata.uid.as_deref() == Some(&*uid) => {
                self.note_written(pod.into_object());
            }
            // It is gone, or another has its name: the cache is about to say so.
            Ok(_) => {}
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
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(cx.slot.uid.to_string()),
                resource_version: None,
            }),
            ..DeleteOptions::default()
        };
        match cx.shared.pods.delete(&cx.slot.key, options).await {
            Ok(_) => self.released = true,
            Err(error) if error.is_not_found() || error.is_conflict() => self.released = true,
            Err(error) => {
                tracing::warn!(pod = %cx.slot.key, %error, "pod not deleted");
                self.try_later(cx);
            }
        }
    }
}
