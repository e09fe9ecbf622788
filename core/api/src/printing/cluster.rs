//! Leases, aggregated APIs, and the versions that objects are stored in.

use jiff::Timestamp;
use k8s_openapi::api::apiserverinternal::v1alpha1::StorageVersion;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::coordination::v1beta1::LeaseCandidate;
use k8s_openapi::api::storagemigration::v1beta1::StorageVersionMigration;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::Value;

use super::age::age;
use super::text::{self, UNSET};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const LEASE: &[Column] = &[NAME, Column::text("Holder", "Who holds the lease"), AGE];

const LEASE_CANDIDATE: &[Column] = &[
    NAME,
    Column::text("LeaseName", "Lease that the candidate wants"),
    Column::text("BinaryVersion", "Version that the candidate is"),
    Column::text("EmulationVersion", "Version that the candidate acts as"),
    AGE,
];

const API_SERVICE: &[Column] = &[
    NAME,
    Column::text("Service", "Service that serves the API, or Local"),
    Column::text("Available", "Whether it can be reached"),
    AGE,
];

const STORAGE_VERSION: &[Column] = &[
    NAME,
    Column::text("CommonEncodingVersion", "Version that all servers store"),
    Column::text("StorageVersions", "Version that each server stores"),
    AGE,
];

const MIGRATION: &[Column] = &[
    Column::text("Name", "Name of the object"),
    Column::text("Resource", "What is being rewritten"),
    Column::text("Status", "How far it is"),
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::new(LEASE, lease),
        Entry::new(LEASE_CANDIDATE, lease_candidate),
        Entry::new(API_SERVICE, api_service),
        Entry::new(STORAGE_VERSION, storage_version),
        Entry::new(MIGRATION, migration),
    ]
}

fn lease(lease: &Lease, now: Timestamp) -> Vec<Value> {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
    cells![lease.metadata.name.as_deref(), holder.unwrap_or_default(), age(&lease.metadata, now)]
}

fn lease_candidate(candidate: &LeaseCandidate, now: Timestamp) -> Vec<Value> {
    let spec = &candidate.spec;
    cells![
        candidate.metadata.name.as_deref(),
        &spec.lease_name[..],
        &spec.binary_version[..],
        spec.emulation_version.as_deref().unwrap_or_default(),
        age(&candidate.metadata, now),
    ]
}

fn api_service(api: &APIService, now: Timestamp) -> Vec<Value> {
    let service = api.spec.as_ref().and_then(|spec| spec.service.as_ref()).map(|service| {
        let namespace = service.namespace.as_deref().unwrap_or_default();
        format!("{namespace}/{}", service.name.as_deref().unwrap_or_default())
    });
    let conditions = api.status.as_ref().and_then(|status| status.conditions.as_ref());
    let available = conditions.into_iter().flatten().find(|one| one.type_ == "Available");
    let available = match available.map(|one| (&one.status[..], one.reason.as_deref())) {
        None => "Unknown".to_owned(),
        Some((status, Some(reason))) if status != "True" && !reason.is_empty() => {
            format!("{status} ({reason})")
        }
        Some((status, _)) => status.to_owned(),
    };
    cells![
        api.metadata.name.as_deref(),
        service.as_deref().unwrap_or("Local"),
        available,
        age(&api.metadata, now),
    ]
}

fn storage_version(version: &StorageVersion, now: Timestamp) -> Vec<Value> {
    let status = version.status.as_ref();
    let versions = status.and_then(|status| status.storage_versions.as_ref());
    let versions = versions
        .into_iter()
        .flatten()
        .map(|one| format!("{}={}", one.api_server_id, one.encoding_version));
    cells![
        version.metadata.name.as_deref(),
        status.and_then(|status| status.common_encoding_version.as_deref()).unwrap_or(UNSET),
        text::shortened(versions),
        age(&version.metadata, now),
    ]
}

fn migration(migration: &StorageVersionMigration, _: Timestamp) -> Vec<Value> {
    let resource = migration.spec.as_ref().map(|spec| match &spec.resource.group[..] {
        "" => spec.resource.resource.clone(),
        group => format!("{}.{group}", spec.resource.resource),
    });
    let conditions = migration.status.as_ref().and_then(|status| status.conditions.as_ref());
    let last = conditions
        .into_iter()
        .flatten()
        .filter(|one| one.status == "True")
        .map(|one| &one.type_[..])
        .rfind(|kind| matches!(*kind, "Running" | "Failed" | "Succeeded"));
    cells![
        migration.metadata.name.as_deref(),
        resource.unwrap_or_default(),
        last.unwrap_or("Unknown"),
    ]
}
