use k8s_openapi::api::core::v1::Secret;
use pinnace_api::Key;
use pinnace_client::EventType;
use pinnace_env::Stopwatch;
use pinnace_runtime::{Error, Image, RegistryAuth};
use tokio::time::Instant;

use super::image::{self, PullPolicy};
use super::record::{self, Hold};
use super::worker::{Cx, Worker, go_duration};

impl Worker {
    /// Gets the image of a container, pulling it if its policy says so. `None` when it cannot be
    /// had now: then the container is on hold, or the pod is about to end.
    pub(super) async fn ensure_image(&mut self, cx: &Cx, index: usize) -> Option<Image> {
        let container = self.container(index);
        let policy = PullPolicy::of(container.image_pull_policy.as_deref());
        let reference = container.image.clone().unwrap_or_default();
        self.ensure_reference(cx, index, reference, policy).await
    }

    /// Gets the images that a container mounts as volumes and has them mounted. Says whether all
    /// of them are there; else the container is on hold.
    pub(super) async fn ensure_image_volumes(&mut self, cx: &Cx, index: usize) -> bool {
        let volumes = record::spec_of(self.pod()).volumes.iter().flatten();
        let wanted: Vec<(String, String, PullPolicy)> = volumes
            .filter_map(|volume| {
                let source = volume.image.as_ref()?;
                let mounted = self.container(index).volume_mounts.iter().flatten();
                let used = mounted.into_iter().any(|mount| mount.name == volume.name);
                let policy = PullPolicy::of(source.pull_policy.as_deref());
                let reference = source.reference.clone().unwrap_or_default();
                used.then(|| (volume.name.clone(), reference, policy))
            })
            .collect();
        for (volume, reference, policy) in wanted {
            if self.ensure_reference(cx, index, reference.clone(), policy).await.is_none() {
                return false;
            }
            let (runtime, pod) = (cx.runtime(), cx.pod_id());
            match self.busy(cx, runtime.mount_image(&pod, &reference)).await {
                Ok(place) => {
                    self.volumes.insert(volume, place);
                }
                Err(error) => {
                    let message = format!("failed to mount image {reference:?}: {error}");
                    self.refuse_image(cx, index, "ImageVolumeMountFailed", message);
                    return false;
                }
            }
        }
        true
    }

    async fn ensure_reference(
        &mut self,
        cx: &Cx,
        index: usize,
        reference: String,
        policy: PullPolicy,
    ) -> Option<Image> {
        if let Err(why) = image::check_reference(&reference) {
            let message = format!(
                "Failed to apply default image tag {reference:?}: couldn't parse image name \
                 {reference:?}: {why}"
            );
            self.event(cx, Some(index), EventType::Warning, "InspectFailed", message.as_str());
            self.refuse_image(cx, index, "InvalidImageName", message);
            return None;
        }
        let runtime = cx.runtime();
        let present = match self.busy(cx, runtime.image(&reference)).await {
            Ok(present) => present,
            Err(error) => {
                let message = format!("Failed to inspect image {reference:?}: {error}");
                self.event(cx, Some(index), EventType::Warning, "InspectFailed", message.as_str());
                let reason = match error {
                    Error::InvalidImage { .. } => "InvalidImageName",
                    _ => "ImageInspectError",
                };
                self.refuse_image(cx, index, reason, message);
                return None;
            }
        };
        match (policy, present) {
            (PullPolicy::IfNotPresent | PullPolicy::Never, Some(image)) => {
                let message = format!(
                    "Container image {reference:?} already present on machine and can be accessed \
                     by the pod"
                );
                self.event(cx, Some(index), EventType::Normal, "Pulled", message);
                Some(image)
            }
            (PullPolicy::Never, None) => {
                let message = format!(
                    "Container image {reference:?} is not present with pull policy of Never"
                );
                let reason = "ErrImageNeverPull";
                self.event(cx, Some(index), EventType::Warning, reason, message.as_str());
                self.refuse_image(cx, index, reason, message);
                None
            }
            (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, None) => {
                Box::pin(self.pull(cx, index, &reference, policy)).await
            }
        }
    }

    async fn pull(
        &mut self,
        cx: &Cx,
        index: usize,
        reference: &str,
        policy: PullPolicy,
    ) -> Option<Image> {
        self.event(
            cx,
            Some(index),
            EventType::Normal,
            "Pulling",
            format!("Pulling image {reference:?}"),
        );
        let waited = Stopwatch::start();
        let credentials = self.credentials(cx, reference).await;
        let (slot, shared, runtime) = (cx.slot.clone(), cx.shared.clone(), cx.runtime());
        let work = async move {
            // Pods that want the same image at once wait for one pull of it.
            let same = shared.pulling(reference);
            let _one = same.lock().await;
            if policy == PullPolicy::IfNotPresent
                && let Ok(Some(image)) = runtime.image(reference).await
            {
                return (Ok(image), waited.elapsed());
            }
            let _turn = shared.pulls.acquire().await;
            let began = Stopwatch::start();
            let mut pulled = match credentials.first() {
                None => runtime.pull_image(reference, None).await,
                Some(auth) => runtime.pull_image(reference, Some(auth)).await,
            };
            for auth in credentials.iter().skip(1) {
                if pulled.is_ok() {
                    break;
                }
                pulled = runtime.pull_image(reference, Some(auth)).await;
            }
            (pulled, began.elapsed())
        };
        let done = tokio::select! {
            biased;
            done = self.busy(cx, work) => Some(done),
            () = slot.ends_before(None) => None,
        };
        let (pulled, took) = done?;
        match pulled {
            Ok(image) => {
                let message = format!(
                    "Successfully pulled image {reference:?} in {} ({} including waiting). Image \
                     size: {} bytes.",
                    precise(took),
                    precise(waited.elapsed()),
                    image.size
                );
                self.event(cx, Some(index), EventType::Normal, "Pulled", message);
                if let Some(record) = self.records.get_mut(index) {
                    record.pull_back_off.reset();
                }
                Some(image)
            }
            Err(error) => {
                self.pull_failed(cx, index, reference, &error).await;
                None
            }
        }
    }

    async fn pull_failed(&mut self, cx: &Cx, index: usize, reference: &str, error: &Error) {
        let warning = EventType::Warning;
        let failure = format!("Failed to pull image {reference:?}: {error}");
        self.event(cx, Some(index), warning, "Failed", failure);
        self.event(cx, Some(index), warning, "Failed", "Error: ErrImagePull");
        let now = Instant::now();
        let Some(record) = self.records.get_mut(index) else { return };
        record.pull_back_off.attempt(now, now);
        let delay = record.pull_back_off.delay();
        let until = now + delay;
        record.hold = Some(Hold { reason: "ErrImagePull", message: error.to_string(), until });
        self.publish(cx).await;
        // What follows is the same failure, seen from the wait for the next attempt.
        let message = format!("Back-off pulling image {reference:?}: ErrImagePull: {error}");
        let normal = EventType::Normal;
        self.event(
            cx,
            Some(index),
            normal,
            "BackOff",
            format!("Back-off pulling image {reference:?}"),
        );
        self.event(cx, Some(index), warning, "Failed", "Error: ImagePullBackOff");
        tracing::debug!(pod = %cx.slot.key, reference, wait = %go_duration(delay), "pull put off");
        if let Some(record) = self.records.get_mut(index) {
            record.hold = Some(Hold { reason: "ImagePullBackOff", message, until });
        }
    }

    /// Puts a container off whose image cannot be used as it is named.
    fn refuse_image(&mut self, cx: &Cx, index: usize, reason: &'static str, message: String) {
        self.event(cx, Some(index), EventType::Warning, "Failed", format!("Error: {reason}"));
        let now = Instant::now();
        if let Some(record) = self.records.get_mut(index) {
            record.pull_back_off.attempt(now, now);
            let delay = record.pull_back_off.delay();
            record.hold(reason, message, now, delay);
        }
    }

    /// What the pod's pull secrets have for an image; secrets that are not there are left out, as
    /// upstream does.
    async fn credentials(&mut self, cx: &Cx, reference: &str) -> Vec<RegistryAuth> {
        let spec = record::spec_of(self.pod());
        let names: Vec<String> = spec
            .image_pull_secrets
            .iter()
            .flatten()
            .map(|secret| secret.name.clone())
            .filter(|name| !name.is_empty())
            .collect();
        let mut secrets = Vec::new();
        for name in names {
            let key = Key::new(cx.slot.key.namespace(), name);
            let found = match cx.shared.client.of::<Secret>() {
                Ok(api) => api.find(&key).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(Some(secret)) => secrets.push(secret),
                Ok(None) => {
                    let message = format!(
                        "Unable to retrieve some image pull secrets ({}); attempting to pull the \
                         image may not succeed.",
                        key.name()
                    );
                    let reason = "FailedToRetrieveImagePullSecret";
                    self.event(cx, None, EventType::Warning, reason, message);
                }
                Err(error) => tracing::warn!(secret = %key, %error, "pull secret not read"),
            }
        }
        let secrets: Vec<&Secret> = secrets.iter().map(|secret| &**secret).collect();
        image::credentials(reference, &secrets)
    }
}

/// A duration to the millisecond, as messages about pulls show it.
fn precise(duration: std::time::Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 { format!("{millis}ms") } else { format!("{:.3}s", duration.as_secs_f64()) }
}
