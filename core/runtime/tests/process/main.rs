//! The process runtime, with real processes.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod adoption;
mod commands;
mod isolation;
mod running;
mod world;
