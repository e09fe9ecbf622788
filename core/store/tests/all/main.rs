//! The store from outside: against a model, watched, read while it is written, on back ends that
//! fail, and on disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backends;
mod consequences;
mod consistency;
#[cfg(feature = "disk")]
mod disk;
mod durability;
#[cfg(feature = "disk")]
mod encryption;
mod model;
mod support;
mod watch;
