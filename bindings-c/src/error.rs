use std::any::Any;
use std::ffi::{CString, c_char};

use pinnace::Error;

use crate::boundary::taken;

/// What went wrong, by number. Numbers are never changed; new ones are added at the end, and code
/// that meets one it doesn't know should treat it as `PINNACE_CODE_INTERNAL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Something in the engine or on this machine has failed.
    Internal = 1,
    /// An argument is NULL, no UTF-8 or otherwise unfit.
    Argument = 2,
    /// The configuration cannot be.
    Config = 3,
    /// A manifest cannot be read; the message has line and column.
    Manifest = 4,
    /// The request cannot be read, or asks for what there is not.
    BadRequest = 5,
    /// There is no such object, or no such kind.
    NotFound = 6,
    /// An object of that name exists.
    AlreadyExists = 7,
    /// The object has changed since it was read, or is not what the caller expects.
    Conflict = 8,
    /// The object does not pass validation.
    Invalid = 9,
    /// It may not be done.
    Forbidden = 10,
    /// What was waited for has not come.
    Timeout = 11,
    /// The engine has been shut down, or the stream has ended.
    Closed = 12,
    /// A watch has fallen too far behind, or began too far back: list again.
    Expired = 13,
    /// The API has refused for another reason, which `pinnace_error_reason` names.
    Refused = 14,
}

/// An error. Its accessors take NULL, and then give 0, false or NULL.
pub struct PinnaceError {
    code: Code,
    http_code: u16,
    reason: CString,
    message: CString,
    object: Option<CString>,
    retryable: bool,
}

/// Why a function of this library did not do what it was called for.
#[derive(Debug)]
pub(crate) enum Failure {
    Engine(Error),
    Null(&'static str),
    Text(&'static str),
    Size(&'static str),
    Argument(String),
    /// A stream has no more items.
    Ended,
    Panic(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<pinnace::ApiError> for Failure {
    fn from(error: pinnace::ApiError) -> Self {
        Self::Engine(error.into())
    }
}

impl Failure {
    pub(crate) fn panic(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Panic(message.unwrap_or_else(|| "of unknown cause".to_owned()))
    }
}

impl From<Failure> for PinnaceError {
    fn from(failure: Failure) -> Self {
        let argument = |message: String| Self::plain(Code::Argument, 400, "BadRequest", &message);
        match failure {
            Failure::Engine(error) => Self::engine(&error),
            Failure::Null(name) => argument(format!("{name} is NULL")),
            Failure::Text(name) => argument(format!("{name} is not UTF-8")),
            Failure::Size(name) => argument(format!("{name} has a size that is not its own")),
            Failure::Argument(message) => argument(message),
            Failure::Ended => Self::plain(Code::Closed, 410, "Gone", "the stream has ended"),
            Failure::Panic(message) => {
                let message = format!("the library has panicked: {message}");
                Self::plain(Code::Internal, 500, "InternalError", &message)
            }
        }
    }
}

impl PinnaceError {
    fn plain(code: Code, http_code: u16, reason: &str, message: &str) -> Self {
        Self {
            code,
            http_code,
            reason: c_string(reason),
            message: c_string(message),
            object: None,
            retryable: false,
        }
    }

    fn engine(error: &Error) -> Self {
        Self {
            object: error.object().as_deref().map(c_string),
            retryable: error.is_retryable(),
            ..Self::plain(code_of(error), error.code(), error.reason(), &error.to_string())
        }
    }
}

fn code_of(error: &Error) -> Code {
    match error {
        Error::Manifest(_) => return Code::Manifest,
        Error::Config(_) => return Code::Config,
        Error::Timeout { .. } => return Code::Timeout,
        Error::Closed => return Code::Closed,
        _ => {}
    }
    match error.reason() {
        "BadRequest" => Code::BadRequest,
        "NotFound" => Code::NotFound,
        "AlreadyExists" => Code::AlreadyExists,
        "Conflict" => Code::Conflict,
        "Invalid" => Code::Invalid,
        "Forbidden" => Code::Forbidden,
        "Timeout" | "ServerTimeout" => Code::Timeout,
        "ServiceUnavailable" => Code::Closed,
        "Expired" | "Gone" => Code::Expired,
        "InternalError" => Code::Internal,
        _ => Code::Refused,
    }
}

/// Text for C, which ends at the first NUL.
pub(crate) fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// The number of the error, a `pinnace_code_t`; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_error_code(error: *const PinnaceError) -> i32 {
    // SAFETY: as everywhere, C passes NULL or a live error.
    quiet!(0, unsafe { error.as_ref() }.map(|error| error.code as i32))
}

/// The HTTP status code that goes with the reason.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_error_http_code(error: *const PinnaceError) -> u16 {
    // SAFETY: as everywhere, C passes NULL or a live error.
    quiet!(0, unsafe { error.as_ref() }.map(|error| error.http_code))
}

/// Why, by a name of the Kubernetes API such as `NotFound`. Belongs to the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_error_reason(error: *const PinnaceError) -> *const c_char {
    // SAFETY: as everywhere, C passes NULL or a live error.
    quiet!(std::ptr::null(), unsafe { error.as_ref() }.map(|error| error.reason.as_ptr()))
}

/// The message for people. Belongs to the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_error_message(error: *const PinnaceError) -> *const c_char {
    // SAFETY: as everywhere, C passes NULL or a live error.
    quiet!(std::ptr::null(), unsafe { error.as_ref() }.map(|error| error.message.as_ptr()))
}

/// The object that it is about, as `deployments/web`; NULL when it is about none. Belongs to the
/// error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_error_object(error: *const PinnaceError) -> *const c_char {
    // SAFETY: as everywhere, C passes NULL or a live error.
    quiet!(std::ptr::null(), unsafe { error.as_ref() }?.object.as_deref().map(|name| name.as_ptr()))
}

/// Whether the same call may succeed later without being changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_error_is_retryable(error: *const PinnaceError) -> bool {
    // SAFETY: as everywhere, C passes NULL or a live error.
    quiet!(false, unsafe { error.as_ref() }.map(|error| error.retryable))
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_error_delete(error: *mut PinnaceError) {
    quiet!((), taken(error).map(drop))
}
