use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use pinnace_api::{Resource, api_services};

use crate::aggregation::RemoteVersion;

/// Where the group of the objects that say where groups stand does.
const FIRST: i32 = 20_000;
/// Where groups of custom kinds stand.
const CUSTOM: i32 = 1000;

/// A group and its versions, the preferred one first.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<Version>,
    /// Where it stands among groups: the more important ones come first.
    priority: i32,
}

impl Group {
    fn new(name: &str, priority: i32) -> Self {
        Self { name: name.to_owned(), versions: Vec::new(), priority }
    }
}

/// A version of a group and its kinds, ordered by plural.
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) resources: Vec<Arc<Resource>>,
    /// What another server has of it, where it serves it.
    pub(crate) remote: Option<RemoteVersion>,
}

/// The kinds of a catalog by group and version, in the order of discovery.
pub(crate) fn groups(all: &[Arc<Resource>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // What other servers have is added by what they say themselves.
    for resource in all.iter().filter(|resource| !resource.is_elsewhere()) {
        let at = groups.iter().position(|group| *group.name == resource.group);
        let at = at.unwrap_or_else(|| {
            groups.push(Group::new(&resource.group, priority(&resource.group)));
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        let at = versions.iter().position(|version| *version.name == resource.version);
        let at = at.unwrap_or_else(|| {
            let name = resource.version.to_string();
            versions.push(Version { name, resources: Vec::new(), remote: None });
            versions.len() - 1
        });
        versions[at].resources.push(resource.clone());
    }
    for group in &mut groups {
        group.versions.sort_by(|a, b| compare_versions(&a.name, &b.name));
        for version in &mut group.versions {
            version.resources.sort_by(|a, b| a.plural.cmp(&b.plural));
        }
    }
    sort(&mut groups);
    groups
}

fn sort(groups: &mut [Group]) {
    let rank = |group: &Group| Reverse(group.priority);
    groups.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
}

/// Adds what other servers serve, in place of what this one does.
pub(crate) fn add_remotes(groups: &mut Vec<Group>, remotes: &[RemoteVersion]) {
    let mut remotes: Vec<&RemoteVersion> = remotes.iter().collect();
    // Within a group the more important version comes first.
    remotes.sort_by(|a, b| {
        let priority = |one: &RemoteVersion| Reverse((one.group_priority, one.version_priority));
        priority(a).cmp(&priority(b)).then_with(|| compare_versions(&a.version, &b.version))
    });
    for remote in remotes {
        let at = groups.iter().position(|group| group.name == remote.group);
        let at = at.unwrap_or_else(|| {
            groups.push(Group::new(&remote.group, remote.group_priority));
            groups.len() - 1
        });
        let Group { versions, priority, .. } = &mut groups[at];
        *priority = remote.group_priority.max(*priority);
        versions.retain(|version| version.name != remote.version);
        let (name, remote) = (remote.version.clone(), Some(remote.clone()));
        versions.push(Version { name, resources: Vec::new(), remote });
    }
    sort(groups);
}

/// `group/version`, or the version alone in the core group.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The priority of a group that is served here.
fn priority(group: &str) -> i32 {
    match group {
        "apiregistration.k8s.io" => FIRST,
        group => api_services::group_priority(group).unwrap_or(CUSTOM),
    }
}

/// Stable versions come before beta and alpha, higher ones before lower ones, and names of no such
/// form last, by name: <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority>.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => Reverse(a).cmp(&Reverse(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major and minor number.
fn parse(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let major = major.parse().ok()?;
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    let (stability, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (_, Some(minor)) => (0, minor),
        _ => return None,
    };
    let digits = minor.bytes().all(|byte| byte.is_ascii_digit());
    Some((stability, major, digits.then(|| minor.parse().ok()).flatten()?))
}

#[cfg(test)]
mod tests {
    use pinnace_api::Catalog;

    use super::*;

    #[test]
    fn versions_are_ordered_by_how_stable_and_how_new_they_are() {
        let expected = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "foo1",
            "foo10",
            "v1gamma1",
            "v1beta+1",
        ];
        let mut versions = expected.to_vec();
        versions.reverse();
        versions.sort_by(|a, b| compare_versions(a, b));
        let (known, other) = versions.split_at(8);
        assert_eq!(known, &expected[..8]);
        assert!(other.is_sorted());
    }

    #[test]
    fn groups_stand_in_the_order_of_upstream() {
        let groups = groups(&Catalog::builtin().all());
        let names: Vec<_> = groups.iter().map(|group| &*group.name).collect();
        assert_eq!(names[..3], ["apiregistration.k8s.io", "", "apps"]);
        assert!(groups.is_sorted_by(|a, b| a.priority >= b.priority), "{names:?}");
    }
}
