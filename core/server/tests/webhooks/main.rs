//! Admission by webhooks, with servers that are functions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

mod answers;
mod conversion;
mod hooks;
mod matching;
mod mutating;
mod parts;
mod policies;
mod support;
