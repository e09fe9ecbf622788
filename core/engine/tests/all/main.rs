//! The engine as a host sees it: mostly on simulated nodes in virtual time.

mod bad_input;
mod deployments;
mod durable;
mod host_controllers;
mod lifecycle;
mod nodes;
mod support;
