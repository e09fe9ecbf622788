use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use serde_json::{Map, Value, json};

use super::groups::Group;
use super::resources::api_resources;

/// `APIGroupDiscoveryList`: everything about some groups in one document.
pub(super) fn list<'a>(groups: impl Iterator<Item = &'a Group>, version: &str) -> Value {
    let items: Vec<_> = groups.map(group).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn group(group: &Group) -> Value {
    let versions: Vec<_> = group
        .versions
        .iter()
        .map(|version| {
            if let Some(remote) = &version.remote {
                return json!({
                    "version": version.name,
                    "resources": resources(remote.resources()),
                    "freshness": if remote.is_fresh { "Current" } else { "Stale" },
                });
            }
            json!({
                "version": version.name,
                "resources": resources(&api_resources(version, &group.versions)),
                "freshness": "Current",
            })
        })
        .collect();
    json!({"metadata": {"name": group.name}, "versions": versions})
}

/// Subresources follow their resource in a list; here they stand within it.
fn resources(entries: &[APIResource]) -> Vec<Value> {
    let is_part = |entry: &APIResource| entry.name.contains('/');
    let mut entries = entries.iter().peekable();
    let mut resources = Vec::new();
    while let Some(entry) = entries.next() {
        let mut resource = Map::new();
        resource.insert("resource".to_owned(), json!(entry.name));
        resource.insert("responseKind".to_owned(), response_kind(entry));
        let scope = if entry.namespaced { "Namespaced" } else { "Cluster" };
        resource.insert("scope".to_owned(), json!(scope));
        resource.insert("singularResource".to_owned(), json!(entry.singular_name));
        resource.insert("verbs".to_owned(), json!(entry.verbs));
        if let Some(names) = &entry.short_names {
            resource.insert("shortNames".to_owned(), json!(names));
        }
        if let Some(categories) = &entry.categories {
            resource.insert("categories".to_owned(), json!(categories));
        }
        let mut parts = Vec::new();
        while let Some(part) = entries.next_if(|next| is_part(next)) {
            parts.push(json!({
                "subresource": part.name.split_once('/').map_or("", |(_, name)| name),
                "responseKind": response_kind(part),
                "verbs": part.verbs,
            }));
        }
        if !parts.is_empty() {
            resource.insert("subresources".to_owned(), parts.into());
        }
        resources.push(resource.into());
    }
    resources
}

/// Group and version are empty where they are those of the list, as upstream has them.
fn response_kind(entry: &APIResource) -> Value {
    json!({
        "group": entry.group.as_deref().unwrap_or_default(),
        "version": entry.version.as_deref().unwrap_or_default(),
        "kind": entry.kind,
    })
}
