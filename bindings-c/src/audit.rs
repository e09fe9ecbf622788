use std::ffi::{CString, c_char, c_void};
use std::io;

use pinnace::Error;
use pinnace::access::audit::{AuditEvent, AuditPolicy, AuditSink};

use crate::boundary::text;
use crate::callback::{AuditCallback, Finalizer, UserData};
use crate::config::{Config, add};
use crate::controller::called_back;
use crate::error::Failure;

/// Has `callback` told what becomes of requests and calls, as far as `policy` says: a `Policy`
/// (`audit.k8s.io/v1`) in YAML or JSON, which is borrowed. Takes the place of a callback that was set
/// before. What could be told is told when `pinnace_engine_shutdown` is done.
///
/// `user_data` stays borrowed until `finalizer` is called, which is when the engine ends or the
/// configuration is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_audit(
    config: *mut Config,
    policy: *const c_char,
    callback: AuditCallback,
    user_data: *mut c_void,
    finalizer: Finalizer,
) {
    let user_data = UserData::new(user_data, finalizer);
    add(config, || Audit::new(policy, callback, user_data), Config::set_audit);
}

type Note = unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> bool;

/// A callback that events go to.
pub(crate) struct Audit {
    pub(crate) policy: AuditPolicy,
    pub(crate) sink: Sink,
}

pub(crate) struct Sink {
    callback: Note,
    user_data: UserData,
}

impl Audit {
    fn new(
        policy: *const c_char,
        callback: AuditCallback,
        user_data: UserData,
    ) -> Result<Self, Failure> {
        let callback = callback.ok_or(Failure::Null("callback"))?;
        let policy = AuditPolicy::read(text(policy, "policy")?)
            .map_err(|error| Error::Config(error.to_string()))?;
        Ok(Self { policy, sink: Sink { callback, user_data } })
    }
}

impl AuditSink for Sink {
    fn write(&self, event: &AuditEvent) -> io::Result<()> {
        let event = CString::new(serde_json::to_string(event)?)?;
        // SAFETY: C has given a function for its user data; the event outlives the call.
        let taken = called_back(|| unsafe {
            (self.callback)(self.user_data.get(), event.as_ptr(), event.as_bytes().len())
        });
        if taken { Ok(()) } else { Err(io::Error::other("the callback has not taken an event")) }
    }
}
