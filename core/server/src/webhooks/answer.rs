use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use pinnace_api::ApiError;
use serde::Deserialize;
use serde_json::Value;

const KIND: &str = "AdmissionReview";
const GROUP: &str = "admission.k8s.io";
/// What an answer to a request that is refused must at least be.
const BAD_REQUEST: i32 = 400;

/// What a webhook has decided.
#[derive(Debug)]
pub(super) struct Verdict {
    allowed: bool,
    status: Option<Status>,
    /// The operations of a JSON patch; `None` for no change.
    pub(super) patch: Option<Vec<u8>>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) warnings: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Review {
    api_version: String,
    kind: String,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

impl Verdict {
    /// Reads the answer to a review, which is believed only if it is one to that very review.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub(super) fn read(
        answer: &Value,
        version: &str,
        uid: &str,
        mutating: bool,
    ) -> Result<Self, String> {
        let unreadable = |why: String| format!("failed to call webhook: {why}");
        let review = Review::deserialize(answer).map_err(|error| unreadable(error.to_string()))?;
        let response = review.checked(version, uid, mutating);
        let response =
            response.map_err(|why| format!("received invalid webhook response: {why}"))?;
        let patch = match response.patch.as_deref().unwrap_or_default() {
            "" => None,
            text => Some(STANDARD.decode(text).map_err(|error| {
                unreadable(format!("illegal base64 data in response.patch: {error}"))
            })?),
        };
        let type_ = response.patch_type.filter(|type_| type_ != "JSONPatch");
        if let (Some(type_), true) = (type_, patch.is_some()) {
            return Err(format!("unsupported patch type {type_:?}"));
        }
        Ok(Self {
            allowed: response.allowed,
            status: response.status,
            patch,
            annotations: response.audit_annotations.unwrap_or_default(),
            warnings: response.warnings.unwrap_or_default(),
        })
    }

    /// What a request is answered that the webhook does not let through; `None` for one that it does.
    pub(super) fn refusal(&self, hook: &str) -> Option<ApiError> {
        if self.allowed {
            return None;
        }
        let mut status = self.status.clone().unwrap_or_default();
        status.code = status.code.filter(|code| *code >= BAD_REQUEST).or(Some(BAD_REQUEST));
        let denied = format!("admission webhook {hook:?} denied the request");
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        status.message = Some(match text(&status.message).or_else(|| text(&status.reason)) {
            Some(why) => format!("{denied}: {why}"),
            None => format!("{denied} without explanation"),
        });
        Some(ApiError::from_status(status))
    }
}

impl Review {
    /// The response, if it is one to the review that was asked for.
    fn checked(self, version: &str, uid: &str, mutating: bool) -> Result<Response, String> {
        let strict = version == "v1";
        let response = self.response.ok_or("webhook response was absent")?;
        if strict && response.uid != uid {
            return Err(format!("expected response.uid={uid:?}, got {:?}", response.uid));
        }
        let is = (self.api_version.as_str(), self.kind.as_str());
        let says_nothing = !strict && is == ("", "");
        if is != (&*format!("{GROUP}/{version}"), KIND) && !says_nothing {
            let (api_version, kind) = is;
            let api_version = if api_version.is_empty() { "/" } else { api_version };
            return Err(format!(
                "expected webhook response of {GROUP}/{version}, Kind={KIND}, got {api_version}, \
                 Kind={kind}"
            ));
        }
        let has_patch = response.patch.as_ref().is_some_and(|patch| !patch.is_empty());
        let why = match (mutating, has_patch, response.patch_type.as_deref()) {
            (false, true, _) => "validating webhook may not return response.patch",
            (false, _, Some(_)) => "validating webhook may not return response.patchType",
            (true, true, None) if strict => {
                "webhook returned response.patch but not response.patchType"
            }
            (true, false, Some(_)) if strict => {
                "webhook returned response.patchType but not response.patch"
            }
            (true, true, Some("")) => "webhook returned invalid response.patchType of \"\"",
            _ => return Ok(response),
        };
        Err(why.to_owned())
    }
}
