use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use pinnace_api::{ApiError, Result};
use pinnace_server::{Attributes, Selectors, Server, User};

use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, with_group};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom the caller wants to act as: whoever it is, when no header says otherwise.
///
/// # Errors
/// `Forbidden` for each part of another identity that the caller may not take;
/// `InternalError`, as upstream has it, for parts without a user.
pub(crate) fn impersonate(server: &Server, caller: User, headers: &HeaderMap) -> Result<User> {
    let wanted = Wanted::read(headers);
    let Some(name) = wanted.user else {
        if wanted.groups.is_empty() && wanted.extra.is_empty() && wanted.uid.is_none() {
            return Ok(caller);
        }
        return Err(ApiError::internal(
            "requested an impersonation of groups, a uid or extra without a user",
        ));
    };
    let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let (user, verb, path) = (&caller, "impersonate", "");
        server.check(&Attributes {
            user,
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
            path,
            selectors: Selectors::default(),
        })
    };
    let account = name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, account)) => ask("", "serviceaccounts", "", namespace, account)?,
        None => ask("", "users", "", "", &name)?,
    }
    for group in &wanted.groups {
        ask("", "groups", "", "", group)?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            ask(AUTHENTICATION, "userextras", key, "", value)?;
        }
    }
    if let Some(uid) = &wanted.uid {
        ask(AUTHENTICATION, "uids", "", "", uid)?;
    }
    let mut groups = wanted.groups;
    if let (Some((namespace, _)), true) = (account, groups.is_empty()) {
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    let mut user = User::new(&name, groups);
    user.uid = wanted.uid.map(Arc::from);
    user.extra = Arc::new(wanted.extra);
    let kind = if name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    Ok(with_group(user, kind))
}

#[derive(Default)]
struct Wanted {
    user: Option<String>,
    groups: Vec<String>,
    uid: Option<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Self {
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut wanted = Self {
            user: headers.get(USER).map(text).filter(|user| !user.is_empty()),
            groups: headers.get_all(GROUP).iter().map(text).collect(),
            uid: headers.get(UID).map(text).filter(|uid| !uid.is_empty()),
            extra: BTreeMap::new(),
        };
        for (name, value) in headers {
            if let Some(key) = name.as_str().strip_prefix(EXTRA) {
                let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                wanted.extra.entry(key).or_default().push(text(value));
            }
        }
        wanted
    }
}
