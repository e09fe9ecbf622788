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
        let review = Review::deserialize(answer).map_err(|error| error.to_string())?;
        let response = review.response.ok_or("webhook response was absent")?;
        if response.uid != uid && version == "v1" {
            return Err(format!("expected response.uid={uid:?}, got {:?}", response.uid));
        }
        let is = (review.api_version.as_str(), review.kind.as_str());
        if is != (&*format!("{GROUP}/{version}"), KIND) && (version == "v1" || is != ("", "")) {
            let (api_version, kind) = is;
            let api_version = if api_version.is_empty() { "/" } else { api_version };
            return Err(format!(
                "expected webhook response of {GROUP}/{version}, Kind={KIND}, got {api_version}, \
                 Kind={kind}"
            ));
        }
        let patch = match (mutating, response.patch, response.patch_type) {
            (false, Some(patch), _) if !patch.is_empty() => {
                return Err("validating webhook may not return response.patch".to_owned());
            }
            (false, _, Some(_)) => {
                return Err("validating webhook may not return response.patchType".to_owned());
            }
            (false, ..) => None,
            (true, patch, type_) => patch_of(patch.unwrap_or_default(), type_, version)?,
        };
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

fn patch_of(
    patch: String,
    type_: Option<String>,
    version: &str,
) -> Result<Option<Vec<u8>>, String> {
    if version == "v1" {
        match (patch.is_empty(), &type_) {
            (false, None) => {
                return Err("webhook returned response.patch but not response.patchType".to_owned());
            }
            (true, Some(_)) => {
                return Err("webhook returned response.patchType but not response.patch".to_owned());
            }
            (false, Some(type_)) if type_.is_empty() => {
                return Err("webhook returned invalid response.patchType of \"\"".to_owned());
            }
            _ => {}
        }
    }
    if patch.is_empty() {
        return Ok(None);
    }
    if let Some(type_) = type_.filter(|type_| type_ != "JSONPatch") {
        return Err(format!("unsupported patch type {type_:?}"));
    }
    let decoded = STANDARD.decode(patch.as_bytes());
    decoded.map(Some).map_err(|error| format!("illegal base64 data in response.patch: {error}"))
}
