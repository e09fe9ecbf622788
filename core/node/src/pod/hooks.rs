//! What containers have done right after their start and before their end.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use pinnace_client::EventType;
use pinnace_runtime::{Acting, ContainerId, Runtime};
use tokio::time::Instant;

use super::worker::{Cx, Worker};
use crate::checks;
use crate::checks::command::Ran;

/// How long a hook's HTTP request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A hook of a container that runs.
pub(crate) struct Hook {
    runtime: Arc<dyn Runtime>,
    id: ContainerId,
    acting: Acting,
    handler: LifecycleHandler,
    container: Container,
    pod: String,
    pod_ip: String,
}

impl Hook {
    /// Carries it out.
    ///
    /// # Errors
    /// What went wrong, in upstream's words.
    pub(crate) async fn run(&self) -> Result<(), String> {
        let (handler, name) = (&self.handler, &self.container.name);
        if let Some(sleep) = &handler.sleep {
            let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            return Ok(());
        }
        if self.runtime.simulates() {
            return self.runtime.act(&self.id, self.acting).await;
        }
        if let Some(exec) = &handler.exec {
            let command = exec.command.as_deref().unwrap_or_default();
            let (error, output) =
                match checks::command::run(&*self.runtime, &self.id, command).await {
                    Ok(Ran { code: 0, .. }) => return Ok(()),
                    Ok(ran) => (
                        format!("command '{}' exited with {}", command.join(" "), ran.code),
                        ran.output,
                    ),
                    Err(error) => (error.to_string(), String::new()),
                };
            return Err(format!(
                "Exec lifecycle hook ([{}]) for Container {name:?} in Pod {:?} failed - error: \
                 {error}, message: {output:?}",
                command.join(" "),
                self.pod
            ));
        }
        if let Some(action) = &handler.http_get {
            let failed = |error: String| {
                format!(
                    "HTTP lifecycle hook ({}) for Container {name:?} in Pod {:?} failed - error: \
                     {error}",
                    action.path.as_deref().unwrap_or_default(),
                    self.pod
                )
            };
            let get = checks::http::Get::of(action, &self.container, &self.pod_ip);
            let get = get.map_err(failed)?;
            let called = tokio::time::timeout(REQUEST_TIMEOUT, get.call()).await;
            return called.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(failed);
        }
        Err(format!("invalid handler: {handler:?}"))
    }
}

impl Worker {
    pub(super) fn hook(
        &self,
        cx: &Cx,
        index: usize,
        id: &ContainerId,
        acting: Acting,
    ) -> Option<Box<Hook>> {
        let container = self.container(index);
        let lifecycle = container.lifecycle.as_ref()?;
        let handler = match acting {
            Acting::PostStart => lifecycle.post_start.clone()?,
            Acting::PreStop => lifecycle.pre_stop.clone()?,
        };
        Some(Box::new(Hook {
            runtime: cx.runtime(),
            id: id.clone(),
            acting,
            handler,
            container: container.clone(),
            pod: self.describe(),
            pod_ip: self.pod_ips.first().cloned().unwrap_or_default(),
        }))
    }

    /// Tells that a hook before the end has failed.
    pub(super) fn pre_stop_failed(&self, cx: &Cx, index: usize, why: &str) {
        tracing::debug!(pod = %cx.slot.key, why, "preStop hook failed");
        // Not the words themselves: they may hold secrets.
        let reason = "FailedPreStopHook";
        self.event(cx, Some(index), EventType::Warning, reason, "PreStopHook failed");
    }
}

/// Lets a container end until `deadline`: its hook first, then the signal with the time that is
/// left, though never less than `least`.
pub(crate) async fn end(
    runtime: &dyn Runtime,
    id: &ContainerId,
    hook: Option<Box<Hook>>,
    deadline: Instant,
    least: Duration,
) -> Ended {
    let hook = before_end(hook, deadline).await;
    let left = deadline.saturating_duration_since(Instant::now()).max(least);
    Ended { hook, stopped: runtime.stop_container(id, left).await }
}

/// What came of letting a container end.
pub(crate) struct Ended {
    pub(crate) hook: Result<(), String>,
    pub(crate) stopped: pinnace_runtime::Result<()>,
}

/// Carries out a hook, for as long as there is time.
pub(crate) async fn before_end(hook: Option<Box<Hook>>, deadline: Instant) -> Result<(), String> {
    let Some(hook) = hook else { return Ok(()) };
    if deadline <= Instant::now() {
        return Ok(());
    }
    let done = tokio::time::timeout_at(deadline, hook.run()).await;
    // One that takes too long is given up without a word, as upstream.
    done.unwrap_or(Ok(()))
}
