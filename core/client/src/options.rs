use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use parking_lot::Mutex;
use pinnace_api::selector::{FieldSelector, Selector};
use pinnace_api::{Object, Result};

/// What to list or watch, and from when. The default is everything, as it is now.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only objects with matching labels.
    pub labels: Option<Selector>,
    /// Only objects with matching fields.
    pub fields: Option<FieldSelector>,
    /// At most so many objects; the list then carries a token to go on with.
    pub limit: Option<u64>,
    /// Goes on with a list that was cut by `limit`.
    pub continue_token: Option<String>,
    /// List: the state at, or not older than, this revision. Watch: only what came after it.
    /// `None` and `0` mean what is there now, which a watch then begins with.
    pub resource_version: Option<u64>,
    /// How a list takes `resource_version`.
    pub version_match: Option<VersionMatch>,
    /// Watch: whether the stream tells from time to time how far it is.
    pub bookmarks: bool,
    /// Watch: whether it begins with what is there now, as `Added`, and with `bookmarks` one that
    /// says it is whole. `None` leaves that to `resource_version`.
    pub initial_events: Option<bool>,
    /// Watch: how long it is to last. Who opens it ends it; with `bookmarks`, one comes shortly
    /// before.
    pub timeout: Option<Duration>,
}

impl ListOptions {
    /// Only objects whose labels match, in the form `app=web,tier!=cache`.
    ///
    /// # Errors
    /// `BadRequest` when the text is no selector.
    pub fn labels(mut self, selector: &str) -> Result<Self> {
        self.labels = Some(Selector::parse(selector)?);
        Ok(self)
    }

    /// Only objects whose fields match, in the form `spec.nodeName=a`.
    ///
    /// # Errors
    /// `BadRequest` when the text is no selector.
    pub fn fields(mut self, selector: &str) -> Result<Self> {
        self.fields = Some(FieldSelector::parse(selector)?);
        Ok(self)
    }

    /// Watch: only what came after `revision`.
    pub fn after(mut self, revision: u64) -> Self {
        self.resource_version = Some(revision);
        self
    }
}

/// How a list takes the resource version it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    /// The state exactly then.
    Exact,
    /// The state then or later.
    NotOlderThan,
}

/// A list of objects at one revision.
#[derive(Clone, Debug)]
pub struct List<T> {
    /// The objects, by namespace and name.
    pub items: Vec<T>,
    /// The revision at which they looked like this.
    pub revision: u64,
    /// Set when `limit` has cut the list.
    pub continue_token: Option<String>,
    /// How many were cut off, when that is known.
    pub remaining: Option<u64>,
}

/// How a write is to be done.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Does everything but storing.
    pub dry_run: bool,
    /// Who is named as the manager of the fields; required to apply.
    pub field_manager: Option<String>,
    /// Apply: takes fields from other managers instead of failing with a conflict.
    pub force: bool,
    /// What happens to fields that the kind does not have. It is for whoever decodes documents:
    /// a typed draft has none.
    pub field_validation: FieldValidation,
    /// What whoever decoded a patch has found wrong with its fields. It is told with what is wrong
    /// with what the patch makes.
    pub problems: Vec<String>,
    /// Where warnings go; dropped unless somebody listens.
    pub warnings: Warnings,
    /// What the audit log is told of the request; dropped unless it is noted.
    pub annotations: Annotations,
}

/// What happens to fields that a kind does not have, and to fields that are there twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, with a warning.
    #[default]
    Warn,
    /// They are an error.
    Strict,
}

/// Collects what a request's answer says beside its result, each text once and at most
/// [`Warnings::MOST`]. Clones share; the default drops everything.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Option<Arc<Mutex<Vec<String>>>>);

impl Warnings {
    /// How many are kept.
    pub const MOST: usize = 64;

    /// A collector that keeps what it is given.
    pub fn collect() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds a warning.
    pub fn add(&self, text: impl Into<String>) {
        let Some(texts) = &self.0 else { return };
        let (mut texts, text) = (texts.lock(), text.into());
        if texts.len() < Self::MOST && !texts.contains(&text) {
            texts.push(text);
        }
    }

    /// Whether anybody listens.
    pub fn are_kept(&self) -> bool {
        self.0.is_some()
    }

    /// What was added so far; empties the collector.
    pub fn take(&self) -> Vec<String> {
        self.0.as_ref().map(|texts| std::mem::take(&mut *texts.lock())).unwrap_or_default()
    }
}

/// Collects what the audit log is told of a request beside what it is, by key. Clones share; the
/// default drops everything.
#[derive(Clone, Debug, Default)]
pub struct Annotations(Option<Arc<Mutex<BTreeMap<String, String>>>>);

impl Annotations {
    /// How many are kept.
    pub const MOST: usize = 256;

    /// A collector that keeps what it is given.
    pub fn collect() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds an annotation, unless there is one of that key.
    pub fn add(&self, key: impl Into<String>, value: impl Into<String>) {
        let Some(kept) = &self.0 else { return };
        let mut kept = kept.lock();
        if kept.len() < Self::MOST {
            kept.entry(key.into()).or_insert_with(|| value.into());
        }
    }

    /// Whether anybody listens.
    pub fn are_kept(&self) -> bool {
        self.0.is_some()
    }

    /// What was added so far; empties the collector.
    pub fn take(&self) -> BTreeMap<String, String> {
        self.0.as_ref().map(|kept| std::mem::take(&mut *kept.lock())).unwrap_or_default()
    }
}

/// How a deletion is to be done.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Seconds that the object has to end gracefully; its own choice when not set.
    pub grace_period_seconds: Option<i64>,
    /// What happens to the objects that it owns.
    pub propagation: Option<PropagationPolicy>,
    /// Only delete the object if it is this one.
    pub preconditions: Option<Preconditions>,
    /// Does everything but deleting.
    pub dry_run: bool,
    /// Where warnings go; dropped unless somebody listens.
    pub warnings: Warnings,
    /// What the audit log is told of the request; dropped unless it is noted.
    pub annotations: Annotations,
}

/// What a deletion does to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropagationPolicy {
    /// They stay, without owner.
    Orphan,
    /// They go later.
    Background,
    /// They go first.
    Foreground,
}

impl PropagationPolicy {
    /// The policy of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "Orphan" => Some(Self::Orphan),
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            _ => None,
        }
    }
}

/// What must be true of an object for it to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    /// Its uid.
    pub uid: Option<String>,
    /// Its resource version.
    pub resource_version: Option<String>,
}

/// Something that happened to an object, as a watch tells it.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// It appeared, or began to match.
    Added(Object),
    /// It changed.
    Modified(Object),
    /// It went, or ceased to match: its last state.
    Deleted(Object),
    /// Everything up to this revision has been told; `true` when the initial events end here.
    Bookmark(u64, bool),
}

/// The events of a watch. An error ends it: `Expired` says to list again.
pub type WatchStream = BoxStream<'static, Result<WatchEvent>>;
