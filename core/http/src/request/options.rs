//! `ListOptions`, `CreateOptions` and their like, from the parameters of a request.

use http::HeaderMap;
use http::header::USER_AGENT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    DeleteOptions as DeleteDocument, Status, StatusCause, StatusDetails,
};
use pinnace_api::field::{Bare, ErrorList, Path};
use pinnace_api::kinds::metadata;
use pinnace_api::{ApiError, Reason, Result};
use pinnace_client::{
    DeleteOptions, FieldValidation, ListOptions, Preconditions, PropagationPolicy, VersionMatch,
    Warnings, WriteOptions,
};

use super::Query;

/// Bytes of a field manager's name.
const MAX_MANAGER: usize = 128;

/// `Invalid` for options, which are no objects and have no name.
fn invalid_options(kind: &str, errors: &ErrorList) -> ApiError {
    invalid_named(kind, "meta.k8s.io", "", errors)
}

/// `Invalid` for what is in no catalog.
pub(crate) fn invalid_named(kind: &str, group: &str, name: &str, errors: &ErrorList) -> ApiError {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let list = match &texts[..] {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let causes = errors.iter().map(|error| StatusCause {
        field: Some(error.field.clone()),
        message: Some(error.body.clone()),
        reason: Some(error.kind.reason().to_owned()),
    });
    ApiError::from_status(Status {
        code: Some(Reason::Invalid.code().into()),
        reason: Some(Reason::Invalid.as_str().to_owned()),
        message: Some(format!("{qualified} {name:?} is invalid: {list}")),
        details: Some(StatusDetails {
            group: Some(group.to_owned()).filter(|group| !group.is_empty()),
            kind: Some(kind.to_owned()),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            causes: Some(causes.collect()),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn checked(kind: &str, errors: ErrorList) -> Result<()> {
    if errors.is_empty() { Ok(()) } else { Err(invalid_options(kind, &errors)) }
}

/// What to list or watch.
///
/// # Errors
/// `BadRequest` for what cannot be read, `Invalid` for what may not be said together.
pub(crate) fn list_options(query: &Query, watch: bool) -> Result<ListOptions> {
    check_list(query, watch)?;
    let mut options = ListOptions {
        continue_token: query.text("continue").map(str::to_owned),
        resource_version: query.text("resourceVersion").map(revision).transpose()?,
        version_match: match query.text("resourceVersionMatch") {
            Some("Exact") => Some(VersionMatch::Exact),
            Some(_) => Some(VersionMatch::NotOlderThan),
            None => None,
        },
        limit: query.number("limit")?.and_then(|limit| u64::try_from(limit).ok()),
        bookmarks: watch && query.flag("allowWatchBookmarks"),
        initial_events: query.optional_flag("sendInitialEvents").filter(|_| watch),
        ..ListOptions::default()
    };
    if let Some(labels) = query.text("labelSelector") {
        options = options.labels(labels)?;
    }
    if let Some(fields) = query.text("fieldSelector") {
        options = options.fields(fields)?;
    }
    Ok(options)
}

fn revision(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: \
             strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

fn check_list(query: &Query, watch: bool) -> Result<()> {
    let mut errors = ErrorList::default();
    let matching = Path::root("resourceVersionMatch");
    let wanted = query.text("resourceVersionMatch");
    let initial = query.optional_flag("sendInitialEvents");
    let supported = ["Exact", "NotOlderThan", ""];
    let continued = "resourceVersionMatch is forbidden when continue is provided";
    if watch {
        let not_older = "NotOlderThan";
        if initial.is_some() && wanted != Some(not_older) {
            errors.forbidden(
                &matching,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            );
        }
        let Some(wanted) = wanted else { return checked("ListOptions", errors) };
        if initial.is_none() {
            errors.forbidden(
                &matching,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        if wanted != not_older {
            errors.not_supported(&matching, wanted, &[not_older]);
        }
        if query.text("continue").is_some() {
            errors.forbidden(&matching, continued);
        }
        return checked("ListOptions", errors);
    }
    if let Some(wanted) = wanted {
        if query.text("resourceVersion").is_none() {
            errors.forbidden(
                &matching,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        if query.text("continue").is_some() {
            errors.forbidden(&matching, continued);
        }
        if !matches!(wanted, "Exact" | "NotOlderThan") {
            errors.not_supported(&matching, wanted, &supported);
        }
        if wanted == "Exact" && query.text("resourceVersion") == Some("0") {
            errors.forbidden(
                &matching,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
    }
    if initial.is_some() {
        errors
            .forbidden(&Path::root("sendInitialEvents"), "sendInitialEvents is forbidden for list");
    }
    checked("ListOptions", errors)
}

/// How a write is to be done. `kind` is the kind of its options: `CreateOptions` and so on;
/// `apply` says whether it is a server-side apply.
///
/// # Errors
/// `Invalid`, about the options.
pub(crate) fn write_options(
    query: &Query,
    headers: &HeaderMap,
    kind: &str,
    apply: bool,
) -> Result<WriteOptions> {
    let mut errors = ErrorList::default();
    let manager = query.text("fieldManager");
    if let Some(manager) = manager {
        metadata::field_manager(manager, &Path::root("fieldManager"), &mut errors);
    } else if apply {
        errors.required(&Path::root("fieldManager"), "is required for apply patch");
    }
    let force = query.optional_flag("force");
    if kind == "PatchOptions" && !apply && force.is_some() {
        errors.forbidden(&Path::root("force"), "may not be specified for non-apply patch");
    }
    let dry_run = dry_run(query.all("dryRun"), &mut errors);
    let field_validation = match query.text("fieldValidation") {
        None | Some("Warn") => FieldValidation::Warn,
        Some("Ignore") => FieldValidation::Ignore,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let path = Path::root("fieldValidation");
            errors.not_supported(&path, other, &["", "Ignore", "Strict", "Warn"]);
            FieldValidation::Warn
        }
    };
    checked(kind, errors)?;
    Ok(WriteOptions {
        dry_run,
        field_manager: Some(manager.map_or_else(|| manager_of(headers), str::to_owned)),
        force: force.unwrap_or(false),
        field_validation,
        warnings: Warnings::collect(),
        ..WriteOptions::default()
    })
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut ErrorList) -> bool {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|value| *value != "All") {
        // As Go shows a list.
        let shown: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
        let shown = format!("[]string{{{}}}", shown.join(", "));
        errors.not_supported(&Path::root("dryRun"), Bare(shown), &["All"]);
    }
    !values.is_empty()
}

/// Who manages fields when a request does not say: the program, as its user agent names it.
fn manager_of(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let program = agent.split('/').next().unwrap_or_default();
    let kept: String = program.chars().filter(|c| !c.is_control()).take(MAX_MANAGER).collect();
    if kept.is_empty() { "unknown".to_owned() } else { kept }
}

/// How a deletion is to be done, by the request's body or, without one, its parameters; and whether
/// it says in the old way that dependents go, too.
///
/// # Errors
/// `BadRequest` and `Invalid`.
pub(crate) fn delete_options(
    query: &Query,
    document: Option<serde_json::Value>,
) -> Result<(DeleteOptions, bool)> {
    let document = match document {
        Some(document) => read_document(document)?,
        None => DeleteDocument {
            dry_run: Some(query.all("dryRun").map(str::to_owned).collect()),
            grace_period_seconds: query.number("gracePeriodSeconds")?,
            orphan_dependents: query.optional_flag("orphanDependents"),
            propagation_policy: query.text("propagationPolicy").map(str::to_owned),
            ..DeleteDocument::default()
        },
    };
    let mut errors = ErrorList::default();
    let dry_run = dry_run(document.dry_run.iter().flatten().map(|value| &**value), &mut errors);
    let policy = document.propagation_policy.as_deref().filter(|policy| !policy.is_empty());
    let path = Path::root("propagationPolicy");
    let mut propagation = None;
    if let Some(policy) = policy {
        propagation = PropagationPolicy::parse(policy);
        if document.orphan_dependents.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors.invalid(&path, policy, why);
        }
        if propagation.is_none() {
            errors.not_supported(&path, policy, &["Foreground", "Background", "Orphan", "nil"]);
        }
    }
    checked("DeleteOptions", errors)?;
    let propagation = propagation.or(document.orphan_dependents.map(|orphan| {
        if orphan { PropagationPolicy::Orphan } else { PropagationPolicy::Background }
    }));
    let cascades = document.orphan_dependents == Some(false);
    let options = DeleteOptions {
        grace_period_seconds: document.grace_period_seconds,
        propagation,
        preconditions: document.preconditions.map(|wanted| Preconditions {
            uid: wanted.uid,
            resource_version: wanted.resource_version,
        }),
        dry_run,
        ..DeleteOptions::default()
    };
    Ok((options, cascades))
}

fn read_document(document: serde_json::Value) -> Result<DeleteDocument> {
    let kind = document["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "DeleteOptions") {
        return Err(ApiError::bad_request("expected an object of kind DeleteOptions"));
    }
    serde_json::from_value(document).map_err(|error| {
        let message = format!(
            "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: {error}"
        );
        ApiError::bad_request(message)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn list_refused(query: &str, watch: bool, expected: &str) {
        let error = list_options(&Query::parse(query), watch).unwrap_err();
        assert_eq!(error.message(), expected, "{query}");
    }

    #[test]
    fn what_a_list_may_not_say_is_refused() {
        list_refused("limit=x", false, "strconv.ParseInt: parsing \"x\": invalid syntax");
        list_refused(
            "resourceVersionMatch=Exact",
            false,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             resourceVersionMatch is forbidden unless resourceVersion is provided",
        );
        list_refused(
            "sendInitialEvents=true",
            true,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
        let match_of_a_watch = "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: \
             Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, \
             resourceVersionMatch: Unsupported value: \"Exact\": supported values: \
             \"NotOlderThan\", resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden \
             when continue is provided]";
        let all = "sendInitialEvents=true&resourceVersionMatch=Exact&continue=x";
        list_refused(all, true, match_of_a_watch);
        assert!(
            list_options(&Query::parse("resourceVersion=&limit=0&labelSelector="), false).is_ok()
        );
    }

    #[test]
    fn options_of_writes_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, "kubectl/v1.36.0 (linux/amd64)".parse().unwrap());
        let read = |query: &str, kind: &str, apply| {
            write_options(&Query::parse(query), &headers, kind, apply)
        };
        let options = read("dryRun=All&fieldValidation=Strict", "CreateOptions", false).unwrap();
        assert!(options.dry_run && options.field_validation == FieldValidation::Strict);
        assert_eq!(options.field_manager.as_deref(), Some("kubectl"));
        let refused = |query: &str, kind: &str, apply: bool, expected: &str| {
            let error = read(query, kind, apply).unwrap_err();
            assert_eq!(error.message(), format!("{kind}.meta.k8s.io \"\" is invalid: {expected}"));
        };
        let message =
            "dryRun: Unsupported value: []string{\"All\", \"x\"}: supported values: \"All\"";
        refused("dryRun=All&dryRun=x", "CreateOptions", false, message);
        let message = "fieldManager: Invalid value: \"a\\nb\": invalid character U+000A (at \
                       position 1)";
        refused("fieldManager=a%0Ab", "CreateOptions", false, message);
        let message = "fieldManager: Required value: is required for apply patch";
        refused("", "PatchOptions", true, message);
        let message = "force: Forbidden: may not be specified for non-apply patch";
        refused("force=true", "PatchOptions", false, message);
    }

    #[test]
    fn the_body_of_a_deletion_wins_over_its_parameters() {
        let query = Query::parse("gracePeriodSeconds=3&propagationPolicy=Orphan");
        let (from_query, _) = delete_options(&query, None).unwrap();
        assert_eq!(from_query.propagation, Some(PropagationPolicy::Orphan));
        let body = json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0, "dryRun": ["All"]});
        let (from_body, _) = delete_options(&query, Some(body)).unwrap();
        assert_eq!((from_body.grace_period_seconds, from_body.dry_run), (Some(0), true));
        assert_eq!(from_body.propagation, None);
        let refused = delete_options(&Query::parse("propagationPolicy=x"), None).unwrap_err();
        let expected = "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
        assert!(refused.message().ends_with(expected), "{refused}");
    }
}
