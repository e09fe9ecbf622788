//! The front as clients see it, over TLS on a port of its own or over a Unix socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

mod aggregation;
mod audit;
mod authentication;
mod bad_input;
mod definitions;
mod escalation;
mod extension;
mod forms;
mod issuer;
mod kubelet;
mod limits;
mod nodes;
mod objects;
mod protobuf;
mod proxy;
mod streams;
mod tokens;
mod watches;
mod webhooks;
mod world;
