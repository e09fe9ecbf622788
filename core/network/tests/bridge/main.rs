//! The bridge network on nodes and pods made of network namespaces. Without the privilege to make
//! those, the tests say so and pass.
#![cfg(target_os = "linux")]

mod engines;
mod host_ports;
mod pods;
mod refusals;
mod support;
