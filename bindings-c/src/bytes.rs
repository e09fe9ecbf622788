use std::ffi::c_char;

/// Text or JSON that the library has made. The bytes are followed by a NUL that `len` does not
/// count. Zero-initialize it: `pinnace_bytes_t bytes = {0};`.
#[repr(C)]
pub struct Bytes {
    /// The first byte, NULL when there are none.
    pub data: *mut c_char,
    /// How many there are.
    pub len: usize,
}

impl Bytes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut owned = Vec::with_capacity(bytes.len() + 1);
        owned.extend_from_slice(bytes);
        owned.push(0);
        let data = Box::into_raw(owned.into_boxed_slice()).cast::<c_char>();
        Self { data, len: bytes.len() }
    }

    pub(crate) const fn none() -> Self {
        Self { data: std::ptr::null_mut(), len: 0 }
    }
}

/// Frees the bytes and makes them empty, so that a second call does nothing. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_bytes_delete(bytes: *mut Bytes) {
    quiet!((), {
        // SAFETY: C passes NULL or bytes that are empty or were filled in by this library.
        let bytes = unsafe { bytes.as_mut() }?;
        let Bytes { data, len } = std::mem::replace(bytes, Bytes::none());
        if !data.is_null() {
            let all = std::ptr::slice_from_raw_parts_mut(data.cast::<u8>(), len + 1);
            // SAFETY: `Bytes::new` has made them just so.
            drop(unsafe { Box::from_raw(all) });
        }
        Some(())
    })
}
