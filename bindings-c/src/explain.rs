use std::ffi::c_char;

use pinnace::scheduler::Explanation;
use serde_json::json;

use crate::boundary::{Out, document, handle, text};
use crate::bytes::Bytes;
use crate::engine::Engine;
use crate::error::{Failure, PinnaceError};

/// Why a pod is where it is, or nowhere: a document with the nodes that it may go to and their
/// scores (`fitting`, the best first), those that it may not go to and what every plugin has
/// against them (`excluded`), what the pod's condition says (`message`), and what would have to
/// change (`relaxations`, the cheapest first). Strings are borrowed; `namespace_` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_explain(
    engine: *const Engine,
    pod: *const c_char,
    namespace_: *const c_char,
    explanation: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(explanation, "explanation")?;
        let engine = handle(engine, "engine")?;
        let pod = text(pod, "pod")?;
        let at = engine.at(namespace_)?;
        give(out, &engine.wait(at.explain(pod))?)
    }
}

/// As `pinnace_engine_explain`, for a pod that need not exist: what would become of it. `pod` is
/// JSON; `namespace_` is for one that names none. Everything is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_explain_what_if(
    engine: *const Engine,
    pod: *const c_char,
    pod_len: usize,
    namespace_: *const c_char,
    explanation: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(explanation, "explanation")?;
        let engine = handle(engine, "engine")?;
        let pod = serde_json::from_str(document(pod, pod_len, "pod")?)
            .map_err(|error| Failure::Argument(format!("pod: {error}")))?;
        let at = engine.at(namespace_)?;
        give(out, &engine.wait(at.explain_what_if(pod))?)
    }
}

fn give(out: Out<Bytes>, explanation: &Explanation) -> Result<(), Failure> {
    out.set_json(&json!(explanation));
    Ok(())
}
