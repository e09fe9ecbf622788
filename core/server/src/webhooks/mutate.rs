use std::sync::Arc;

use pinnace_api::patch;
use pinnace_api::{ApiError, Draft, Resource, Result};
use pinnace_env::Stopwatch;
use serde_json::{Value, json};

use super::call::{Shown, failed, is_exempt};
use super::{Failure, Hook, Hooks};
use crate::figures::{Ending, Phase};
use crate::reinvocation::{Asked, Pass};
use crate::write::Write;
use crate::{Operation, Server};

/// What only the server says of an object, and no webhook sees before it is there.
const SYSTEM_FIELDS: [&str; 2] = ["uid", "creationTimestamp"];

/// A webhook, by its configuration and its name.
pub(crate) type Named = (String, String);

/// The webhooks that change a write, as they are asked once.
struct Mutation<'a> {
    server: &'a Server,
    write: &'a Write<'a>,
    pass: Pass,
}

impl Server {
    /// Has webhooks change what is about to be written, in their order; whether anything has changed.
    pub(crate) async fn mutate_by_webhooks(
        &self,
        write: &Write<'_>,
        mut draft: Option<&mut Draft>,
        pass: Pass,
        asked: &mut Asked<Named>,
    ) -> Result<bool> {
        let Some(hooks) = self.webhooks().state().index.mutating() else { return Ok(false) };
        if is_exempt(write) {
            return Ok(false);
        }
        asked.begin(pass, draft.as_deref())?;
        let mutation = Mutation { server: self, write, pass };
        let changed = mutation.run(&hooks, draft.as_deref_mut(), asked).await?;
        asked.end(draft.as_deref())?;
        Ok(changed)
    }
}

impl Mutation<'_> {
    /// Asks each webhook that is to be asked; whether anything has changed.
    async fn run(
        &self,
        hooks: &Hooks,
        mut draft: Option<&mut Draft>,
        asked: &mut Asked<Named>,
    ) -> Result<bool> {
        let mut changed_any = false;
        for (index, hook) in hooks.iter().enumerate() {
            let named = (hook.configuration.clone(), hook.name.clone());
            if !asked.is_due(self.pass, &named) {
                continue;
            }
            let version = {
                let snapshot = self.server.snapshot();
                hook.constraints.matches(
                    self.write,
                    draft.as_deref(),
                    self.server.catalog(),
                    &snapshot,
                )?
            };
            let Some(version) = version else { continue };
            let new = draft.as_deref();
            if !self.server.wants(hook, Phase::Admit, self.write, &version, new).await? {
                continue;
            }
            let answer = self.change(index, hook, &version, draft.as_deref_mut()).await;
            if matches!(answer, Ok(true)) {
                changed_any = true;
                asked.note_change();
            }
            if hook.is_asked_again {
                asked.note(named);
            }
            match answer {
                Ok(_) => {}
                Err(Failure::Calling(why)) if hook.is_ignored => {
                    tracing::warn!(
                        webhook = hook.name,
                        why,
                        "failed calling webhook, failing open"
                    );
                    self.annotate("failed-open.mutation", index, || hook.name.clone());
                }
                Err(failure) => return Err(failed(hook, failure)),
            }
        }
        Ok(changed_any)
    }

    fn annotate(&self, what: &str, index: usize, value: impl FnOnce() -> String) {
        let annotations = self.write.options.annotations();
        if annotations.are_kept() {
            let round = usize::from(self.pass == Pass::Second);
            let key = format!("{what}.webhook.admission.k8s.io/round_{round}_index_{index}");
            annotations.add(key, value());
        }
    }

    /// Asks a webhook and does what it says; whether that has changed anything.
    async fn change(
        &self,
        index: usize,
        hook: &Hook,
        version: &Arc<Resource>,
        draft: Option<&mut Draft>,
    ) -> Result<bool, Failure> {
        let watch = Stopwatch::start();
        let changed = self.changed(index, hook, version, draft).await;
        let ending = changed.as_ref().map_or_else(|why| why.ending(hook), |_| Ending::Passed);
        let (figures, took) = (self.server.admission_figures(), watch.elapsed());
        figures.webhook(&hook.name, Phase::Admit, self.write.operation, ending, took);
        self.annotate("mutation", index, || {
            let mutated = matches!(changed, Ok(true));
            let (configuration, webhook) = (json!(hook.configuration), json!(hook.name));
            format!(
                r#"{{"configuration":{configuration},"webhook":{webhook},"mutated":{mutated}}}"#
            )
        });
        changed
    }

    async fn changed(
        &self,
        index: usize,
        hook: &Hook,
        version: &Arc<Resource>,
        draft: Option<&mut Draft>,
    ) -> Result<bool, Failure> {
        let Self { server, write, .. } = self;
        let mut object = server.shown_draft(write, version, draft.as_deref()).await?;
        if write.operation == Operation::Create
            && write.is_whole()
            && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        {
            SYSTEM_FIELDS.iter().for_each(|field| drop(metadata.remove(*field)));
        }
        let old = server.shown_object(write, version, write.old).await?;
        let shown = Shown { version, object: &object, old: &old };
        let verdict = server.ask(hook, write, shown, true).await?;
        let Some(text) = verdict.patch else { return Ok(false) };
        let undecodable = |why: String| {
            Failure::Calling(format!("received undecodable patch in webhook response: {why}"))
        };
        let operations: Value =
            serde_json::from_slice(&text).map_err(|error| undecodable(error.to_string()))?;
        match operations.as_array() {
            None => return Err(undecodable("it is not a list of operations".to_owned())),
            Some(list) if list.is_empty() => return Ok(false),
            Some(_) => {}
        }
        let Some(draft) = draft else {
            return Err(Failure::Broken(ApiError::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for \
                 this operation",
                hook.name
            ))));
        };
        let patched = patch::json(object.clone(), &operations).map_err(broken)?;
        self.annotate("patch", index, || {
            let (configuration, webhook) = (json!(hook.configuration), json!(hook.name));
            format!(
                r#"{{"configuration":{configuration},"webhook":{webhook},"patch":{operations},"patchType":"JSONPatch"}}"#
            )
        });
        if patched == object {
            return Ok(false);
        }
        let new = server.taken(write, version, draft, patched).await.map_err(broken)?;
        draft.replace(new);
        Ok(true)
    }
}

/// What is wrong with what a webhook wants to be done, which is nothing that the caller could mend.
fn broken(error: ApiError) -> ApiError {
    let causes = error.details().and_then(|details| details.causes.as_ref());
    let cause = causes.and_then(|causes| causes.first()?.message.as_deref());
    ApiError::internal(cause.unwrap_or_else(|| error.message()))
}

impl Server {
    /// What a webhook has made of a draft, in the form in which it is stored.
    pub(crate) async fn taken(
        &self,
        write: &Write<'_>,
        version: &Resource,
        draft: &Draft,
        patched: Value,
    ) -> Result<Draft> {
        if !write.is_whole() {
            return Draft::from_value(draft.codec(), patched);
        }
        let mut new = Self::accept(version, Draft::from_value(version.codec, patched)?)?;
        if let Some(webhook) = write.resource.conversion_webhook() {
            new = self.converted(webhook, new, &write.resource.api_version()).await?;
        }
        let meta = new.meta_mut();
        meta.managed_fields = None;
        meta.uid.clone_from(&draft.meta().uid);
        meta.creation_timestamp.clone_from(&draft.meta().creation_timestamp);
        Ok(new)
    }
}
