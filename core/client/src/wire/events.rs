use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use pinnace_api::{Resource, Result};
use serde_json::Value;

use super::{answer, unavailable};
use crate::{WatchEvent, WatchStream};

/// Most bytes of an event.
const MAX_EVENT: usize = 8 << 20;
/// The annotation of the bookmark behind the initial events.
const INITIAL_END: &str = "k8s.io/initial-events-end";

struct Lines {
    resource: Arc<Resource>,
    body: BoxStream<'static, Result<Bytes, String>>,
    buffer: BytesMut,
    /// How many bytes of the buffer have been looked through for the end of a line.
    seen: usize,
}

/// The events of a watch, a line each.
pub(super) fn of(
    resource: Arc<Resource>,
    body: BoxStream<'static, Result<Bytes, String>>,
) -> WatchStream {
    let lines = Lines { resource, body, buffer: BytesMut::new(), seen: 0 };
    stream::try_unfold(lines, |mut lines| async move {
        Ok(lines.next().await?.map(|event| (event, lines)))
    })
    .boxed()
}

impl Lines {
    async fn next(&mut self) -> Result<Option<WatchEvent>> {
        loop {
            let end = self.buffer[self.seen..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.buffer.split_to(self.seen + end + 1);
                self.seen = 0;
                if !line.trim_ascii().is_empty() {
                    return self.event(&line).map(Some);
                }
                continue;
            }
            self.seen = self.buffer.len();
            if self.seen > MAX_EVENT {
                return Err(unavailable(&format!("an event is longer than {MAX_EVENT} bytes")));
            }
            match self.body.next().await {
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => {
                    let line = std::mem::take(&mut self.buffer);
                    self.seen = 0;
                    return self.event(&line).map(Some);
                }
                Some(Err(why)) => return Err(unavailable(&why)),
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
            }
        }
    }

    fn event(&self, line: &[u8]) -> Result<WatchEvent> {
        let unread = |why: &str| unavailable(&format!("an event cannot be read: {why}"));
        let mut event: Value =
            serde_json::from_slice(line).map_err(|error| unread(&error.to_string()))?;
        let object = event["object"].take();
        let make: fn(_) -> _ = match event["type"].as_str().unwrap_or_default() {
            "ADDED" => WatchEvent::Added,
            "MODIFIED" => WatchEvent::Modified,
            "DELETED" => WatchEvent::Deleted,
            "BOOKMARK" => {
                let meta = &object["metadata"];
                let end = meta["annotations"][INITIAL_END] == "true";
                return Ok(WatchEvent::Bookmark(answer::revision(meta), end));
            }
            "ERROR" => return Err(answer::failure(500, object.to_string().as_bytes())),
            other => return Err(unread(&format!("there is no type {other:?}"))),
        };
        answer::item(&self.resource, object).map(make)
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use serde_json::json;

    use super::*;

    async fn told(pieces: &[&str]) -> Vec<String> {
        let listed = json!([{"name": "flunders", "singularName": "", "namespaced": true,
            "kind": "Flunder", "verbs": ["watch"]}]);
        let listed: Vec<_> = serde_json::from_value(listed).unwrap();
        let mut kinds = pinnace_api::elsewhere::kinds("example.com", "v1", &listed);
        let pieces: Vec<Result<Bytes, String>> =
            pieces.iter().map(|piece| Ok(Bytes::from(piece.to_string()))).collect();
        let mut events = of(Arc::new(kinds.remove(0)), stream::iter(pieces).boxed());
        let mut told = Vec::new();
        loop {
            match events.try_next().await {
                Ok(Some(WatchEvent::Bookmark(at, end))) => told.push(format!("{at} {end}")),
                Ok(Some(WatchEvent::Deleted(one))) => told.push(format!("- {}", one.name())),
                Ok(Some(WatchEvent::Added(one) | WatchEvent::Modified(one))) => {
                    told.push(format!("{} {}", one.name(), one.revision()));
                }
                Ok(None) => return told,
                Err(error) => {
                    told.push(format!("{error:?}"));
                    return told;
                }
            }
        }
    }

    #[tokio::test]
    async fn events_are_lines_wherever_they_are_cut() {
        let told = told(&[
            "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",",
            "\"resourceVersion\":\"5\"}}}\n\n{\"type\":\"DELETED\",\"object\":{\"metadata\":",
            "{\"name\":\"b\"}}}\n{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\",\
             \"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n",
            "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\
             \"message\":\"too old\"}}\n",
        ]);
        let expected = ["a 5", "- b", "9 true", "Expired(410): too old"];
        assert_eq!(told.await, expected);
    }

    #[tokio::test]
    async fn what_is_no_event_ends_a_watch() {
        let why =
            "ServiceUnavailable(503): error trying to reach service: an event cannot be read: ";
        let [first] = &told(&["{\"type\":\"FLOWN\"}\n"]).await[..] else { panic!("one error") };
        assert_eq!(*first, format!("{why}there is no type \"FLOWN\""));
        let [first] = &told(&["oops\n"]).await[..] else { panic!("one error") };
        assert!(first.starts_with(why), "{first}");
        let long = "x".repeat(MAX_EVENT + 1);
        let [first] = &told(&[&long]).await[..] else { panic!("one error") };
        assert!(first.ends_with("an event is longer than 8388608 bytes"), "{first}");
    }
}
