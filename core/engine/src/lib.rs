//! Kubernetes as a library: an orchestration engine that a program depends on.
//!
//! ```no_run
//! # async fn example() -> Result<(), pinnace::Error> {
//! use std::time::Duration;
//! use pinnace::{Engine, Runtime};
//!
//! let engine = Engine::builder().runtime(Runtime::simulated()).nodes(3).start().await?;
//! engine.apply(r#"
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata: {name: web}
//! spec:
//!   replicas: 3
//!   selector: {matchLabels: {app: web}}
//!   template:
//!     metadata: {labels: {app: web}}
//!     spec: {containers: [{name: web, image: "registry.example/web:1"}]}
//! "#).await?;
//! engine.wait("deployments/web", "Available", Duration::from_secs(30)).await?;
//! engine.scale("deployments/web", 5).await?;
//! for pod in engine.list("pods", Default::default()).await?.items {
//!     println!("{}", pod.name());
//! }
//! engine.shutdown().await
//! # }
//! ```
//!
//! # Concepts
//!
//! - [`Engine`]: a whole cluster in this process: API, store, controllers, scheduler, nodes and
//!   network. A cheap handle; clones share the engine, any thread may use them. Any number of
//!   engines live side by side, each with its own everything.
//! - [`EngineBuilder`]: where it keeps its objects, what runs its containers, how many nodes.
//! - [`Object`] and [`Typed`]: an object of the cluster; immutable and shared, never copied.
//! - [`Node`]: this machine as a node of a cluster that is elsewhere.
//! - [`Client`]: typed and dynamic access to the API, for what the verbs of [`Engine`] don't cover.
//! - [`Reconciler`] and [`Controller`]: the loop that the built-in controllers run on, for your own.
//! - [`runtime`], [`scheduler`], [`store`]: traits that a host may implement.
//! - [`blocking`]: the same engine for programs without an async runtime.
//!
//! # Features
//!
//! - `containerd` (default): real containers; needs `protoc` when it is built.
//! - `disk` (default): the durable store, for [`EngineBuilder::data_dir`].
//! - `remote`: [`connect`], a [`Client`] of a cluster on another machine, and [`Node::of`] its kubeconfig.
//! - `cli`: the program `pinnace`.
//! - `kube`: [`Engine::kube_client`], a client of the crate `kube` that needs no socket.

pub mod access;
mod aggregation;
pub mod blocking;
mod bootstrap;
mod builder;
mod credentials;
mod directory;
mod engine;
mod error;
mod explain;
mod images;
mod logs;
mod machinery;
mod manifest;
mod node;
mod nodes;
mod own_service;
mod reference;
#[cfg(feature = "remote")]
mod remote;
mod rollout;
mod serving;
mod startup;
mod wait;

pub use builder::{Discovered, EngineBuilder, OnShutdown, Runtime};
pub use engine::Engine;
pub use error::{Error, Result};
pub use k8s_openapi;
pub use logs::{LogLine, LogOptions, LogStream};
pub use manifest::{Applied, Change};
pub use node::{Node, NodeBuilder};
pub use pinnace_api::patch::Patch;
pub use pinnace_api::selector::{FieldSelector, Selector};
pub use pinnace_api::{
    ApiError, Draft, DynamicObject, Key, Kind, Object, Reason, Resource, Typed, kind,
};
pub use pinnace_client::{
    Api, Client, DeleteOptions, DynamicApi, Informer, Informers, List, ListOptions, Lister,
    Preconditions, PropagationPolicy, WatchEvent, WatchStream, WriteOptions,
};
pub use pinnace_env::{Clock, Env, Random};
pub use pinnace_http::{ServeConfig, Serving};
pub use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};
#[cfg(feature = "remote")]
pub use remote::{Identity, Kubeconfig, connect, node_kubeconfig};
pub use rollout::RolloutStatus;

/// What runs containers: the trait, and the adapters that are built in.
pub mod runtime {
    pub use pinnace_runtime::*;
}

/// How pods get their addresses.
pub mod network {
    pub use pinnace_network::*;
}

/// How a node is chosen for a pod, and how to have a say in it.
pub mod scheduler {
    pub use pinnace_scheduler::*;
}

/// Where objects are kept.
pub mod store {
    pub use pinnace_store::*;
}
