//! The `APIService` objects of what is served here: where a version of a group stands among the
//! others in discovery.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};

/// The label of those that follow from what is served, and how: [`ON_START`] or [`ALWAYS`].
pub const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Made where they are missing, and put right once, when the engine starts.
pub const ON_START: &str = "onstart";
/// Kept as they should be at all times.
pub const ALWAYS: &str = "true";

/// Of groups of custom kinds, and of their versions.
const CUSTOM: (i32, i32) = (1000, 100);

/// A group, its priority, and its versions with theirs.
type BuiltIn = (&'static str, i32, &'static [(&'static str, i32)]);

/// Groups by their priority, and their versions, as upstream orders them.
const BUILT_IN: [BuiltIn; 23] = [
    ("", 18_000, &[("v1", 1)]),
    ("apps", 17_800, &[("v1", 15)]),
    ("events.k8s.io", 17_750, &[("v1", 15)]),
    ("authentication.k8s.io", 17_700, &[("v1", 15)]),
    ("authorization.k8s.io", 17_600, &[("v1", 15)]),
    ("autoscaling", 17_500, &[("v1", 15), ("v2", 30)]),
    ("batch", 17_400, &[("v1", 15)]),
    ("certificates.k8s.io", 17_300, &[("v1", 15)]),
    ("networking.k8s.io", 17_200, &[("v1", 15)]),
    ("policy", 17_100, &[("v1", 15)]),
    ("rbac.authorization.k8s.io", 17_000, &[("v1", 15)]),
    ("storage.k8s.io", 16_800, &[("v1", 15)]),
    ("admissionregistration.k8s.io", 16_700, &[("v1", 15)]),
    ("apiextensions.k8s.io", 16_700, &[("v1", 15)]),
    ("scheduling.k8s.io", 16_600, &[("v1", 15)]),
    ("coordination.k8s.io", 16_500, &[("v1", 15)]),
    ("node.k8s.io", 16_300, &[("v1", 15)]),
    ("discovery.k8s.io", 16_200, &[("v1", 15)]),
    ("resource.k8s.io", 16_200, &[("v1", 20)]),
    ("flowcontrol.apiserver.k8s.io", 16_100, &[("v1", 21)]),
    ("internal.apiserver.k8s.io", 16_000, &[("v1alpha1", 9)]),
    ("storagemigration.k8s.io", 15_800, &[("v1beta1", 9)]),
    (METRICS, 100, &[("v1beta1", 100)]),
];
/// Upstream's is another server, which brings its own object: nobody puts that right.
const METRICS: &str = "metrics.k8s.io";

/// What stands for a version of a group that is built in; `None` for the group of these objects
/// itself, and for what is not built in.
pub fn built_in(group: &str, version: &str) -> Option<APIService> {
    let (_, of_group, versions) = BUILT_IN.iter().find(|(name, _, _)| *name == group)?;
    let (_, of_version) = versions.iter().find(|(name, _)| *name == version)?;
    let managed = (group != METRICS).then_some(ON_START);
    Some(local(group, version, (*of_group, *of_version), managed))
}

/// What stands for a version of a group of custom kinds.
pub fn custom(group: &str, version: &str) -> APIService {
    local(group, version, CUSTOM, Some(ALWAYS))
}

/// The priority of a group that is built in.
pub fn group_priority(group: &str) -> Option<i32> {
    BUILT_IN.iter().find(|(name, _, _)| *name == group).map(|(_, priority, _)| *priority)
}

fn local(
    group: &str,
    version: &str,
    (group_priority_minimum, version_priority): (i32, i32),
    managed: Option<&str>,
) -> APIService {
    let labels = managed.map(|how| [(MANAGED.to_owned(), how.to_owned())].into());
    let name = Some(format!("{version}.{group}"));
    APIService {
        metadata: ObjectMeta { name, labels, ..ObjectMeta::default() },
        spec: Some(APIServiceSpec {
            group: Some(group.to_owned()).filter(|group| !group.is_empty()),
            version: Some(version.to_owned()),
            group_priority_minimum,
            version_priority,
            ..APIServiceSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn whatever_is_built_in_has_one() {
        for kind in Catalog::builtin().all() {
            let found = built_in(&kind.group, &kind.version);
            assert_eq!(found.is_some(), kind.group != "apiregistration.k8s.io", "{kind:?}");
        }
        let is_sorted = BUILT_IN.is_sorted_by(|a, b| a.1 >= b.1);
        assert!(is_sorted, "in the order of discovery");
    }
}
