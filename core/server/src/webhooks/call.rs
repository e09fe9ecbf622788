use pinnace_api::{ApiError, Reason, Resource, Result};
use serde_json::{Value, json};

use super::answer::Verdict;
use super::{EXEMPT_GROUP, Failure, Hook};
use crate::Server;
use crate::matching::name_of;
use crate::reviews::user_info;
use crate::write::Write;

/// What a webhook sees of a write.
pub(super) struct Shown<'a> {
    /// The version in which it sees it.
    pub(super) version: &'a Resource,
    pub(super) object: &'a Value,
    pub(super) old: &'a Value,
}

impl Server {
    /// Asks a webhook, and tells what it says beside its verdict.
    pub(super) async fn ask(
        &self,
        hook: &Hook,
        write: &Write<'_>,
        shown: Shown<'_>,
        mutating: bool,
    ) -> Result<Verdict, Failure> {
        if write.options.dry_run() && !hook.takes_dry_runs {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Failure::Broken(ApiError::new(Reason::BadRequest, why)));
        }
        let version = hook.version.ok_or_else(|| {
            let why = "could not create admission objects: webhook does not accept known \
                       AdmissionReview versions (v1, v1beta1)";
            Failure::Calling(why.to_owned())
        })?;
        let uid = self.env().random().uid();
        let review = review(version, &uid, write, shown)?;
        let answered = self.call_extension(&hook.client, &review, hook.timeout, true).await;
        let answered =
            answered.map_err(|why| Failure::Calling(format!("failed to call webhook: {why}")))?;
        let verdict = Verdict::read(&answered, version, &uid, mutating);
        let verdict = verdict.map_err(Failure::Calling)?;
        let annotations = write.options.annotations();
        for (key, value) in &verdict.annotations {
            annotations.add(format!("{}/{key}", hook.name), value);
        }
        for warning in &verdict.warnings {
            write.options.warnings().add(warning);
        }
        match verdict.refusal(&hook.name) {
            Some(refusal) => Err(Failure::Refused(refusal)),
            None => Ok(verdict),
        }
    }
}

/// Whether no webhook is asked about a write.
pub(crate) fn is_exempt(write: &Write<'_>) -> bool {
    write.resource.group == EXEMPT_GROUP
}

/// What is answered when a webhook has not let a request through.
pub(super) fn failed(hook: &Hook, failure: Failure) -> ApiError {
    match failure {
        Failure::Refused(error) | Failure::Broken(error) => error,
        Failure::Calling(why) => {
            ApiError::internal(format!("failed calling webhook {:?}: {why}", hook.name))
        }
    }
}

fn review(version: &str, uid: &str, write: &Write<'_>, shown: Shown<'_>) -> Result<Value> {
    let mut request = request(write, shown.version, shown.object)?;
    request["uid"] = uid.into();
    request["object"] = shown.object.clone();
    request["oldObject"] = shown.old.clone();
    Ok(json!({
        "apiVersion": format!("admission.k8s.io/{version}"),
        "kind": "AdmissionReview",
        "request": request,
    }))
}

/// What is asked, but for the objects: `object` is what is written, in the version in which it is
/// shown.
///
/// # Errors
/// What writing it down says.
pub(crate) fn request(write: &Write<'_>, about: &Resource, object: &Value) -> Result<Value> {
    let asked = write.resource;
    let resource = |of: &Resource| json!({"group": &*of.group, "version": &*of.version, "resource": &*of.plural});
    let kind =
        |of: &Resource| json!({"group": &*of.group, "version": &*of.version, "kind": &*of.kind});
    // What is said about an object has a kind of its own, the same in all versions.
    let other = |value: &Value| {
        let api_version = value["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        json!({"group": group, "version": version, "kind": value["kind"]})
    };
    let whole = write.is_whole();
    let namespace = match write.key.namespace() {
        // Requests about a namespace are in it.
        "" if asked.group.is_empty() && asked.plural == "namespaces" => write.key.name(),
        namespace => namespace,
    };
    let mut request = json!({
        "kind": if whole { kind(about) } else { other(object) },
        "resource": resource(about),
        "requestKind": if whole { kind(asked) } else { other(object) },
        "requestResource": resource(asked),
        "operation": name_of(write.operation),
        "userInfo": serde_json::to_value(user_info(write.user)).map_err(ApiError::internal)?,
        "dryRun": write.options.dry_run(),
        "options": write.options.document(write.operation),
    });
    let texts = [
        ("subResource", write.part),
        ("requestSubResource", write.part),
        ("name", write.key.name()),
        ("namespace", namespace),
    ];
    for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        request[field] = text.into();
    }
    Ok(request)
}
