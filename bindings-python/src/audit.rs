use std::io;

use pinnace::EngineBuilder;
use pinnace::access::audit::{AuditEvent, AuditPolicy, AuditSink};
use pyo3::prelude::*;

use crate::callback::call_back;
use crate::error::misuse;

/// A function of the package that takes events, and the policy by which they are made.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Audit {
    policy: String,
    function: Py<PyAny>,
}

impl Audit {
    pub(crate) fn add_to(self, builder: EngineBuilder) -> PyResult<EngineBuilder> {
        let policy = AuditPolicy::read(&self.policy).map_err(|error| misuse(&error.to_string()))?;
        Ok(builder.audit(policy, Sink(self.function)))
    }
}

struct Sink(Py<PyAny>);

impl AuditSink for Sink {
    fn write(&self, event: &AuditEvent) -> io::Result<()> {
        let event = serde_json::to_string(event)?;
        call_back(|py| self.0.call1(py, (event,)).map(drop)).map_err(io::Error::other)
    }
}
