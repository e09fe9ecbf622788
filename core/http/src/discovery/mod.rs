//! What the API serves: `/api`, `/apis`, their groups and versions, `/version`, and the list of
//! paths at `/`. All of it is made from the catalog, once per state of it, when it is asked for.

mod aggregated;
pub(crate) mod groups;
pub(crate) mod resources;
mod version;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    APIGroup, APIGroupList, APIResourceList, APIVersions, GroupVersionForDiscovery,
    ServerAddressByClientCIDR,
};
use parking_lot::Mutex;
use pinnace_api::Catalog;
use serde::Serialize;
use sha2::{Digest as _, Sha512};

use crate::aggregation::{Aggregator, RemoteVersion};
use groups::{Group, group_version, groups};
pub use version::GIT_VERSION;

const JSON: &str = "application/json";
const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2_BETA_1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// Answers requests about what is served.
#[derive(Debug)]
pub struct Discovery {
    catalog: Catalog,
    /// The paths beside those of the API that `/` lists.
    paths: Vec<String>,
    /// Who knows the groups of other servers.
    remotes: Option<Aggregator>,
    cache: Mutex<Cache>,
}

/// Documents of one state of the catalog, each made when it is first asked for. There are at most
/// as many as the catalog has groups and versions, and a few.
#[derive(Debug, Default)]
struct Cache {
    generation: u64,
    remotes: Vec<RemoteVersion>,
    documents: HashMap<(String, Form), Arc<Document>>,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// A document for each group and version.
    Plain,
    /// All groups in one.
    V2,
    /// The same in its older version.
    V2Beta1,
}

#[derive(Debug)]
struct Document {
    body: Bytes,
    /// In quotes; for documents that clients keep.
    etag: Option<HeaderValue>,
    media_type: &'static str,
}

impl Discovery {
    /// Discovery of a catalog; `paths` are listed at `/` beside the API's own.
    pub fn new(catalog: Catalog, paths: Vec<String>) -> Self {
        Self { catalog, paths, remotes: None, cache: Mutex::default() }
    }

    /// Also shows the groups of other servers.
    pub(crate) fn with_remotes(mut self, remotes: Option<Aggregator>) -> Self {
        self.remotes = remotes;
        self
    }

    /// The answer to a GET; `None` where nothing is served by this path.
    pub fn respond(&self, request: &Parts) -> Option<Response<Bytes>> {
        let path = match request.uri.path() {
            "/" => "/",
            path => path.strip_suffix('/').unwrap_or(path),
        };
        let form = match path {
            "/api" | "/apis" => accepted(&request.headers),
            _ => Form::Plain,
        };
        // The address is the one by which this caller has reached the server.
        if (path, form) == ("/api", Form::Plain) {
            let document = Document::json(&self.api_versions(&request.headers));
            return Some(document.respond(&request.headers));
        }
        Some(self.document(path, form)?.respond(&request.headers))
    }

    fn document(&self, path: &str, form: Form) -> Option<Arc<Document>> {
        // Before the catalog is read: what is made of a newer state is then made once more.
        let generation = self.catalog.generation();
        let remotes = self.remotes.as_ref().map(Aggregator::versions).unwrap_or_default();
        let key = (path.to_owned(), form);
        let mut cache = self.cache.lock();
        if cache.generation != generation || cache.remotes != remotes {
            *cache = Cache { generation, remotes, documents: HashMap::new() };
        }
        if let Some(document) = cache.documents.get(&key) {
            return Some(document.clone());
        }
        let document = Arc::new(self.make(path, form, &cache.remotes)?);
        cache.documents.insert(key, document.clone());
        Some(document)
    }

    fn make(&self, path: &str, form: Form, remotes: &[RemoteVersion]) -> Option<Document> {
        if path == "/version" {
            return Some(Document::indented(&version::info()));
        }
        let mut groups = groups(&self.catalog.all());
        groups::add_remotes(&mut groups, remotes);
        let segments: Vec<_> = path.split('/').skip(1).collect();
        match (&segments[..], form) {
            ([""], _) => Some(Document::indented(&self.root(&groups))),
            (["api" | "apis"], Form::V2 | Form::V2Beta1) => {
                let core = path == "/api";
                let groups = groups.iter().filter(|group| group.name.is_empty() == core);
                let (version, media_type) = match form {
                    Form::V2Beta1 => ("v2beta1", V2_BETA_1),
                    _ => ("v2", V2),
                };
                Some(Document::kept(&aggregated::list(groups, version), media_type))
            }
            (["apis"], Form::Plain) => {
                let named = groups.iter().filter(|group| !group.name.is_empty());
                Some(Document::json(&group_list(named)))
            }
            (["apis", name], _) if !name.is_empty() => {
                Some(Document::json(&api_group(groups.iter().find(|group| group.name == *name)?)))
            }
            (["api", version], _) => resource_list(&groups, "", version),
            (["apis", group, version], _) if !group.is_empty() => {
                resource_list(&groups, group, version)
            }
            _ => None,
        }
    }

    fn api_versions(&self, headers: &HeaderMap) -> APIVersions {
        let groups = groups(&self.catalog.all());
        let core = groups.into_iter().find(|group| group.name.is_empty());
        let versions = core.into_iter().flat_map(|group| group.versions);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        APIVersions {
            versions: versions.map(|version| version.name).collect(),
            server_address_by_client_cidrs: vec![ServerAddressByClientCIDR {
                client_cidr: "0.0.0.0/0".to_owned(),
                server_address: host.to_owned(),
            }],
        }
    }

    fn root(&self, groups: &[Group]) -> serde_json::Value {
        let mut paths = self.paths.clone();
        paths.extend(["/api", "/apis", "/apis/", "/version"].map(str::to_owned));
        for group in groups {
            let base = match &*group.name {
                "" => "/api".to_owned(),
                name => format!("/apis/{name}"),
            };
            paths.extend(group.versions.iter().map(|version| format!("{base}/{}", version.name)));
            paths.push(base);
        }
        paths.sort();
        paths.dedup();
        serde_json::json!({ "paths": paths })
    }
}

/// Groups in a list do not name their kind.
fn group_list<'a>(groups: impl Iterator<Item = &'a Group>) -> serde_json::Value {
    let mut list = serde_json::json!(APIGroupList { groups: groups.map(api_group).collect() });
    for group in list["groups"].as_array_mut().into_iter().flatten() {
        if let Some(group) = group.as_object_mut() {
            group.remove("kind");
            group.remove("apiVersion");
        }
    }
    list
}

fn api_group(group: &Group) -> APIGroup {
    let version = |version: &groups::Version| GroupVersionForDiscovery {
        group_version: group_version(&group.name, &version.name),
        version: version.name.clone(),
    };
    APIGroup {
        name: group.name.clone(),
        preferred_version: group.versions.first().map(version),
        versions: group.versions.iter().map(version).collect(),
        server_address_by_client_cidrs: None,
    }
}

fn resource_list(groups: &[Group], group: &str, version: &str) -> Option<Document> {
    let found = groups.iter().find(|one| one.name == group)?;
    let served = found.versions.iter().find(|one| one.name == version)?;
    Some(Document::json(&APIResourceList {
        group_version: group_version(group, version),
        resources: resources::api_resources(served, &found.versions),
    }))
}

/// The first form that a client names and that there is.
fn accepted(headers: &HeaderMap) -> Form {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut clauses = values.flat_map(|value| value.split(',')).map(|clause| {
        let (mut group, mut version, mut kind) = ("", "", "");
        for parameter in clause.split(';').skip(1) {
            match parameter.trim().split_once('=') {
                Some(("g", value)) => group = value,
                Some(("v", value)) => version = value,
                Some(("as", value)) => kind = value,
                _ => {}
            }
        }
        (clause.split(';').next().unwrap_or_default().trim(), group, version, kind)
    });
    let form = clauses.find_map(|clause| match clause {
        (JSON | "*/*" | "application/*", "", "", "") => Some(Form::Plain),
        (JSON, "apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList") => Some(Form::V2),
        (JSON, "apidiscovery.k8s.io", "v2beta1", "APIGroupDiscoveryList") => Some(Form::V2Beta1),
        _ => None,
    });
    form.unwrap_or(Form::Plain)
}

impl Document {
    fn json(value: &impl Serialize) -> Self {
        Self { body: encode(value, false), etag: None, media_type: JSON }
    }

    fn indented(value: &impl Serialize) -> Self {
        Self { body: encode(value, true), etag: None, media_type: JSON }
    }

    fn kept(value: &impl Serialize, media_type: &'static str) -> Self {
        let body = encode(value, false);
        Self { etag: Some(etag(&body)), body, media_type }
    }

    fn respond(&self, request: &HeaderMap) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        if let Some(etag) = &self.etag {
            headers.insert(ETAG, etag.clone());
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        }
        if self.etag.is_some() && request.get(IF_NONE_MATCH) == self.etag.as_ref() {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        *response.body_mut() = self.body.clone();
        response
    }
}

/// The digest of a document in quotes, as upstream forms it.
pub(crate) fn etag(body: &[u8]) -> HeaderValue {
    let text = format!("\"{}\"", hash(body));
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The digest of a document, in upper-case hexadecimal.
pub(crate) fn hash(body: &[u8]) -> String {
    Sha512::digest(body).iter().fold(String::new(), |mut text, byte| {
        // A string takes all.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Values here are made of texts and lists, so they have a form in JSON.
fn encode(value: &impl Serialize, indented: bool) -> Bytes {
    let text = if indented { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    let mut text = text.unwrap_or_else(|error| error.to_string().into_bytes());
    if !indented {
        text.push(b'\n');
    }
    text.into()
}

#[cfg(test)]
mod tests;
