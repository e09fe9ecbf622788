use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use pinnace_api::{Resource, ScaleTarget, Subresource};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

use super::groups::{Version, compare_versions};

const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// The kind by which a subresource is read and written: group and version empty where they are
/// those of the object, kind empty where that is the object's, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartKind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
}

/// What is below the path of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) kind: PartKind,
    pub(crate) verbs: &'static [&'static str],
}

impl Part {
    const fn own(name: &'static str, verbs: &'static [&'static str]) -> Self {
        Self { name, kind: PartKind { group: "", version: "", kind: "" }, verbs }
    }

    const fn of(
        name: &'static str,
        (group, version, kind): (&'static str, &'static str, &'static str),
        verbs: &'static [&'static str],
    ) -> Self {
        Self { name, kind: PartKind { group, version, kind }, verbs }
    }
}

/// Connections to what runs, which are no parts of an object.
const POD_CONNECTIONS: &[Part] = &[
    Part::of("attach", ("", "", "PodAttachOptions"), CONNECT),
    Part::of("exec", ("", "", "PodExecOptions"), CONNECT),
    Part::own("log", &["get"]),
    Part::of("portforward", ("", "", "PodPortForwardOptions"), CONNECT),
    Part::of("proxy", ("", "", "PodProxyOptions"), PROXY),
];
const SERVICE_CONNECTIONS: &[Part] = &[Part::of("proxy", ("", "", "ServiceProxyOptions"), PROXY)];
const NODE_CONNECTIONS: &[Part] = &[Part::of("proxy", ("", "", "NodeProxyOptions"), PROXY)];

/// The connections that objects of a kind have.
pub(crate) fn connections(resource: &Resource) -> &'static [Part] {
    match (&*resource.group, &*resource.plural) {
        ("", "pods") => POD_CONNECTIONS,
        ("", "services") => SERVICE_CONNECTIONS,
        ("", "nodes") => NODE_CONNECTIONS,
        _ => &[],
    }
}

/// All that is below the path of an object of a kind, ordered by name.
pub(crate) fn parts(resource: &Resource) -> Vec<Part> {
    let has = &resource.subresources;
    let status = has.status.then_some(Subresource::Status);
    let scale = (has.scale != ScaleTarget::None).then_some(Subresource::Scale);
    let parts = status.into_iter().chain(scale).chain(has.others.iter().copied()).map(part);
    let mut parts: Vec<_> = parts.chain(connections(resource).iter().copied()).collect();
    parts.sort_by_key(|part| part.name);
    parts
}

fn part(part: Subresource) -> Part {
    let kind = match part {
        Subresource::Scale => ("autoscaling", "v1", "Scale"),
        Subresource::Binding => ("", "", "Binding"),
        Subresource::Eviction => ("policy", "v1", "Eviction"),
        Subresource::Token => ("authentication.k8s.io", "v1", "TokenRequest"),
        _ => ("", "", ""),
    };
    Part::of(part.as_str(), kind, part.verbs())
}

/// The entries of a version in an `APIResourceList`.
pub(super) fn api_resources(version: &Version, siblings: &[Version]) -> Vec<APIResource> {
    let mut entries = Vec::new();
    for resource in &version.resources {
        entries.push(entry(resource, siblings));
        entries.extend(parts(resource).into_iter().map(|part| part_entry(resource, part)));
    }
    entries
}

fn entry(resource: &Resource, siblings: &[Version]) -> APIResource {
    let verbs = sorted(resource.verbs.0);
    let stored = verbs.iter().any(|verb| verb == "watch");
    APIResource {
        name: resource.plural.to_string(),
        singular_name: resource.singular.to_string(),
        namespaced: resource.is_namespaced(),
        kind: resource.kind.to_string(),
        short_names: texts(&resource.short_names),
        categories: texts(&resource.categories),
        storage_version_hash: stored.then(|| storage_version_hash(resource, siblings)),
        verbs,
        group: None,
        version: None,
    }
}

fn part_entry(resource: &Resource, part: Part) -> APIResource {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    APIResource {
        name: format!("{}/{}", resource.plural, part.name),
        singular_name: String::new(),
        namespaced: resource.is_namespaced(),
        kind: text(part.kind.kind).unwrap_or_else(|| resource.kind.to_string()),
        group: text(part.kind.group),
        version: text(part.kind.version),
        verbs: sorted(part.verbs),
        short_names: None,
        categories: None,
        storage_version_hash: None,
    }
}

fn texts(texts: &[Cow<'static, str>]) -> Option<Vec<String>> {
    (!texts.is_empty()).then(|| texts.iter().map(|text| text.to_string()).collect())
}

fn sorted(verbs: &[&str]) -> Vec<String> {
    let mut verbs: Vec<_> = verbs.iter().map(|verb| (*verb).to_owned()).collect();
    verbs.sort();
    verbs
}

/// Tells clients whether two groups or versions are two views of the same stored objects: the start
/// of the digest of the group, version and kind in which objects are stored.
fn storage_version_hash(resource: &Resource, siblings: &[Version]) -> String {
    let (group, version) = match (&*resource.group, &*resource.plural) {
        // Upstream stores both kinds of events as those of the core group.
        ("events.k8s.io", "events") => ("", "v1"),
        (group, _) => {
            let serves = |version: &&Version| {
                version.resources.iter().any(|other| other.plural == resource.plural)
            };
            let versions = siblings.iter().filter(serves).map(|version| &*version.name);
            (group, versions.min_by(|a, b| compare_versions(a, b)).unwrap_or(&resource.version))
        }
    };
    let digest = Sha256::digest(format!("{group}/{version}/{}", resource.kind));
    BASE64_STANDARD.encode(&digest[..8])
}
