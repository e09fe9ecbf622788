//! How many requests are dealt with at once.
//!
//! Requests that read and requests that write each have their own room, so that neither keeps the
//! other out. What goes on for long (watches, connections to pods) and what `system:masters` ask
//! needs no room, as upstream has it.

use std::sync::Arc;
use std::time::Duration;

use pinnace_api::{ApiError, Result};
use pinnace_server::User;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::request::RequestInfo;

/// Requests at once that read, and that write: upstream's defaults.
const READING: usize = 400;
const WRITING: usize = 200;
/// When a request that found no room may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const MASTERS: &str = "system:masters";

/// The room that there is.
#[derive(Debug)]
pub(crate) struct FlowControl {
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
}

/// The room that a request takes while it is dealt with; `None` for one that needs none.
pub(crate) type Room = Option<OwnedSemaphorePermit>;

impl FlowControl {
    pub(crate) fn new() -> Self {
        Self::with(READING, WRITING)
    }

    fn with(reading: usize, writing: usize) -> Self {
        let room = |size| Arc::new(Semaphore::new(size));
        Self { reading: room(reading), writing: room(writing) }
    }

    /// Room for a request.
    ///
    /// # Errors
    /// `TooManyRequests` when there is none.
    pub(crate) fn admit(&self, user: &User, info: &RequestInfo) -> Result<Room> {
        let connects =
            matches!(&*info.subresource, "log" | "exec" | "attach" | "portforward" | "proxy");
        let exempt = user.groups.iter().any(|group| group == MASTERS);
        if exempt || info.verb == "watch" || (info.is_resource && connects) {
            return Ok(None);
        }
        let reads = matches!(&*info.verb, "get" | "list" | "head");
        let room = if reads { &self.reading } else { &self.writing };
        room.clone().try_acquire_owned().map(Some).map_err(|_| {
            let message = "Too many requests, please try again later.";
            ApiError::too_many_requests(message, RETRY_AFTER)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_writing_have_room_of_their_own() {
        let control = FlowControl::with(1, 1);
        let ann = User::new("ann", []);
        let ask = |user: &User, verb: &str, subresource: &str| {
            let info = RequestInfo {
                is_resource: true,
                verb: verb.to_owned(),
                subresource: subresource.to_owned(),
                ..RequestInfo::default()
            };
            control.admit(user, &info)
        };
        let first = ask(&ann, "list", "").unwrap();
        assert_eq!(ask(&ann, "get", "").unwrap_err().code(), 429);
        let _writes = ask(&ann, "create", "").unwrap();
        assert!(ask(&ann, "patch", "").is_err());
        for (user, verb, subresource) in [
            (&ann, "watch", ""),
            (&ann, "get", "log"),
            (&User::new("root", [MASTERS.to_owned()]), "get", ""),
        ] {
            assert!(ask(user, verb, subresource).unwrap().is_none(), "{verb} {subresource}");
        }
        drop(first);
        assert!(ask(&ann, "get", "").is_ok());
    }
}
