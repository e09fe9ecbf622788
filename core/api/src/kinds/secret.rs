use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::de::IgnoredAny;

use super::check::{complain, immutable, text};
use super::config_map::{FROZEN, SIZE_MAX};
use super::names::rules;
use super::{fill, omit_empty};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Names the account that a token is for.
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

/// Secrets.
pub(super) struct SecretStrategy;

impl Strategy for SecretStrategy {
    type Kind = Secret;

    fn default(&self, secret: &mut Secret) {
        fill(&mut secret.type_, "Opaque");
        if let Some(texts) = secret.string_data.take()
            && !texts.is_empty()
        {
            let data = secret.data.get_or_insert_default();
            data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
        }
        omit_empty!(secret; data);
    }

    fn validate(&self, secret: &Secret, errors: &mut ErrorList) {
        let path = Path::root("data");
        let mut size = 0;
        for (key, value) in secret.data.iter().flatten() {
            complain(errors, &path.key(key), key, rules::config_key(key));
            size += value.0.len();
        }
        if size > SIZE_MAX {
            errors.too_long(&path, SIZE_MAX);
        }
        validate_type(secret, &path, errors);
    }

    fn validate_update(&self, new: &Secret, old: &Secret, errors: &mut ErrorList) {
        immutable(errors, &Path::root("type"), &text(&new.type_), &text(&old.type_));
        if old.immutable == Some(true) {
            if new.immutable != Some(true) {
                errors.forbidden(&Path::root("immutable"), FROZEN);
            }
            if new.data != old.data {
                errors.forbidden(&Path::root("data"), FROZEN);
            }
        }
        self.validate(new, errors);
    }

    fn field<'a>(&self, secret: &'a Secret, path: &str) -> Option<Cow<'a, str>> {
        (path == "type").then(|| Cow::Borrowed(text(&secret.type_)))
    }
}

/// Checks that there is what a secret of a type must have.
fn validate_type(secret: &Secret, path: &Path<'_>, errors: &mut ErrorList) {
    let get = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let json = |key: &str, errors: &mut ErrorList| match get(key) {
        None => errors.required(&path.key(key), ""),
        Some(value) => {
            if let Err(why) = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&value.0) {
                let shown = "<secret contents redacted>";
                errors.invalid(&path.key(key), shown, &why.to_string());
            }
        }
    };
    match text(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            let annotations = secret.metadata.annotations.as_ref();
            let account = annotations.and_then(|all| all.get(SERVICE_ACCOUNT_NAME));
            if account.is_none_or(String::is_empty) {
                let meta = Path::root("metadata");
                let annotations = meta.child("annotations");
                errors.required(&annotations.key(SERVICE_ACCOUNT_NAME), "");
            }
        }
        "kubernetes.io/dockercfg" => json(".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => json(".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if get("username").is_none() && get("password").is_none() => {
            errors.required(&path.key("username"), "");
            errors.required(&path.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if get("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.required(&path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"].into_iter().filter(|key| get(key).is_none()) {
                errors.required(&path.key(key), "");
            }
        }
        _ => {}
    }
}
