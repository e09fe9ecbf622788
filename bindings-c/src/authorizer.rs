use std::ffi::{c_char, c_void};

use pinnace::access::{AuthorizationHook, Decision};

use crate::asking::{Answer, Asked, Said, lent, say};
use crate::boundary::optional_text;
use crate::callback::{AuthorizationCallback, Finalizer, UserData};
use crate::config::{Config, add};
use crate::error::Failure;

/// What an authorization callback says. Without anything said it is not allowed.
pub struct AuthorizationAnswer(Said<Decision>);

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
    say(answer, || Ok(Decision::Deny(lent(why, "why")?.to_owned())));
}

impl Default for AuthorizationAnswer {
    fn default() -> Self {
        Self(Ok(Decision::Deny(String::new())))
    }
}

impl Answer for AuthorizationAnswer {
    type Says = Decision;

    fn note(&mut self, said: Said<Decision>) {
        self.0 = said;
    }

    fn said(self) -> Said<Decision> {
        self.0
    }
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
    add(config, || hook(name, callback, user_data), Config::add_authorizer);
}

fn hook(
    name: *const c_char,
    callback: AuthorizationCallback,
    user_data: UserData,
) -> Result<AuthorizationHook, Failure> {
    let asked = Asked::<AuthorizationAnswer>::new(callback, user_data)?;
    let name = optional_text(name, "name")?.unwrap_or("authorizer");
    Ok(AuthorizationHook::new(name, move |request| asked.ask(&request)))
}
