use pinnace::access::{AuthorizationHook, Decision};
use pyo3::prelude::*;

/// A function of the package, which says whether it allows something, and why not.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Authorizer {
    name: String,
    function: Py<PyAny>,
}

impl Authorizer {
    pub(crate) fn hook(self) -> AuthorizationHook {
        let Self { name, function } = self;
        AuthorizationHook::new(&name, move |request| ask(&function, &request))
    }
}

fn ask(function: &Py<PyAny>, request: &serde_json::Value) -> Result<Decision, String> {
    let answered = Python::try_attach(|py| {
        let answer = function.call1(py, (request.to_string(),))?;
        answer.extract::<(bool, String)>(py)
    });
    match answered {
        Some(Ok((true, _))) => Ok(Decision::Allow),
        Some(Ok((false, why))) => Ok(Decision::Deny(why)),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the interpreter has ended".to_owned()),
    }
}
