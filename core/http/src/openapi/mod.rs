//! The API's description of itself: OpenAPI v3 with a document per version of a group at
//! `/openapi/v3`, and v2 as one document at `/openapi/v2`.
//!
//! Documents are large and rarely asked for, so they are made on demand; only the last one is kept.
//! Their hashes are taken from what they are made of, so that the index needs none of them.

mod custom;
mod operations;
mod parameters;
mod protobuf;
mod render;
mod types;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use pinnace_api::{Catalog, KindSchema, Resource};
use serde_json::{Map, Value, json};

use crate::aggregation::{Aggregator, RemoteVersion, Swagger};
use crate::discovery::groups::{Group, Version, groups};
use crate::discovery::{GIT_VERSION, hash};
use crate::encoding::preferred;
use operations::Operation;
use types::{Flavor, Types};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What upstream has called it, and still understands.
const OLD_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// How long a document whose hash is part of its address may be kept.
const IMMUTABLE_FOR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Answers requests for descriptions of the API.
#[derive(Debug)]
pub struct OpenApi {
    catalog: Catalog,
    /// Who knows the groups of other servers.
    remotes: Option<Aggregator>,
    /// The document that was asked for last.
    last: Mutex<Option<Arc<Document>>>,
}

#[derive(Debug)]
struct Document {
    name: String,
    form: Form,
    hash: String,
    body: Bytes,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    /// Only of OpenAPI v2.
    Protobuf,
}

impl Form {
    /// The one that a client prefers; `None` where it takes nothing of what there is.
    fn negotiate(headers: &HeaderMap, name: &str) -> Option<Self> {
        preferred(headers, |media_type| match media_type {
            JSON | "application/*" | "*/*" => Some(Self::Json),
            PROTOBUF | OLD_PROTOBUF if name == "v2" => Some(Self::Protobuf),
            _ => None,
        })
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => PROTOBUF,
        }
    }

    fn write(self, document: &Value) -> Bytes {
        match self {
            Self::Json => document.to_string().into(),
            Self::Protobuf => protobuf::encode(document).into(),
        }
    }
}

impl OpenApi {
    /// Describes the kinds of a catalog.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog, remotes: None, last: Mutex::default() }
    }

    /// Also lists what other servers describe.
    pub(crate) fn with_remotes(mut self, remotes: Option<Aggregator>) -> Self {
        self.remotes = remotes;
        self
    }

    /// The answer to a GET at `now`; `None` where nothing is served by this path.
    pub fn respond(&self, request: &Parts, now: Timestamp) -> Option<Response<Bytes>> {
        let path = request.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let name = match path.strip_prefix("/openapi/")? {
            "v2" => "v2",
            "v3" => "",
            rest => rest.strip_prefix("v3/")?,
        };
        let groups = groups(&self.catalog.all());
        let remotes = || self.remotes.as_ref().map(Aggregator::versions).unwrap_or_default();
        if name.is_empty() {
            let remotes = remotes();
            return Some(index(&groups, &remotes, &request.headers));
        }
        let mut source = Source::find(&groups, name)?;
        if let Source::Everything(_, others) = &mut source {
            *others = remotes().into_iter().filter_map(|one| one.found?.swagger).collect();
        }
        let Some(form) = Form::negotiate(&request.headers, name) else {
            return Some(plain(StatusCode::NOT_ACCEPTABLE));
        };
        let hash = source.hash();
        let asked = request.uri.query().unwrap_or_default();
        let asked = asked.split('&').find_map(|one| one.strip_prefix("hash="));
        let asked = asked.filter(|asked| name != "v2" && !asked.is_empty());
        if asked.is_some_and(|asked| asked != hash) {
            let mut response = plain(StatusCode::MOVED_PERMANENTLY);
            set(response.headers_mut(), LOCATION, &format!("/openapi/v3/{name}?hash={hash}"));
            return Some(response);
        }
        let etag = format!("\"{hash}\"");
        let mut response = if matches(&request.headers, &etag) {
            plain(StatusCode::NOT_MODIFIED)
        } else {
            let mut response = Response::new(self.body(name, form, &hash, &source));
            set(response.headers_mut(), CONTENT_TYPE, form.media_type());
            response
        };
        let headers = response.headers_mut();
        set(headers, ETAG, &etag);
        set(headers, VARY, "Accept");
        if asked.is_some() {
            set(headers, CACHE_CONTROL, "public, immutable");
            let expires = now.saturating_add(IMMUTABLE_FOR).unwrap_or(now);
            set(headers, EXPIRES, &expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
        Some(response)
    }

    fn body(&self, name: &str, form: Form, hash: &str, source: &Source<'_>) -> Bytes {
        // Held while the document is made: a second caller waits for it instead of making it, too.
        let mut last = self.last.lock();
        if let Some(document) =
            last.as_ref().filter(|last| (&*last.name, last.form, &*last.hash) == (name, form, hash))
        {
            return document.body.clone();
        }
        let body = form.write(&source.document());
        let document =
            Document { name: name.to_owned(), form, hash: hash.to_owned(), body: body.clone() };
        *last = Some(Arc::new(document));
        body
    }
}

/// What a document is made of.
enum Source<'a> {
    Version(&'a str, &'a Version),
    Group(&'a Group),
    Groups,
    ServerVersion,
    /// All of it, in v2, with what other servers say of theirs.
    Everything(&'a [Group], Vec<Arc<Swagger>>),
}

impl<'a> Source<'a> {
    /// By the name of a document: what stands behind `/openapi/v3/`, or `v2`.
    fn find(groups: &'a [Group], name: &str) -> Option<Self> {
        let segments: Vec<_> = name.split('/').collect();
        let group = |name: &str| groups.iter().find(|group| group.name == name);
        let version = |group: &'a Group, name: &str| {
            group.versions.iter().find(|version| version.name == name)
        };
        match segments[..] {
            ["v2"] => Some(Self::Everything(groups, Vec::new())),
            ["api"] => group("").map(Self::Group),
            ["apis"] => Some(Self::Groups),
            ["version"] => Some(Self::ServerVersion),
            ["api", name] => Some(Self::Version("", version(group("")?, name)?)),
            ["apis", name] if !name.is_empty() => group(name).map(Self::Group),
            ["apis", of, name] if !of.is_empty() => {
                let group = group(of)?;
                Some(Self::Version(&group.name, version(group, name)?))
            }
            _ => None,
        }
    }

    /// A digest of everything that the document depends on.
    fn hash(&self) -> String {
        let mut facts = format!("{GIT_VERSION}\n");
        match self {
            Self::Version(group, version) => {
                facts.push_str(group);
                version.resources.iter().for_each(|resource| describe(resource, &mut facts));
            }
            Self::Group(group) => facts.push_str(&group.name),
            Self::Groups => facts.push_str("/apis"),
            Self::ServerVersion => facts.push_str("/version"),
            Self::Everything(groups, others) => {
                facts.push_str("v2");
                others.iter().for_each(|other| facts.push_str(&other.hash));
                let versions = groups.iter().flat_map(|group| &group.versions);
                let resources = versions.flat_map(|version| &version.resources);
                resources.for_each(|resource| describe(resource, &mut facts));
            }
        }
        hash(facts.as_bytes())
    }

    fn operations(&self) -> Vec<Operation> {
        match self {
            Self::Version(group, version) => operations::of_version(group, version),
            Self::Group(group) => vec![operations::of_group(group)],
            Self::Groups => vec![operations::groups()],
            Self::ServerVersion => vec![operations::version()],
            Self::Everything(groups, _) => {
                let mut all = vec![operations::groups(), operations::version()];
                for group in *groups {
                    all.push(operations::of_group(group));
                    for version in &group.versions {
                        all.extend(operations::of_version(&group.name, version));
                    }
                }
                all
            }
        }
    }

    fn document(&self) -> Value {
        let flavor = match self {
            Self::Everything(..) => Flavor::V2,
            _ => Flavor::V3,
        };
        let mut types = Types::new(flavor);
        let mut add = |version: &Version| version.resources.iter().for_each(|one| types.add(one));
        match self {
            Self::Version(_, version) => add(version),
            Self::Everything(groups, _) => {
                groups.iter().flat_map(|group| &group.versions).for_each(add);
            }
            _ => {}
        }
        let mut document = render::document(flavor, &self.operations(), types);
        if let Self::Everything(_, others) = self {
            others.iter().for_each(|other| other.merge_into(&mut document));
        }
        document
    }
}

/// Writes down what a kind contributes.
fn describe(resource: &Resource, facts: &mut String) {
    use std::fmt::Write as _;
    let Resource { version, kind, scope, subresources, verbs, .. } = resource;
    // A string takes all.
    let _ = write!(
        facts,
        "\n{} {version} {kind} {scope:?} {subresources:?} {:?}",
        resource.name(),
        verbs.0
    );
    if let KindSchema::Text(schema) = &resource.schema {
        let _ = write!(facts, " {schema}");
    }
}

fn index(groups: &[Group], remotes: &[RemoteVersion], headers: &HeaderMap) -> Response<Bytes> {
    let mut paths = Map::new();
    let mut add = |name: String| {
        if let Some(source) = Source::find(groups, &name) {
            let url = format!("/openapi/v3/{name}?hash={}", source.hash());
            paths.insert(name, json!({ "serverRelativeURL": url }));
        }
    };
    add("apis".to_owned());
    add("version".to_owned());
    for group in groups {
        let base = match &*group.name {
            "" => "api".to_owned(),
            name => format!("apis/{name}"),
        };
        group.versions.iter().for_each(|version| add(format!("{base}/{}", version.name)));
        add(base);
    }
    for remote in remotes {
        let url = remote.found.as_ref().and_then(|found| found.description.as_ref());
        let name = format!("apis/{}/{}", remote.group, remote.version);
        match url {
            Some(url) => paths.insert(name, json!({ "serverRelativeURL": url })),
            None => paths.remove(&name),
        };
    }
    let body = json!({ "paths": paths }).to_string();
    let etag = format!("\"{}\"", hash(body.as_bytes()));
    let mut response = if matches(headers, &etag) {
        plain(StatusCode::NOT_MODIFIED)
    } else {
        Response::new(body.into())
    };
    set(response.headers_mut(), ETAG, &etag);
    set(response.headers_mut(), CONTENT_TYPE, JSON);
    response
}

fn plain(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn matches(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) == Some(etag)
}

#[cfg(test)]
mod tests;
