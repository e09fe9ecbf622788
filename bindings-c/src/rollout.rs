use std::ffi::c_char;

use serde_json::json;

use crate::boundary::{Out, handle, text};
use crate::bytes::Bytes;
use crate::engine::Engine;
use crate::error::PinnaceError;

/// Sets how many replicas there should be. Strings are borrowed; `namespace_` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_scale(
    engine: *const Engine,
    object: *const c_char,
    namespace_: *const c_char,
    replicas: i32,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let object = text(object, "object")?;
        let at = engine.at(namespace_)?;
        engine.wait(at.scale(object, replicas))
    }
}

/// How far the rollout of a Deployment is: `{"done": true, "message": …}`, the message being what
/// `kubectl rollout status` prints. Strings are borrowed; `namespace_` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_rollout_status(
    engine: *const Engine,
    deployment: *const c_char,
    namespace_: *const c_char,
    status: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(status, "status")?;
        let engine = handle(engine, "engine")?;
        let deployment = text(deployment, "deployment")?;
        let at = engine.at(namespace_)?;
        let status = engine.wait(at.rollout_status(deployment))?;
        out.set_json(&json!({"done": status.done, "message": status.message}));
        Ok(())
    }
}

/// Goes back to a revision of a Deployment, or to the one before if `revision` is 0. Strings are
/// borrowed; `namespace_` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_rollout_undo(
    engine: *const Engine,
    deployment: *const c_char,
    namespace_: *const c_char,
    revision: i64,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let deployment = text(deployment, "deployment")?;
        let at = engine.at(namespace_)?;
        engine.wait(at.rollout_undo(deployment, revision))
    }
}

/// Replaces all pods of a Deployment by its strategy. Strings are borrowed; `namespace_` may be
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_rollout_restart(
    engine: *const Engine,
    deployment: *const c_char,
    namespace_: *const c_char,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let deployment = text(deployment, "deployment")?;
        let at = engine.at(namespace_)?;
        engine.wait(at.rollout_restart(deployment))
    }
}

/// Lets changes of a Deployment wait (`paused`), or go on. Strings are borrowed; `namespace_` may
/// be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_rollout_pause(
    engine: *const Engine,
    deployment: *const c_char,
    namespace_: *const c_char,
    paused: bool,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let deployment = text(deployment, "deployment")?;
        let at = engine.at(namespace_)?;
        engine.wait(at.rollout_pause(deployment, paused))
    }
}
