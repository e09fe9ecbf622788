use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use pinnace_server::User;
use sha2::{Digest as _, Sha256};
use x509_parser::parse_x509_certificate;

/// Where a user's extra tells which credential was used.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The user that a certificate names, which TLS has verified: its common name is the user, its
/// organizations are the groups.
pub(crate) fn certificate_user(der: &[u8]) -> Option<User> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    if name.is_empty() {
        return None;
    }
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
    let mut user = User::new(name, groups.map(str::to_owned));
    let mut id = "X509SHA256=".to_owned();
    for byte in Sha256::digest(der) {
        // A string takes all.
        let _ = write!(id, "{byte:02x}");
    }
    user.extra = Arc::new(BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![id])]));
    Some(user)
}
