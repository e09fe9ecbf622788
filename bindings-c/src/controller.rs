use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pinnace::{Action, BoxError, Key, Queue, Reconciler};

use crate::boundary::{Out, handle, optional_text, options, slice, taken, text};
use crate::callback::{Finalizer, ReconcileCallback, UserData};
use crate::engine::Engine;
use crate::error::{Failure, PinnaceError};

/// A running controller.
pub struct Controller(Queue);

/// How a controller runs. Zero-initialize it and set `size` to
/// `sizeof(pinnace_controller_options_t)`; strings are borrowed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ControllerOptions {
    /// Its own size.
    pub size: usize,
    /// A name for logs; the kind for NULL.
    pub name: *const c_char,
    /// Kinds whose objects make the controller look at the object that controls them.
    pub owns: *const *const c_char,
    /// How many kinds `owns` has.
    pub owns_len: usize,
    /// How many objects are reconciled at once; 1 for 0.
    pub workers: usize,
}

thread_local! {
    static CALLED_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Calls C, and remembers meanwhile that this thread is not to wait for the call to end.
pub(crate) fn called_back<T>(call: impl FnOnce() -> T) -> T {
    // One callback may lead to another on the same thread.
    let before = CALLED_BACK.replace(true);
    let result = call();
    CALLED_BACK.set(before);
    result
}

/// Whether this thread is within a callback.
pub(crate) fn is_called_back() -> bool {
    CALLED_BACK.get()
}

type Reconcile = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> i64;

struct Caller {
    callback: Reconcile,
    user_data: UserData,
}

impl Caller {
    fn call(&self, key: &Key) -> Result<Action, BoxError> {
        let (namespace, name) = (CString::new(key.namespace())?, CString::new(key.name())?);
        // SAFETY: C has given a function for its user data; both strings outlive the call.
        let result = called_back(|| unsafe {
            (self.callback)(self.user_data.get(), namespace.as_ptr(), name.as_ptr())
        });
        match u64::try_from(result) {
            Ok(0) => Ok(Action::Done),
            Ok(after) => Ok(Action::RequeueAfter(Duration::from_millis(after))),
            Err(_) => Err(format!("the callback gave {result}").into()),
        }
    }
}

struct CReconciler {
    name: String,
    caller: Arc<Caller>,
}

#[async_trait]
impl Reconciler for CReconciler {
    fn name(&self) -> &str {
        &self.name
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let (caller, key) = (self.caller.clone(), key.clone());
        tokio::task::spawn_blocking(move || caller.call(&key)).await?
    }
}

/// Has `reconcile` called for every object of a kind, in all namespaces, when it or an object that
/// it controls has changed, until the engine ends.
///
/// `kind` and `options` are borrowed; `options` may be NULL. `user_data` stays borrowed until
/// `finalizer` is called, which is when the engine ends. `*controller` is owned by the caller;
/// `controller` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_controller(
    engine: *const Engine,
    kind: *const c_char,
    options: *const ControllerOptions,
    reconcile: ReconcileCallback,
    user_data: *mut c_void,
    finalizer: Finalizer,
    controller: *mut *mut Controller,
) -> *mut PinnaceError {
    boundary! {
        let user_data = UserData::new(user_data, finalizer);
        let callback = reconcile.ok_or(Failure::Null("reconcile"))?;
        let engine = handle(engine, "engine")?;
        let kind = text(kind, "kind")?;
        let (name, owns, workers) = read(options)?;
        let name = name.unwrap_or(kind).to_owned();
        let caller = Arc::new(Caller { callback, user_data });
        let queue = engine.wait(async {
            let reconciler = CReconciler { name, caller };
            let inner = engine.0.engine();
            let controller = inner.controller_of(kind, &owns, reconciler)?.workers(workers);
            let queue = controller.queue().clone();
            inner.run(controller);
            Ok(queue)
        })?;
        let out = Out::optional(controller);
        if out.is_wanted() {
            out.set(Box::into_raw(Box::new(Controller(queue))));
        }
        Ok(())
    }
}

type Read<'a> = (Option<&'a str>, Vec<&'a str>, usize);

fn read<'a>(pointer: *const ControllerOptions) -> Result<Read<'a>, Failure> {
    // SAFETY: zero is numbers and NULL pointers, and the size comes first.
    let given: ControllerOptions = unsafe { options(pointer, "options") }?;
    let owns = slice(given.owns, given.owns_len, "owns")?;
    let owns = owns.iter().map(|kind| text(*kind, "owns")).collect::<Result<_, _>>()?;
    Ok((optional_text(given.name, "name")?, owns, given.workers.max(1)))
}

/// Has an object reconciled, whether or not anything has changed. Strings are borrowed;
/// `namespace_` is NULL or empty for an object outside namespaces.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_controller_enqueue(
    controller: *const Controller,
    namespace_: *const c_char,
    name: *const c_char,
) -> *mut PinnaceError {
    boundary! {
        let controller = handle(controller, "controller")?;
        let namespace = optional_text(namespace_, "namespace_")?.unwrap_or_default();
        controller.0.add(Key::new(namespace, text(name, "name")?));
        Ok(())
    }
}

/// Frees the handle; the controller runs on until the engine ends. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_controller_delete(controller: *mut Controller) {
    quiet!((), taken(controller).map(drop))
}
