use std::borrow::Cow;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::fill;
use crate::Strategy;

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
    }

    fn field<'a>(&self, secret: &'a Secret, path: &str) -> Option<Cow<'a, str>> {
        (path == "type").then(|| Cow::Borrowed(secret.type_.as_deref().unwrap_or_default()))
    }
}
