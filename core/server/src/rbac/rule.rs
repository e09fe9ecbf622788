use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::Attributes;

/// The verbs of the API, by which most rules are passed over without comparing texts.
const VERBS: [&str; 14] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
    "bind",
    "escalate",
    "use",
    "approve",
    "sign",
];
const EVERY_VERB: u16 = u16::MAX;

/// A rule, made ready to be compared with requests.
#[derive(Debug)]
pub(super) struct Rule {
    /// A bit for each of [`VERBS`].
    verbs: u16,
    other_verbs: Box<[Box<str>]>,
    groups: Names,
    resources: Names,
    /// Empty for all.
    names: Box<[Box<str>]>,
    urls: Box<[Box<str>]>,
}

/// Names, or all.
#[derive(Debug)]
struct Names {
    all: bool,
    some: Box<[Box<str>]>,
}

impl Names {
    fn new(names: &Option<Vec<String>>) -> Self {
        let names = names.as_deref().unwrap_or_default();
        Self { all: names.iter().any(|name| name == "*"), some: boxed(names) }
    }
}

fn boxed(names: &[String]) -> Box<[Box<str>]> {
    names.iter().map(|name| name.as_str().into()).collect()
}

/// What is asked, made ready to be compared with rules.
pub(super) struct Request<'a> {
    attributes: &'a Attributes<'a>,
    verb: u16,
}

impl<'a> Request<'a> {
    pub(super) fn new(attributes: &'a Attributes<'a>) -> Self {
        Self { attributes, verb: bit(attributes.verb) }
    }
}

/// The bit of a verb; none for one that is not known.
fn bit(verb: &str) -> u16 {
    VERBS.iter().position(|known| *known == verb).map_or(0, |at| 1 << at)
}

impl Rule {
    pub(super) fn new(rule: &PolicyRule) -> Self {
        let every = rule.verbs.iter().any(|verb| verb == "*");
        let known = rule.verbs.iter().fold(0, |verbs, verb| verbs | bit(verb));
        let other = rule.verbs.iter().filter(|verb| bit(verb) == 0);
        Self {
            verbs: if every { EVERY_VERB } else { known },
            other_verbs: other.map(|verb| verb.as_str().into()).collect(),
            groups: Names::new(&rule.api_groups),
            resources: Names::new(&rule.resources),
            names: boxed(rule.resource_names.as_deref().unwrap_or_default()),
            urls: boxed(rule.non_resource_urls.as_deref().unwrap_or_default()),
        }
    }

    /// Whether the rule allows what is asked.
    pub(super) fn allows(&self, request: &Request<'_>) -> bool {
        if !self.allows_verb(request) {
            return false;
        }
        let asked = request.attributes;
        if !asked.path.is_empty() {
            return self.urls.iter().any(|url| url_covers(url, asked.path));
        }
        (self.groups.all || has(&self.groups.some, asked.group))
            && self.allows_resource(asked.resource, asked.subresource)
            && (self.names.is_empty() || has(&self.names, asked.name))
    }

    fn allows_verb(&self, request: &Request<'_>) -> bool {
        match request.verb {
            _ if self.verbs == EVERY_VERB => true,
            0 => has(&self.other_verbs, request.attributes.verb),
            bit => self.verbs & bit != 0,
        }
    }

    fn allows_resource(&self, resource: &str, part: &str) -> bool {
        if self.resources.all {
            return true;
        }
        if part.is_empty() {
            return has(&self.resources.some, resource);
        }
        self.resources.some.iter().any(|one| {
            one.strip_suffix(part)
                .and_then(|one| one.strip_suffix('/'))
                .is_some_and(|one| one == resource || one == "*")
        })
    }
}

fn has(names: &[Box<str>], name: &str) -> bool {
    names.iter().any(|one| **one == *name)
}

/// Whether the path of a rule is a path, or begins it when it ends in a star.
pub(super) fn url_covers(rule: &str, path: &str) -> bool {
    rule == "*"
        || rule == path
        || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::User;

    fn rule(verbs: &str, groups: &str, resources: &str, names: &str, urls: &str) -> Rule {
        let list = |text: &str| {
            (text != "-").then(|| text.split(',').map(str::to_owned).collect::<Vec<_>>())
        };
        Rule::new(&PolicyRule {
            verbs: list(verbs).unwrap_or_default(),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            non_resource_urls: list(urls),
        })
    }

    #[test]
    fn rules_allow_as_upstream_reads_them() {
        let user = User::new("u", []);
        let check =
            |rule: &Rule, [verb, group, resource, part, name]: [&str; 5], expected: bool| {
                let asked = Attributes {
                    user: &user,
                    verb,
                    group,
                    resource,
                    subresource: part,
                    namespace: "",
                    name,
                    path: "",
                    selectors: crate::Selectors::default(),
                };
                let allowed = rule.allows(&Request::new(&asked));
                assert_eq!(allowed, expected, "{verb} {group} {resource}/{part} {name}");
            };
        let pods = rule("get,frob", "", "pods", "-", "-");
        check(&pods, ["get", "", "pods", "", "x"], true);
        check(&pods, ["frob", "", "pods", "", "x"], true);
        check(&pods, ["nudge", "", "pods", "", "x"], false);
        check(&pods, ["list", "", "pods", "", ""], false);
        check(&pods, ["get", "apps", "pods", "", "x"], false);
        check(&pods, ["get", "", "pods", "log", "x"], false);
        let logs = rule("get", "", "pods/log", "-", "-");
        check(&logs, ["get", "", "pods", "log", "x"], true);
        check(&logs, ["get", "", "pods", "", "x"], false);
        check(&logs, ["get", "", "pods", "og", "x"], false);
        let scales = rule("*", "*", "*/scale", "-", "-");
        check(&scales, ["update", "apps", "deployments", "scale", "x"], true);
        check(&scales, ["update", "apps", "deployments", "", "x"], false);
        check(&scales, ["update", "apps", "deployments", "status", "x"], false);
        let named = rule("get,list,create", "", "configmaps", "a,b", "-");
        check(&named, ["get", "", "configmaps", "", "b"], true);
        check(&named, ["get", "", "configmaps", "", "c"], false);
        check(&named, ["create", "", "configmaps", "", ""], false);
    }

    #[test]
    fn paths_end_in_a_star_or_are_meant_exactly() {
        let user = User::new("u", []);
        let check = |urls: &str, path: &str, expected: bool| {
            let rule = rule("get", "-", "-", "-", urls);
            let asked = Attributes::path(&user, "get", path);
            assert_eq!(rule.allows(&Request::new(&asked)), expected, "{urls} {path}");
        };
        check("/metrics", "/metrics", true);
        check("/metrics", "/metrics/x", false);
        check("/api/*", "/api/v1", true);
        check("/api/*", "/api", false);
        check("*", "/anything", true);
        check("/a,/b*", "/bc", true);
        let everything = rule("*", "*", "*", "-", "-");
        let asked = Attributes::path(&user, "get", "/metrics");
        assert!(!everything.allows(&Request::new(&asked)), "objects are not paths");
    }
}
