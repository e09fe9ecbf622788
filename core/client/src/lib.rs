//! One client for everybody: a controller, the node agent on another machine, and the host
//! application use the same [`Client`], which speaks to the API through a [`Transport`]: straight
//! into the engine, or over HTTPS.
//!
//! - [`Client`]: hands out [`Api`] (typed) and [`DynamicApi`] (any kind of the catalog).
//! - [`Informers`] and [`Informer`]: a watched kind as an indexed cache, shared by all who read it.
//! - [`nodes`]: the way to what runs on a node: logs, `exec`, ports, and what is used
//!   ([`summary`]).
//! - [`wire`]: the verbs as requests over HTTP, for transports that have one.
//! - [`Recorder`]: Kubernetes Events, grouped and limited as upstream does.
//!
//! Nothing here copies objects: what a get, a list, a watch and a cache give is the same
//! [`Object`](pinnace_api::Object), shared.

mod api;
mod informer;
pub mod nodes;
mod options;
mod recorder;
pub mod summary;
mod transport;
pub mod wire;

pub use api::{Api, Client, DynamicApi, MODIFY_ATTEMPTS};
pub use informer::{Delta, Informer, Informers, Lister};
pub use options::{
    Annotations, DeleteOptions, FieldValidation, List, ListOptions, Preconditions,
    PropagationPolicy, VersionMatch, Warnings, WatchEvent, WatchStream, WriteOptions,
};
pub use pinnace_api::Subresource;
pub use recorder::{EventType, Recorder};
pub use transport::{Target, Transport};
