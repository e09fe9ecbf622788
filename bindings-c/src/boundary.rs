//! What stands between C and the bodies of exported functions.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Failure, PinnaceError};

/// Runs a body that may fail by `?`, and gives C its error: NULL if there is none. A panic becomes
/// an error too.
macro_rules! boundary {
    ($($body:tt)*) => {
        $crate::boundary::run(|| { $($body)* })
    };
}

/// As [`boundary`], for functions that cannot tell of an error and give `$default` instead.
macro_rules! quiet {
    ($default:expr, $($body:tt)*) => {
        $crate::boundary::run_quietly($default, || { $($body)* })
    };
}

/// See [`boundary`].
pub(crate) fn run(body: impl FnOnce() -> Result<(), Failure>) -> *mut PinnaceError {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return std::ptr::null_mut(),
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::panic(&*panic),
    };
    Box::into_raw(Box::new(failure.into()))
}

/// See [`quiet`].
pub(crate) fn run_quietly<T>(default: T, body: impl FnOnce() -> Option<T>) -> T {
    catch_unwind(AssertUnwindSafe(body)).ok().flatten().unwrap_or(default)
}

/// A handle that C has lent.
pub(crate) fn handle<'a, T>(pointer: *const T, name: &'static str) -> Result<&'a T, Failure> {
    // SAFETY: C passes NULL or a handle of this type that lives through the call.
    unsafe { pointer.as_ref() }.ok_or(Failure::Null(name))
}

/// A handle that C has given away; `None` for NULL.
pub(crate) fn taken<T>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: C passes NULL or a handle that came from `Box::into_raw`, and uses it no more.
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}

/// Where a result goes. It is written by [`Out::set`] alone, after everything that can fail.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// An out-parameter that must be there.
    pub(crate) fn required(pointer: *mut T, name: &'static str) -> Result<Self, Failure> {
        if pointer.is_null() { Err(Failure::Null(name)) } else { Ok(Self(pointer)) }
    }

    /// An out-parameter that may be NULL.
    pub(crate) fn optional(pointer: *mut T) -> Self {
        Self(pointer)
    }

    /// Whether anybody wants the result.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.0.is_null()
    }

    pub(crate) fn set(self, value: T) {
        if self.is_wanted() {
            // SAFETY: C passes NULL or a place for a `T`; what is there is not dropped, for it may
            // never have been set.
            unsafe { self.0.write(value) };
        }
    }
}

/// Text that C has lent.
pub(crate) fn text<'a>(pointer: *const c_char, name: &'static str) -> Result<&'a str, Failure> {
    optional_text(pointer, name)?.ok_or(Failure::Null(name))
}

/// Text that C has lent, or NULL.
pub(crate) fn optional_text<'a>(
    pointer: *const c_char,
    name: &'static str,
) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: C passes a string that ends with NUL and lives through the call.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|_| Failure::Text(name))
}

/// Bytes that C has lent; NULL is fine for none.
pub(crate) fn slice<'a, T>(
    pointer: *const T,
    length: usize,
    name: &'static str,
) -> Result<&'a [T], Failure> {
    match (pointer.is_null(), length) {
        (true, 0) => Ok(&[]),
        (true, _) => Err(Failure::Null(name)),
        // SAFETY: C passes that many elements, which live through the call.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(pointer, length) }),
    }
}

/// A document that C has lent.
pub(crate) fn document<'a>(
    pointer: *const c_char,
    length: usize,
    name: &'static str,
) -> Result<&'a str, Failure> {
    let bytes = slice(pointer.cast::<u8>(), length, name)?;
    if pointer.is_null() {
        return Err(Failure::Null(name));
    }
    std::str::from_utf8(bytes).map_err(|_| Failure::Text(name))
}

/// Options that begin with the size that the caller knows them by: those of an older caller are
/// shorter, and what it doesn't know of is zero. NULL is all zero.
///
/// # Safety
/// `T` must be valid when all its bytes are zero, and begin with its size as a `usize`.
pub(crate) unsafe fn options<T: Copy>(pointer: *const T, name: &'static str) -> Result<T, Failure> {
    // SAFETY: the caller vouches for zeroes.
    let mut options: T = unsafe { std::mem::zeroed() };
    if pointer.is_null() {
        return Ok(options);
    }
    // SAFETY: the size comes first, and C passes options that are at least that long.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < size_of::<usize>() || size > size_of::<T>() {
        return Err(Failure::Size(name));
    }
    // SAFETY: `size` bytes are there to read, and there is room for them.
    unsafe {
        let target = (&raw mut options).cast::<u8>();
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), target, size);
    }
    Ok(options)
}
