use pyo3::prelude::*;

/// Calls into Python while there is an interpreter, from a thread that it need not know. What was
/// raised becomes text.
pub(crate) fn call_back<T>(call: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, String> {
    match Python::try_attach(call) {
        Some(answer) => answer.map_err(|error| error.to_string()),
        None => Err("the interpreter has ended".to_owned()),
    }
}
