//! Answers: which form a client takes, and objects, lists and events in that form.

pub(crate) mod accept;
mod compress;
mod indent;
mod list;
mod object;
mod watch;
pub(crate) mod yaml;

pub(crate) use accept::{Accepted, Can, Encoding, Shape, preferred};
pub(crate) use compress::compress;
pub(crate) use object::{View, status, value};
pub(crate) use watch::{WatchBody, WatchFrames};
