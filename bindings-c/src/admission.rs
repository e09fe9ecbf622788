use std::ffi::{c_char, c_void};
use std::sync::Arc;

use pinnace::access::{AdmissionHook, Ruling};

use crate::asking::{Answer, Asked, Said, lent, say};
use crate::boundary::{optional_text, options, slice, text};
use crate::callback::{AdmissionCallback, Finalizer, UserData};
use crate::config::{Config, add};
use crate::error::Failure;

/// What an admission callback is asked about. Zero-initialize it and set `size` to
/// `sizeof(pinnace_admission_options_t)`; strings are borrowed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AdmissionOptions {
    /// Its own size.
    pub size: usize,
    /// A name for messages; `admission` for NULL.
    pub name: *const c_char,
    /// Kinds by their plural names as webhooks give them: `pods`, `pods/status`. All objects, but no
    /// parts of them, when there are none.
    pub resources: *const *const c_char,
    /// How many kinds `resources` has.
    pub resources_len: usize,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`; all when there are none.
    pub operations: *const *const c_char,
    /// How many `operations` has.
    pub operations_len: usize,
    /// Whether it may change what is written.
    pub mutates: bool,
}

/// What an admission callback says. Without anything said the write is allowed.
pub struct AdmissionAnswer(Said<Ruling>);

/// Has a write refused. `why` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_admission_refuse(
    answer: *mut AdmissionAnswer,
    why: *const c_char,
) {
    say(answer, || Ok(Ruling::Refuse(lent(why, "why")?.to_owned())));
}

/// Has another object written: `object` is JSON, and borrowed. Only for a callback that mutates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_admission_change(
    answer: *mut AdmissionAnswer,
    object: *const c_char,
) {
    say(answer, || {
        serde_json::from_str(lent(object, "object")?)
            .map(Ruling::Change)
            .map_err(|error| error.to_string())
    });
}

impl Default for AdmissionAnswer {
    fn default() -> Self {
        Self(Ok(Ruling::Allow))
    }
}

impl Answer for AdmissionAnswer {
    type Says = Ruling;

    fn note(&mut self, said: Said<Ruling>) {
        self.0 = said;
    }

    fn said(self) -> Said<Ruling> {
        self.0
    }
}

/// Has `callback` asked about what is written, by whomever, before it is. Writes wait for it: name
/// the kinds that it is about.
///
/// `options` is borrowed and may be NULL. `user_data` stays borrowed until `finalizer` is called,
/// which is when the engine ends or the configuration is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_add_admission(
    config: *mut Config,
    options: *const AdmissionOptions,
    callback: AdmissionCallback,
    user_data: *mut c_void,
    finalizer: Finalizer,
) {
    let user_data = UserData::new(user_data, finalizer);
    add(config, || hook(options, callback, user_data), Config::add_hook);
}

fn hook(
    given: *const AdmissionOptions,
    callback: AdmissionCallback,
    user_data: UserData,
) -> Result<AdmissionHook, Failure> {
    let asked = Arc::new(Asked::<AdmissionAnswer>::new(callback, user_data)?);
    let asked = move |request: serde_json::Value| {
        let asked = asked.clone();
        async move {
            let said = tokio::task::spawn_blocking(move || asked.ask(&request));
            said.await.map_err(|error| error.to_string())?
        }
    };
    // SAFETY: all fields may be zero.
    let given = unsafe { options(given, "options")? };
    let name = optional_text(given.name, "name")?.unwrap_or("admission");
    let hook = match given.mutates {
        true => AdmissionHook::mutating(name, asked),
        false => AdmissionHook::validating(name, asked),
    };
    let resources = texts(given.resources, given.resources_len, "resources")?;
    let operations = texts(given.operations, given.operations_len, "operations")?;
    let hook = if resources.is_empty() { hook } else { hook.resources(resources) };
    Ok(if operations.is_empty() { hook } else { hook.operations(operations) })
}

fn texts(
    pointer: *const *const c_char,
    len: usize,
    name: &'static str,
) -> Result<Vec<String>, Failure> {
    let all = slice(pointer, len, name)?;
    all.iter().map(|one| Ok(text(*one, name)?.to_owned())).collect()
}
