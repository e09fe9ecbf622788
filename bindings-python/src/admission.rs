use std::sync::Arc;

use pinnace::access::{AdmissionHook, Ruling};
use pyo3::prelude::*;

use crate::callback::call_back;

/// A function of the package, which gives what is to be done and a text for it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Admission {
    name: String,
    mutates: bool,
    resources: Vec<String>,
    operations: Vec<String>,
    function: Py<PyAny>,
}

impl Admission {
    pub(crate) fn hook(self) -> AdmissionHook {
        let Self { name, mutates, resources, operations, function } = self;
        let function = Arc::new(function);
        let asked = move |request: serde_json::Value| {
            let function = function.clone();
            async move {
                let asked = tokio::task::spawn_blocking(move || ask(&function, &request));
                asked.await.map_err(|error| error.to_string())?
            }
        };
        let hook = match mutates {
            true => AdmissionHook::mutating(&name, asked),
            false => AdmissionHook::validating(&name, asked),
        };
        hook.resources(resources).operations(operations)
    }
}

fn ask(function: &Py<PyAny>, request: &serde_json::Value) -> Result<Ruling, String> {
    let answer = call_back(|py| {
        let answer = function.call1(py, (request.to_string(),))?;
        answer.extract::<(String, String)>(py)
    });
    let (what, text) = answer?;
    match what.as_str() {
        "refuse" => Ok(Ruling::Refuse(text)),
        "change" => {
            let made = serde_json::from_str(&text);
            made.map(Ruling::Change).map_err(|error| error.to_string())
        }
        _ => Ok(Ruling::Allow),
    }
}
