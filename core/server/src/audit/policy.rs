use pinnace_api::manifest;
use serde::{Deserialize, Serialize};

use crate::User;

const VERSION: &str = "audit.k8s.io/v1";
const KIND: &str = "Policy";

/// How much of a request is noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum AuditLevel {
    /// Nothing.
    #[default]
    None,
    /// Who did what, when, and how it ended.
    Metadata,
    /// Also what was sent.
    Request,
    /// Also what was answered.
    RequestResponse,
}

/// A point of a request at which it is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum AuditStage {
    /// It has come.
    RequestReceived,
    /// The answer has begun, and goes on: watches and connections only.
    ResponseStarted,
    /// The answer has been given.
    ResponseComplete,
    /// It has failed in a way that should not be.
    Panic,
}

/// `Policy` of `audit.k8s.io`: which requests are noted, and how much of them. The first rule that
/// matches decides; what none matches is not noted.
///
/// See <https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditPolicy {
    api_version: String,
    kind: String,
    metadata: serde_json::Map<String, serde_json::Value>,
    /// The rules, in order.
    pub rules: Vec<AuditRule>,
    /// Stages that are never noted.
    pub omit_stages: Vec<AuditStage>,
    /// Whether `managedFields` are left out.
    pub omit_managed_fields: bool,
}

/// A rule: what it leaves empty it does not ask for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditRule {
    /// How much is noted.
    pub level: AuditLevel,
    /// Names of users.
    pub users: Vec<String>,
    /// Groups of which the user is in one.
    pub user_groups: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Kinds.
    pub resources: Vec<GroupResources>,
    /// Namespaces; the empty name is for what is in none.
    pub namespaces: Vec<String>,
    /// Paths of what is not about objects; a `*` at the end stands for all that follows.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
    /// Stages that are not noted, beside those of the policy.
    pub omit_stages: Vec<AuditStage>,
    /// Whether `managedFields` are left out, if it is not as the policy says.
    pub omit_managed_fields: Option<bool>,
}

/// Kinds of a group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GroupResources {
    /// The group, empty for the core group.
    pub group: String,
    /// Plural names, `pods/log` for a subresource, `pods/*` for all of them, `*/status` for one of
    /// every kind, `*` for everything; all of the group, if empty.
    pub resources: Vec<String>,
    /// Names of objects; all, if empty.
    pub resource_names: Vec<String>,
}

/// Why a policy cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit policy: {0}")]
pub struct AuditPolicyError(String);

/// What is asked of the API, as rules see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditAttributes<'a> {
    /// The verb; the HTTP method in lower case for what is not about objects.
    pub verb: &'a str,
    /// Group of the kind.
    pub group: &'a str,
    /// Version of the kind.
    pub version: &'a str,
    /// Plural name of the kind; empty for what is not about objects.
    pub resource: &'a str,
    /// Subresource.
    pub subresource: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// The path.
    pub path: &'a str,
}

/// What a policy says of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub(super) level: AuditLevel,
    pub(super) omit_stages: Vec<AuditStage>,
    pub(super) omit_managed_fields: bool,
}

impl AuditPolicy {
    /// A policy in YAML or JSON, as upstream's `--audit-policy-file` takes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, AuditPolicyError> {
        let wrong = |error: &dyn std::fmt::Display| AuditPolicyError(error.to_string());
        let value = manifest::read_one(text.as_bytes()).map_err(|error| wrong(&error))?;
        let read: Self = serde_json::from_value(value).map_err(|error| wrong(&error))?;
        if read.kind != KIND || read.api_version != VERSION {
            let (version, kind) = (&read.api_version, &read.kind);
            let why = format!("expected {KIND} of {VERSION}, not {kind} of {version}");
            return Err(AuditPolicyError(why));
        }
        if read.rules.is_empty() {
            return Err(AuditPolicyError("rules: at least one must be given".to_owned()));
        }
        for (index, rule) in read.rules.iter().enumerate() {
            rule.validate().map_err(|why| AuditPolicyError(format!("rules[{index}]{why}")))?;
        }
        Ok(read)
    }

    /// Everything is noted at one level.
    pub fn all(level: AuditLevel) -> Self {
        Self { rules: vec![AuditRule { level, ..AuditRule::default() }], ..Self::default() }
    }

    pub(super) fn verdict(&self, user: Option<&User>, asked: &AuditAttributes<'_>) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(user, asked)) else {
            return Verdict::default();
        };
        let stages = self.omit_stages.iter().chain(&rule.omit_stages).copied();
        Verdict {
            level: rule.level,
            omit_stages: stages.collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl AuditRule {
    fn validate(&self) -> Result<(), String> {
        let objects = !self.resources.is_empty() || !self.namespaces.is_empty();
        if objects && !self.non_resource_urls.is_empty() {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            return Err(format!(".nonResourceURLs: {why}"));
        }
        for (index, url) in self.non_resource_urls.iter().enumerate() {
            let inside = url.strip_suffix('*').unwrap_or(url).contains('*');
            if url != "*" && !url.starts_with('/') {
                let why = "non-resource URL rules must begin with a '/' character";
                return Err(format!(".nonResourceURLs[{index}]: {why}"));
            }
            if inside {
                let why = "non-resource URL wildcards '*' must be the final character of the rule";
                return Err(format!(".nonResourceURLs[{index}]: {why}"));
            }
        }
        for (index, one) in self.resources.iter().enumerate() {
            if !one.resource_names.is_empty() && one.resources.is_empty() {
                let why = "using resourceNames requires at least one resource";
                return Err(format!(".resources[{index}].resourceNames: {why}"));
            }
        }
        Ok(())
    }

    fn matches(&self, user: Option<&User>, asked: &AuditAttributes<'_>) -> bool {
        let has = |names: &[String], name: &str| names.iter().any(|one| one == name);
        if !self.users.is_empty() && !user.is_some_and(|user| has(&self.users, &user.name)) {
            return false;
        }
        let in_group = |user: &User| user.groups.iter().any(|one| has(&self.user_groups, one));
        if !self.user_groups.is_empty() && !user.is_some_and(in_group) {
            return false;
        }
        if !self.verbs.is_empty() && !has(&self.verbs, asked.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return !asked.resource.is_empty() && self.matches_object(asked);
        }
        if !self.non_resource_urls.is_empty() {
            let urls = &self.non_resource_urls;
            return asked.resource.is_empty() && urls.iter().any(|url| covers(url, asked.path));
        }
        true
    }

    fn matches_object(&self, asked: &AuditAttributes<'_>) -> bool {
        let namespaces = &self.namespaces;
        if !namespaces.is_empty() && !namespaces.iter().any(|one| one == asked.namespace) {
            return false;
        }
        self.resources.is_empty() || self.resources.iter().any(|one| one.matches(asked))
    }
}

impl GroupResources {
    fn matches(&self, asked: &AuditAttributes<'_>) -> bool {
        if self.group != asked.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let names = &self.resource_names;
        if !names.is_empty() && !names.iter().any(|name| name == asked.name) {
            return false;
        }
        let (resource, part) = (asked.resource, asked.subresource);
        self.resources.iter().any(|one| match one.split_once('/') {
            None => one == "*" || (one == resource && part.is_empty()),
            Some(("*", some)) => some == part,
            Some((some, "*")) => some == resource && !part.is_empty(),
            Some((some, its)) => some == resource && its == part,
        })
    }
}

fn covers(url: &str, path: &str) -> bool {
    url == "*" || url == path || url.strip_suffix('*').is_some_and(|begin| path.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = AuditPolicy::read(
            "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [
                {level: None, users: ['system:kube-proxy'], verbs: [watch]},
                {level: None, nonResourceURLs: ['/healthz*', /version]},
                {level: Metadata, resources: [{group: '', resources: [secrets, 'pods/*']}]},
                {level: Request, resources: [{group: apps, resources: ['*/status']}]},
                {level: RequestResponse, userGroups: [devs], namespaces: [team],
                 omitStages: [Panic]},
                {level: None, resources: [{group: '', resources: [configmaps],
                                           resourceNames: [leader]}]},
                {level: Metadata, omitManagedFields: true, verbs: [update]}]}",
        )
        .unwrap();
        let check = |who: (&str, &str), what: [&str; 6], expected: AuditLevel| {
            let [verb, group, resource, subresource, namespace, name] = what;
            let path = if resource.is_empty() { name } else { "/api" };
            let asked = AuditAttributes {
                verb,
                group,
                resource,
                subresource,
                namespace,
                name,
                path,
                version: "v1",
            };
            let user = User::new(who.0, [who.1.to_owned()]);
            let verdict = policy.verdict(Some(&user), &asked);
            assert_eq!(verdict.level, expected, "{who:?} {what:?}");
            verdict
        };
        use AuditLevel::{Metadata, None, Request, RequestResponse};
        check(("system:kube-proxy", ""), ["watch", "", "secrets", "", "", ""], None);
        check(("ann", ""), ["get", "", "", "", "", "/healthz/ping"], None);
        check(("ann", ""), ["get", "", "", "", "", "/versions"], None);
        check(("ann", ""), ["get", "", "secrets", "", "a", "s"], Metadata);
        check(("ann", ""), ["get", "", "pods", "log", "a", "p"], Metadata);
        check(("ann", ""), ["get", "", "pods", "", "a", "p"], None);
        check(("ann", ""), ["patch", "apps", "deployments", "status", "a", "d"], Request);
        let whole = ["create", "", "pods", "", "team", "p"];
        let verdict = check(("ann", "devs"), whole, RequestResponse);
        assert_eq!(verdict.omit_stages, [AuditStage::RequestReceived, AuditStage::Panic]);
        check(("ann", "ops"), ["create", "", "pods", "", "team", "p"], None);
        check(("ann", ""), ["update", "", "configmaps", "", "a", "leader"], None);
        let other = ["update", "", "configmaps", "", "a", "other"];
        assert!(check(("ann", ""), other, Metadata).omit_managed_fields);
    }

    #[test]
    fn a_policy_that_cannot_be_is_told_where() {
        let check = |rules: &str, expected: &str| {
            let text = format!("{{apiVersion: audit.k8s.io/v1, kind: Policy, rules: {rules}}}");
            let error = AuditPolicy::read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("[]", "rules: at least one");
        check("[{level: Everything}]", "unknown variant `Everything`");
        check("[{level: None, nonResourceURLs: [healthz]}]", "must begin with a '/'");
        check("[{level: None, nonResourceURLs: ['/a*b']}]", "must be the final character");
        let both = "[{level: None, namespaces: [a], nonResourceURLs: [/a]}]";
        check(both, "rules[0].nonResourceURLs: rules cannot apply to both");
        let names = "[{level: None, resources: [{group: '', resourceNames: [a]}]}]";
        check(names, "requires at least one resource");
    }
}
