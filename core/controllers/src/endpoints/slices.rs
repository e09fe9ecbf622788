//! EndpointSlices of a service: as few writes as will do.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{Result, Typed};
use pinnace_client::{DeleteOptions, Preconditions};

use super::desired::{Groups, Port};
use super::{SERVICE, Serving};
use crate::claim::controller_reference;

/// Who keeps a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Most endpoints of a slice.
const MOST: usize = 100;

impl Serving {
    /// Brings the slices of a service to what is desired. An endpoint stays in the slice in which
    /// it is; what is new fills slices with room; empty slices go.
    pub(super) async fn sync_slices(
        &self,
        service: &Typed<Service>,
        desired: &Groups,
    ) -> Result<()> {
        let key = service.object().key();
        let mut existing = self.slices.by_index(SERVICE, &key.to_string());
        existing.retain(|slice| {
            let labels = slice.object().labels();
            labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGER)
                && !slice.object().is_deleting()
        });
        let labels = labels_of(service);
        let mut used = Vec::new();
        let mut wanted = desired.clone();
        if wanted.is_empty() {
            // Upstream keeps an empty slice, so that "no endpoints" can be told from "not yet".
            wanted.insert(("IPv4".to_owned(), Vec::new()), Vec::new());
        }
        for ((family, ports), endpoints) in wanted {
            let ports: Vec<EndpointPort> = ports.iter().map(Port::endpoint_port).collect();
            let of_group: Vec<_> = existing
                .iter()
                .filter(|slice| {
                    slice.address_type == family
                        && slice.ports.as_deref().unwrap_or_default() == ports
                })
                .cloned()
                .collect();
            let filled = fill(&of_group, endpoints);
            for (slice, endpoints) in filled {
                match slice {
                    Some(slice) => {
                        used.push(slice.object().uid().to_owned());
                        self.update(service, &slice, endpoints, &labels).await?;
                    }
                    None => {
                        let endpoints = Some(endpoints);
                        self.make(service, &family, &ports, endpoints, &labels).await?;
                    }
                }
            }
        }
        for slice in
            existing.iter().filter(|slice| !used.iter().any(|uid| uid == slice.object().uid()))
        {
            let uid = slice.metadata.uid.clone();
            let options = DeleteOptions {
                preconditions: Some(Preconditions { uid, resource_version: None }),
                ..DeleteOptions::default()
            };
            match self.slice_api.delete(&slice.object().key(), options).await {
                Ok(gone) => self.written.note(&key, gone.object().revision()),
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn make(
        &self,
        service: &Typed<Service>,
        family: &str,
        ports: &[EndpointPort],
        endpoints: Option<Vec<Endpoint>>,
        labels: &BTreeMap<String, String>,
    ) -> Result<()> {
        let slice = EndpointSlice {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", service.object().name())),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels.clone()),
                owner_references: Some(vec![controller_reference(
                    "v1",
                    "Service",
                    &service.metadata,
                )]),
                ..Default::default()
            },
            address_type: family.to_owned(),
            endpoints,
            ports: Some(ports.to_vec()),
        };
        match self.slice_api.create(slice).await {
            Ok(made) => {
                self.written.note(&service.object().key(), made.object().revision());
                Ok(())
            }
            // The namespace goes: so does the service.
            Err(error) if error.message().contains("because it is being terminated") => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn update(
        &self,
        service: &Typed<Service>,
        slice: &Typed<EndpointSlice>,
        endpoints: Vec<Endpoint>,
        labels: &BTreeMap<String, String>,
    ) -> Result<()> {
        let same = slice.endpoints.as_deref().unwrap_or_default() == endpoints
            && slice.metadata.labels.as_ref() == Some(labels);
        if same {
            return Ok(());
        }
        let mut new = slice.to_owned();
        new.endpoints = Some(endpoints);
        new.metadata.labels = Some(labels.clone());
        let written = self.slice_api.update(new).await?;
        self.written.note(&service.object().key(), written.object().revision());
        Ok(())
    }
}

/// Deals endpoints out to the slices of their group, and to new ones (`None`).
fn fill(
    slices: &[Typed<EndpointSlice>],
    endpoints: Vec<Endpoint>,
) -> Vec<(Option<Typed<EndpointSlice>>, Vec<Endpoint>)> {
    let uid = |endpoint: &Endpoint| endpoint.target_ref.as_ref().and_then(|one| one.uid.clone());
    let mut left: Vec<Option<Endpoint>> = endpoints.into_iter().map(Some).collect();
    let mut dealt: Vec<(Option<Typed<EndpointSlice>>, Vec<Endpoint>)> = Vec::new();
    for slice in slices {
        let mut stay = Vec::new();
        for known in slice.endpoints.iter().flatten() {
            let same = left.iter_mut().find(|one| one.as_ref().map(&uid) == Some(uid(known)));
            stay.extend(same.and_then(Option::take));
        }
        dealt.push((Some(slice.clone()), stay));
    }
    let mut rest = left.into_iter().flatten();
    for (_, stay) in dealt.iter_mut().filter(|(_, stay)| !stay.is_empty()) {
        let room = MOST.saturating_sub(stay.len());
        stay.extend(rest.by_ref().take(room));
    }
    // A slice that would be empty is used anew before another is made.
    for (_, stay) in dealt.iter_mut().filter(|(_, stay)| stay.is_empty()) {
        stay.extend(rest.by_ref().take(MOST));
    }
    loop {
        let more: Vec<_> = rest.by_ref().take(MOST).collect();
        if more.is_empty() {
            break;
        }
        dealt.push((None, more));
    }
    let any = dealt.iter().any(|(_, stay)| !stay.is_empty());
    if any {
        dealt.retain(|(_, stay)| !stay.is_empty());
    } else {
        dealt.truncate(1);
        if dealt.is_empty() {
            dealt.push((None, Vec::new()));
        }
    }
    dealt
}

fn labels_of(service: &Typed<Service>) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE.to_owned(), service.object().name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}
