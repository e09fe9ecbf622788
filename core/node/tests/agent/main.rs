//! The node agent against the real API in one process and a simulated runtime, in virtual time.

#![expect(clippy::unwrap_used, reason = "helpers stand outside of the test functions")]

mod adoption;
mod connections;
#[cfg(target_os = "linux")]
mod containerd;
#[cfg(target_os = "linux")]
mod csi;
mod evicting;
mod images;
mod lifecycle;
mod measuring;
mod nodes;
mod probes;
#[cfg(target_os = "linux")]
mod processes;
mod resizing;
mod restarts;
mod starting;
mod static_pods;
mod world;
