//! Versions of a kind that somebody outside converts into each other: what they are asked, and what
//! of their answer is believed.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::field::{ErrorList, Path};
use crate::kinds::metadata;
use crate::{AnyStrategy, Draft, DynamicObject, Object};

const REVIEW: &str = "ConversionReview";
const GROUP: &str = "apiextensions.k8s.io";

type Labels = BTreeMap<String, String>;

/// Who converts the objects of a kind, which are stored as one of its versions.
#[derive(Clone, Debug)]
pub struct ConversionWebhook {
    /// Where it is found.
    pub client: WebhookClientConfig,
    /// `apiVersion` of what is stored from now on; what was stored earlier may have another.
    pub stored: String,
    kind: String,
    list_kind: String,
    /// The first version of reviews that both sides know.
    version: Option<&'static str>,
}

/// What objects are to become.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// `apiVersion`.
    pub api_version: &'a str,
    /// Whether they are a list.
    pub list: bool,
}

impl ConversionWebhook {
    /// The webhook of a definition, if it has one.
    pub(super) fn of(definition: &CustomResourceDefinition, stored: &str) -> Option<Self> {
        let spec = &definition.spec;
        let conversion = spec.conversion.as_ref().filter(|one| one.strategy == "Webhook")?;
        let webhook = conversion.webhook.as_ref()?;
        let kind = spec.names.kind.clone();
        let versions = webhook.conversion_review_versions.iter();
        Some(Self {
            client: webhook.client_config.clone()?,
            stored: format!("{}/{stored}", spec.group),
            list_kind: spec.names.list_kind.clone().unwrap_or_else(|| format!("{kind}List")),
            kind,
            version: versions.into_iter().find_map(|version| match version.as_str() {
                "v1" => Some("v1"),
                "v1beta1" => Some("v1beta1"),
                _ => None,
            }),
        })
    }

    /// The document that asks for a conversion.
    ///
    /// # Errors
    /// When the webhook takes no reviews that are known here.
    pub fn review(&self, uid: &str, objects: &[Value], to: Desired<'_>) -> Result<Value, String> {
        let version = self.version.ok_or("no supported conversion review versions")?;
        Ok(json!({
            "apiVersion": format!("{GROUP}/{version}"),
            "kind": REVIEW,
            "request": {"uid": uid, "desiredAPIVersion": to.api_version, "objects": objects},
        }))
    }

    /// What to say when no answer is had, or one that says no.
    pub fn failed(&self, from: &str, to: Desired<'_>, why: &str) -> String {
        format!("{} failed: {why}", self.about(from, to))
    }

    fn about(&self, from: &str, to: Desired<'_>) -> String {
        let kind = if to.list { &self.list_kind } else { &self.kind };
        format!("conversion webhook for {from}, Kind={kind}")
    }

    /// The objects of an answer, in the order in which they were asked for.
    ///
    /// # Errors
    /// What is wrong with the answer, in upstream's words.
    pub fn converted(
        &self,
        mut answer: Value,
        uid: &str,
        count: usize,
        from: &str,
        to: Desired<'_>,
    ) -> Result<Vec<Value>, String> {
        let failed = |why: &str| self.failed(from, to, why);
        self.check(&answer, uid).map_err(|why| failed(&why))?;
        let found = match answer["response"]["convertedObjects"].take() {
            Value::Array(found) => found,
            _ => Vec::new(),
        };
        if found.len() != count {
            let about = self.about(from, to);
            return Err(format!("{about} returned {} objects, expected {count}", found.len()));
        }
        Ok(found)
    }

    fn check(&self, answer: &Value, uid: &str) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let response = &answer["response"];
        if self.version == Some("v1") {
            let (api_version, kind) = (text(&answer["apiVersion"]), text(&answer["kind"]));
            let expected = format!("{GROUP}/v1");
            if (&*api_version, &*kind) != (&*expected, REVIEW) {
                let got = if api_version.is_empty() { "/" } else { &api_version };
                return Err(format!(
                    "expected webhook response of {expected}, Kind={REVIEW}, got {got}, Kind={kind}"
                ));
            }
        }
        if !response.is_object() {
            return Err("no response provided".to_owned());
        }
        let answered = text(&response["uid"]);
        if self.version == Some("v1") && answered != uid {
            return Err(format!("expected response.uid={uid:?}, got {answered:?}"));
        }
        let result = &response["result"];
        let status = text(&result["status"]);
        match (status.as_str(), result["message"].as_str().filter(|text| !text.is_empty())) {
            ("Success", _) => Ok(()),
            (_, Some(message)) => Err(message.to_owned()),
            (status, None) => Err(format!("response.result.status was '{status}', not 'Success'")),
        }
    }

    /// An object as it was converted: all metadata but labels and annotations stays what it was.
    /// The strategy of the version that is wanted drops what that does not have, and fills it in.
    ///
    /// # Errors
    /// What is wrong with what it was converted to, in upstream's words.
    pub fn object(
        &self,
        original: &Object,
        converted: Value,
        index: usize,
        to: Desired<'_>,
        strategy: &dyn AnyStrategy,
    ) -> Result<Object, String> {
        let before = original.get::<DynamicObject>().map_err(|error| error.to_string())?;
        let mut after = Draft::new(self.take(before, converted, index, to)?);
        strategy.default(&mut after);
        let after = after.get::<DynamicObject>().ok_or("it is of another kind")?.clone();
        original.view(|_: &DynamicObject| Ok(after)).map_err(|error| error.to_string())
    }

    /// As [`ConversionWebhook::object`], for what is about to be stored.
    ///
    /// # Errors
    /// As there.
    pub fn draft(
        &self,
        original: Draft,
        converted: Value,
        to: Desired<'_>,
    ) -> Result<Draft, String> {
        let before = original.get::<DynamicObject>().ok_or("it is of another kind")?;
        let after = self.take(before, converted, 0, to)?;
        original.try_map(|_: DynamicObject| Ok(after)).map_err(|error| error.to_string())
    }

    fn take(
        &self,
        before: &DynamicObject,
        converted: Value,
        index: usize,
        to: Desired<'_>,
    ) -> Result<DynamicObject, String> {
        let about = self.about(&before.api_version, to);
        let at = match to.list {
            true => format!("invalid converted object at index {index}"),
            false => "invalid object at index 0".to_owned(),
        };
        let invalid = |why: String| format!("{about} returned {at}: {why}");
        if !converted["metadata"].is_object() {
            let why = "missing metadata in converted object";
            return Err(format!("{about} returned invalid metadata: {why}"));
        }
        let mut after: DynamicObject =
            serde_json::from_value(converted).map_err(|error| invalid(error.to_string()))?;
        if after.api_version != to.api_version {
            return Err(invalid(format!(
                "invalid groupVersion (expected {}, received {})",
                to.api_version, after.api_version
            )));
        }
        if after.kind != before.kind {
            return Err(invalid(format!(
                "invalid kind (expected {}, received {})",
                before.kind, after.kind
            )));
        }
        check_same(&before.metadata, &after.metadata).map_err(|why| match to.list {
            true => invalid(why),
            false => format!("{about} returned invalid object: {why}"),
        })?;
        let (labels, annotations) =
            (after.metadata.labels.take(), after.metadata.annotations.take());
        check_texts(&before.metadata, labels.as_ref(), annotations.as_ref())
            .map_err(|why| format!("{about} returned invalid metadata: {why}"))?;
        after.metadata.clone_from(&before.metadata);
        after.metadata.labels = labels;
        after.metadata.annotations = annotations;
        Ok(after)
    }
}

fn check_same(before: &ObjectMeta, after: &ObjectMeta) -> Result<(), String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    for (what, before, after) in [
        ("name", &before.name, &after.name),
        ("namespace", &before.namespace, &after.namespace),
        ("UID", &before.uid, &after.uid),
    ] {
        if text(before) != text(after) {
            let (before, after) = (text(before), text(after));
            return Err(format!("must have the same {what}: {before} != {after}"));
        }
    }
    Ok(())
}

/// Checks what a webhook may change of an object's metadata, where it does.
fn check_texts(
    before: &ObjectMeta,
    labels: Option<&Labels>,
    annotations: Option<&Labels>,
) -> Result<(), String> {
    let mut errors = ErrorList::default();
    let path = Path::root("metadata");
    if labels != before.labels.as_ref() {
        metadata::labels(labels.into_iter().flatten(), &path.child("labels"), &mut errors);
    }
    if annotations != before.annotations.as_ref() {
        let at = path.child("annotation");
        metadata::annotations(annotations.into_iter().flatten(), &at, &mut errors);
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}
