//! `libpinnace`: the engine for C and C++. `include/pinnace.h` is generated from this crate and is
//! its documentation; how memory and threads are handled is said there, once for all functions.

#![expect(unsafe_code, reason = "C passes pointers")]
#![expect(unreachable_pub, reason = "what is exported to C is not reached from Rust")]

#[macro_use]
mod boundary;
mod admission;
mod asking;
mod audit;
mod authenticator;
mod authorizer;
mod bytes;
mod callback;
mod config;
mod controller;
mod engine;
mod error;
mod explain;
mod objects;
mod plugin;
mod rollout;
mod serving;
mod stream;
mod version;
