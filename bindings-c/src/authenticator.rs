use std::ffi::{c_char, c_void};

use pinnace::access::{AuthenticationHook, Identity};

use crate::asking::{Answer, Asked, Said, lent, say};
use crate::boundary::optional_text;
use crate::callback::{AuthenticationCallback, Finalizer, UserData};
use crate::config::{Config, add};
use crate::error::Failure;

/// What an authentication callback says. Without anything said it cannot tell who somebody is.
pub struct AuthenticationAnswer(Said<Identity>);

/// Says who it is: `user` is a `UserInfo` (`authentication.k8s.io/v1`) as JSON, `username` and where
/// there are any `uid`, `groups` and `extra`. It is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_authentication_accept(
    answer: *mut AuthenticationAnswer,
    user: *const c_char,
) {
    say(answer, || Identity::known(lent(user, "user")?));
}

/// Says that it is not who it claims to be, and why. `why` is borrowed; callers are not told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_authentication_refuse(
    answer: *mut AuthenticationAnswer,
    why: *const c_char,
) {
    say(answer, || Ok(Identity::Refused(lent(why, "why")?.to_owned())));
}

impl Default for AuthenticationAnswer {
    fn default() -> Self {
        Self(Ok(Identity::Unknown))
    }
}

impl Answer for AuthenticationAnswer {
    type Says = Identity;

    fn note(&mut self, said: Said<Identity>) {
        self.0 = said;
    }

    fn said(self) -> Said<Identity> {
        self.0
    }
}

/// Has `callback` asked whose a bearer token is that is none of the cluster's own, over HTTPS and by a
/// `TokenReview`: with each request, which waits for it. A name for messages is `name`,
/// `authenticator` for NULL; it is borrowed.
///
/// `user_data` stays borrowed until `finalizer` is called, which is when the engine ends or the
/// configuration is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_add_token_authenticator(
    config: *mut Config,
    name: *const c_char,
    callback: AuthenticationCallback,
    user_data: *mut c_void,
    finalizer: Finalizer,
) {
    let user_data = UserData::new(user_data, finalizer);
    add(config, || hook(name, callback, user_data), Config::add_token_authenticator);
}

/// As `pinnace_config_add_token_authenticator`, for whatever a request over HTTPS brings: `callback`
/// is asked who makes it when neither a certificate nor a token says that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_add_authenticator(
    config: *mut Config,
    name: *const c_char,
    callback: AuthenticationCallback,
    user_data: *mut c_void,
    finalizer: Finalizer,
) {
    let user_data = UserData::new(user_data, finalizer);
    add(config, || hook(name, callback, user_data), Config::add_authenticator);
}

fn hook(
    name: *const c_char,
    callback: AuthenticationCallback,
    user_data: UserData,
) -> Result<AuthenticationHook, Failure> {
    let asked = Asked::<AuthenticationAnswer>::new(callback, user_data)?;
    let name = optional_text(name, "name")?.unwrap_or("authenticator");
    Ok(AuthenticationHook::new(name, move |about| asked.ask(&about)))
}
