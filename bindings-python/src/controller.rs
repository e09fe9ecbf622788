use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pinnace::{Action, BoxError, Key, Queue, Reconciler};
use pyo3::prelude::*;

use crate::callback::call_back;
use crate::convert::IntoPython;

/// A running controller whose reconciles are Python's.
#[pyclass(frozen, module = "pinnace._pinnace")]
pub(crate) struct Controller(Queue);

#[pymethods]
impl Controller {
    /// Has an object reconciled, whether or not anything has changed.
    fn enqueue(&self, namespace: &str, name: &str) {
        self.0.add(Key::new(namespace, name));
    }
}

/// A controller that has not come to Python yet.
pub(crate) struct Running(pub(crate) Queue);

impl IntoPython for Running {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Controller(self.0))?.into_any())
    }
}

/// Calls a function of the package with namespace and name. It gives seconds or `None`, and has
/// told about an exception before it lets it through.
pub(crate) struct PythonReconciler {
    pub(crate) name: String,
    pub(crate) reconcile: Arc<Py<PyAny>>,
}

#[async_trait]
impl Reconciler for PythonReconciler {
    fn name(&self) -> &str {
        &self.name
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let (reconcile, key) = (self.reconcile.clone(), key.clone());
        let reconciled = tokio::task::spawn_blocking(move || {
            call_back(|py| {
                let after = reconcile.call1(py, (key.namespace(), key.name()))?;
                after.extract::<Option<f64>>(py)
            })
        });
        match reconciled.await?? {
            None => Ok(Action::Done),
            Some(seconds) => Ok(Action::RequeueAfter(Duration::try_from_secs_f64(seconds)?)),
        }
    }
}
