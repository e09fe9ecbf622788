use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pinnace::{Error, Result};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::convert::{Answer, IntoPython};
use crate::engine::Shared;
use crate::error::to_python;

/// How often a call that waits looks whether Ctrl-C was pressed.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);

type BoxedFuture = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;
type Thunk = Box<dyn FnOnce() -> Result<Answer> + Send>;

enum Work {
    /// Runs on the Tokio runtime of an engine.
    Future(Arc<Shared>, BoxedFuture),
    /// Makes or ends an engine, and so runs on a thread of its own.
    Thread(Thunk),
}

/// Something that an engine is to do, once: now by `wait`, or in the background by `start`.
#[pyclass(frozen, module = "pinnace._pinnace")]
pub(crate) struct Call(Mutex<Option<Work>>);

impl Call {
    pub(crate) fn future<T: IntoPython>(
        shared: &Arc<Shared>,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> PyResult<Self> {
        shared.check_process()?;
        let future = Box::pin(async move { Ok(future.await?.answer()) });
        Ok(Self(Mutex::new(Some(Work::Future(shared.clone(), future)))))
    }

    pub(crate) fn thread<T: IntoPython>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Self {
        Self(Mutex::new(Some(Work::Thread(Box::new(move || Ok(work()?.answer()))))))
    }

    fn take(&self) -> PyResult<Work> {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.ok_or_else(|| PyRuntimeError::new_err("a call runs only once"))
    }
}

#[pymethods]
impl Call {
    /// Runs it to its end without holding the interpreter.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let answer = match self.take()? {
            Work::Future(shared, future) => py.detach(|| wait_for_future(&shared, future)),
            Work::Thread(thunk) => py.detach(|| wait_for_thread(thunk)),
        };
        answer?.map_err(to_python)?(py)
    }

    /// Runs it in the background; then `done(value, error)` is called on a thread of the engine.
    fn start(&self, done: Py<PyAny>) -> PyResult<Task> {
        let cancel = CancellationToken::new();
        let done = Done(Some(done));
        match self.take()? {
            Work::Future(shared, future) => {
                let cancelled = cancel.clone();
                let handle = shared.engine().handle().map_err(to_python)?;
                handle.spawn(async move {
                    if let Some(result) = cancelled.run_until_cancelled(future).await {
                        // The interpreter may make us wait, and the engine's threads must not.
                        tokio::task::spawn_blocking(move || done.tell(result));
                    }
                });
            }
            Work::Thread(thunk) => {
                std::thread::spawn(move || done.tell(thunk()));
            }
        }
        Ok(Task(cancel))
    }
}

/// What runs in the background.
#[pyclass(frozen, module = "pinnace._pinnace")]
pub(crate) struct Task(CancellationToken);

#[pymethods]
impl Task {
    /// Drops the Rust future, unless it has ended.
    fn cancel(&self) {
        self.0.cancel();
    }
}

fn wait_for_future(shared: &Shared, mut future: BoxedFuture) -> PyResult<Result<Answer>> {
    let mut interrupted = None;
    let result = shared.engine().block_on(async {
        loop {
            tokio::select! {
                biased;
                result = &mut future => return result,
                () = tokio::time::sleep(SIGNAL_CHECK) => {
                    if let Err(error) = check_signals() {
                        interrupted = Some(error);
                        return Err(Error::Closed);
                    }
                }
            }
        }
    });
    interrupted.map_or(Ok(result), Err)
}

fn wait_for_thread(thunk: Thunk) -> PyResult<Result<Answer>> {
    let (send, receive) = sync_channel(1);
    std::thread::spawn(move || send.send(thunk()));
    loop {
        match receive.recv_timeout(SIGNAL_CHECK) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the engine has panicked"));
            }
        }
    }
}

fn check_signals() -> PyResult<()> {
    Python::attach(|py| py.check_signals())
}

/// Tells the caller what has become of its call, at the latest when it is dropped with the engine.
struct Done(Option<Py<PyAny>>);

impl Done {
    fn tell(mut self, result: Result<Answer>) {
        self.give(result);
    }

    fn give(&mut self, result: Result<Answer>) {
        let Some(done) = self.0.take() else { return };
        // None while the interpreter ends: then nobody listens any more.
        Python::try_attach(|py| {
            let told = match result.map_err(to_python).and_then(|answer| answer(py)) {
                Ok(value) => done.call1(py, (value, py.None())),
                Err(error) => done.call1(py, (py.None(), error.into_value(py))),
            };
            if let Err(error) = told {
                error.write_unraisable(py, None);
            }
        });
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.give(Err(Error::Closed));
    }
}
