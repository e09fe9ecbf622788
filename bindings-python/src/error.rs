use pinnace::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::convert::keywords;

/// The exception of the package for an error of the engine.
pub(crate) fn to_python(error: Error) -> PyErr {
    let kind = match &error {
        Error::Manifest(_) => "manifest",
        Error::Config(_) => "config",
        Error::Timeout { .. } => "timeout",
        Error::Closed => "closed",
        _ => "",
    };
    let made = Python::try_attach(|py| {
        make(py, kind, error.reason(), error.code(), error.object(), error.to_string())
    });
    match made {
        Some(Ok(error) | Err(error)) => error,
        None => PyRuntimeError::new_err(error.to_string()),
    }
}

/// An exception about how the package is used.
pub(crate) fn misuse(message: &str) -> PyErr {
    to_python(Error::Config(message.to_owned()))
}

fn make(
    py: Python<'_>,
    kind: &str,
    reason: &str,
    code: u16,
    object: Option<String>,
    message: String,
) -> PyResult<PyErr> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let keywords = keywords(py, &[("object", object), ("message", Some(message))])?;
    let make = MAKE.import(py, "pinnace._errors", "make")?;
    Ok(PyErr::from_value(make.call((kind, reason, code), Some(&keywords))?))
}
