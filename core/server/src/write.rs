//! A write between the synchronous rules of admission and the store: here it waits for those
//! outside the process who are asked about it. No snapshot and no lock is held meanwhile; whoever
//! writes first in the meantime is found out when the write is committed, and then all is done anew.

use std::sync::Arc;

use pinnace_api::{Codec, Draft, DynamicObject, Key, Object, Resource, Result};
use pinnace_client::{Annotations, DeleteOptions, Subresource, Target, Warnings, WriteOptions};
use pinnace_env::Stopwatch;
use serde_json::{Value, json};

use crate::figures::Phase;
use crate::reinvocation::{Asked, Pass};
use crate::{AdmissionRequest, Operation, Server, User, reviews};

/// What is about to be done, but for the object itself.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    /// Who does it.
    pub(crate) user: &'a User,
    /// What is done.
    pub(crate) operation: Operation,
    /// The kind, in the version of the request.
    pub(crate) resource: &'a Arc<Resource>,
    /// Namespace and name.
    pub(crate) key: &'a Key,
    /// The name of the part that is written or connected to; empty for the object as a whole.
    pub(crate) part: &'a str,
    /// The object as it is stored; `None` for one that is new.
    pub(crate) old: Option<&'a Object>,
    /// How it is asked to be done.
    pub(crate) options: Options<'a>,
}

/// How something is asked to be done.
#[derive(Clone, Copy)]
pub(crate) enum Options<'a> {
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions),
    Connect(&'a WriteOptions),
}

impl Options<'_> {
    /// Whether nothing is to be stored.
    pub(crate) fn dry_run(&self) -> bool {
        match self {
            Self::Write(options) | Self::Connect(options) => options.dry_run,
            Self::Delete(options) => options.dry_run,
        }
    }

    pub(crate) fn warnings(&self) -> &Warnings {
        match self {
            Self::Write(options) | Self::Connect(options) => &options.warnings,
            Self::Delete(options) => &options.warnings,
        }
    }

    pub(crate) fn annotations(&self) -> &Annotations {
        match self {
            Self::Write(options) | Self::Connect(options) => &options.annotations,
            Self::Delete(options) => &options.annotations,
        }
    }

    /// As a document of the API; `Null` for connections, which have none.
    pub(crate) fn document(&self, operation: Operation) -> Value {
        let kind = match operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => return Value::Null,
        };
        let mut document = json!({"apiVersion": "meta.k8s.io/v1", "kind": kind});
        if self.dry_run() {
            document["dryRun"] = json!(["All"]);
        }
        match self {
            Self::Write(options) | Self::Connect(options) => {
                if let Some(manager) = &options.field_manager {
                    document["fieldManager"] = manager.as_str().into();
                }
                document["fieldValidation"] = format!("{:?}", options.field_validation).into();
            }
            Self::Delete(options) => {
                document = pinnace_client::wire::deletion(options);
                document["apiVersion"] = "meta.k8s.io/v1".into();
            }
        }
        document
    }
}

impl<'a> Write<'a> {
    /// A write to an object, or to a part of it.
    pub(crate) fn to(
        user: &'a User,
        operation: Operation,
        target: &'a Target,
        old: Option<&'a Object>,
        options: &'a WriteOptions,
    ) -> Self {
        Self {
            user,
            operation,
            resource: &target.resource,
            key: &target.key,
            part: target.subresource.map_or("", Subresource::as_str),
            old,
            options: Options::Write(options),
        }
    }

    /// Whether what is written is the object, and not something that is said about it.
    pub(crate) fn is_whole(&self) -> bool {
        let known = Subresource::parse(self.part);
        let other = matches!(
            known,
            Some(
                Subresource::Scale
                    | Subresource::Binding
                    | Subresource::Eviction
                    | Subresource::Token
            )
        );
        !other && (self.part.is_empty() || known.is_some())
    }

    /// Whether policies are about it. Questions they leave alone: one that stands in their way could
    /// not be got rid of.
    fn is_policed(&self) -> bool {
        reviews::of(self.resource).is_none()
    }
}

impl Server {
    /// Asks those who are asked about writes whether somebody may connect to a part of an object.
    /// `asked` is what they connect with, such as a `PodExecOptions`; what is made of it is given
    /// back.
    ///
    /// # Errors
    /// What whoever refuses it says.
    pub async fn admit_connection(
        &self,
        user: &User,
        target: &Target,
        part: &str,
        asked: Value,
        options: &WriteOptions,
    ) -> Result<Value> {
        let mut draft = Draft::from_value(Codec::of::<DynamicObject>(), asked)?;
        let write = Write {
            part,
            options: Options::Connect(options),
            ..Write::to(user, Operation::Connect, target, None, options)
        };
        self.mutate(&write, Some(&mut draft), |_| Ok(())).await?;
        self.review_final(&write, Some(&mut draft)).await?;
        draft.to_value()
    }

    /// Has the rules have their say about what is said of an object: a binding, an eviction, a request
    /// for a token; or about a question.
    pub(crate) fn admit_part(&self, write: &Write<'_>, draft: &mut Draft) -> Result<()> {
        self.admit(&mut AdmissionRequest {
            user: write.user,
            operation: write.operation,
            resource: write.resource,
            key: write.key,
            subresource: Subresource::parse(write.part),
            new: Some(draft),
            old: write.old,
            snapshot: &self.snapshot(),
            warnings: write.options.warnings(),
            annotations: write.options.annotations(),
        })
    }

    /// Has the host, policies and webhooks change what is about to be written. What they have changed
    /// is put in order by `again`, and once more shown to those who want to see what others did.
    pub(crate) async fn mutate(
        &self,
        write: &Write<'_>,
        draft: Option<&mut Draft>,
        again: impl FnMut(&mut Draft) -> Result<()> + Send,
    ) -> Result<()> {
        let watch = Stopwatch::start();
        let done = self.mutate_in_passes(write, draft, again).await;
        let figures = self.admission_figures();
        figures.step(Phase::Admit, write.operation, done.is_err(), watch.elapsed());
        done
    }

    async fn mutate_in_passes(
        &self,
        write: &Write<'_>,
        mut draft: Option<&mut Draft>,
        mut again: impl FnMut(&mut Draft) -> Result<()> + Send,
    ) -> Result<()> {
        if let Some(draft) = draft.as_deref_mut()
            && self.mutate_by_host(write, draft).await?
        {
            again(draft)?;
        }
        let (mut policies, mut webhooks) = (Asked::default(), Asked::default());
        for pass in [Pass::First, Pass::Second] {
            let mut changed = false;
            if let Some(draft) = draft.as_deref_mut()
                && write.is_policed()
                && self.mutate_by_policies(write, draft, pass, &mut policies).await?
            {
                again(draft)?;
                changed = true;
            }
            let shown = draft.as_deref_mut();
            if self.mutate_by_webhooks(write, shown, pass, &mut webhooks).await? {
                draft.as_deref_mut().map_or(Ok(()), &mut again)?;
                changed = true;
            }
            if !changed {
                break;
            }
        }
        Ok(())
    }

    /// Has the rules look at an object as it is going to be stored, then the policies, and then
    /// webhooks and the host, who see nothing that may still change.
    pub(crate) async fn review_final(
        &self,
        write: &Write<'_>,
        new: Option<&mut Draft>,
    ) -> Result<()> {
        let watch = Stopwatch::start();
        let done = self.review_in_order(write, new).await;
        let figures = self.admission_figures();
        figures.step(Phase::Validate, write.operation, done.is_err(), watch.elapsed());
        done
    }

    async fn review_in_order(&self, write: &Write<'_>, mut new: Option<&mut Draft>) -> Result<()> {
        {
            let snapshot = self.snapshot();
            self.review_by_rules(&AdmissionRequest {
                user: write.user,
                operation: write.operation,
                resource: write.resource,
                key: write.key,
                subresource: Subresource::parse(write.part),
                new: new.as_deref_mut(),
                old: write.old,
                snapshot: &snapshot,
                warnings: write.options.warnings(),
                annotations: write.options.annotations(),
            })?;
        }
        if write.is_policed() {
            self.validate_by_policies(write, new.as_deref()).await?;
        }
        self.validate_by_webhooks(write, new.as_deref()).await?;
        self.validate_by_host(write, new.as_deref()).await
    }
}
