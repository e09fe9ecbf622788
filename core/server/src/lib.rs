//! The request pipeline: one way into the store for everybody, the host application included.
//!
//! ```text
//! authenticate → authorize → default → admit → validate → commit → respond
//! ```
//!
//! A [`Server`] holds the store, the catalog and the rules. [`Server::client`] gives a client that
//! acts as a user: its requests are function calls, without sockets and without encoding.

mod admission;
mod apply;
pub mod audit;
pub mod authentication;
mod authorization;
mod authorization_hook;
mod belongings;
mod binding;
mod caller;
mod certificates;
mod compaction;
mod computed;
mod create;
mod delete;
mod elsewhere;
mod eviction;
mod extension;
mod figures;
mod followed;
mod hooks;
mod in_process;
mod list_token;
mod matching;
mod node_authorizer;
mod ownership;
mod patching;
mod policy;
mod quota;
pub mod rbac;
mod read;
mod reinvocation;
mod reviews;
mod scale;
mod server;
mod service;
mod update;
mod versions;
mod watch;
mod webhooks;
mod write;

pub use admission::{Admission, AdmissionRequest, Operation, PLUGINS as ADMISSION_PLUGINS};
pub use authentication::TokenAuthenticator;
pub use authorization::{
    Attributes, Authorizer, Authorizers, Decision, MastersOnly, Rules, Selectors, User, account_of,
};
pub use authorization_hook::AuthorizationHook;
pub use elsewhere::OtherServers;
pub use extension::{ExtensionAddress, ExtensionAnswer, ExtensionClient, ExtensionRequest};
pub use figures::AdmissionFigures;
pub use hooks::{AdmissionHook, Ruling};
pub use in_process::InProcess;
pub use node_authorizer::NodeAuthorizer;
pub use server::{Server, ServerBuilder, forbidden};
pub use service::ServiceNetwork;
