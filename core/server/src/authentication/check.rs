use std::collections::BTreeMap;
use std::sync::Arc;

use pinnace_api::{Key, Object};
use pinnace_store::Snapshot;

use super::claims::{Claims, Kubernetes, Reference};
use super::key::Proven;
use super::{ACCOUNT_PREFIX, ACCOUNTS, ISSUER};
use crate::{Server, User};

/// Seconds by which the clocks of those who use tokens may differ from ours, and for which an
/// object that is going still counts.
const LEEWAY: i64 = 60;
const INVALIDATED: &str = "service account token has been invalidated";

/// What a token proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Authenticated {
    /// Whose it is.
    pub user: User,
    /// Those of the wanted audiences that it is for.
    pub audiences: Vec<String>,
}

impl Server {
    /// Whose token this is, for one of `audiences` (this API, where none are given); `None` for
    /// what is no token of a service account.
    ///
    /// # Errors
    /// What is wrong with a token of this server: it has ended, is forged, is for others, or what
    /// it is bound to is gone.
    pub fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, String> {
        let key = self.signing_key().map_err(|error| error.to_string())?;
        let Some(claims) = key.read(token)? else { return Ok(None) };
        let own = [ISSUER.to_owned()];
        let wanted = if audiences.is_empty() { &own[..] } else { audiences };
        let given = match &claims {
            Proven::Bound(claims) => &claims.aud[..],
            // Made before tokens had audiences: good for this API alone.
            Proven::Kept(_) => &own[..],
        };
        let both: Vec<_> = wanted.iter().filter(|one| given.contains(one)).cloned().collect();
        if both.is_empty() {
            let (given, wanted) = (listed(given), listed(wanted));
            return Err(format!(
                "token audiences {given} is invalid for the target audiences {wanted}"
            ));
        }
        let user = match claims {
            Proven::Kept(claims) => claims.check(token, &self.snapshot())?,
            Proven::Bound(claims) => {
                let now = self.env().now().as_second();
                check_times(&claims, now)?;
                check_objects(&claims.kubernetes, &self.snapshot(), now - LEEWAY)?;
                user(&claims)
            }
        };
        Ok(Some(Authenticated { user, audiences: both }))
    }
}

/// A list of texts as Go prints it with `%q`.
fn listed(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn check_times(claims: &Claims, now: i64) -> Result<(), String> {
    if now + LEEWAY < claims.nbf {
        return Err("service account token is not valid yet".to_owned());
    }
    if now - LEEWAY > claims.exp {
        return Err("service account token has expired".to_owned());
    }
    Ok(())
}

fn check_objects(claims: &Kubernetes, snapshot: &Snapshot, long_ago: i64) -> Result<(), String> {
    let namespace = &*claims.namespace;
    let account = &claims.serviceaccount;
    let found = snapshot.get("serviceaccounts", &Key::new(namespace, &*account.name));
    let found = found.ok_or_else(|| format!("serviceaccounts {:?} not found", account.name))?;
    if is_gone(found, long_ago) {
        return Err(format!("service account {namespace}/{} has been deleted", account.name));
    }
    let (uid, claim) = (found.uid(), &account.uid);
    if uid != claim {
        return Err(format!("service account UID ({uid}) does not match claim ({claim})"));
    }
    let bound = |table: &str, key: Key, reference: &Reference, what: [&str; 2]| {
        let found = snapshot.get(table, &key).filter(|found| !is_gone(found, long_ago));
        let uid = found.ok_or(INVALIDATED)?.uid();
        let ([kind, claim], wanted) = (what, &reference.uid);
        if uid == wanted {
            return Ok(());
        }
        Err(format!(
            "{kind} UID ({uid}) does not match service account {claim} ref claim ({wanted})"
        ))
    };
    if let Some(secret) = &claims.secret {
        bound("secrets", Key::new(namespace, &*secret.name), secret, ["secret", "secret"])?;
    }
    if let Some(pod) = &claims.pod {
        return bound("pods", Key::new(namespace, &*pod.name), pod, ["pod", "pod"]);
    }
    // The node of a pod's token is what it says, not what it depends on.
    match &claims.node {
        Some(node) => bound("nodes", Key::cluster(&*node.name), node, ["node", "node"]),
        None => Ok(()),
    }
}

fn is_gone(object: &Object, long_ago: i64) -> bool {
    let deleted = object.meta().deletion_timestamp.as_ref();
    deleted.is_some_and(|time| time.0.as_second() < long_ago)
}

/// The user that a service account is.
pub(super) fn account_user(namespace: &str, account: &Reference) -> User {
    let name = format!("{ACCOUNT_PREFIX}{namespace}:{}", account.name);
    let groups = [ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{namespace}")];
    let mut user = User::new(&name, groups);
    user.uid = Some(account.uid.as_str().into());
    user
}

fn user(claims: &Claims) -> User {
    let Kubernetes { namespace, serviceaccount, pod, node, .. } = &claims.kubernetes;
    let mut user = account_user(namespace, serviceaccount);
    let mut extra = BTreeMap::new();
    let mut note = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    note("credential-id", &format!("JTI={}", claims.jti));
    if let Some(pod) = pod {
        note("pod-name", &pod.name);
        note("pod-uid", &pod.uid);
    }
    if let Some(node) = node {
        note("node-name", &node.name);
        note("node-uid", &node.uid);
    }
    user.extra = Arc::new(extra);
    user
}
