//! `proxy`: HTTP to what a pod, a service or a node listens with.

mod forward;
mod insecure;
mod location;

pub(crate) use forward::{join, remove_hop_by_hop};
pub(crate) use insecure::Anybody;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use pinnace_api::{ApiError, Reason, Result};

use super::Connect;
use crate::handlers::method_not_allowed;
use crate::response::reply;
use crate::{Body, RequestBody};

/// The parts of a name in the form `[scheme:]name[:port]`.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    secure: bool,
    name: &'a str,
    /// A number, a name, or nothing.
    port: &'a str,
}

impl<'a> Target<'a> {
    /// Reads such a name; `kind` is for the error.
    ///
    /// # Errors
    /// `BadRequest`.
    fn parse(kind: &str, id: &'a str) -> Result<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => ("", "", ""),
        };
        if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
            return Err(ApiError::bad_request(format!("invalid {kind} request {id:?}")));
        }
        Ok(Self { secure: scheme == "https", name, port })
    }

    /// The port as a number, where it is one.
    fn number(&self) -> Option<u16> {
        self.port.parse().ok().filter(|port| *port > 0)
    }

    /// The port of a scheme that names none.
    fn usual_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

/// What is behind the word `proxy` in the path of a request, as it came: what is proxied to may
/// tell `%2F` from `/`.
fn path_below(raw_path: &str, namespaced: bool) -> &str {
    // `/api/v1/namespaces/NAMESPACE/pods/NAME/proxy` and `/api/v1/nodes/NAME/proxy`.
    let segments = if namespaced { 7 } else { 5 };
    raw_path.match_indices('/').nth(segments).map_or("", |(index, _)| &raw_path[index..])
}

/// The answer when what is behind the proxy is not reached.
fn unreachable(why: impl std::fmt::Display) -> ApiError {
    let message = format!("error trying to reach service: {why}");
    ApiError::new(Reason::ServiceUnavailable, message)
}

impl Connect<'_> {
    pub(super) async fn proxy(
        &self,
        parts: &Parts,
        body: RequestBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>> {
        let path = path_below(parts.uri.path(), self.resource.is_namespaced());
        if let Some(page) = self.page_of_node(parts, path).await? {
            return Ok(page);
        }
        let upstream = self.locate()?;
        let upgrade = upgrade.filter(|_| super::asks_for_upgrade(self.headers));
        if path.is_empty() && upgrade.is_none() {
            return to_slash(parts);
        }
        let path = match (path, parts.uri.query()) {
            ("", query) => format!("/?{}", query.unwrap_or_default()),
            (path, None) => path.to_owned(),
            (path, Some(query)) => format!("{path}?{query}"),
        };
        self.forward(&upstream, parts, &path, body, upgrade).await
    }
}

impl Connect<'_> {
    /// The answer of a node's agent that is not reached by its address; `None` where it is.
    async fn page_of_node(&self, parts: &Parts, path: &str) -> Result<Option<Response<Body>>> {
        if &*self.resource.plural != "nodes" || path.is_empty() {
            return Ok(None);
        }
        let target = Target::parse("node", &self.info.name)?;
        let Some(node) = self.agent(&target)? else { return Ok(None) };
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(method_not_allowed());
        }
        let path = match parts.uri.query() {
            None => path.to_owned(),
            Some(query) => format!("{path}?{query}"),
        };
        Ok(Some(match node.document(&path).await? {
            Some(page) => reply(StatusCode::OK, &page.media_type, page.body),
            None => {
                let text = "text/plain; charset=utf-8";
                reply(StatusCode::NOT_FOUND, text, Bytes::from_static(b"404 page not found\n"))
            }
        }))
    }
}

/// Links of a page are relative to its path, so a root needs its slash.
fn to_slash(parts: &Parts) -> Result<Response<Body>> {
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}/{query}", parts.uri.path());
    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = HeaderValue::from_str(&location).map_err(ApiError::internal)?;
    response.headers_mut().insert(http::header::LOCATION, location);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_schemes_and_ports() {
        let check = |id, secure, name, port| {
            assert_eq!(Target::parse("pod", id).unwrap(), Target { secure, name, port }, "{id}");
        };
        check("a", false, "a", "");
        check("a:80", false, "a", "80");
        check("https:a:", true, "a", "");
        check("http:a:web", false, "a", "web");
        for id in ["ftp:a:1", "a:b:c:d", ":80"] {
            let error = Target::parse("pod", id).unwrap_err();
            assert_eq!(error.message(), format!("invalid pod request {id:?}"));
        }
    }

    #[test]
    fn paths_stay_as_they_came() {
        let check = |path, namespaced, below| assert_eq!(path_below(path, namespaced), below);
        check("/api/v1/namespaces/a/pods/b:80/proxy", true, "");
        check("/api/v1/namespaces/a/pods/b:80/proxy/", true, "/");
        check("/api/v1/namespaces/a/pods/b/proxy/x%2Fy//z", true, "/x%2Fy//z");
        check("/api/v1/nodes/n:10250/proxy/logs/", false, "/logs/");
    }
}
