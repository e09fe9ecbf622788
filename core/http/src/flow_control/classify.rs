//! Which requests a schema means.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};
use pinnace_server::User;

use crate::request::RequestInfo;

const ACCOUNT: &str = "system:serviceaccount:";

pub(super) fn matches(spec: &FlowSchemaSpec, user: &User, info: &RequestInfo) -> bool {
    let mut rules = spec.rules.iter().flatten();
    rules.any(|rule| rule.subjects.iter().any(|subject| is_of(subject, user)) && asks(rule, info))
}

/// The hash of the flow that a request belongs to, within its schema.
pub(super) fn flow(schema: &str, spec: &FlowSchemaSpec, user: &User, info: &RequestInfo) -> u64 {
    let by = spec.distinguisher_method.as_ref().map(|method| &*method.type_);
    let mut hasher = DefaultHasher::new();
    schema.hash(&mut hasher);
    match by {
        Some("ByUser") => user.name.hash(&mut hasher),
        Some("ByNamespace") => info.namespace.hash(&mut hasher),
        _ => {}
    }
    hasher.finish()
}

fn is_of(subject: &Subject, user: &User) -> bool {
    match &*subject.kind {
        "User" => {
            subject.user.as_ref().is_some_and(|one| one.name == "*" || one.name == *user.name)
        }
        "Group" => subject
            .group
            .as_ref()
            .is_some_and(|group| group.name == "*" || user.groups.contains(&group.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|account| {
            let whole = user.name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
            whole.is_some_and(|(namespace, name)| {
                namespace == account.namespace && (account.name == "*" || account.name == name)
            })
        }),
        _ => false,
    }
}

fn asks(rules: &PolicyRulesWithSubjects, info: &RequestInfo) -> bool {
    if info.is_resource {
        rules.resource_rules.iter().flatten().any(|rule| asks_for_objects(rule, info))
    } else {
        rules.non_resource_rules.iter().flatten().any(|rule| asks_for_path(rule, info))
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

fn asks_for_objects(rule: &ResourcePolicyRule, info: &RequestInfo) -> bool {
    if !has(&rule.verbs, &info.verb) || !has(&rule.api_groups, &info.group) {
        return false;
    }
    let resource = rule.resources.iter().any(|one| {
        let parts = || one.split_once('/');
        match &*info.subresource {
            _ if one == "*" => true,
            "" => *one == info.resource,
            part => parts().is_some_and(|(of, name)| of == info.resource && name == part),
        }
    });
    // All namespaces at once are the cluster's.
    let scope = match info.namespace_of_objects() {
        "" => rule.cluster_scope.unwrap_or(false),
        namespace => has(rule.namespaces.as_deref().unwrap_or_default(), namespace),
    };
    resource && scope
}

fn asks_for_path(rule: &NonResourcePolicyRule, info: &RequestInfo) -> bool {
    let path = |url: &String| match url.strip_suffix('*') {
        Some(prefix) => info.path.starts_with(prefix),
        None => *url == info.path,
    };
    has(&rule.verbs, &info.verb) && rule.non_resource_urls.iter().any(path)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::defaults;
    use super::*;
    use crate::request::Query;

    #[test]
    fn the_defaults_are_those_of_upstream() {
        let schemas = defaults::schemas().unwrap();
        let names: Vec<_> = schemas.iter().filter_map(|one| one.metadata.name.as_deref()).collect();
        let expected = [
            "exempt",
            "probes",
            "system-leader-election",
            "system-node-high",
            "system-nodes",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-system-service-accounts",
            "service-accounts",
            "global-default",
            "catch-all",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_defaults_tell_callers_apart() {
        let mut schemas = defaults::schemas().unwrap();
        schemas.sort_by_key(|schema| schema.spec.as_ref().unwrap().matching_precedence);
        let check = |method: Method, path: &str, user: &str, group: &str, expected: &str| {
            let info = RequestInfo::read(&method, path, &Query::parse("")).unwrap();
            let user = User::new(user, [group.to_owned(), "system:authenticated".to_owned()]);
            let found = schemas
                .iter()
                .find(|schema| matches(schema.spec.as_ref().unwrap(), &user, &info))
                .unwrap();
            assert_eq!(found.metadata.name.as_deref(), Some(expected), "{path} {user:?}");
        };
        let pods = "/api/v1/namespaces/a/pods";
        let lease = "/apis/coordination.k8s.io/v1/namespaces/a/leases/l";
        let account = "system:serviceaccount:kube-system:x";
        check(Method::GET, pods, "root", "system:masters", "exempt");
        check(Method::GET, "/readyz", "ann", "", "probes");
        check(Method::GET, pods, "ann", "", "global-default");
        check(Method::GET, "/api/v1/pods", "ann", "", "global-default");
        check(Method::PUT, lease, "system:kube-scheduler", "", "system-leader-election");
        check(Method::GET, pods, "system:kube-scheduler", "", "kube-scheduler");
        check(Method::PATCH, "/api/v1/nodes/n/status", "n", "system:nodes", "system-node-high");
        check(Method::GET, pods, "n", "system:nodes", "system-nodes");
        check(Method::GET, pods, account, "", "kube-system-service-accounts");
        let other = "system:serviceaccount:a:x";
        check(Method::GET, pods, other, "system:serviceaccounts", "service-accounts");
    }
}
