//! Secrets that hold bootstrap tokens.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

/// Where they are.
pub const NAMESPACE: &str = "kube-system";
/// Their type.
pub const TYPE: &str = "bootstrap.kubernetes.io/token";
/// What their names begin with.
pub const NAME_PREFIX: &str = "bootstrap-token-";

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To come as a user.
    Authentication,
    /// To sign what new nodes read first.
    Signing,
}

/// Id and secret of a token.
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let known =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let good = id.len() == ID_LENGTH && secret.len() == SECRET_LENGTH;
    (good && known(id) && known(secret)).then_some((id, secret))
}

/// The name of the secret of a token.
pub fn secret_name(id: &str) -> String {
    format!("{NAME_PREFIX}{id}")
}

/// A field of a secret as text; empty where there is none.
pub fn field<'a>(secret: &'a Secret, name: &str) -> &'a str {
    let value = secret.data.as_ref().and_then(|data| data.get(name));
    value.and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
}

/// When a token ends; `None` where it does not, [`Timestamp::MIN`] where nobody can read when.
pub fn ends(secret: &Secret) -> Option<Timestamp> {
    let text = field(secret, "expiration");
    (!text.is_empty()).then(|| text.parse().unwrap_or(Timestamp::MIN))
}

/// Whether a token has ended.
pub fn has_ended(secret: &Secret, now: Timestamp) -> bool {
    ends(secret).is_some_and(|end| end <= now)
}

/// Whether a token may be used for something.
pub fn is_for(secret: &Secret, usage: Usage) -> bool {
    let name = match usage {
        Usage::Authentication => "usage-bootstrap-authentication",
        Usage::Signing => "usage-bootstrap-signing",
    };
    field(secret, name) == "true"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_an_id_and_a_secret() {
        let check = |token: &str, expected| assert_eq!(parse(token), expected, "{token}");
        check("abcdef.0123456789abcdef", Some(("abcdef", "0123456789abcdef")));
        check("abcdef.0123456789abcde", None);
        check("abcdeF.0123456789abcdef", None);
        check("abcdef0123456789abcdef", None);
        check("", None);
    }
}
