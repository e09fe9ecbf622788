use pinnace::access::{AuthorizationHook, Decision};
use pyo3::prelude::*;

use crate::callback::call_back;

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
    let answer = call_back(|py| {
        let answer = function.call1(py, (request.to_string(),))?;
        answer.extract::<(bool, String)>(py)
    });
    Ok(match answer? {
        (true, _) => Decision::Allow,
        (false, why) => Decision::Deny(why),
    })
}
