use std::ffi::c_char;
use std::time::Duration;

use pinnace::blocking;
use serde_json::json;

use crate::boundary::{Out, handle, optional_text, taken, text};
use crate::bytes::Bytes;
use crate::config::Config;
use crate::controller::is_called_back;
use crate::error::{Failure, PinnaceError};

/// A cluster in this process. Any number of threads may use it at once.
pub struct Engine(pub(crate) blocking::Engine);

impl Engine {
    /// The async engine as seen from a namespace, `default` for NULL.
    pub(crate) fn at(&self, namespace: *const c_char) -> Result<pinnace::Engine, Failure> {
        let namespace = optional_text(namespace, "namespace_")?.unwrap_or("default");
        if namespace.is_empty() {
            return Err(Failure::Argument("namespace_ is empty".to_owned()));
        }
        Ok(self.0.engine().in_namespace(namespace))
    }

    /// Waits for a future of the engine.
    pub(crate) fn wait<T>(
        &self,
        future: impl Future<Output = pinnace::Result<T>>,
    ) -> Result<T, Failure> {
        Ok(self.0.block_on(future)?)
    }
}

/// Starts an engine, on threads of its own.
///
/// `config` is taken, also on error; NULL is the default configuration. `*engine` is owned by the
/// caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_new(
    config: *mut Config,
    engine: *mut *mut Engine,
) -> *mut PinnaceError {
    boundary! {
        let config = taken(config);
        let out = Out::required(engine, "engine")?;
        let builder = config.map(|config| *config).unwrap_or_default().builder()?;
        let engine = blocking::Engine::start(builder)?;
        out.set(Box::into_raw(Box::new(Engine(engine))));
        Ok(())
    }
}

/// Ends the engine in order: everything stops, and its threads are joined. Calls that other threads
/// have under way end with `PINNACE_CODE_CLOSED`, as do later ones; the handle stays valid. A
/// second call does nothing. Must not be called from a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_shutdown(engine: *const Engine) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        if is_called_back() {
            let message = "an engine cannot be shut down from within a callback".to_owned();
            return Err(Failure::Argument(message));
        }
        Ok(engine.0.shutdown()?)
    }
}

/// Ends the engine as `pinnace_engine_shutdown` does, unless that has been done, and frees the
/// handle. NULL is fine. Must not be called from a callback. Streams, watches and controllers of
/// the engine are ended too, but their handles stay valid until they are deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_delete(engine: *mut Engine) {
    quiet!((), taken(engine).map(drop))
}

/// Which runtime runs the containers, and why that one was taken: `{"name": …, "why": …}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_runtime(
    engine: *const Engine,
    info: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(info, "info")?;
        let runtime = handle(engine, "engine")?.0.engine().runtime();
        let info = json!({"name": runtime.name, "why": runtime.why});
        out.set(Bytes::new(info.to_string().as_bytes()));
        Ok(())
    }
}

/// Waits until an object is as wanted: `condition` is the name of a condition of its status such
/// as `Available`, `condition=Ready=False`, `create`, `delete`, or a field's value as
/// `jsonpath={.status.phase}=Running`. `PINNACE_CODE_TIMEOUT` with what the object said of itself
/// last, when that has not come within `timeout_ms` milliseconds.
///
/// All strings are borrowed; `namespace_` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_wait(
    engine: *const Engine,
    object: *const c_char,
    namespace_: *const c_char,
    condition: *const c_char,
    timeout_ms: u64,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let (object, condition) = (text(object, "object")?, text(condition, "condition")?);
        let at = engine.at(namespace_)?;
        engine.wait(at.wait(object, condition, Duration::from_millis(timeout_ms)))
    }
}

/// Imports every image of an OCI archive or layout, so that pods can use it without a registry.
///
/// `path` is borrowed. `names`, which may be NULL, gets a JSON list of the names under which pods
/// may ask for the images.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_import_image(
    engine: *const Engine,
    path: *const c_char,
    names: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let path = text(path, "path")?;
        let found = engine.wait(engine.0.engine().import_image(path))?;
        Out::optional(names).set_json(&json!(found));
        Ok(())
    }
}

impl Out<Bytes> {
    /// Writes a document, unless nobody wants it.
    pub(crate) fn set_json(self, value: &serde_json::Value) {
        if self.is_wanted() {
            self.set(Bytes::new(value.to_string().as_bytes()));
        }
    }

    /// Writes an object, unless nobody wants it.
    pub(crate) fn set_object(self, object: &pinnace::Object) {
        if self.is_wanted() {
            self.set(Bytes::new(&object.json()));
        }
    }
}
