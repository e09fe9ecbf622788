//! Bootstrap tokens: short secrets by which new nodes introduce themselves, kept as secrets of type
//! `bootstrap.kubernetes.io/token` in `kube-system`.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>.

use k8s_openapi::api::core::v1::Secret;
use pinnace_api::Key;
use pinnace_api::bootstrap_token::{self, Usage};

use crate::{Server, User};

const USER_PREFIX: &str = "system:bootstrap:";
const GROUP: &str = "system:bootstrappers";
const EXTRA_GROUPS: &str = "auth-extra-groups";
/// Longest name of a group behind what all begin with.
const MAX_GROUP: usize = 256;

impl Server {
    /// Whose bootstrap token this is; `None` for what is no such token, or one that is not there,
    /// has ended or is for something else: nobody learns which.
    ///
    /// # Errors
    /// What is wrong with the secret that holds it.
    pub(super) fn authenticate_bootstrap(&self, token: &str) -> Result<Option<User>, String> {
        let Some((id, secret)) = bootstrap_token::parse(token) else { return Ok(None) };
        let key = Key::new(bootstrap_token::NAMESPACE, bootstrap_token::secret_name(id));
        let snapshot = self.snapshot();
        let found = snapshot.get("secrets", &key).filter(|found| !found.is_deleting());
        let Some(found) = found else { return Ok(None) };
        let found = found.get::<Secret>().map_err(|error| error.to_string())?;
        let same = |name: &str, wanted: &str| {
            let kept = bootstrap_token::field(found, name);
            // The time it takes must not tell how much of a guess is right.
            aws_lc_rs::constant_time::verify_slices_are_equal(kept.as_bytes(), wanted.as_bytes())
                .is_ok()
        };
        let good = found.type_.as_deref() == Some(bootstrap_token::TYPE)
            && same("token-secret", secret)
            && same("token-id", id)
            && !bootstrap_token::has_ended(found, self.env().now())
            && bootstrap_token::is_for(found, Usage::Authentication);
        if !good {
            return Ok(None);
        }
        let mut groups = vec![GROUP.to_owned()];
        let extra = bootstrap_token::field(found, EXTRA_GROUPS);
        for group in extra.split(',').filter(|group| !group.is_empty()) {
            if !is_group(group) {
                return Err(format!(
                    "bootstrap group {group:?} is invalid (must match \
                     \\Asystem:bootstrappers:[a-z0-9:-]{{0,255}}[a-z0-9]\\z)"
                ));
            }
            groups.push(group.to_owned());
        }
        Ok(Some(User::new(&format!("{USER_PREFIX}{id}"), groups)))
    }
}

fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = rest.bytes().last().is_some_and(known);
    ends && rest.len() <= MAX_GROUP && rest.bytes().all(|one| known(one) || b":-".contains(&one))
}
