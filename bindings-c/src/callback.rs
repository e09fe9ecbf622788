use std::ffi::{c_char, c_void};

/// Called once with the user data of a callback when no further call will come.
pub type Finalizer = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Called for each event of a watch, one at a time, on a thread of the engine. `event` is JSON,
/// `{"type": "ADDED", "object": {...}}`, followed by NUL, borrowed for the duration of the call.
/// Returns whether the watch is to go on. The last call may tell of an error that has ended the
/// watch: then `event` is NULL and `error` is not, borrowed for the duration of the call.
pub type WatchCallback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        event: *const c_char,
        event_len: usize,
        error: *const crate::error::PinnaceError,
    ) -> bool,
>;

/// Called to reconcile one object, on a thread of the engine; never twice at once for the same
/// object, and `workers` at a time for different ones. `namespace_` (empty for an object outside
/// namespaces) and `name` are borrowed for the duration of the call. The object may be gone.
/// Returns 0 when done until something changes, a positive number to be called again after so many
/// milliseconds, a negative number when it has failed: then it is called again, later each time.
pub type ReconcileCallback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        namespace_: *const c_char,
        name: *const c_char,
    ) -> i64,
>;

/// Called to ask about a write, on a thread of the engine; any number at a time. `request` is the
/// `request` of an AdmissionReview as JSON, followed by NUL; it and `answer` are borrowed for the
/// duration of the call. Says `pinnace_admission_refuse` or `pinnace_admission_change`, or nothing
/// to allow the write.
pub type AdmissionCallback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        request: *const c_char,
        request_len: usize,
        answer: *mut crate::admission::AdmissionAnswer,
    ),
>;

/// Called to ask whether somebody may do something, on a thread of the engine; any number at a time.
/// `request` is the `spec` of a SubjectAccessReview as JSON, followed by NUL; it and `answer` are
/// borrowed for the duration of the call. Says `pinnace_authorization_allow`, or nothing or
/// `pinnace_authorization_refuse` where it does not allow it. Must not use the engine.
pub type AuthorizationCallback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        request: *const c_char,
        request_len: usize,
        answer: *mut crate::authorizer::AuthorizationAnswer,
    ),
>;

/// Called to ask who somebody is, on a thread of the engine; any number at a time. `about` is JSON,
/// followed by NUL: for a token the `spec` of a TokenReview, `{"token": "..."}`; for a request its
/// `method`, `requestURI`, `headers` (lists by names in lower case) and `address`, the other end of
/// the connection, or null. It and `answer` are borrowed for the duration of the call. Says
/// `pinnace_authentication_accept` or `pinnace_authentication_refuse`, or nothing where it cannot
/// tell; then others are asked. Where it says what cannot be, the request is refused.
pub type AuthenticationCallback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        about: *const c_char,
        about_len: usize,
        answer: *mut crate::authenticator::AuthenticationAnswer,
    ),
>;

/// Called for what becomes of a request, one event at a time, on a thread of its own, which requests
/// do not wait for. `event` is an `Event` (`audit.k8s.io/v1`) as JSON, followed by NUL, borrowed for
/// the duration of the call. Returns whether it is taken; one that is not is lost, which the log
/// tells. Of events for which 10,000 are waiting already the newest is lost. What the callback itself
/// does through the engine makes events, too, unless the policy leaves them out.
pub type AuditCallback = Option<
    unsafe extern "C" fn(user_data: *mut c_void, event: *const c_char, event_len: usize) -> bool,
>;

/// Called to judge the nodes that a pod may go to, one pod at a time, on a thread of its own. `pod` is
/// JSON, followed by NUL; it, `nodes` and `scores` are borrowed for the duration of the call. `scores`
/// has a place per node, 0 at first: 0 to 100, the more the better, or a negative number for a node that
/// will not do. Returns whether it can tell; if not, the pod is tried again later.
pub type JudgeCallback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        pod: *const c_char,
        pod_len: usize,
        nodes: *const crate::plugin::Nodes,
        scores: *mut f64,
        scores_len: usize,
    ) -> bool,
>;

/// User data with the function that ends it.
pub(crate) struct UserData {
    data: *mut c_void,
    finalizer: Finalizer,
}

// SAFETY: the header asks for user data that are fit for use on other threads.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub(crate) fn new(data: *mut c_void, finalizer: Finalizer) -> Self {
        Self { data, finalizer }
    }

    pub(crate) fn get(&self) -> *mut c_void {
        self.data
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(finalizer) = self.finalizer {
            // SAFETY: C has given a function that takes these data, and this is the only call.
            unsafe { finalizer(self.data) };
        }
    }
}
