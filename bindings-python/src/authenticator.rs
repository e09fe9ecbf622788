use pinnace::access::{AuthenticationHook, Identity};
use pyo3::prelude::*;
use serde_json::Value;

use crate::callback::call_back;

/// A function of the package, which gives what it says of a caller and a text for it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Authenticator {
    name: String,
    function: Py<PyAny>,
}

impl Authenticator {
    pub(crate) fn hook(self) -> AuthenticationHook {
        let Self { name, function } = self;
        AuthenticationHook::new(&name, move |about| ask(&function, &about))
    }
}

fn ask(function: &Py<PyAny>, about: &Value) -> Result<Identity, String> {
    let answer = call_back(|py| {
        let answer = function.call1(py, (about.to_string(),))?;
        answer.extract::<(String, String)>(py)
    });
    let (what, text) = answer?;
    match what.as_str() {
        "accept" => Identity::known(&text),
        "refuse" => Ok(Identity::Refused(text)),
        _ => Ok(Identity::Unknown),
    }
}
