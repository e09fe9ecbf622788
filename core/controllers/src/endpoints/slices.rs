//! EndpointSlices of a service: as few writes as will do.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{Api, DeleteOptions, Lister, Preconditions};

use super::SERVICE;
use super::desired::{Groups, Port};
use crate::Context;
use crate::claim::controller_reference;
use crate::written::Written;

/// Who keeps a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Most endpoints of a slice.
const MOST: usize = 100;

/// The slices of services, by whoever keeps them.
pub(super) struct Slices {
    pub(super) lister: Lister<EndpointSlice>,
    api: Api<EndpointSlice>,
    written: Written,
}

/// Whose slices there are to be, and what they all have.
pub(super) struct Wanted {
    /// The service.
    key: Key,
    owner: OwnerReference,
    manager: &'static str,
    labels: BTreeMap<String, String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Wanted {
    /// The slices of a service that is served by pods.
    pub(super) fn of(service: &Typed<Service>) -> Self {
        let headless = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
        let owner = controller_reference("v1", "Service", &service.metadata);
        let labels = service.metadata.labels.clone();
        let mut wanted = Self::new(service.object().key(), owner, MANAGER, labels);
        if headless == Some("None") {
            wanted.labels.insert(HEADLESS.to_owned(), String::new());
        }
        wanted
    }

    /// The slices that `manager` keeps for an owner.
    pub(super) fn new(
        key: Key,
        owner: OwnerReference,
        manager: &'static str,
        labels: Option<BTreeMap<String, String>>,
    ) -> Self {
        let mut labels = labels.unwrap_or_default();
        labels.remove(HEADLESS);
        labels.insert(SERVICE.to_owned(), key.name().to_owned());
        labels.insert(MANAGED_BY.to_owned(), manager.to_owned());
        Self { key, owner, manager, labels, annotations: None }
    }

    /// The same, with annotations.
    pub(super) fn annotated(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.annotations = Some(annotations).filter(|all| !all.is_empty());
        self
    }
}

impl Slices {
    pub(super) fn new(context: &Context) -> Result<Self> {
        let lister = context.informers.of::<EndpointSlice>()?;
        lister.informer().index(SERVICE, |slice| {
            let name = slice.labels().and_then(|labels| labels.get(SERVICE));
            name.map(|name| format!("{}/{name}", slice.namespace())).into_iter().collect()
        });
        Ok(Self { lister, api: context.client().of()?, written: Written::default() })
    }

    /// Waits until the cache has seen what was written for a service.
    pub(super) async fn caught_up(&self, service: &Key) {
        self.written.seen_by(self.lister.informer(), service).await;
    }

    /// Brings the slices of a service to what is desired.
    pub(super) async fn sync(&self, of: &Wanted, desired: &Groups) -> Result<()> {
        self.write(of, self.plan(of, desired)).await
    }

    /// What is to be in which slice, family by family. An endpoint stays in the slice in which it
    /// is; what is new fills slices with room.
    pub(super) fn plan(&self, of: &Wanted, desired: &Groups) -> Vec<Planned> {
        let existing = self.kept(&of.key, of.manager);
        let mut wanted = desired.clone();
        if wanted.is_empty() {
            // Upstream keeps an empty slice, so that "no endpoints" can be told from "not yet".
            wanted.insert(("IPv4".to_owned(), Vec::new()), Vec::new());
        }
        let mut planned = Vec::new();
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
            planned.extend(fill(&of_group, endpoints).into_iter().map(|(existing, endpoints)| {
                let same_marks = existing.as_ref().is_some_and(|slice| {
                    slice.metadata.labels.as_ref() == Some(&of.labels)
                        && slice.metadata.annotations == of.annotations
                });
                let (family, ports) = (family.clone(), ports.clone());
                Planned { existing, family, ports, endpoints, same_marks }
            }));
        }
        planned
    }

    /// Writes what was planned; slices without a plan go.
    pub(super) async fn write(&self, of: &Wanted, planned: Vec<Planned>) -> Result<()> {
        let existing = self.kept(&of.key, of.manager);
        let mut used = Vec::new();
        for slice in planned {
            used.extend(slice.existing.as_ref().map(|one| one.object().uid().to_owned()));
            self.write_one(of, slice).await?;
        }
        let surplus = existing
            .iter()
            .filter(|slice| !used.iter().any(|uid: &String| uid == slice.object().uid()));
        self.remove(&of.key, surplus).await
    }

    /// The slices of a service that `manager` keeps.
    fn kept(&self, service: &Key, manager: &str) -> Vec<Typed<EndpointSlice>> {
        let mut all = self.lister.by_index(SERVICE, &service.to_string());
        all.retain(|slice| {
            let labels = slice.object().labels();
            labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == manager)
                && !slice.object().is_deleting()
        });
        all
    }

    /// Takes all slices away that `manager` keeps for a service.
    pub(super) async fn clear(&self, service: &Key, manager: &str) -> Result<()> {
        self.remove(service, self.kept(service, manager).iter()).await
    }

    async fn remove<'a>(
        &self,
        service: &Key,
        slices: impl Iterator<Item = &'a Typed<EndpointSlice>> + Send,
    ) -> Result<()> {
        for slice in slices {
            let uid = slice.metadata.uid.clone();
            let options = DeleteOptions {
                preconditions: Some(Preconditions { uid, resource_version: None }),
                ..DeleteOptions::default()
            };
            match self.api.delete(&slice.object().key(), options).await {
                Ok(gone) => self.written.note(service, gone.object().revision()),
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn write_one(&self, of: &Wanted, planned: Planned) -> Result<()> {
        let Planned { existing, family, ports, endpoints, same_marks } = planned;
        let written = match existing {
            Some(slice) if same_marks && slice.endpoints.as_deref() == Some(&endpoints[..]) => {
                return Ok(());
            }
            Some(slice) => {
                let mut new = slice.to_owned();
                new.endpoints = Some(endpoints);
                new.metadata.labels = Some(of.labels.clone());
                new.metadata.annotations.clone_from(&of.annotations);
                self.api.update(new).await?
            }
            None => match self.api.create(new_slice(of, family, ports, endpoints)).await {
                Ok(made) => made,
                // The namespace goes: so does the service.
                Err(error) if error.message().contains("because it is being terminated") => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
        };
        self.written.note(&of.key, written.object().revision());
        Ok(())
    }
}

fn new_slice(
    of: &Wanted,
    family: String,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", of.key.name())),
            namespace: Some(of.key.namespace().to_owned()),
            labels: Some(of.labels.clone()),
            annotations: of.annotations.clone(),
            owner_references: Some(vec![of.owner.clone()]),
            ..Default::default()
        },
        address_type: family,
        endpoints: Some(endpoints),
        ports: Some(ports),
    }
}

/// A slice as it is to be.
pub(super) struct Planned {
    existing: Option<Typed<EndpointSlice>>,
    pub(super) family: String,
    ports: Vec<EndpointPort>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Whether labels and annotations may stay.
    same_marks: bool,
}

impl Planned {
    #[cfg(test)]
    pub(super) fn new_slice(family: &str, endpoints: Vec<Endpoint>) -> Self {
        let (family, ports) = (family.to_owned(), Vec::new());
        Self { existing: None, family, ports, endpoints, same_marks: false }
    }

    /// The endpoints that the slice has now, if all that differs from the plan is hints.
    pub(super) fn unchanged(&self) -> Option<&[Endpoint]> {
        let existing = self.existing.as_ref().filter(|_| self.same_marks)?;
        let endpoints = existing.endpoints.as_deref().unwrap_or_default();
        let same = |(old, new): (&Endpoint, &Endpoint)| {
            old.addresses == new.addresses
                && old.conditions == new.conditions
                && old.hostname == new.hostname
                && old.node_name == new.node_name
                && old.target_ref == new.target_ref
                && old.zone == new.zone
        };
        let same = endpoints.len() == self.endpoints.len()
            && endpoints.iter().zip(&self.endpoints).all(same);
        same.then_some(endpoints)
    }

    /// Leaves the endpoints, and so their hints, as they are.
    pub(super) fn keep(&mut self) {
        if let Some(endpoints) = self.unchanged().map(<[Endpoint]>::to_vec) {
            self.endpoints = endpoints;
        }
    }
}

/// Deals endpoints out to the slices of their group, and to new ones (`None`).
fn fill(
    slices: &[Typed<EndpointSlice>],
    endpoints: Vec<Endpoint>,
) -> Vec<(Option<Typed<EndpointSlice>>, Vec<Endpoint>)> {
    // What is no pod is told apart by its address.
    let uid = |endpoint: &Endpoint| {
        let pod = endpoint.target_ref.as_ref().and_then(|one| one.uid.clone());
        (pod.is_none().then(|| endpoint.addresses.clone()), pod)
    };
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
