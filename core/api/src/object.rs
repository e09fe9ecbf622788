use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ManagedFieldsEntry, ObjectMeta, OwnerReference,
};

use crate::ownership::{Ledger, Ownership};
use crate::{ApiError, Codec, Key, Kind, Payload, Result, conversion};

/// An object that is still being made: owned by one, free to change.
pub struct Draft(Box<dyn Payload>, Ownership);

impl Draft {
    /// A draft of a typed value.
    pub fn new(value: impl Kind) -> Self {
        Self(value.erased(), Ownership::default())
    }

    /// Reads a draft from JSON text.
    ///
    /// # Errors
    /// `BadRequest` with what does not fit and where.
    pub fn from_json(codec: &Codec, json: &[u8]) -> Result<Self> {
        (codec.decode)(json).map(Self::of).map_err(|error| ApiError::decode(&error))
    }

    /// Reads a draft from a JSON tree.
    ///
    /// # Errors
    /// `BadRequest` with what does not fit.
    pub fn from_value(codec: &Codec, value: serde_json::Value) -> Result<Self> {
        (codec.from_value)(value).map(Self::of).map_err(|error| ApiError::decode(&error))
    }

    /// `metadata`.
    pub fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    /// `metadata`, to change.
    pub fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.0.api_version()
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        self.0.kind()
    }

    /// The draft as `K`, `None` if it is of another type.
    pub fn get<K: Kind>(&self) -> Option<&K> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
    }

    /// The draft as `K`, to change; `None` if it is of another type.
    pub fn get_mut<K: Kind>(&mut self) -> Option<&mut K> {
        let any: &mut dyn Any = &mut *self.0;
        any.downcast_mut()
    }

    /// The JSON form as a tree.
    ///
    /// # Errors
    /// `InternalError` when a value has no JSON form.
    pub fn to_value(&self) -> Result<serde_json::Value> {
        self.0.to_value().map_err(|error| ApiError::encode(&error))
    }

    fn of(payload: Box<dyn Payload>) -> Self {
        Self(payload, Ownership::default())
    }

    /// The draft made into one of another type. Who owns which field stays as it is.
    ///
    /// # Errors
    /// Those of `map`, and `InternalError` when the draft is no `A`.
    pub(crate) fn try_map<A: Kind, B: Kind>(
        self,
        map: impl FnOnce(A) -> Result<B>,
    ) -> Result<Self> {
        let any: Box<dyn Any> = self.0;
        let value = any.downcast::<A>().map_err(|_| conversion::mismatch::<A>())?;
        Ok(Self(map(*value)?.erased(), self.1))
    }

    /// The JSON form as text.
    ///
    /// # Errors
    /// `InternalError` when a value has no JSON form.
    pub fn to_json(&self) -> Result<Bytes> {
        let mut out = Vec::with_capacity(1024);
        self.0.write_json(&mut out).map_err(|error| ApiError::encode(&error))?;
        out.shrink_to_fit();
        Ok(out.into())
    }

    /// Notes whose fields the object's are. While it is a draft, `metadata.managedFields` is only
    /// what somebody has sent; it counts when nothing is noted here.
    pub fn set_ownership(&mut self, ownership: Ownership) {
        self.meta_mut().managed_fields = None;
        self.1 = ownership;
    }

    /// Says what another draft says. Who owns which field stays as it is.
    pub fn replace(&mut self, by: Self) {
        self.0 = by.0;
    }

    /// How drafts of its type are read.
    pub fn codec(&self) -> &'static Codec {
        self.0.codec()
    }

    /// The key of the object, by its metadata.
    pub fn key(&self) -> Key {
        key_of(self.meta())
    }

    /// Whether the draft says what `object` says, `resourceVersion` and who owns which field
    /// included, but not since when.
    pub fn equals(&self, object: &Object) -> bool {
        object.payload().is_ok_and(|payload| self.0.equals(payload)) && !self.1.differs(object)
    }

    /// Freezes the draft as the version of the object at `revision`, which becomes its
    /// `resourceVersion`.
    pub fn commit(mut self, revision: u64) -> Object {
        self.meta_mut().resource_version = Some(revision.to_string());
        Object::from_draft(self, revision).at_rest()
    }

    /// Freezes the draft as it is: an object that was never stored, as the answer to a dry run.
    pub fn freeze(self) -> Object {
        let revision = revision_of(self.meta());
        Object::from_draft(self, revision)
    }
}

impl Clone for Draft {
    fn clone(&self) -> Self {
        Self(self.0.boxed(), self.1.clone())
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({} {})", self.kind(), self.key())
    }
}

/// One version of an object: immutable, shared, cheap to clone.
///
/// Its typed form and its JSON form are derived from each other at most once and shared by all
/// who hold the object.
#[derive(Clone)]
pub struct Object(Arc<Inner>);

struct Inner {
    revision: u64,
    codec: &'static Codec,
    /// Set from the start, or derived from `json`; an error is kept, for it would come again.
    payload: OnceLock<Result<Box<dyn Payload>, String>>,
    /// Set from the start, or derived from `payload`.
    json: OnceLock<Bytes>,
    /// Derived from `json`, where somebody asks.
    protobuf: OnceLock<Result<Bytes>>,
    /// Only for objects that came as JSON and whose typed form nobody has asked for.
    meta: OnceLock<Box<ObjectMeta>>,
    /// Who owns which field. The typed form does not hold it, the JSON form does.
    ownership: Ledger,
}

impl Object {
    fn from_draft(draft: Draft, revision: u64) -> Self {
        let Draft(mut payload, mut ownership) = draft;
        if let Some(sent) = payload.meta_mut().managed_fields.take() {
            ownership = Ownership::known(sent);
        }
        Self(Arc::new(Inner {
            revision,
            codec: payload.codec(),
            payload: OnceLock::from(Ok(payload)),
            json: OnceLock::new(),
            protobuf: OnceLock::new(),
            meta: OnceLock::new(),
            ownership: Ledger::new(ownership),
        }))
    }

    /// An object from its stored JSON form; nothing is parsed until somebody asks.
    pub fn from_stored(codec: &'static Codec, json: Bytes, revision: u64) -> Self {
        Self(Arc::new(Inner {
            revision,
            codec,
            payload: OnceLock::new(),
            json: OnceLock::from(json),
            protobuf: OnceLock::new(),
            meta: OnceLock::new(),
            ownership: Ledger::default(),
        }))
    }

    /// An object from a typed value, with the `resourceVersion` it carries.
    pub fn new(value: impl Kind) -> Self {
        Draft::new(value).freeze()
    }

    /// The object without its typed form, if it is of a kind that rests as text.
    fn at_rest(self) -> Self {
        if !self.0.codec.rests_as_text() {
            return self;
        }
        match self.json() {
            json if json.is_empty() => self,
            json => Self::from_stored(self.0.codec, json, self.0.revision),
        }
    }

    /// The object for somebody who works with its typed form: where objects rest as text, that is
    /// made for this reader alone and goes with him.
    pub fn unfolded(&self) -> Self {
        match (self.0.payload.get(), self.0.json.get()) {
            (None, Some(json)) if self.0.codec.rests_as_text() => {
                Self::from_stored(self.0.codec, json.clone(), self.0.revision)
            }
            _ => self.clone(),
        }
    }

    fn payload(&self) -> Result<&dyn Payload> {
        let derived = self.0.payload.get_or_init(|| {
            let json = self.0.json.get().map(|json| &json[..]).unwrap_or_default();
            let mut payload = (self.0.codec.decode)(json).map_err(|error| error.to_string())?;
            self.0.ownership.found(payload.meta_mut().managed_fields.take());
            Ok(payload)
        });
        match derived {
            Ok(payload) => Ok(&**payload),
            Err(message) => {
                Err(ApiError::internal(format!("stored object cannot be read: {message}")))
            }
        }
    }

    pub(crate) fn ownership(&self) -> &Ledger {
        &self.0.ownership
    }

    /// `metadata.managedFields`: who owns which field, worked out when somebody asks.
    pub fn managed_fields(&self) -> &[ManagedFieldsEntry] {
        if self.0.payload.get().is_none() && !self.0.ownership.is_known() {
            // The stored form says it.
            self.0.ownership.found(self.stored_meta().managed_fields);
        }
        self.0.ownership.of(self)
    }

    /// `metadata`, without `managedFields`, which [`Object::managed_fields`] gives.
    pub fn meta(&self) -> &ObjectMeta {
        if let Some(Ok(payload)) = self.0.payload.get() {
            return payload.meta();
        }
        self.0.meta.get_or_init(|| {
            let meta = self.stored_meta();
            Box::new(ObjectMeta { managed_fields: None, ..meta })
        })
    }

    fn stored_meta(&self) -> ObjectMeta {
        #[derive(serde::Deserialize)]
        struct Partial {
            #[serde(default)]
            metadata: ObjectMeta,
        }
        let json = self.0.json.get().map(|json| &json[..]).unwrap_or_default();
        let partial = serde_json::from_slice::<Partial>(json);
        partial.map(|partial| partial.metadata).unwrap_or_default()
    }

    /// The object read as `K`.
    ///
    /// # Errors
    /// `InternalError` when the object is of another type or its stored form does not fit.
    pub fn get<K: Kind>(&self) -> Result<&K> {
        let payload = self.payload()?;
        let any: &dyn Any = payload;
        any.downcast_ref().ok_or_else(|| {
            ApiError::internal(format!(
                "{} {} is not a {}",
                payload.kind(),
                self.key(),
                std::any::type_name::<K>()
            ))
        })
    }

    /// A handle that reads as `K` wherever a `K` is asked for.
    ///
    /// # Errors
    /// As [`Object::get`].
    pub fn typed<K: Kind>(&self) -> Result<Typed<K>> {
        let object = self.unfolded();
        object.get::<K>()?;
        Ok(Typed { object, kind: PhantomData })
    }

    /// A copy that may be changed.
    ///
    /// # Errors
    /// `InternalError` when the stored form cannot be read.
    pub fn draft(&self) -> Result<Draft> {
        Ok(Draft(self.unfolded().payload()?.boxed(), Ownership::kept(self)))
    }

    /// The same version of the object as another type. Whose the fields are is found out when
    /// somebody asks.
    ///
    /// # Errors
    /// Those of `map`, and `InternalError` when the object is no `A`.
    pub(crate) fn view<A: Kind, B: Kind>(&self, map: impl FnOnce(&A) -> Result<B>) -> Result<Self> {
        let value = map(self.get::<A>()?)?;
        let draft = Draft(value.erased(), Ownership::kept(self));
        Ok(Self::from_draft(draft, self.revision()))
    }

    /// The JSON form: encoded at most once, shared by all readers.
    pub fn json(&self) -> Bytes {
        self.json_ref().clone()
    }

    /// [`Object::json`] for who only looks at it.
    pub fn json_ref(&self) -> &Bytes {
        self.0.json.get_or_init(|| {
            let Some(Ok(payload)) = self.0.payload.get() else { return Bytes::new() };
            let managed = self.managed_fields();
            let mut out = Vec::with_capacity(1024);
            let written = if managed.is_empty() {
                payload.write_json(&mut out)
            } else {
                let mut whole = payload.boxed();
                whole.meta_mut().managed_fields = Some(managed.to_vec());
                whole.write_json(&mut out)
            };
            if written.is_err() {
                out.clear();
            }
            out.shrink_to_fit();
            Bytes::from(out)
        })
    }

    /// About how long the JSON form is, in bytes. What is not encoded yet stays so, and what its
    /// managed fields would add is left out.
    pub fn json_size(&self) -> usize {
        if let Some(json) = self.0.json.get() {
            return json.len();
        }
        let mut out = Vec::with_capacity(1024);
        let payload = self.0.payload.get().and_then(|payload| payload.as_ref().ok());
        match payload.map(|payload| payload.write_json(&mut out)) {
            Some(Ok(())) => out.len(),
            _ => 0,
        }
    }

    /// The body of the protobuf form, encoded at most once and shared by all readers;
    /// [`protobuf::envelope`](crate::protobuf::envelope) puts it into the envelope it is sent in.
    ///
    /// # Errors
    /// `NotAcceptable` for kinds that have no such form, `InternalError` when the stored form
    /// cannot be read.
    pub fn protobuf(&self) -> Result<Bytes> {
        let made = self.0.protobuf.get_or_init(|| {
            let json = self.json();
            let body = match self.0.payload.get() {
                Some(Ok(payload)) => {
                    crate::protobuf::body(payload.api_version(), payload.kind(), &json)
                }
                _ => {
                    let head: TypeHead<'_> =
                        serde_json::from_slice(&json).map_err(|error| ApiError::encode(&error))?;
                    crate::protobuf::body(&head.api_version, &head.kind, &json)
                }
            };
            body.map(Bytes::from)
        });
        made.clone()
    }

    /// The JSON form as a tree.
    ///
    /// # Errors
    /// `InternalError` when the stored form cannot be read.
    pub fn to_value(&self) -> Result<serde_json::Value> {
        match self.0.payload.get() {
            Some(Ok(payload)) => {
                let mut value = payload.to_value().map_err(|error| ApiError::encode(&error))?;
                let managed = self.managed_fields();
                if !managed.is_empty()
                    && let Some(metadata) =
                        value.get_mut("metadata").and_then(|m| m.as_object_mut())
                {
                    let managed = serde_json::to_value(managed);
                    let managed = managed.map_err(|error| ApiError::encode(&error))?;
                    metadata.insert("managedFields".to_owned(), managed);
                }
                Ok(value)
            }
            _ => serde_json::from_slice(&self.json()).map_err(|error| ApiError::decode(&error)),
        }
    }

    /// As [`Object::to_value`], without `metadata.managedFields`.
    ///
    /// # Errors
    /// As there.
    pub fn to_unmanaged_value(&self) -> Result<serde_json::Value> {
        self.payload()?.to_value().map_err(|error| ApiError::encode(&error))
    }

    /// `apiVersion`.
    ///
    /// # Errors
    /// `InternalError` when the stored form cannot be read.
    pub fn api_version(&self) -> Result<&str> {
        Ok(self.payload()?.api_version())
    }

    /// `kind`.
    ///
    /// # Errors
    /// `InternalError` when the stored form cannot be read.
    pub fn kind(&self) -> Result<&str> {
        Ok(self.payload()?.kind())
    }

    /// The revision of the store at which this version was written; 0 for one never stored.
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// `metadata.name`, empty when there is none.
    pub fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`, empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`, empty when there is none.
    pub fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.meta().labels.as_ref()
    }

    /// Namespace and name.
    pub fn key(&self) -> Key {
        key_of(self.meta())
    }

    /// The owner reference with `controller: true`.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
    }

    /// Whether the object has a deletion timestamp.
    pub fn is_deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Whether both are the same version in memory.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What a stored object says it is, read without the rest.
#[derive(serde::Deserialize)]
struct TypeHead<'a> {
    #[serde(rename = "apiVersion", borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({}@{})", self.key(), self.0.revision)
    }
}

fn key_of(meta: &ObjectMeta) -> Key {
    Key::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

fn revision_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// An [`Object`] known to be a `K`; dereferences to it without copying.
pub struct Typed<K> {
    object: Object,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Typed<K> {
    /// Freezes a typed value.
    pub fn new(value: K) -> Self {
        Self { object: Object::new(value), kind: PhantomData }
    }

    /// The object behind it.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The object behind it.
    pub fn into_object(self) -> Object {
        self.object
    }

    /// A copy of the value, to change.
    pub fn to_owned(&self) -> K {
        K::clone(self)
    }
}

impl<K> Clone for Typed<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), kind: PhantomData }
    }
}

impl<K: Kind> Deref for Typed<K> {
    type Target = K;

    #[expect(clippy::unwrap_used, reason = "every constructor has checked the type")]
    fn deref(&self) -> &K {
        self.object.get().unwrap()
    }
}

impl<K> fmt::Debug for Typed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.object, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DynamicObject;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};

    fn config_map(name: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta { name: Some(name.into()), ..Default::default() },
            ..Default::default()
        }
    }

    #[test]
    fn typed_and_json_forms_are_derived_once_and_shared() {
        let object = Draft::new(config_map("a")).commit(7);
        assert_eq!(object.json().as_ptr(), object.clone().json().as_ptr());
        let read = Object::from_stored(Codec::of::<ConfigMap>(), object.json(), 7);
        assert_eq!(read.name(), "a");
        assert_eq!(read.meta().resource_version.as_deref(), Some("7"));
        assert!(std::ptr::eq(
            read.get::<ConfigMap>().unwrap(),
            read.clone().get::<ConfigMap>().unwrap()
        ));
    }

    #[test]
    fn reading_as_another_kind_is_an_error() {
        assert!(Object::new(config_map("a")).get::<Secret>().is_err());
    }

    #[test]
    fn dynamic_objects_keep_what_they_do_not_know() {
        let json = br#"{"apiVersion":"example.com/v1","kind":"Ship","metadata":{"name":"s"},"spec":{"masts":2}}"#;
        let draft = Draft::from_json(Codec::of::<DynamicObject>(), json).unwrap();
        assert_eq!(draft.kind(), "Ship");
        assert_eq!(draft.to_value().unwrap()["spec"]["masts"], 2);
    }
}
