//! Defaulting, validation and preparation of the built-in kinds: what goes in, and what comes out
//! or is said of it, in upstream's words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

mod admission;
#[cfg(test)]
mod batch;
mod custom_resource_definition;
mod devices;
mod groups;
mod metadata;
mod objects;
mod pod;
mod pod_containers;
mod pod_placement;
mod pod_resources;
mod pod_update;
mod pod_volumes;
mod service;
mod storage;
#[cfg(test)]
mod support;
mod versions;
mod workloads;
