use http::Method;
use percent_encoding::percent_decode_str;
use pinnace_api::{ApiError, Result};

use super::Query;

/// What a request is about, by its path and method: upstream's `RequestInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// The path, decoded.
    pub(crate) path: String,
    /// Whether it is about objects.
    pub(crate) is_resource: bool,
    /// The verb of the API for objects; else the method in lower case.
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// What stands behind the subresource: a path within a proxied server.
    pub(crate) rest: Option<String>,
    /// A path of the old form `/api/v1/watch/…`.
    pub(crate) legacy_watch: bool,
}

impl RequestInfo {
    /// Reads path and method.
    ///
    /// # Errors
    /// `BadRequest` for a path that is not UTF-8 or that names no kind.
    pub(crate) fn read(method: &Method, raw_path: &str, query: &Query) -> Result<Self> {
        let path = percent_decode_str(raw_path)
            .decode_utf8()
            .map_err(|_| ApiError::bad_request("the path is not UTF-8"))?
            .into_owned();
        let mut info = Self { verb: method.as_str().to_ascii_lowercase(), ..Self::default() };
        let trimmed = path.trim_matches('/');
        let mut parts: &[&str] = &trimmed.split('/').collect::<Vec<_>>();
        match parts {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                info.version = (*version).to_owned();
                parts = rest;
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                info.group = (*group).to_owned();
                info.version = (*version).to_owned();
                parts = rest;
            }
            _ => {
                info.path = path;
                return Ok(info);
            }
        }
        info.is_resource = true;
        info.verb = verb_of(method).to_owned();
        if let ["watch", rest @ ..] = parts {
            if rest.is_empty() {
                return Err(ApiError::bad_request(format!(
                    "unable to determine kind and namespace from url, {raw_path}"
                )));
            }
            info.legacy_watch = true;
            "watch".clone_into(&mut info.verb);
            parts = rest;
        }
        if let ["namespaces", namespace, rest @ ..] = parts {
            info.namespace = (*namespace).to_owned();
            if !matches!(rest, [] | ["status" | "finalize", ..]) {
                parts = rest;
            }
        }
        let mut parts = parts.iter().map(|part| (*part).to_owned());
        info.resource = parts.next().unwrap_or_default();
        info.name = parts.next().unwrap_or_default();
        info.subresource = parts.next().unwrap_or_default();
        info.rest = parts.next().map(|first| {
            let mut rest = format!("/{first}");
            for part in parts {
                rest.push('/');
                rest.push_str(&part);
            }
            if path.ends_with('/') {
                rest.push('/');
            }
            rest
        });
        if info.name.is_empty() {
            match &*info.verb {
                "get" if query.flag("watch") => "watch".clone_into(&mut info.verb),
                "get" => "list".clone_into(&mut info.verb),
                "delete" => "deletecollection".clone_into(&mut info.verb),
                _ => {}
            }
        }
        // A list of one object by its name is allowed to whoever may list that one.
        if matches!(&*info.verb, "list" | "watch" | "deletecollection") && info.name.is_empty() {
            info.name = name_in_selector(query).unwrap_or_default();
        }
        info.path = path;
        Ok(info)
    }

    /// The namespace of the objects: a namespace itself is in none, though its path names it.
    pub(crate) fn namespace_of_objects(&self) -> &str {
        if self.resource == "namespaces" && self.group.is_empty() { "" } else { &self.namespace }
    }

    /// Checks that namespace and name can be such.
    ///
    /// # Errors
    /// `BadRequest`, in upstream's words.
    pub(crate) fn check_segments(&self) -> Result<()> {
        let name = segment_problem(&self.name);
        if let Some(problem) = name {
            let name = &self.name;
            return Err(ApiError::bad_request(format!(
                "Name parameter invalid: {name:?}: {problem}"
            )));
        }
        if let Some(problem) = segment_problem(&self.namespace) {
            let namespace = &self.namespace;
            let message = format!("Namespace parameter invalid: {namespace:?}: {problem}");
            return Err(ApiError::bad_request(message));
        }
        Ok(())
    }
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// The name that a field selector asks for, if it can be one.
fn name_in_selector(query: &Query) -> Option<String> {
    let text = query.get("fieldSelector")?;
    let selector = pinnace_api::selector::FieldSelector::parse(text).ok()?;
    let name = selector.requires("metadata.name")?;
    (segment_problem(name).is_none()).then(|| name.to_owned())
}

fn segment_problem(segment: &str) -> Option<String> {
    if matches!(segment, "." | "..") {
        return Some(format!("may not be '{segment}'"));
    }
    ['/', '%']
        .into_iter()
        .find(|one| segment.contains(*one))
        .map(|one| format!("may not contain '{one}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, expected: &str) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let info = RequestInfo::read(&method, path, &Query::parse(query)).unwrap();
        let RequestInfo { verb, group, version, namespace, resource, name, subresource, .. } =
            &info;
        let rest = info.rest.as_deref().unwrap_or_default();
        let text = if info.is_resource {
            format!("{verb} {group}/{version} {namespace} {resource} {name} {subresource} {rest}")
        } else {
            format!("{verb} {}", info.path)
        };
        assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn paths_and_methods_tell_what_is_wanted() {
        check(Method::GET, "/", "get /");
        check(Method::GET, "/api/v1", "get /api/v1");
        check(Method::GET, "/apis/apps/v1/", "get /apis/apps/v1/");
        check(Method::GET, "/api/v1/pods", "list /v1 pods");
        check(Method::GET, "/api/v1/pods/?watch=1", "watch /v1 pods");
        check(Method::GET, "/api/v1/pods?watch=false", "list /v1 pods");
        check(Method::HEAD, "/api/v1/namespaces", "list /v1 namespaces");
        check(Method::GET, "/api/v1/namespaces/a", "get /v1 a namespaces a");
        check(Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 a namespaces a finalize");
        check(Method::DELETE, "/api/v1/namespaces/a/pods", "deletecollection /v1 a pods");
        check(Method::DELETE, "/api/v1/namespaces/a/pods/b", "delete /v1 a pods b");
        check(Method::GET, "/api/v1/watch/namespaces/a/pods", "watch /v1 a pods");
        check(Method::GET, "/api/v1/watch/namespaces/a/pods/b", "watch /v1 a pods b");
        check(
            Method::PATCH,
            "/apis/apps/v1/namespaces/a/deployments/b/scale",
            "patch apps/v1 a deployments b scale",
        );
        check(
            Method::GET,
            "/api/v1/namespaces/a/services/b:80/proxy/x/y",
            "get /v1 a services b:80 proxy /x/y",
        );
        check(Method::GET, "/api/v1/pods?fieldSelector=metadata.name%3Db", "list /v1 pods b");
        check(Method::OPTIONS, "/api/v1/pods", "/v1 pods");
    }

    #[test]
    fn names_cannot_climb() {
        for (path, problem) in [
            ("/api/v1/namespaces/a/pods/..", "Name parameter invalid: \"..\": may not be '..'"),
            (
                "/api/v1/namespaces/a/pods/b%25",
                "Name parameter invalid: \"b%\": may not contain '%'",
            ),
            (
                "/api/v1/namespaces/../pods/b",
                "Namespace parameter invalid: \"..\": may not be '..'",
            ),
        ] {
            let info = RequestInfo::read(&Method::GET, path, &Query::parse("")).unwrap();
            assert_eq!(info.check_segments().unwrap_err().message(), problem);
        }
        assert!(RequestInfo::read(&Method::GET, "/api/v1/watch", &Query::parse("")).is_err());
        assert!(RequestInfo::read(&Method::GET, "/%ff", &Query::parse("")).is_err());
    }
}
