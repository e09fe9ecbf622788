//! Functions of the host that change or refuse what is written: what webhooks are to strangers.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;
use pinnace_api::{ApiError, Draft, Resource, Result};
use serde_json::Value;

use crate::Server;
use crate::matching::Constraints;
use crate::webhooks::request;
use crate::write::Write;

/// What a function of the host says of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// It may be.
    Allow,
    /// It may be, with this object instead. Only a mutating function may say so.
    Change(Value),
    /// It may not, and why.
    Refuse(String),
}

type Function = dyn Fn(Value) -> BoxFuture<'static, Result<Ruling, String>> + Send + Sync;

/// A function of the host that is asked about writes. It is given the `request` of an
/// `AdmissionReview` (`admission.k8s.io/v1`), as webhooks are: who does what, `object` and
/// `oldObject`. When it fails, the write is refused. Clones share.
#[derive(Clone)]
pub struct AdmissionHook {
    name: Arc<str>,
    mutates: bool,
    operations: Vec<String>,
    resources: Vec<String>,
    function: Arc<Function>,
}

impl AdmissionHook {
    /// One that may change what is written, before policies and webhooks see it.
    pub fn mutating<F>(name: &str, function: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Ruling, String>> + Send + 'static,
    {
        Self::new(name, true, function)
    }

    /// One that only refuses, after everybody else.
    pub fn validating<F>(name: &str, function: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Ruling, String>> + Send + 'static,
    {
        Self::new(name, false, function)
    }

    fn new<F>(
        name: &str,
        mutates: bool,
        function: impl Fn(Value) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Ruling, String>> + Send + 'static,
    {
        let function = Arc::new(move |request| function(request).boxed());
        let (operations, resources) = (vec!["*".to_owned()], vec!["*".to_owned()]);
        Self { name: name.into(), mutates, operations, resources, function }
    }

    /// Has it asked about these operations only: `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub fn operations<T: Into<String>>(mut self, all: impl IntoIterator<Item = T>) -> Self {
        self.operations = all.into_iter().map(Into::into).collect();
        self
    }

    /// Has it asked about these kinds only, by their plural names, as webhooks name them: `pods`,
    /// `pods/status`, `*/*`. Without this it is asked about all objects, and not about parts.
    pub fn resources<T: Into<String>>(mut self, all: impl IntoIterator<Item = T>) -> Self {
        self.resources = all.into_iter().map(Into::into).collect();
        self
    }
}

impl fmt::Debug for AdmissionHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdmissionHook").field(&self.name).finish()
    }
}

/// Those that there are.
#[derive(Default)]
pub(crate) struct Hooks {
    all: Vec<(AdmissionHook, Constraints)>,
    /// Whether they are not asked yet.
    asleep: AtomicBool,
}

impl Hooks {
    pub(crate) fn add(&mut self, hook: AdmissionHook) {
        let any = || Some(vec!["*".to_owned()]);
        let rule = RuleWithOperations {
            api_groups: any(),
            api_versions: any(),
            operations: Some(hook.operations.clone()),
            resources: Some(hook.resources.clone()),
            scope: None,
        };
        self.all.push((hook, Constraints::of_webhook(Some(&vec![rule]), None, None, None)));
    }
}

impl Server {
    /// Has functions of the host be asked, or not: what every cluster is made with is not theirs to
    /// refuse.
    pub fn ask_hooks(&self, asked: bool) {
        self.hooks().asleep.store(!asked, Ordering::Release);
    }

    /// Has the host change what is about to be written; whether anything has changed.
    pub(crate) async fn mutate_by_host(
        &self,
        write: &Write<'_>,
        draft: &mut Draft,
    ) -> Result<bool> {
        let mut changed = false;
        for hook in self.hooks_for(write, Some(&*draft), true)? {
            let (object, ruling) = self.ruling(hook, write, Some(&*draft)).await?;
            let made = match ruling {
                Ruling::Change(made) if made != object => made,
                Ruling::Refuse(why) => return Err(refused(write, &why)),
                _ => continue,
            };
            let new = self.taken(write, write.resource, draft, made).await;
            let new = new.map_err(|error| failed(hook, error.message()))?;
            draft.replace(new);
            changed = true;
        }
        Ok(changed)
    }

    /// Asks the host about what is going to be written.
    pub(crate) async fn validate_by_host(
        &self,
        write: &Write<'_>,
        new: Option<&Draft>,
    ) -> Result<()> {
        for hook in self.hooks_for(write, new, false)? {
            match self.ruling(hook, write, new).await?.1 {
                Ruling::Allow => {}
                Ruling::Refuse(why) => return Err(refused(write, &why)),
                Ruling::Change(_) => {
                    return Err(failed(hook, "only a mutating function may change the object"));
                }
            }
        }
        Ok(())
    }

    fn hooks_for(
        &self,
        write: &Write<'_>,
        new: Option<&Draft>,
        mutates: bool,
    ) -> Result<Vec<&AdmissionHook>> {
        let Hooks { all: hooks, asleep } = self.hooks();
        if hooks.is_empty() || asleep.load(Ordering::Acquire) {
            return Ok(Vec::new());
        }
        let snapshot = self.snapshot();
        let mut found = Vec::new();
        for (hook, constraints) in hooks.iter().filter(|(hook, _)| hook.mutates == mutates) {
            if constraints.matches(write, new, self.catalog(), &snapshot)?.is_some() {
                found.push(hook);
            }
        }
        Ok(found)
    }

    async fn ruling(
        &self,
        hook: &AdmissionHook,
        write: &Write<'_>,
        new: Option<&Draft>,
    ) -> Result<(Value, Ruling)> {
        let version: &Resource = write.resource;
        let object = self.shown_draft(write, version, new).await?;
        let old = self.shown_object(write, version, write.old).await?;
        let mut asked = request(write, version, &object)?;
        asked["uid"] = self.env().random().uid().into();
        asked["object"] = object.clone();
        asked["oldObject"] = old;
        let ruling = (hook.function)(asked).await.map_err(|why| failed(hook, &why))?;
        Ok((object, ruling))
    }
}

fn refused(write: &Write<'_>, why: &str) -> ApiError {
    ApiError::forbidden(write.resource, write.key.name(), why)
}

fn failed(hook: &AdmissionHook, why: &str) -> ApiError {
    ApiError::internal(format!("failed calling admission function {:?}: {why}", hook.name))
}
