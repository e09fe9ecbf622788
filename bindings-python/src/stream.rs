use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use pinnace::{LogStream, Result, WatchEvent, WatchStream};
use pyo3::prelude::*;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::convert::{IntoPython, Item};
use crate::engine::Shared;

/// Events of a watch or lines of a log.
#[pyclass(frozen, module = "pinnace._pinnace")]
pub(crate) struct Stream {
    shared: Arc<Shared>,
    items: Arc<Mutex<BoxStream<'static, Result<Item>>>>,
    closed: CancellationToken,
}

#[pymethods]
impl Stream {
    /// The next item, `None` at the end.
    fn next(&self) -> PyResult<Call> {
        let (items, closed) = (self.items.clone(), self.closed.clone());
        Call::future(&self.shared, async move {
            let next = closed.run_until_cancelled(async { items.lock().await.next().await });
            next.await.flatten().transpose()
        })
    }

    /// Ends it, also for who waits for its next item.
    fn close(&self) {
        self.closed.cancel();
    }
}

/// A stream that has not come to Python yet.
pub(crate) struct Opened {
    shared: Arc<Shared>,
    items: BoxStream<'static, Result<Item>>,
}

impl Opened {
    pub(crate) fn watch(shared: Arc<Shared>, events: WatchStream) -> Self {
        let items = events.filter_map(async |event| {
            Some(Ok(match event {
                Ok(WatchEvent::Added(object)) => Item::Event("ADDED", object),
                Ok(WatchEvent::Modified(object)) => Item::Event("MODIFIED", object),
                Ok(WatchEvent::Deleted(object)) => Item::Event("DELETED", object),
                Ok(WatchEvent::Bookmark(..)) => return None,
                Err(error) => return Some(Err(error.into())),
            }))
        });
        Self { shared, items: items.boxed() }
    }

    pub(crate) fn log(shared: Arc<Shared>, lines: LogStream) -> Self {
        let items =
            lines.map(|line| Ok(Item::Line(String::from_utf8_lossy(&line?.text).into_owned())));
        Self { shared, items: items.boxed() }
    }
}

impl IntoPython for Opened {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stream = Stream {
            shared: self.shared,
            items: Arc::new(Mutex::new(self.items)),
            closed: CancellationToken::new(),
        };
        Ok(Py::new(py, stream)?.into_any())
    }
}
