//! Real containers in a private containerd. Skipped, with the reason printed, where this user or
//! machine cannot have them.

#![cfg(all(target_os = "linux", feature = "containerd"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod adoption;
mod exec;
mod handlers;
mod images;
mod lifecycle;
mod process;
mod world;
