use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;

use super::{Found, Known};

/// The port of a service that names none.
const PORT: u16 = 443;

/// Where another server is.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) ca_bundle: Option<Arc<[u8]>>,
    /// Whether nobody looks at its certificate.
    pub(super) insecure: bool,
    /// Whether it was there when it was last asked.
    pub(super) available: bool,
}

impl Remote {
    /// The server that an `APIService` names; `None` for what is served here.
    pub(super) fn of(service: &APIService) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let target = spec.service.as_ref()?;
        let bundle = spec.ca_bundle.as_ref().filter(|bundle| !bundle.0.is_empty());
        Some(Self {
            namespace: target.namespace.clone().unwrap_or_default(),
            name: target.name.clone().unwrap_or_default(),
            port: target.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT),
            ca_bundle: bundle.map(|bundle| Arc::from(&*bundle.0)),
            insecure: spec.insecure_skip_tls_verify == Some(true),
            available: is_available(service),
        })
    }
}

fn is_available(service: &APIService) -> bool {
    let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Available" && one.status == "True")
}

/// A version of a group that another server serves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RemoteVersion {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) group_priority: i32,
    pub(crate) version_priority: i32,
    /// What it has; `None` while nobody has told.
    pub(crate) found: Option<Found>,
    /// Whether that is what it has now.
    pub(crate) is_fresh: bool,
}

impl RemoteVersion {
    pub(super) fn of(service: &APIService, known: &Known) -> Option<Self> {
        let spec = service.spec.as_ref().filter(|spec| spec.service.is_some())?;
        let found = known.get(service.metadata.name.as_deref().unwrap_or_default());
        Some(Self {
            group: spec.group.clone().unwrap_or_default(),
            version: spec.version.clone().unwrap_or_default(),
            group_priority: spec.group_priority_minimum,
            version_priority: spec.version_priority,
            is_fresh: found.is_some() && is_available(service),
            found: found.cloned(),
        })
    }

    /// Its kinds and their parts.
    pub(crate) fn resources(&self) -> &[APIResource] {
        self.found.as_ref().map_or(&[], |found| &found.resources)
    }
}
