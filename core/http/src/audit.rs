//! Notes requests over HTTP: what only the front knows of them, and how they end.

use std::sync::Arc;

use http::header::USER_AGENT;
use http::{Response, StatusCode};
use pinnace_api::{ApiError, Result};
use pinnace_server::audit::{AuditAttributes, AuditOrigin, AuditedRequest};
use pinnace_server::{Attributes, Server, User};

use crate::Body;
use crate::front::Asked;

/// Bytes of a program's name and of a path that are noted.
const MAX_AGENT: usize = 1024;

/// A request that is noted, if it is.
pub(crate) struct Noted<'a> {
    id: &'a str,
    request: Option<Arc<AuditedRequest>>,
}

impl<'a> Noted<'a> {
    pub(crate) fn new(id: &'a str) -> Self {
        Self { id, request: None }
    }

    /// Begins, once it is known who asks, or that nobody knows.
    pub(crate) fn begin(&mut self, server: &Server, user: Option<&User>, asked: Asked<'_>) {
        if server.auditor().is_none() {
            return;
        }
        let Asked { parts, info, peer, .. } = asked;
        let attributes = AuditAttributes {
            verb: &info.verb,
            group: &info.group,
            version: &info.version,
            resource: if info.is_resource { &info.resource } else { "" },
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            path: &info.path,
        };
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        self.request = server.audit(user, &attributes, || AuditOrigin {
            id: self.id.to_owned(),
            uri: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            addresses: peer.address.iter().map(|address| address.ip().to_string()).collect(),
            agent: agent.unwrap_or_default().chars().take(MAX_AGENT).collect(),
        });
    }

    /// Notes whom the caller acts as, and what allows that where it is narrow.
    pub(crate) fn acts_as(&self, user: &User, constraint: Option<String>) {
        if let Some(request) = &self.request {
            request.impersonates(user, constraint);
        }
    }

    /// Asks the authorizer, and notes what it says.
    pub(crate) fn check(&self, server: &Server, asked: &Attributes<'_>) -> Result<(), ApiError> {
        server.check_noted(asked, self.request.as_deref())
    }

    pub(crate) fn request(&self) -> Option<Arc<AuditedRequest>> {
        self.request.clone()
    }

    pub(crate) fn answered(&self, answer: &Result<Response<Body>>) {
        if let (Some(request), Err(error)) = (&self.request, answer) {
            request.failed(error);
        }
    }

    /// Notes the answer. One that goes on ends when what is given back is dropped.
    pub(crate) fn end(self, code: StatusCode, long: bool) -> Option<End> {
        let request = self.request?;
        let code = code.as_u16();
        if !long || code >= 400 {
            request.complete(code);
            return None;
        }
        request.started(code);
        Some(End { request, code })
    }
}

/// Notes the end of an answer.
pub(crate) struct End {
    request: Arc<AuditedRequest>,
    code: u16,
}

impl Drop for End {
    fn drop(&mut self) {
        self.request.complete(self.code);
    }
}
