use std::sync::Arc;

use form_urlencoded::Serializer;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Key, Resource, Result, Subresource};
use serde_json::{Value, json};

use crate::{DeleteOptions, FieldValidation, ListOptions, Target, VersionMatch, WriteOptions};

pub(super) const JSON: &str = "application/json";

/// The parameters of a request, by name.
pub(super) type Query = Vec<(&'static str, String)>;

/// What a list or a watch is about.
pub(super) fn collection(resource: &Arc<Resource>, namespace: Option<&str>) -> Target {
    Target::new(resource.clone(), Key::new(namespace.unwrap_or_default(), ""))
}

/// Path and query of a request.
///
/// # Errors
/// `BadRequest` for a name that would be another path.
pub(super) fn path(target: &Target, query: &Query) -> Result<String> {
    let Target { resource, key, subresource } = target;
    let (group, version, plural) = (&*resource.group, &*resource.version, &*resource.plural);
    let mut segments = match group {
        "" => vec!["api", version],
        group => vec!["apis", group, version],
    };
    if !key.namespace().is_empty() {
        segments.extend(["namespaces", key.namespace()]);
    }
    segments.push(plural);
    segments.extend(Some(key.name()).filter(|name| !name.is_empty()));
    segments.extend(subresource.map(Subresource::as_str));
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.push_str(checked(segment)?);
    }
    if !query.is_empty() {
        path.push('?');
        path.push_str(&Serializer::new(String::new()).extend_pairs(query).finish());
    }
    Ok(path)
}

/// A segment of a path that is one.
fn checked(segment: &str) -> Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$'()*+,;=".contains(&byte);
    if segment.bytes().all(plain) && !segment.is_empty() && !matches!(segment, "." | "..") {
        return Ok(segment);
    }
    Err(ApiError::bad_request(format!("invalid resource name {segment:?}")))
}

pub(super) fn of_list(options: &ListOptions, watch: bool) -> Query {
    let mut query = Query::new();
    let mut set = |name, value: String| query.push((name, value));
    if let Some(labels) = &options.labels {
        set("labelSelector", labels.to_string());
    }
    if let Some(fields) = &options.fields {
        set("fieldSelector", fields.to_string());
    }
    if let Some(limit) = options.limit {
        set("limit", limit.to_string());
    }
    if let Some(token) = &options.continue_token {
        set("continue", token.clone());
    }
    if let Some(version) = options.resource_version {
        set("resourceVersion", version.to_string());
    }
    let initial = options.initial_events.filter(|_| watch);
    match options.version_match {
        Some(VersionMatch::Exact) => set("resourceVersionMatch", "Exact".to_owned()),
        None if initial.is_none() => {}
        _ => set("resourceVersionMatch", "NotOlderThan".to_owned()),
    }
    if watch {
        set("watch", "true".to_owned());
        if options.bookmarks {
            set("allowWatchBookmarks", "true".to_owned());
        }
        if let Some(initial) = initial {
            set("sendInitialEvents", initial.to_string());
        }
        if let Some(timeout) = options.timeout {
            set("timeoutSeconds", timeout.as_secs().to_string());
        }
    }
    query
}

pub(super) fn of_write(options: &WriteOptions, applies: bool) -> Query {
    let mut query = Query::new();
    let mut set = |name, value: String| query.push((name, value));
    if options.dry_run {
        set("dryRun", "All".to_owned());
    }
    if let Some(manager) = &options.field_manager {
        set("fieldManager", manager.clone());
    }
    if options.field_validation != FieldValidation::default() {
        set("fieldValidation", format!("{:?}", options.field_validation));
    }
    if applies && options.force {
        set("force", "true".to_owned());
    }
    query
}

/// The document of a patch, and what it is.
pub(super) fn of_patch(patch: &Patch) -> (&'static str, Value) {
    let (Patch::Json(value)
    | Patch::Merge(value)
    | Patch::StrategicMerge(value)
    | Patch::Apply(value)) = patch;
    // JSON is YAML, too, as which an apply goes.
    (patch.media_type(), value.clone())
}

/// How something is to be deleted, as a document of the API.
pub fn deletion(options: &DeleteOptions) -> Value {
    let mut document = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    if options.dry_run {
        document["dryRun"] = json!(["All"]);
    }
    if let Some(seconds) = options.grace_period_seconds {
        document["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(policy) = options.propagation {
        document["propagationPolicy"] = format!("{policy:?}").into();
    }
    if let Some(wanted) = &options.preconditions {
        let mut preconditions = json!({});
        if let Some(uid) = &wanted.uid {
            preconditions["uid"] = uid.as_str().into();
        }
        if let Some(version) = &wanted.resource_version {
            preconditions["resourceVersion"] = version.as_str().into();
        }
        document["preconditions"] = preconditions;
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: Key, part: Option<Subresource>, query: &Query, expected: &str) {
        let listed = json!([{"name": "flunders", "singularName": "", "namespaced": true,
            "kind": "Flunder", "verbs": ["get"]}]);
        let listed: Vec<_> = serde_json::from_value(listed).unwrap();
        let mut kinds = pinnace_api::elsewhere::kinds("example.com", "v1", &listed);
        let resource = Arc::new(kinds.remove(0));
        let target = Target { resource, key, subresource: part };
        let path = path(&target, query);
        assert_eq!(path.unwrap_or_else(|error| error.message().to_owned()), expected);
    }

    #[test]
    fn requests_are_what_a_client_would_send() {
        let none = Query::new();
        let status = Some(Subresource::Status);
        check(Key::new("a", ""), None, &none, "/apis/example.com/v1/namespaces/a/flunders");
        check(Key::cluster("x"), status, &none, "/apis/example.com/v1/flunders/x/status");
        let options = ListOptions { limit: Some(5), bookmarks: true, ..ListOptions::default() };
        let options = options.labels("a in (b,c)").unwrap().after(7);
        check(
            Key::cluster(""),
            None,
            &of_list(&options, true),
            "/apis/example.com/v1/flunders?labelSelector=a+in+%28b%2Cc%29&limit=5\
             &resourceVersion=7&watch=true&allowWatchBookmarks=true",
        );
        let options = WriteOptions {
            dry_run: true,
            field_manager: Some("me & you".to_owned()),
            force: true,
            ..WriteOptions::default()
        };
        check(
            Key::cluster("x"),
            None,
            &of_write(&options, true),
            "/apis/example.com/v1/flunders/x?dryRun=All&fieldManager=me+%26+you&force=true",
        );
        for name in ["..", "a/b", "a?b", "a%2fb", "a b"] {
            let expected = format!("invalid resource name {name:?}");
            check(Key::cluster(name), None, &none, &expected);
        }
    }
}
