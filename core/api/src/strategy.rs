use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::field::ErrorList;
use crate::{Draft, Kind, Object, Result, Subresource};

/// What is particular to one kind on its way into the store. The request pipeline does what is
/// common to all (names, uids, generation 1, finalizers, `metadata` validation) and calls these.
///
/// All are pure: no I/O, no clock. Defaulting runs on every create and update (as upstream, where
/// the decoder defaults); validation sees the defaulted object.
pub trait Strategy: Send + Sync + 'static {
    /// The type it is about.
    type Kind: Kind;

    /// Fills in what upstream fills in.
    fn default(&self, _object: &mut Self::Kind) {}

    /// Clears what a creator may not set, such as status.
    fn prepare_for_create(&self, _object: &mut Self::Kind) {}

    /// Checks a new object. `metadata` has been checked, the name by [`Strategy::validate_name`].
    fn validate(&self, _object: &Self::Kind, _errors: &mut ErrorList) {}

    /// Whether `name` may name an object of this kind; the message upstream gives if not.
    fn validate_name(&self, name: &str) -> Result<(), String> {
        crate::kinds::names::dns_subdomain(name)
    }

    /// Takes over from `old` what an update may not change, such as status, and counts
    /// `metadata.generation` up when the desired state has changed.
    fn prepare_for_update(&self, _new: &mut Self::Kind, _old: &Self::Kind) {}

    /// Checks an update.
    fn validate_update(&self, new: &Self::Kind, _old: &Self::Kind, errors: &mut ErrorList) {
        self.validate(new, errors);
    }

    /// Takes over from `old` everything that an update of the status may not change.
    fn prepare_for_status_update(&self, _new: &mut Self::Kind, _old: &Self::Kind) {}

    /// Checks an update of the status.
    fn validate_status_update(
        &self,
        _new: &Self::Kind,
        _old: &Self::Kind,
        _errors: &mut ErrorList,
    ) {
    }

    /// Checks that the caller may change what it changes in the status, where more is asked for that
    /// than that it may write the status.
    fn authorize_status_update(
        &self,
        _caller: &dyn Caller,
        _new: &Self::Kind,
        _old: &Self::Kind,
        _errors: &mut ErrorList,
    ) {
    }

    /// The value of a selectable field beyond `metadata.name` and `metadata.namespace`.
    fn field<'a>(&self, _object: &'a Self::Kind, _path: &str) -> Option<Cow<'a, str>> {
        None
    }

    /// Warnings that a client sees when it writes this; `old` is what it changes.
    fn warnings(&self, _new: &Self::Kind, _old: Option<&Self::Kind>) -> Vec<String> {
        Vec::new()
    }

    /// For kinds that go gracefully: the grace period in seconds for a deletion that asked for
    /// `requested`; `None` if the object goes at once.
    fn grace_period(&self, _object: &Self::Kind, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Notes in an object that its deletion has begun, such as a phase.
    fn begin_deletion(&self, _object: &mut Self::Kind) {}

    /// Whether something beyond `metadata.finalizers` keeps an object that is being deleted.
    fn is_held(&self, _object: &Self::Kind) -> bool {
        false
    }

    /// Takes over from `old` everything that the `finalize` subresource may not change.
    fn prepare_for_finalize(&self, _new: &mut Self::Kind, _old: &Self::Kind) {}

    /// Takes over from `old` everything that the subresource `part` may not change: one that is
    /// written as the object, and is neither `status` nor `finalize`.
    fn prepare_for_part(&self, _part: Subresource, _new: &mut Self::Kind, _old: &Self::Kind) {}

    /// Checks an update through `part`.
    fn validate_part(
        &self,
        _part: Subresource,
        _new: &Self::Kind,
        _old: &Self::Kind,
        _errors: &mut ErrorList,
    ) {
    }

    /// What the `scale` subresource shows; `None` for kinds without one.
    fn scale(&self, _object: &Self::Kind) -> Option<ScaleView> {
        None
    }

    /// Sets the replicas through the `scale` subresource.
    fn set_replicas(&self, _object: &mut Self::Kind, _replicas: i32) {}
}

/// Who writes an object, as its strategy sees them.
pub trait Caller {
    /// `update` or `patch`.
    fn verb(&self) -> &str;

    /// The node that they are known to run on.
    fn node(&self) -> Option<&str>;

    /// Whether they may do something with the subresource `part` of objects of the same kind.
    ///
    /// # Errors
    /// Why they may not.
    fn may(&self, verb: &str, part: &str, namespace: &str, name: &str) -> Result<(), String>;
}

/// What the `scale` subresource of an object shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleView {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.replicas`.
    pub status_replicas: i32,
    /// The pods that are counted.
    pub selector: Option<PodsOf>,
}

/// Which pods an object counts.
#[derive(Clone, Debug, PartialEq)]
pub enum PodsOf {
    /// By a selector of its own.
    Labels(LabelSelector),
    /// By the text of a selector.
    Text(String),
}

/// A [`Strategy`] with its type erased; every `Strategy` is one.
pub trait AnyStrategy: Send + Sync + 'static {
    /// See [`Strategy::default`].
    fn default(&self, object: &mut Draft);
    /// See [`Strategy::prepare_for_create`].
    fn prepare_for_create(&self, object: &mut Draft);
    /// See [`Strategy::validate`].
    fn validate(&self, object: &Draft, errors: &mut ErrorList);
    /// See [`Strategy::validate_name`].
    fn validate_name(&self, name: &str) -> Result<(), String>;
    /// See [`Strategy::prepare_for_update`].
    fn prepare_for_update(&self, new: &mut Draft, old: &Object);
    /// See [`Strategy::validate_update`].
    fn validate_update(&self, new: &Draft, old: &Object, errors: &mut ErrorList);
    /// See [`Strategy::prepare_for_status_update`].
    fn prepare_for_status_update(&self, new: &mut Draft, old: &Object);
    /// See [`Strategy::validate_status_update`].
    fn validate_status_update(&self, new: &Draft, old: &Object, errors: &mut ErrorList);
    /// See [`Strategy::authorize_status_update`].
    fn authorize_status_update(
        &self,
        caller: &dyn Caller,
        new: &Draft,
        old: &Object,
        errors: &mut ErrorList,
    );
    /// See [`Strategy::field`].
    fn field<'a>(&self, object: &'a Object, path: &str) -> Option<Cow<'a, str>>;
    /// See [`Strategy::warnings`].
    fn warnings(&self, new: &Draft, old: Option<&Object>) -> Vec<String>;
    /// See [`Strategy::grace_period`].
    fn grace_period(&self, object: &Object, requested: Option<i64>) -> Option<i64>;
    /// See [`Strategy::begin_deletion`].
    fn begin_deletion(&self, object: &mut Draft);
    /// See [`Strategy::is_held`].
    fn is_held(&self, object: &Draft) -> bool;
    /// See [`Strategy::prepare_for_finalize`].
    fn prepare_for_finalize(&self, new: &mut Draft, old: &Object);
    /// See [`Strategy::prepare_for_part`].
    fn prepare_for_part(&self, part: Subresource, new: &mut Draft, old: &Object);
    /// See [`Strategy::validate_part`].
    fn validate_part(&self, part: Subresource, new: &Draft, old: &Object, errors: &mut ErrorList);
    /// See [`Strategy::scale`].
    fn scale(&self, object: &Object) -> Option<ScaleView>;
    /// See [`Strategy::set_replicas`].
    fn set_replicas(&self, object: &mut Draft, replicas: i32);
}

// A draft or object of another type than the strategy's is passed over: the catalog pairs codec
// and strategy, so it would be a wrong registration, which the catalog's own test finds.
impl<S: Strategy> AnyStrategy for S {
    fn default(&self, object: &mut Draft) {
        if let Some(object) = object.get_mut() {
            Strategy::default(self, object);
        }
    }
    fn prepare_for_create(&self, object: &mut Draft) {
        if let Some(object) = object.get_mut() {
            Strategy::prepare_for_create(self, object);
        }
    }
    fn validate(&self, object: &Draft, errors: &mut ErrorList) {
        if let Some(object) = object.get() {
            Strategy::validate(self, object, errors);
        }
    }
    fn validate_name(&self, name: &str) -> Result<(), String> {
        Strategy::validate_name(self, name)
    }
    fn prepare_for_update(&self, new: &mut Draft, old: &Object) {
        if let (Some(new), Ok(old)) = (new.get_mut(), old.get()) {
            Strategy::prepare_for_update(self, new, old);
        }
    }
    fn validate_update(&self, new: &Draft, old: &Object, errors: &mut ErrorList) {
        if let (Some(new), Ok(old)) = (new.get(), old.get()) {
            Strategy::validate_update(self, new, old, errors);
        }
    }
    fn prepare_for_status_update(&self, new: &mut Draft, old: &Object) {
        if let (Some(new), Ok(old)) = (new.get_mut(), old.get()) {
            Strategy::prepare_for_status_update(self, new, old);
        }
    }
    fn validate_status_update(&self, new: &Draft, old: &Object, errors: &mut ErrorList) {
        if let (Some(new), Ok(old)) = (new.get(), old.get()) {
            Strategy::validate_status_update(self, new, old, errors);
        }
    }
    fn authorize_status_update(
        &self,
        caller: &dyn Caller,
        new: &Draft,
        old: &Object,
        errors: &mut ErrorList,
    ) {
        if let (Some(new), Ok(old)) = (new.get(), old.get()) {
            Strategy::authorize_status_update(self, caller, new, old, errors);
        }
    }
    fn field<'a>(&self, object: &'a Object, path: &str) -> Option<Cow<'a, str>> {
        object.get().ok().and_then(|object| Strategy::field(self, object, path))
    }
    fn warnings(&self, new: &Draft, old: Option<&Object>) -> Vec<String> {
        let old = old.and_then(|old| old.get().ok());
        new.get().map(|new| Strategy::warnings(self, new, old)).unwrap_or_default()
    }
    fn grace_period(&self, object: &Object, requested: Option<i64>) -> Option<i64> {
        object.get().ok().and_then(|object| Strategy::grace_period(self, object, requested))
    }
    fn begin_deletion(&self, object: &mut Draft) {
        if let Some(object) = object.get_mut() {
            Strategy::begin_deletion(self, object);
        }
    }
    fn is_held(&self, object: &Draft) -> bool {
        object.get().is_some_and(|object| Strategy::is_held(self, object))
    }
    fn prepare_for_finalize(&self, new: &mut Draft, old: &Object) {
        if let (Some(new), Ok(old)) = (new.get_mut(), old.get()) {
            Strategy::prepare_for_finalize(self, new, old);
        }
    }
    fn prepare_for_part(&self, part: Subresource, new: &mut Draft, old: &Object) {
        if let (Some(new), Ok(old)) = (new.get_mut(), old.get()) {
            Strategy::prepare_for_part(self, part, new, old);
        }
    }
    fn validate_part(&self, part: Subresource, new: &Draft, old: &Object, errors: &mut ErrorList) {
        if let (Some(new), Ok(old)) = (new.get(), old.get()) {
            Strategy::validate_part(self, part, new, old, errors);
        }
    }
    fn scale(&self, object: &Object) -> Option<ScaleView> {
        object.get().ok().and_then(|object| Strategy::scale(self, object))
    }
    fn set_replicas(&self, object: &mut Draft, replicas: i32) {
        if let Some(object) = object.get_mut() {
            Strategy::set_replicas(self, object, replicas);
        }
    }
}
