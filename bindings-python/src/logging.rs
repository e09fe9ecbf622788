use std::fmt::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Messages that may wait for Python; what comes beyond that is lost.
const QUEUE: usize = 1024;

/// Calls `log(target, level, message)` for whatever the engines of this process have to say from
/// now on, on a thread of its own. Levels are those of Python's `logging`.
#[pyfunction]
pub(crate) fn log_to(log: Py<PyAny>, level: u8) -> PyResult<()> {
    let max = match level {
        0..=5 => LevelFilter::TRACE,
        6..=10 => LevelFilter::DEBUG,
        11..=20 => LevelFilter::INFO,
        21..=30 => LevelFilter::WARN,
        31..=50 => LevelFilter::ERROR,
        _ => return Err(PyValueError::new_err("level must be at most 50")),
    };
    let (queue, messages) = sync_channel(QUEUE);
    tracing::subscriber::set_global_default(Forward { max, queue })
        .map_err(|_| PyRuntimeError::new_err("the logs of this process go elsewhere already"))?;
    std::thread::spawn(move || forward(&messages, &log));
    Ok(())
}

struct Message {
    target: String,
    level: u8,
    text: String,
}

fn forward(messages: &Receiver<Message>, log: &Py<PyAny>) {
    while let Ok(Message { target, level, text }) = messages.recv() {
        let told = Python::try_attach(|py| {
            if let Err(error) = log.call1(py, (target, level, text)) {
                error.write_unraisable(py, None);
            }
        });
        if told.is_none() {
            return;
        }
    }
}

/// Only events are of interest: the engine has no spans that would say more.
struct Forward {
    max: LevelFilter,
    queue: SyncSender<Message>,
}

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("pinnace") && *metadata.level() <= self.max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::TRACE => 5,
            Level::DEBUG => 10,
            Level::INFO => 20,
            Level::WARN => 30,
            Level::ERROR => 40,
        };
        let target = event.metadata().target().to_owned();
        let text = text.message + &text.fields;
        let _ = self.queue.try_send(Message { target, level, text });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
