use std::collections::HashSet;
use std::sync::Arc;

use pinnace_api::patch;
use pinnace_api::{ApiError, Draft, Resource, Result};
use serde_json::{Value, json};

use super::call::{Shown, failed, is_exempt};
use super::{Failure, Hook, Hooks};
use crate::write::Write;
use crate::{Operation, Server};

/// What only the server says of an object, and no webhook sees before it is there.
const SYSTEM_FIELDS: [&str; 2] = ["uid", "creationTimestamp"];

/// The webhooks that change a write, and which of them have to see it again.
struct Mutation<'a> {
    server: &'a Server,
    write: &'a Write<'a>,
    hooks: Hooks,
    /// Those that want to be asked again once another has changed something.
    asked: HashSet<usize>,
    /// Those that are to be.
    again: HashSet<usize>,
    round: usize,
}

impl Server {
    /// Has webhooks change what is about to be written, in their order. What they have changed is
    /// put in order by `again`, and once more shown to those who want to see what others did; whether
    /// anything has changed.
    pub(crate) async fn mutate_by_webhooks(
        &self,
        write: &Write<'_>,
        mut draft: Option<&mut Draft>,
        again: &mut (impl FnMut(&mut Draft) -> Result<()> + Send),
    ) -> Result<bool> {
        let Some(hooks) = self.webhooks().state().index.mutating() else { return Ok(false) };
        if is_exempt(write) {
            return Ok(false);
        }
        let mut changed = false;
        let (asked, again_asked) = (HashSet::new(), HashSet::new());
        let mut mutation =
            Mutation { server: self, write, hooks, asked, again: again_asked, round: 0 };
        for round in 0..2 {
            mutation.round = round;
            if !mutation.run(draft.as_deref_mut()).await? {
                break;
            }
            changed = true;
            let Some(draft) = draft.as_deref_mut() else { break };
            let before = draft.to_value()?;
            again(draft)?;
            if draft.to_value()? != before {
                mutation.note_change();
            }
        }
        Ok(changed)
    }
}

impl Mutation<'_> {
    /// Asks each webhook once; whether anything has changed.
    async fn run(&mut self, mut draft: Option<&mut Draft>) -> Result<bool> {
        let mut changed_any = false;
        for (index, hook) in self.hooks.clone().iter().enumerate() {
            if self.round > 0 && !self.again.contains(&index) {
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
            if !self.server.wants(hook, self.write, &version, draft.as_deref()).await? {
                continue;
            }
            let answer = self.change(index, hook, &version, draft.as_deref_mut()).await;
            if matches!(answer, Ok(true)) {
                changed_any = true;
                self.note_change();
            }
            if hook.is_asked_again {
                self.asked.insert(index);
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

    /// Has all that have seen another state be asked again, if they want to.
    fn note_change(&mut self) {
        self.again.extend(self.asked.drain());
    }

    fn annotate(&self, what: &str, index: usize, value: impl FnOnce() -> String) {
        let annotations = self.write.options.annotations();
        if annotations.are_kept() {
            let round = self.round;
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
        let changed = self.changed(index, hook, version, draft).await;
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
            return Err(Failure::Refused(ApiError::internal(format!(
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
