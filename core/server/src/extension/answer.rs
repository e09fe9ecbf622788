use serde_json::Value;

use super::ExtensionAnswer;

/// How much of an answer that is an error is repeated, in bytes.
const MAX_REPEATED: usize = 2048;

impl ExtensionAnswer {
    /// The document that was answered.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub(super) fn document(&self) -> Result<Value, String> {
        if !(200..300).contains(&self.status) {
            return Err(self.failure());
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("couldn't decode the answer as JSON: {error}"))
    }

    /// What a status code means that is not that of a success.
    fn failure(&self) -> String {
        let status = serde_json::from_slice::<Value>(&self.body).ok();
        let status = status.filter(|status| status["kind"] == "Status");
        if let Some(message) = status.as_ref().and_then(|status| status["message"].as_str()) {
            return message.to_owned();
        }
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(MAX_REPEATED)]);
        let text = match text.trim() {
            "" => "unknown",
            text => text,
        };
        match self.status {
            400 => "the server rejected our request for an unknown reason".to_owned(),
            401 => "the server has asked for the client to provide credentials".to_owned(),
            403 | 406 | 415 => text.to_owned(),
            404 => "the server could not find the requested resource".to_owned(),
            405 => "the server does not allow this method on the requested resource".to_owned(),
            409 => "the server reported a conflict".to_owned(),
            422 => "the server rejected our request due to an error in our request".to_owned(),
            429 => "the server has received too many requests and has asked us to try again later"
                .to_owned(),
            503 => "the server is currently unable to handle the request".to_owned(),
            504 => {
                "the server was unable to return a response in the time allotted, but may still \
                    be processing the request"
                    .to_owned()
            }
            500.. => format!(
                "an error on the server ({text:?}) has prevented the request from succeeding"
            ),
            code => format!(
                "the server responded with the status code {code} but did not return more \
                 information"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_documents_or_say_why_not() {
        let answer = |status, body: &'static str| {
            ExtensionAnswer { status, body: body.as_bytes().into() }.document()
        };
        assert_eq!(answer(200, "{\"a\":1}").unwrap()["a"], 1);
        assert!(answer(200, "<html>").unwrap_err().starts_with("couldn't decode"));
        for (status, body, expected) in [
            (404, "404 page not found", "the server could not find the requested resource"),
            (
                302,
                "",
                "the server responded with the status code 302 but did not return more information",
            ),
            (
                500,
                "oops",
                "an error on the server (\"oops\") has prevented the request from succeeding",
            ),
            (500, "{\"kind\":\"Status\",\"message\":\"sorry\"}", "sorry"),
            (403, " no ", "no"),
        ] {
            assert_eq!(answer(status, body).unwrap_err(), expected);
        }
    }
}
