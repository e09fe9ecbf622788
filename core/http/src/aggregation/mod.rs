//! Groups that other servers serve: an `APIService` names one, and requests about its version of a
//! group are sent on to it, in the name of whoever makes them.
//!
//! That server believes who the caller is because the connection has a certificate of ours, which is
//! signed by an authority that signs nothing else.

mod check;
mod forward;
mod in_process;
mod remote;
mod swagger;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use parking_lot::Mutex;
use pinnace_api::Key;
use pinnace_server::{ExtensionAddress, Server};

use crate::extensions::{Pool, Trust};
use crate::{ClientIdentity, RequestBody, Result};
pub(crate) use forward::Forwarded;
pub(crate) use remote::{Remote, RemoteVersion};
pub(crate) use swagger::Swagger;

const TABLE: &str = "apiservices.apiregistration.k8s.io";
/// The common name of the certificate by which other servers know this one.
pub const PROXY_NAME: &str = "front-proxy-client";

/// What a version has, by the name of its `APIService`.
type Known = HashMap<String, Found>;

/// What a server has said of a version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) resources: Arc<Vec<APIResource>>,
    /// Where its description in OpenAPI v3 is, path and query, if it has one.
    pub(crate) description: Option<String>,
    /// What it describes in OpenAPI v2, if it does.
    pub(crate) swagger: Option<Arc<Swagger>>,
}

/// Finds and reaches the servers of other groups. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Aggregator(Arc<Inner>);

struct Inner {
    server: Server,
    trust: Trust,
    pool: Pool<RequestBody>,
    /// What was found out when they were last asked whether they are there.
    known: Mutex<Known>,
}

impl Aggregator {
    /// An aggregator that proves with `identity` whose front it is; without one, other servers
    /// believe it nothing.
    ///
    /// # Errors
    /// [`crate::Error::Certificate`] for an identity that is none.
    pub fn new(server: Server, identity: Option<&ClientIdentity>) -> Result<Self> {
        let trust = Trust::proving(identity)?;
        let (pool, known) = (Pool::default(), Mutex::default());
        let inner = Arc::new(Inner { server, trust, pool, known });
        inner.server.send_on_by(in_process::sender(&inner));
        Ok(Self(inner))
    }

    /// The server of a version of a group, where that is another than this one.
    pub(crate) fn find(&self, group: &str, version: &str) -> Option<Remote> {
        let snapshot = self.0.server.store().snapshot();
        let found = snapshot.get(TABLE, &Key::cluster(format!("{version}.{group}")))?;
        Remote::of(found.get::<APIService>().ok()?)
    }

    /// Whether it is known what the server behind an `APIService` of this name has.
    pub fn knows(&self, name: &str) -> bool {
        self.0.known.lock().contains_key(name)
    }

    /// Forgets what another server has: it serves that no longer.
    pub fn forget(&self, name: &str) {
        self.0.known.lock().remove(name);
        if let Some((version, group)) = name.split_once('.') {
            self.0.server.catalog().serve_elsewhere(group, version, Vec::new());
        }
    }

    /// The versions of groups that other servers serve.
    pub(crate) fn versions(&self) -> Vec<RemoteVersion> {
        let snapshot = self.0.server.store().snapshot();
        let known = self.0.known.lock();
        let all = snapshot.iter(TABLE).filter_map(|object| object.get::<APIService>().ok());
        all.filter_map(|service| RemoteVersion::of(service, &known)).collect()
    }

    fn address(&self, remote: &Remote) -> pinnace_api::Result<ExtensionAddress> {
        let Remote { namespace, name, port, ca_bundle, .. } = remote;
        let addresses = self.0.server.service_endpoints(namespace, name, *port)?;
        Ok(ExtensionAddress {
            authority: addresses.first().map(ToString::to_string).unwrap_or_default(),
            server_name: format!("{name}.{namespace}.svc"),
            addresses,
            ca_bundle: ca_bundle.clone(),
        })
    }
}

impl fmt::Debug for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aggregator")
    }
}
