use std::ffi::{CString, c_char, c_void};

use pinnace::access::{AuthorizationHook, Decision};

use crate::boundary::{optional_text, text};
use crate::callback::{AuthorizationCallback, Finalizer, UserData};
use crate::config::{Config, set};
use crate::controller::called_back;
use crate::error::Failure;

/// What an authorization callback says. Without anything said it is not allowed.
pub struct AuthorizationAnswer(Result<Decision, String>);

/// Allows what is asked about.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_authorization_allow(answer: *mut AuthorizationAnswer) {
    say(answer, || Ok(Decision::Allow));
}

/// Does not allow it, and says why. `why` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_authorization_refuse(
    answer: *mut AuthorizationAnswer,
    why: *const c_char,
) {
    say(answer, || Ok(Decision::Deny(text(why, "why").map_err(|_| "why is NULL")?.to_owned())));
}

fn say(answer: *mut AuthorizationAnswer, decision: impl FnOnce() -> Result<Decision, String>) {
    quiet!((), {
        // SAFETY: C passes NULL or the answer that its callback was given.
        let answer = unsafe { answer.as_mut() }?;
        answer.0 = decision();
        Some(())
    });
}

/// Has `callback` asked who may do what, when neither the node authorizer nor RBAC allows it. Requests
/// wait for it. A name for messages is `name`, `authorizer` for NULL; it is borrowed.
///
/// `user_data` stays borrowed until `finalizer` is called, which is when the engine ends or the
/// configuration is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_add_authorizer(
    config: *mut Config,
    name: *const c_char,
    callback: AuthorizationCallback,
    user_data: *mut c_void,
    finalizer: Finalizer,
) {
    let user_data = UserData::new(user_data, finalizer);
    set(config, |config| match hook(name, callback, user_data) {
        Ok(hook) => config.add_authorizer(hook),
        Err(refused) => config.refuse(refused),
    });
}

fn hook(
    name: *const c_char,
    callback: AuthorizationCallback,
    user_data: UserData,
) -> Result<AuthorizationHook, Failure> {
    let callback = callback.ok_or(Failure::Null("callback"))?;
    let name = optional_text(name, "name")?.unwrap_or("authorizer");
    Ok(AuthorizationHook::new(name, move |request| ask(callback, &user_data, &request)))
}

type Ask = unsafe extern "C" fn(*mut c_void, *const c_char, usize, *mut AuthorizationAnswer);

fn ask(
    callback: Ask,
    user_data: &UserData,
    request: &serde_json::Value,
) -> Result<Decision, String> {
    let request = CString::new(request.to_string()).map_err(|error| error.to_string())?;
    let mut answer = AuthorizationAnswer(Ok(Decision::Deny(String::new())));
    // SAFETY: C has given a function for its user data; request and answer outlive the call.
    called_back(|| unsafe {
        callback(user_data.get(), request.as_ptr(), request.as_bytes().len(), &raw mut answer);
    });
    answer.0
}
