//! What is done about objects: from a request to the pipeline and back to an answer.

mod read;
mod watch;
mod write;

use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, Response};
use hyper::upgrade::OnUpgrade;
use pinnace_api::schema::TypeRef;
use pinnace_api::{ApiError, Key, Reason, Resource, Result, Subresource, protobuf};
use pinnace_client::{Target, Warnings};
use pinnace_server::{InProcess, Server};

use crate::authentication::Peer;
use crate::encoding::{Accepted, Can, Encoding, View};
use crate::request::{Query, RequestInfo};
use crate::{Body, RequestBody};

/// A request about objects of a kind, from somebody who may make it.
pub(crate) struct Call<'a> {
    pub(crate) server: &'a Server,
    /// Acts for the caller.
    pub(crate) api: InProcess,
    pub(crate) info: &'a RequestInfo,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: &'a Peer,
    pub(crate) resource: Arc<Resource>,
    /// What the answer says beside its result.
    pub(crate) warnings: &'a Warnings,
}

impl Call<'_> {
    /// Does what the request asks.
    ///
    /// # Errors
    /// Those of the API.
    pub(crate) async fn run(
        &self,
        body: RequestBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>> {
        self.info.check_segments()?;
        let named = !self.info.name.is_empty();
        let collection = matches!(&*self.info.verb, "list" | "watch" | "deletecollection");
        let misplaced = self.resource.is_namespaced() && self.info.namespace.is_empty();
        if misplaced && !matches!(&*self.info.verb, "list" | "watch") {
            return Err(method_not_allowed());
        }
        let served = match Subresource::parse(&self.info.subresource) {
            Some(part) => part.verbs().contains(&&*self.info.verb),
            // What else is below an object says so itself.
            None if !self.info.subresource.is_empty() => true,
            None => {
                self.resource.verbs.0.contains(&&*self.info.verb)
                    && (collection || named != (self.info.verb == "create"))
            }
        };
        if !served {
            return Err(method_not_allowed());
        }
        if let Some(warning) = deprecated(&self.resource) {
            self.warnings.add(warning);
        }
        match &*self.info.verb {
            "get" => self.get().await,
            "list" => self.list().await,
            "watch" => self.watch(upgrade).await,
            "create" => self.create(body).await,
            "update" => self.update(body).await,
            "patch" => self.patch(body).await,
            "delete" => self.delete(body).await,
            "deletecollection" => self.delete_collection(body).await,
            _ => Err(method_not_allowed()),
        }
    }

    /// The namespace of a list; `None` for all.
    fn scope(&self) -> Option<&str> {
        let namespace = self.info.namespace_of_objects();
        (!namespace.is_empty()).then_some(namespace)
    }

    /// The object, or the part of it, that the path names.
    fn target(&self) -> Result<Target> {
        let key = if self.resource.is_namespaced() {
            Key::new(self.info.namespace_of_objects(), &*self.info.name)
        } else {
            Key::cluster(&*self.info.name)
        };
        let subresource = match &*self.info.subresource {
            "" => None,
            name => {
                let part = Subresource::parse(name).filter(|_| self.info.rest.is_none());
                let part = part.filter(|part| self.resource.subresources.has(*part));
                Some(part.ok_or_else(no_such_resource)?)
            }
        };
        Ok(Target { resource: self.resource.clone(), key, subresource })
    }

    fn accepted(&self) -> Result<Accepted> {
        let protobuf = self.asks_for_protobuf();
        // What is only asked, such as a review, is no object that has a table.
        let shapes = self.resource.verbs.0 != ["create"];
        Accepted::negotiate(self.headers, self.query, Can { shapes, stream: false, protobuf })
    }

    /// Whether the client takes protobuf, and what it asks for has such a form.
    fn asks_for_protobuf(&self) -> bool {
        let accepted = self.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut accepted = accepted.filter(|value| value.contains(protobuf::MEDIA_TYPE));
        accepted.next().is_some()
            && protobuf::supports(&self.resource.api_version(), &self.resource.kind)
    }

    /// How the client wants to see what this request gives.
    fn view(&self, accepted: Accepted) -> View {
        let mut view = View {
            accepted,
            api_version: String::new(),
            kind: String::new(),
            resource: self.resource.clone(),
            part: Subresource::parse(&self.info.subresource),
            now: self.server.env().now(),
        };
        if accepted.encoding == Encoding::Protobuf {
            let shown = self.expected(Subresource::parse(&self.info.subresource));
            view.api_version = shown.api_version();
            view.kind = shown.kind;
        }
        view
    }

    /// The type of the kind, where it is known.
    fn schema(&self) -> Option<TypeRef<'_>> {
        self.resource.type_of()
    }
}

/// What is said of every request about a kind that upstream will drop one day.
fn deprecated(resource: &Resource) -> Option<&'static str> {
    match (&*resource.group, &*resource.plural) {
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        _ => None,
    }
}

/// The answer to a method that a path does not have.
pub(crate) fn method_not_allowed() -> ApiError {
    generic(
        Reason::MethodNotAllowed,
        "the server does not allow this method on the requested resource",
    )
}

/// The answer to a path of a kind that is not served.
pub(crate) fn no_such_resource() -> ApiError {
    generic(Reason::NotFound, "the server could not find the requested resource")
}

fn generic(reason: Reason, message: &str) -> ApiError {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};
    ApiError::from_status(Status {
        code: Some(reason.code().into()),
        reason: Some(reason.as_str().to_owned()),
        message: Some(message.to_owned()),
        details: Some(StatusDetails::default()),
        ..Default::default()
    })
}
