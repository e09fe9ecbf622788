//! The native half of the Python package `pinnace`: thin, private, and as the package wants it.
//!
//! Every verb gives a [`call::Call`] that is waited for or turned into an asyncio future: the
//! blocking face and the async face of the package are two ways to run one Rust future.

mod admission;
mod audit;
mod authenticator;
mod authorizer;
mod call;
mod callback;
mod controller;
mod convert;
mod engine;
mod error;
mod logging;
mod plugin;
mod serving;
mod stream;

use pyo3::prelude::*;

#[pymodule]
mod _pinnace {
    #[pymodule_export]
    use crate::call::{Call, Task};
    #[pymodule_export]
    use crate::controller::Controller;
    #[pymodule_export]
    use crate::engine::{Engine, start};
    #[pymodule_export]
    use crate::logging::log_to;
    #[pymodule_export]
    use crate::plugin::Nodes;
    #[pymodule_export]
    use crate::serving::Serving;
    #[pymodule_export]
    use crate::stream::Stream;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
