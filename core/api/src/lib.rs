//! The object model of Pinnace: Kubernetes 1.36 objects and what can be said of them without any
//! I/O, clock or async.
//!
//! - [`Object`]: an immutable, shared object; [`Draft`]: one being made.
//! - [`Catalog`] and [`Resource`]: which kinds there are, and the [`Strategy`] of each.
//! - [`ApiError`]: an error as a Kubernetes `Status`; [`field`]: paths and causes within it.
//! - [`selector`], [`quantity`], [`patch`]: the small languages of the API.
//! - [`schema`]: what types objects are made of.
//! - [`protobuf`]: the form that clients in Go prefer.
//! - [`printing`]: what `kubectl get` shows.
//! - [`manifest`]: files of objects, in YAML or JSON.
//! - [`bootstrap_token`]: the secrets by which new nodes introduce themselves.
//! - [`belongings`]: what every namespace is made with.
//! - [`expressions`]: rules and conditions in CEL.
//! - [`metrics`]: what pods and nodes use.
//! - [`kinds`]: defaulting and validation of the built-in kinds.
//! - [`custom`]: kinds that clients add.
//! - [`pod_resources`]: what pods ask for; [`quota`]: what objects use of quotas.
//! - [`pod_security`]: what pods must not ask for.
//! - [`policy_types`]: what types say about policies in CEL.
//! - [`volumes`]: how claims and persistent volumes find each other.
//!
//! Everything here is a function from values to values, so it is the place where behaviour is
//! cheapest to document and test.

pub mod admission_config;
pub mod api_services;
pub mod belongings;
pub mod bootstrap_token;
mod catalog;
mod conversion;
pub mod custom;
pub mod disruption;
mod duration;
mod dynamic;
pub mod elsewhere;
mod error;
pub mod expressions;
pub mod field;
mod key;
mod kind;
pub mod kinds;
pub mod manifest;
pub mod metrics;
mod object;
mod ownership;
pub mod patch;
pub mod pod_resources;
pub mod pod_security;
pub mod policy_types;
pub mod printing;
pub mod protobuf;
pub mod quantity;
pub mod quota;
mod resource;
pub mod schedule;
pub mod schema;
pub mod selector;
mod strategy;
mod structural;
pub mod volumes;

pub use catalog::Catalog;
pub use conversion::{AnyConversion, Conversion};
pub use dynamic::DynamicObject;
pub use error::{ApiError, Reason, Result};
pub use k8s_openapi;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub use key::Key;
pub use kind::{Codec, Kind, Payload};
pub use object::{Draft, Object, Typed};
pub use ownership::{Ownership, Writer};
pub use resource::{
    Dependents, KindSchema, Resource, ScaleTarget, Scope, Subresource, Subresources, Verbs,
};
pub use strategy::{AnyStrategy, Caller, PodsOf, ScaleView, Strategy};
