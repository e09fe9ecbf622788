use std::sync::Arc;

use futures::future;
use pinnace_api::{Draft, Resource, Result};
use pinnace_env::Stopwatch;

use super::call::{Shown, failed, is_exempt};
use super::{Failure, Hook};
use crate::Server;
use crate::figures::{Ending, Phase};
use crate::write::Write;

impl Server {
    /// Asks all webhooks that watch over this what they say to it, at once.
    pub(crate) async fn validate_by_webhooks(
        &self,
        write: &Write<'_>,
        new: Option<&Draft>,
    ) -> Result<()> {
        let Some(hooks) = self.webhooks().state().index.validating() else { return Ok(()) };
        if is_exempt(write) {
            return Ok(());
        }
        let mut asked = Vec::new();
        {
            let snapshot = self.snapshot();
            for (index, hook) in hooks.iter().enumerate() {
                if let Some(version) =
                    hook.constraints.matches(write, new, self.catalog(), &snapshot)?
                {
                    asked.push((index, hook, version));
                }
            }
        }
        let mut wanting = Vec::with_capacity(asked.len());
        for one in asked {
            if self.wants(one.1, Phase::Validate, write, &one.2, new).await? {
                wanting.push(one);
            }
        }
        let answers = wanting.iter().map(|(index, hook, version)| async move {
            let watch = Stopwatch::start();
            let answer = self.validate_by(hook, version, write, new).await;
            let ending = answer.as_ref().map_or_else(|why| why.ending(hook), |()| Ending::Passed);
            let (figures, took) = (self.admission_figures(), watch.elapsed());
            figures.webhook(&hook.name, Phase::Validate, write.operation, ending, took);
            let Err(failure) = answer else { return Ok(()) };
            if let (Failure::Calling(why), true) = (&failure, hook.is_ignored) {
                tracing::warn!(webhook = hook.name, why, "failed calling webhook, failing open");
                let key = format!(
                    "failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"
                );
                write.options.annotations().add(key, &*hook.name);
                return Ok(());
            }
            Err(failed(hook, failure))
        });
        future::join_all(answers).await.into_iter().collect()
    }

    async fn validate_by(
        &self,
        hook: &Hook,
        version: &Arc<Resource>,
        write: &Write<'_>,
        new: Option<&Draft>,
    ) -> Result<(), Failure> {
        let object = self.shown_draft(write, version, new).await?;
        let old = self.shown_object(write, version, write.old).await?;
        let shown = Shown { version, object: &object, old: &old };
        self.ask(hook, write, shown, false).await.map(drop)
    }
}
