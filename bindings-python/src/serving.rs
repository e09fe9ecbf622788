use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::call::Call;
use crate::convert::IntoPython;
use crate::engine::Shared;

/// An engine that listens.
#[pyclass(frozen, module = "pinnace._pinnace")]
pub(crate) struct Serving {
    shared: Arc<Shared>,
    serving: Arc<pinnace::Serving>,
}

#[pymethods]
impl Serving {
    /// The address of HTTPS, with the port that it became.
    fn address(&self) -> Option<String> {
        self.serving.address().map(|address| address.to_string())
    }

    fn url(&self) -> Option<String> {
        self.serving.url()
    }

    fn unix(&self) -> Option<PathBuf> {
        self.serving.unix().map(PathBuf::from)
    }

    /// The certificate of the authority, in PEM.
    fn ca(&self) -> &str {
        self.serving.ca()
    }

    fn stop(&self) -> PyResult<Call> {
        let serving = self.serving.clone();
        Call::future(&self.shared, async move {
            serving.stop().await;
            Ok(())
        })
    }
}

/// A serving that has not come to Python yet.
pub(crate) struct Served {
    shared: Arc<Shared>,
    serving: pinnace::Serving,
}

impl Served {
    pub(crate) fn new(shared: Arc<Shared>, serving: pinnace::Serving) -> Self {
        Self { shared, serving }
    }
}

impl IntoPython for Served {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let serving = Serving { shared: self.shared, serving: Arc::new(self.serving) };
        Ok(Py::new(py, serving)?.into_any())
    }
}
