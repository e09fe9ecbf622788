//! Tokens of service accounts: signed by the server, good for some time, some audiences, and as
//! long as what they are bound to exists.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>.

mod bootstrap;
mod check;
mod claims;
mod hook;
mod issue;
mod key;
mod secret_token;
mod static_tokens;
mod tokens;

pub use check::Authenticated;
pub use hook::{AuthenticationHook, Identity};
pub use key::SigningKey;
pub use static_tokens::{StaticTokens, TokenFileError};
pub use tokens::TokenAuthenticator;

/// Who signs the tokens, and the audience that means this API.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What the users of all service accounts begin with, and the group that all are in.
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
const ACCOUNTS: &str = "system:serviceaccounts";
