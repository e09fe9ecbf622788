//! Callbacks that are asked about a JSON document and are lent something to say their answer with.

use std::ffi::{CString, c_char, c_void};

use serde_json::Value;

use crate::boundary::text;
use crate::callback::UserData;
use crate::controller::called_back;
use crate::error::Failure;

/// What a callback said, or why that can't be taken.
pub(crate) type Said<T> = Result<T, String>;

/// What a callback is lent; the default is what it says by saying nothing.
pub(crate) trait Answer: Default {
    type Says;

    fn note(&mut self, said: Said<Self::Says>);

    fn said(self) -> Said<Self::Says>;
}

/// Notes what C says.
pub(crate) fn say<A: Answer>(answer: *mut A, what: impl FnOnce() -> Said<A::Says>) {
    quiet!((), {
        // SAFETY: C passes NULL or the answer that its callback was given.
        let answer = unsafe { answer.as_mut() }?;
        answer.note(what());
        Some(())
    });
}

type Callback<A> = unsafe extern "C" fn(*mut c_void, *const c_char, usize, *mut A);

/// A callback with its user data.
pub(crate) struct Asked<A> {
    callback: Callback<A>,
    user_data: UserData,
}

impl<A: Answer> Asked<A> {
    pub(crate) fn new(callback: Option<Callback<A>>, user_data: UserData) -> Result<Self, Failure> {
        Ok(Self { callback: callback.ok_or(Failure::Null("callback"))?, user_data })
    }

    /// Calls it, and gives what it said.
    pub(crate) fn ask(&self, about: &Value) -> Said<A::Says> {
        let about = CString::new(about.to_string()).map_err(|error| error.to_string())?;
        let mut answer = A::default();
        // SAFETY: C has given a function for its user data; document and answer outlive the call.
        called_back(|| unsafe {
            let (text, len) = (about.as_ptr(), about.as_bytes().len());
            (self.callback)(self.user_data.get(), text, len, &raw mut answer);
        });
        answer.said()
    }
}

/// Text that a callback has lent with its answer.
pub(crate) fn lent<'a>(pointer: *const c_char, name: &'static str) -> Said<&'a str> {
    text(pointer, name).map_err(|_| format!("{name} is NULL or not UTF-8"))
}
