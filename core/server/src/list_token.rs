use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pinnace_api::{ApiError, Key, Result};
use serde::{Deserialize, Serialize};

/// Where a list that was cut by its limit goes on: the revision it shows, or else the one there is
/// now, and its last object.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListToken {
    #[serde(rename = "v")]
    form: String,
    #[serde(rename = "rv")]
    pub(crate) revision: Option<u64>,
    #[serde(rename = "ns")]
    namespace: String,
    #[serde(rename = "start")]
    name: String,
}

const FORM: &str = "pinnace/v1";

impl ListToken {
    pub(crate) fn new(revision: Option<u64>, last: &Key) -> Self {
        Self {
            form: FORM.to_owned(),
            revision,
            namespace: last.namespace().to_owned(),
            name: last.name().to_owned(),
        }
    }

    /// The last object that was given.
    pub(crate) fn last(&self) -> Key {
        Key::new(self.namespace.as_str(), self.name.as_str())
    }

    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn decode(text: &str) -> Result<Self> {
        let token = URL_SAFE_NO_PAD.decode(text).ok();
        let token = token.and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        token
            .filter(|token| token.form == FORM)
            .ok_or_else(|| ApiError::bad_request("continue key is not valid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_and_garbage_does_not() {
        for revision in [Some(7), None] {
            let token = ListToken::new(revision, &Key::new("default", "a"));
            assert_eq!(ListToken::decode(&token.encode()).unwrap(), token);
        }
        for garbage in ["", "!", "e30", &URL_SAFE_NO_PAD.encode("{\"v\":\"x\"}")] {
            assert!(ListToken::decode(garbage).is_err(), "{garbage}");
        }
    }
}
