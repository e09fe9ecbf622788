use std::path::PathBuf;

use pinnace::scheduler::Explanation;
use pinnace::{Applied, Object, RolloutStatus};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString};

use crate::admission::Admission;
use crate::audit::Audit;
use crate::authenticator::Authenticator;
use crate::authorizer::Authorizer;
use crate::plugin::SchedulerPlugin;

/// A result on its way to Python: made where the interpreter is not held, told where it is.
pub(crate) type Answer = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// What a verb may give.
pub(crate) trait IntoPython: Send + 'static {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>>;

    fn answer(self) -> Answer
    where
        Self: Sized,
    {
        Box::new(move |py| self.into_python(py))
    }
}

/// Reads JSON as dicts and lists, with Python's own reader: `docs/decisions.md` has the figures.
fn loads<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let text =
        std::str::from_utf8(json).map_err(|error| PyValueError::new_err(error.to_string()))?;
    LOADS.import(py, "json", "loads")?.call1((PyString::new(py, text),))
}

impl IntoPython for Object {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(loads(py, &self.json())?.unbind())
    }
}

impl IntoPython for Vec<Object> {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let list = PyList::empty(py);
        for object in self {
            list.append(loads(py, &object.json())?)?;
        }
        Ok(list.into_any().unbind())
    }
}

impl IntoPython for Vec<Applied> {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let list = PyList::empty(py);
        for applied in self {
            let object = loads(py, &applied.object.json())?;
            list.append((applied.name, applied.change.as_str(), object))?;
        }
        Ok(list.into_any().unbind())
    }
}

impl IntoPython for RolloutStatus {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok((self.done, self.message).into_pyobject(py)?.into_any().unbind())
    }
}

impl IntoPython for Explanation {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let json = serde_json::to_vec(&self);
        let json = json.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(loads(py, &json)?.unbind())
    }
}

impl IntoPython for Vec<String> {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.into_pyobject(py)?.unbind())
    }
}

impl IntoPython for String {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.into_pyobject(py)?.into_any().unbind())
    }
}

impl IntoPython for () {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(py.None())
    }
}

/// What a stream gives; `None` at its end.
pub(crate) enum Item {
    Event(&'static str, Object),
    Line(String),
}

impl IntoPython for Option<Item> {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Some(Item::Event(kind, object)) => {
                let event = (kind, loads(py, &object.json())?);
                Ok(event.into_pyobject(py)?.into_any().unbind())
            }
            Some(Item::Line(line)) => line.into_python(py),
            None => Ok(py.None()),
        }
    }
}

/// How an engine is to be, as the package passes it on.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Config {
    pub(crate) runtime: String,
    pub(crate) nodes: Option<usize>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) plugins_dir: Option<PathBuf>,
    pub(crate) node_name: Option<String>,
    pub(crate) on_shutdown: Option<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) admission: Vec<Admission>,
    pub(crate) authorizers: Vec<Authorizer>,
    pub(crate) token_authenticators: Vec<Authenticator>,
    pub(crate) authenticators: Vec<Authenticator>,
    pub(crate) audit: Option<Audit>,
    pub(crate) scheduler: Option<String>,
    pub(crate) scheduler_plugins: Vec<SchedulerPlugin>,
    pub(crate) rebalancing: Option<String>,
    pub(crate) admission_configuration: Option<String>,
    pub(crate) disable_admission: Vec<String>,
}

/// Sets an entry of a dict that a function of the package takes as keywords.
pub(crate) fn keywords<'py>(
    py: Python<'py>,
    entries: &[(&str, Option<String>)],
) -> PyResult<Bound<'py, PyDict>> {
    let keywords = PyDict::new(py);
    for (name, value) in entries {
        keywords.set_item(name, value)?;
    }
    Ok(keywords)
}
