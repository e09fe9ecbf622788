//! The types that objects are read as.
//!
//! What reads and writes a type is many times as much code as its fields need, and would be made
//! again in every crate that names the type. So it is made here, once, and found by [`Codec`].

pub(crate) mod conditions;
mod types;

use std::any::Any;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Result, Value};

/// A type that an object can be read as: the kinds of Kubernetes as `k8s-openapi` has them,
/// [`DynamicObject`](crate::DynamicObject) for kinds that are known only at run time, and types of
/// others by [`kind!`](crate::kind).
pub trait Kind: Any + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync {
    /// `metadata`.
    fn meta(&self) -> &ObjectMeta;
    /// `metadata`, to change.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// `apiVersion`, for example `apps/v1`.
    fn api_version(&self) -> &str;
    /// `kind`.
    fn kind(&self) -> &str;
    /// How it is read from JSON and written as JSON.
    fn codec() -> &'static Codec;
    /// The value with its type erased.
    fn erased(self) -> Box<dyn Payload>;
}

/// Makes [`Kind`]s of types that are described as those of `k8s-openapi` are, by its trait
/// `Resource`, that have a field `metadata`, and that serde reads and writes.
///
/// ```
/// use pinnace_api::{Draft, ObjectMeta, k8s_openapi, kind};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, PartialEq, Serialize, Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Ship {
///     api_version: String,
///     kind: String,
///     metadata: ObjectMeta,
///     masts: u8,
/// }
///
/// impl k8s_openapi::Resource for Ship {
///     const API_VERSION: &'static str = "example.com/v1";
///     const GROUP: &'static str = "example.com";
///     const KIND: &'static str = "Ship";
///     const VERSION: &'static str = "v1";
///     const URL_PATH_SEGMENT: &'static str = "ships";
///     type Scope = k8s_openapi::NamespaceResourceScope;
/// }
///
/// kind!(Ship);
///
/// let json = br#"{"apiVersion":"example.com/v1","kind":"Ship","metadata":{"name":"a"},"masts":2}"#;
/// let ship = Draft::from_json(<Ship as pinnace_api::Kind>::codec(), json)?;
/// assert_eq!(ship.get::<Ship>().map(|ship| ship.masts), Some(2));
/// # Ok::<(), pinnace_api::ApiError>(())
/// ```
#[macro_export]
macro_rules! kind {
    ($type:ty => $codec:expr) => {
        impl $crate::Kind for $type {
            fn meta(&self) -> &$crate::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut $crate::ObjectMeta {
                &mut self.metadata
            }
            fn api_version(&self) -> &str {
                <$type as $crate::k8s_openapi::Resource>::API_VERSION
            }
            fn kind(&self) -> &str {
                <$type as $crate::k8s_openapi::Resource>::KIND
            }
            fn codec() -> &'static $crate::Codec {
                static CODEC: $crate::Codec = $codec;
                &CODEC
            }
            fn erased(self) -> Box<dyn $crate::Payload> {
                Box::new(self)
            }
        }
    };
    ($($type:ty),+ $(,)?) => {
        $($crate::kind!($type => $crate::Codec::new::<$type>());)+
    };
}

/// A [`Kind`] with its type erased: what [`Draft`](crate::Draft) and [`Object`](crate::Object) hold.
pub trait Payload: Any + Send + Sync {
    /// `metadata`.
    fn meta(&self) -> &ObjectMeta;
    /// `metadata`, to change.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// `apiVersion`.
    fn api_version(&self) -> &str;
    /// `kind`.
    fn kind(&self) -> &str;
    /// A copy.
    fn boxed(&self) -> Box<dyn Payload>;
    /// Whether `other` is of the same type and equal.
    fn equals(&self, other: &dyn Payload) -> bool;
    /// How this type is read and written.
    fn codec(&self) -> &'static Codec;
}

impl<K: Kind> Payload for K {
    fn meta(&self) -> &ObjectMeta {
        Kind::meta(self)
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        Kind::meta_mut(self)
    }
    fn api_version(&self) -> &str {
        Kind::api_version(self)
    }
    fn kind(&self) -> &str {
        Kind::kind(self)
    }
    fn boxed(&self) -> Box<dyn Payload> {
        self.clone().erased()
    }
    fn equals(&self, other: &dyn Payload) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<K>().is_some_and(|other| self == other)
    }
    fn codec(&self) -> &'static Codec {
        K::codec()
    }
}

impl dyn Payload {
    /// Appends the JSON form.
    ///
    /// # Errors
    /// When a value has no JSON form; types of `k8s-openapi` always have one.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<()> {
        (self.codec().write)(self, out)
    }

    /// The JSON form as a tree.
    ///
    /// # Errors
    /// As [`write_json`](Self::write_json).
    pub fn to_value(&self) -> Result<Value> {
        (self.codec().to_value)(self)
    }
}

/// How a type is read from JSON and written as JSON.
pub struct Codec {
    pub(crate) decode: fn(&[u8]) -> Result<Box<dyn Payload>>,
    pub(crate) from_value: fn(Value) -> Result<Box<dyn Payload>>,
    write: fn(&dyn Any, &mut Vec<u8>) -> Result<()>,
    to_value: fn(&dyn Any) -> Result<Value>,
    rests_as_text: bool,
}

impl Codec {
    /// The codec of a type.
    pub fn of<K: Kind>() -> &'static Self {
        K::codec()
    }

    /// A codec by what serde knows of a type.
    pub const fn new<K: Kind>() -> Self {
        Self {
            decode: |bytes| Ok(serde_json::from_slice::<K>(bytes)?.erased()),
            from_value: |value| Ok(serde_json::from_value::<K>(value)?.erased()),
            write: |any, out| match any.downcast_ref::<K>() {
                Some(value) => serde_json::to_writer(out, value),
                None => Err(mismatch::<K>()),
            },
            to_value: |any| match any.downcast_ref::<K>() {
                Some(value) => serde_json::to_value(value),
                None => Err(mismatch::<K>()),
            },
            rests_as_text: false,
        }
    }

    /// A codec of a type whose status has general conditions, `metav1.Condition`: their times may be
    /// left out, which the type does not know.
    pub(crate) const fn with_conditions<K: Kind>() -> Self {
        Self {
            decode: |bytes| Ok(conditions::from_slice::<K>(bytes)?.erased()),
            from_value: |value| Ok(conditions::from_value::<K>(value)?.erased()),
            write: |any, out| match any.downcast_ref::<K>() {
                Some(value) => conditions::write(value, out),
                None => Err(mismatch::<K>()),
            },
            to_value: |any| match any.downcast_ref::<K>() {
                Some(value) => conditions::to_value(value),
                None => Err(mismatch::<K>()),
            },
            rests_as_text: false,
        }
    }

    /// The same for objects that rest as text: their typed form is many times as large, and seldom
    /// needed.
    const fn resting(self) -> Self {
        Self { rests_as_text: true, ..self }
    }

    pub(crate) fn rests_as_text(&self) -> bool {
        self.rests_as_text
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}

fn mismatch<K>() -> serde_json::Error {
    serde::ser::Error::custom(format!("the object is not a {}", std::any::type_name::<K>()))
}
