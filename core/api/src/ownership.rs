use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::Value;

use crate::patch::{self, FieldManager};
use crate::schema::KindType;
use crate::{Draft, Object, Result};

/// How many versions of an object may wait for somebody to ask who owns their fields. Each keeps
/// the one before it in memory, so the next write works them all out.
const MAX_PENDING: u8 = 16;
/// Bytes of a new object up to which it is kept, to work out later what its creator owns.
const MAX_KEPT_BYTES: usize = 16 << 10;

/// Who owns the fields of an object that is being made: its `metadata.managedFields`.
///
/// Keeping them costs a comparison of every version with the one before, and most versions of most
/// objects are never asked for them. So a write only notes what they follow from, and
/// [`Object::managed_fields`] works them out, once, when the object is encoded, applied to, or
/// read by somebody who cares.
#[derive(Clone, Debug, Default)]
pub struct Ownership(State);

#[derive(Clone, Debug, Default)]
enum State {
    /// Nobody owns anything.
    #[default]
    Nobody,
    Known(Arc<[ManagedFieldsEntry]>),
    /// As it was in another version.
    Kept(Object),
    /// What somebody has created as this document.
    Created(Arc<Writer>, Bytes),
    /// What somebody has made of another version.
    Changed(Arc<Writer>, Object),
}

/// Who writes, and how: a [`FieldManager`] that can be kept.
#[derive(Clone)]
pub struct Writer {
    /// The type of the object.
    pub kind: KindType,
    /// See [`FieldManager::name`].
    pub name: String,
    /// See [`FieldManager::api_version`].
    pub api_version: String,
    /// See [`FieldManager::subresource`].
    pub subresource: &'static str,
    /// See [`FieldManager::time`].
    pub time: Time,
    /// See [`FieldManager::reset_fields`].
    pub reset_fields: &'static [&'static [&'static str]],
}

impl Writer {
    /// The manager.
    pub fn manager(&self) -> FieldManager<'_> {
        FieldManager {
            name: &self.name,
            api_version: &self.api_version,
            subresource: self.subresource,
            time: self.time.clone(),
            reset_fields: self.reset_fields,
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({})", self.name)
    }
}

impl Ownership {
    /// What is known already.
    pub fn known(entries: Vec<ManagedFieldsEntry>) -> Self {
        if entries.is_empty() { Self::default() } else { Self(State::Known(entries.into())) }
    }

    /// Everything stays whose it was.
    pub fn kept(old: &Object) -> Self {
        Self(State::Kept(settled(old)))
    }

    /// A new object, as its creator has sent it and it was defaulted: what is filled in later is
    /// nobody's.
    ///
    /// # Errors
    /// `InternalError` when the draft has no JSON form.
    pub fn created(writer: Writer, sent: &Draft) -> Result<Self> {
        let json = sent.to_json()?;
        if json.len() <= MAX_KEPT_BYTES {
            return Ok(Self(State::Created(Arc::new(writer), json)));
        }
        let value = sent.to_value()?;
        Ok(Self::known(patch::track_update(
            writer.kind.get(),
            None,
            &value,
            None,
            &writer.manager(),
        )))
    }

    /// A change of an object.
    pub fn changed(writer: Writer, old: &Object) -> Self {
        Self(State::Changed(Arc::new(writer), settled(old)))
    }

    /// Whether it is known to differ from what was noted of an object, times apart.
    pub(crate) fn differs(&self, old: &Object) -> bool {
        let known: &[ManagedFieldsEntry] = match &self.0 {
            State::Known(entries) => entries,
            State::Nobody => &[],
            _ => return false,
        };
        let found = old.managed_fields();
        let untimed =
            |entry: &ManagedFieldsEntry| ManagedFieldsEntry { time: None, ..entry.clone() };
        known.len() != found.len() || known.iter().zip(found).any(|(a, b)| untimed(a) != untimed(b))
    }

    /// Versions that must be worked out before this one can be.
    fn pending(&self) -> u8 {
        match &self.0 {
            State::Kept(old) | State::Changed(_, old) => {
                old.ownership().pending().saturating_add(1)
            }
            _ => 0,
        }
    }

    /// Works it out, and gives the tree that was made of the object for that: of several versions in
    /// a row each is the end of one change and the beginning of the next.
    fn resolve(self, new: &Object) -> (Arc<[ManagedFieldsEntry]>, Option<Value>) {
        match self.0 {
            State::Nobody => (Arc::default(), None),
            State::Known(entries) => (entries, None),
            State::Kept(old) => (old.managed_fields().into(), None),
            State::Created(by, sent) => {
                // It was encoded here, so it can be read.
                let sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
                let made = patch::track_update(by.kind.get(), None, &sent, None, &by.manager());
                (made.into(), None)
            }
            State::Changed(by, old) => {
                let (owned, tree) = old.ownership().settle(&old);
                let before = tree.map_or_else(|| old.to_unmanaged_value(), Ok);
                let (Ok(before), Ok(after)) = (before, new.to_unmanaged_value()) else {
                    return (owned.into(), None);
                };
                let live = Some((&before, owned));
                let made = patch::track_update(by.kind.get(), live, &after, None, &by.manager());
                (made.into(), Some(after))
            }
        }
    }
}

/// An object that does not keep too many others in memory.
fn settled(old: &Object) -> Object {
    if old.ownership().pending() >= MAX_PENDING {
        old.managed_fields();
    }
    old.clone()
}

/// Ownership that is worked out at most once.
#[derive(Default)]
pub(crate) struct Ledger {
    known: std::sync::OnceLock<Arc<[ManagedFieldsEntry]>>,
    waiting: Mutex<Ownership>,
    pending: u8,
}

impl Ledger {
    pub(crate) fn new(ownership: Ownership) -> Self {
        let pending = ownership.pending();
        Self { known: std::sync::OnceLock::new(), waiting: Mutex::new(ownership), pending }
    }

    /// Notes what the stored form of an object says.
    pub(crate) fn found(&self, entries: Option<Vec<ManagedFieldsEntry>>) {
        self.known.get_or_init(|| entries.unwrap_or_default().into());
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known.get().is_some()
    }

    pub(crate) fn of(&self, object: &Object) -> &[ManagedFieldsEntry] {
        self.settle(object).0
    }

    /// The entries, and the object's tree where it had to be made for them.
    fn settle(&self, object: &Object) -> (&[ManagedFieldsEntry], Option<Value>) {
        let mut tree = None;
        let entries = self.known.get_or_init(|| {
            let waiting =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let (entries, made) = waiting.resolve(object);
            tree = made;
            entries
        });
        (entries, tree)
    }

    fn pending(&self) -> u8 {
        if self.is_known() { 0 } else { self.pending }
    }
}
