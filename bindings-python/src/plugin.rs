use std::time::Duration;

use pinnace::EngineBuilder;
use pinnace::k8s_openapi::api::core::v1::Pod;
use pinnace::scheduler::{Answer, BatchNodes, BatchPlugin, Refusal};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::callback::call_back;
use crate::error::misuse;

/// Nodes, for the package to wrap: columns are arrays of 64-bit integers as bytes.
#[pyclass(frozen, module = "pinnace._pinnace")]
pub(crate) struct Nodes(BatchNodes);

#[pymethods]
impl Nodes {
    fn names(&self) -> Vec<&str> {
        self.0.names().collect()
    }

    fn resources(&self) -> Vec<&str> {
        self.0.resources().collect()
    }

    fn label(&self, key: &str) -> Vec<Option<&str>> {
        self.0.label(key).collect()
    }

    fn allocatable<'py>(&self, py: Python<'py>, resource: &str) -> Option<Bound<'py, PyBytes>> {
        self.0.allocatable(resource).map(|column| bytes(py, column))
    }

    fn requested<'py>(&self, py: Python<'py>, resource: &str) -> Option<Bound<'py, PyBytes>> {
        self.0.requested(resource).map(|column| bytes(py, column))
    }

    /// A node as JSON.
    fn object(&self, index: usize) -> Option<String> {
        let node = self.0.objects().get(index)?;
        Some(String::from_utf8_lossy(node.object().json_ref()).into_owned())
    }
}

fn bytes<'py>(py: Python<'py>, column: &[i64]) -> Bound<'py, PyBytes> {
    let bytes: Vec<u8> = column.iter().flat_map(|number| number.to_ne_bytes()).collect();
    PyBytes::new(py, &bytes)
}

/// A plugin of the scheduler: a function of the package that takes a pod as JSON and nodes, and gives
/// a number per node.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct SchedulerPlugin {
    name: String,
    weight: i64,
    reason: String,
    timeout: f64,
    function: Py<PyAny>,
}

impl SchedulerPlugin {
    pub(crate) fn add_to(self, builder: EngineBuilder) -> PyResult<EngineBuilder> {
        let timeout = Duration::try_from_secs_f64(self.timeout)
            .map_err(|error| misuse(&format!("timeout of plugin {:?}: {error}", self.name)))?;
        let weight = self.weight;
        Ok(builder.scheduler_plugin(self, weight, timeout))
    }
}

impl BatchPlugin for SchedulerPlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn judge(&self, pod: &Pod, nodes: &BatchNodes, scores: &mut [f64]) -> Answer {
        let fails = |why: String| Refusal::Error(format!("plugin {:?}: {why}", self.name));
        let pod = serde_json::to_string(pod).map_err(Refusal::error)?;
        let judged = call_back(|py| {
            let nodes = Py::new(py, Nodes(nodes.clone()))?;
            self.function.call1(py, (pod, nodes))?.extract::<Vec<f64>>(py)
        });
        let given = judged.map_err(fails)?;
        if given.len() != scores.len() {
            let (given, asked) = (given.len(), scores.len());
            return Err(fails(format!("it gives {given} scores for {asked} nodes")));
        }
        scores.copy_from_slice(&given);
        Ok(())
    }

    fn reason(&self) -> String {
        self.reason.clone()
    }
}
