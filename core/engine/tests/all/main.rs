//! The engine as a host sees it: mostly on simulated nodes in virtual time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

mod access;
mod bad_input;
mod deployments;
mod durable;
mod encryption;
mod host_controllers;
mod joined;
mod lifecycle;
mod metrics;
mod nodes;
mod scheduler;
mod support;
mod volumes;
