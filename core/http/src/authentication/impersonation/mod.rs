//! Acting as another. Upstream knows several ways, of which the first that the caller may go counts;
//! the one that the caller went last is tried first, and of several refusals the first is told. The
//! narrow ways ask for two verbs, one for whom (`impersonate:user-info`) and one for what is done
//! then (`impersonate-on:user-info:list`); the old one asks for `impersonate` alone
//! (<https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/>).

mod figures;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use pinnace_api::kinds::names;
use pinnace_api::{ApiError, Result};
use pinnace_env::Stopwatch;
use pinnace_server::{Attributes, Selectors, Server, User, account_of, forbidden};
use prometheus_client::registry::Registry;

use self::figures::Figures;
use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, with_group};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const NODE: &str = "system:node:";
const NODES: &str = "system:nodes";
const MASTERS: &str = "system:masters";
const AUTHENTICATION: &str = "authentication.k8s.io";
/// What an authorizer is told of a service account that acts as its node, instead of what is known of it.
const NODE_KEYS: &str = "authentication.kubernetes.io/associated-node-keys";
/// From how many on it is first asked whether all are allowed.
const MANY: usize = 4;
/// Callers whose last way is remembered; when there are more, all are forgotten.
const REMEMBERED: usize = 10_000;

/// Whom somebody acts as.
#[derive(Debug)]
pub(crate) struct Impersonated {
    pub(crate) user: User,
    /// The verb that allows it, where that is a narrow one.
    pub(crate) constraint: Option<String>,
}

/// Lets callers act as others.
#[derive(Default)]
pub(crate) struct Impersonation {
    /// The way that a caller, by name, went last.
    last: Mutex<HashMap<Arc<str>, Way>>,
    figures: Figures,
}

impl Impersonation {
    /// Has a registry show its figures.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.figures.register(registry);
    }

    /// Whom the caller wants to act as, in what they ask; `None` when no header says that they do.
    ///
    /// # Errors
    /// `Forbidden` for each part of another identity that the caller may not take; `BadRequest` for
    /// parts without a user.
    pub(crate) fn impersonate(
        &self,
        server: &Server,
        asked: &Attributes<'_>,
        headers: &HeaderMap,
    ) -> Result<Option<Impersonated>> {
        let Some(wanted) = Wanted::read(headers)? else { return Ok(None) };
        let watch = Stopwatch::start();
        let found = self.find(server, asked, &wanted);
        let mode = found.as_ref().map_or("", |(way, _)| way.name());
        self.figures.attempts.note(mode, found.is_ok(), watch.elapsed());
        let (way, user) = found?;
        Ok(Some(Impersonated { user, constraint: way.constraint() }))
    }

    fn find(
        &self,
        server: &Server,
        asked: &Attributes<'_>,
        wanted: &Wanted,
    ) -> Result<(Way, User)> {
        let last = self.last.lock().get(&asked.user.name).copied();
        let others = Way::ALL.into_iter().filter(|way| Some(*way) != last);
        let ways = last.into_iter().chain(others);
        let mut first = None;
        for way in ways.filter(|way| way.leads_to(wanted, asked.user)) {
            match way.go(server, asked, wanted, &self.figures) {
                Ok(user) => {
                    self.remember(&asked.user.name, way);
                    return Ok((way, user));
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| ApiError::internal("all impersonation modes failed")))
    }

    fn remember(&self, caller: &Arc<str>, way: Way) {
        let mut last = self.last.lock();
        if last.len() >= REMEMBERED && !last.contains_key(caller) {
            last.clear();
        }
        last.insert(caller.clone(), way);
    }
}

/// A way to act as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A service account as the node that it runs on.
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    /// Anybody who is neither.
    UserInfo,
    /// Anybody.
    Old,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::AssociatedNode,
        Self::ArbitraryNode,
        Self::ServiceAccount,
        Self::UserInfo,
        Self::Old,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Old => "legacy",
        }
    }

    fn verb(self) -> String {
        match self {
            Self::Old => "impersonate".to_owned(),
            narrow => format!("impersonate:{}", narrow.name()),
        }
    }

    fn constraint(self) -> Option<String> {
        (self != Self::Old).then(|| self.verb())
    }

    fn leads_to(self, wanted: &Wanted, caller: &User) -> bool {
        let node = node_of(&wanted.user);
        match self {
            Self::AssociatedNode => {
                wanted.is_only_user() && node.is_some() && caller.node_of_account() == node
            }
            Self::ArbitraryNode => wanted.is_only_user() && node.is_some(),
            Self::ServiceAccount => wanted.is_only_user() && account_of(&wanted.user).is_some(),
            Self::UserInfo => node.is_none() && account_of(&wanted.user).is_none(),
            Self::Old => true,
        }
    }

    fn go(
        self,
        server: &Server,
        asked: &Attributes<'_>,
        wanted: &Wanted,
        figures: &Figures,
    ) -> Result<User> {
        let narrowed = (self == Self::AssociatedNode).then(|| {
            // The same for all nodes, so that what is allowed is, too.
            let keys: Vec<_> = asked.user.extra.keys().cloned().collect();
            let extra = Arc::new(BTreeMap::from([(NODE_KEYS.to_owned(), keys)]));
            User { extra, ..asked.user.clone() }
        });
        let caller = narrowed.as_ref().unwrap_or(asked.user);
        let verb = self.verb();
        let check = Check { server, caller, verb: &verb, way: self, figures };
        if self != Self::Old {
            let verb = format!("impersonate-on:{}:{}", self.name(), asked.verb);
            check.ask(Attributes { user: caller, verb: &verb, ..*asked })?;
        }
        check.user(&wanted.user)?;
        if let Some(uid) = &wanted.uid {
            check.ask(check.about(AUTHENTICATION, "uids", "", uid))?;
        }
        check.groups(&wanted.groups)?;
        check.extra(&wanted.extra)?;
        Ok(self.user(wanted))
    }

    fn user(self, wanted: &Wanted) -> User {
        let mut groups = wanted.groups.clone();
        if let (Some((namespace, _)), true) = (account_of(&wanted.user), groups.is_empty()) {
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        if matches!(self, Self::AssociatedNode | Self::ArbitraryNode) {
            groups.push(NODES.to_owned());
        }
        let unknown = groups.iter().any(|group| group == UNAUTHENTICATED);
        let mut user = User::new(&wanted.user, groups);
        user.uid = wanted.uid.as_deref().map(Arc::from);
        user.extra = Arc::new(wanted.extra.clone());
        match &*wanted.user {
            ANONYMOUS => with_group(user, UNAUTHENTICATED),
            _ if unknown => user,
            _ => with_group(user, AUTHENTICATED),
        }
    }
}

/// Asks whether the caller may take the parts of an identity.
struct Check<'a> {
    server: &'a Server,
    caller: &'a User,
    verb: &'a str,
    way: Way,
    figures: &'a Figures,
}

impl<'a> Check<'a> {
    fn about(
        &self,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        Attributes {
            user: self.caller,
            verb: self.verb,
            group,
            resource,
            subresource,
            namespace: "",
            name,
            path: "",
            selectors: Selectors::default(),
        }
    }

    fn ask(&self, asked: Attributes<'_>) -> Result<()> {
        let watch = Stopwatch::start();
        let answer = self.server.check(&asked);
        self.figures.authorizations.note(self.way.name(), answer.is_ok(), watch.elapsed());
        answer
    }

    fn is_narrow(&self) -> bool {
        self.way != Way::Old
    }

    /// The group of users, groups, service accounts and nodes.
    fn group(&self) -> &'static str {
        if self.is_narrow() { AUTHENTICATION } else { "" }
    }

    fn user(&self, name: &'a str) -> Result<()> {
        let group = self.group();
        if let Some((namespace, account)) = account_of(name) {
            let about = self.about(group, "serviceaccounts", "", account);
            return self.ask(Attributes { namespace, ..about });
        }
        match node_of(name).filter(|_| self.is_narrow()) {
            // What is allowed of one associated node is of all: each account has but one.
            Some(_) if self.way == Way::AssociatedNode => {
                self.ask(self.about(group, "nodes", "", "*"))
            }
            Some(node) => self.ask(self.about(group, "nodes", "", node)),
            None => self.ask(self.about(group, "users", "", name)),
        }
    }

    fn groups(&self, groups: &'a [String]) -> Result<()> {
        let about = |name: &'a str| self.about(self.group(), "groups", "", name);
        if self.is_narrow() {
            for (name, what) in
                [("", "the empty string group"), (MASTERS, "the system:masters group")]
            {
                if groups.iter().any(|group| group == name) {
                    let why = format!("impersonating {what} is not allowed");
                    return Err(forbidden(&about(name), &why));
                }
            }
            if groups.len() >= MANY && self.ask(about("*")).is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| self.ask(about(group)))
    }

    fn extra(&self, extra: &'a BTreeMap<String, Vec<String>>) -> Result<()> {
        let about =
            |key: &'a str, value: &'a str| self.about(AUTHENTICATION, "userextras", key, value);
        if self.is_narrow() {
            for (key, values) in extra {
                if let Some(why) = complaint(key, values) {
                    return Err(forbidden(&about("", ""), &why));
                }
            }
            let many = extra.values().map(Vec::len).sum::<usize>() >= MANY;
            if many && self.ask(about("*", "*")).is_ok() {
                return Ok(());
            }
        }
        let mut all =
            extra.iter().flat_map(|(key, values)| values.iter().map(move |one| (key, one)));
        all.try_for_each(|(key, value)| self.ask(about(key, value)))
    }
}

/// Why something that is known of a user beside its name may not be taken.
fn complaint(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        Some("impersonating the empty string key in extra is not allowed".to_owned())
    } else if !is_prefixed_path(key) {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        let what = format!("extra.key: Invalid value: {key:?}: {why}");
        Some(format!("impersonating an invalid key in extra is not allowed: {what}"))
    } else if key.chars().any(char::is_uppercase) {
        Some(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"))
    } else if values.iter().any(String::is_empty) {
        Some("impersonating the empty string value in extra is not allowed".to_owned())
    } else {
        None
    }
}

fn is_prefixed_path(key: &str) -> bool {
    let Some((host, path)) = key.split_once('/') else { return false };
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    names::dns_subdomain(host).is_ok() && !path.is_empty() && path.bytes().all(may)
}

/// The node that a user is.
fn node_of(user: &str) -> Option<&str> {
    user.strip_prefix(NODE).filter(|node| names::dns_subdomain(node).is_ok())
}

struct Wanted {
    user: String,
    groups: Vec<String>,
    uid: Option<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Result<Option<Self>> {
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let one = |name: &str| headers.get(name).map(text).filter(|text| !text.is_empty());
        let mut wanted = Self {
            user: one(USER).unwrap_or_default(),
            groups: headers.get_all(GROUP).iter().map(text).collect(),
            uid: one(UID),
            extra: BTreeMap::new(),
        };
        for (name, value) in headers {
            if let Some(key) = name.as_str().strip_prefix(EXTRA) {
                let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                wanted.extra.entry(key).or_default().push(text(value));
            }
        }
        match (wanted.user.is_empty(), wanted.is_only_user()) {
            (false, _) => Ok(Some(wanted)),
            (true, true) => Ok(None),
            (true, false) => Err(ApiError::bad_request(
                "requested groups, a uid or extra without impersonating a user name",
            )),
        }
    }

    /// Whether nothing is said beside the name.
    fn is_only_user(&self) -> bool {
        self.groups.is_empty() && self.uid.is_none() && self.extra.is_empty()
    }
}
