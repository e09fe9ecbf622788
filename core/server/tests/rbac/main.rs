//! Role-based access control over the in-process client, on a memory store.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

mod defaults;
mod escalation;
mod model;
mod nodes;
mod params;
mod support;
