use std::ffi::{CStr, c_char};

/// The version of the library, as `0.1.0`. Valid forever.
#[unsafe(no_mangle)]
pub extern "C" fn pinnace_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}
