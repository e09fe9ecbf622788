use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WARNING,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use pinnace_api::ApiError;

use crate::Body;
use crate::encoding::{self, Accepted, Encoding};

pub(crate) const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
pub(crate) const JSON: &str = "application/json";

/// An answer with a body of a media type.
pub(crate) fn reply(status: StatusCode, media_type: &str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(media_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// A text for people.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    reply(status, "text/plain; charset=utf-8", text.into())
}

/// The answer to a path where nothing is.
pub(crate) fn no_such_page() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// The answer to what finds no seat: as upstream's it is no `Status`, for making one is work.
pub(crate) fn too_many() -> Response<Body> {
    let said = "Too many requests, please try again later.\n";
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, said);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A value as JSON.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(mut json) => {
            json.push(b'\n');
            reply(status, JSON, json)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("encoding: {error}\n")),
    }
}

/// A document that anybody may keep for an hour.
pub(crate) fn shared(media_type: &str, value: &serde_json::Value) -> Response<bytes::Bytes> {
    let mut response = Response::new(value.to_string().into());
    let headers = response.headers_mut();
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        headers.insert(CONTENT_TYPE, media_type);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

/// An error as a `Status`, in the encoding that the client takes.
pub(crate) fn failure(error: &ApiError, accepted: Accepted) -> Response<Body> {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let status = error.to_status();
    let encoded = match accepted.encoding {
        Encoding::Json if !accepted.pretty => None,
        _ => serde_json::to_value(&status)
            .ok()
            .and_then(|status| encoding::value(code, &status, accepted).ok()),
    };
    let mut response = encoded.unwrap_or_else(|| json(code, &status));
    let wait = error.details().and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Adds what every answer carries.
pub(crate) fn finish(response: &mut Response<Body>, audit_id: &str, warnings: Vec<String>) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(audit_id) {
        headers.insert(AUDIT_ID, value);
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_str(&warning_value(&warning)) {
            headers.append(WARNING, value);
        }
    }
}

/// A warning in the form of RFC 7234, section 5.5, as upstream sends it: code 299, no agent.
fn warning_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len() + 8);
    value.push_str("299 - \"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                value.push('\\');
                value.push(character);
            }
            // Nothing that could end the header.
            character if character.is_control() => value.push(' '),
            character => value.push(character),
        }
    }
    value.push('"');
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted() {
        assert_eq!(warning_value("unknown field \"a\"\n"), "299 - \"unknown field \\\"a\\\" \"");
    }

    #[test]
    fn failures_carry_when_to_come_back() {
        let error = ApiError::too_many_requests("later", std::time::Duration::from_secs(3));
        let response = failure(&error, Accepted::JSON);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "3");
    }
}
