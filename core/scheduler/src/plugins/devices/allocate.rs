use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::api::resource::v1::{
    AllocationResult, Device, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceClass,
    DeviceConstraint, DeviceRequest, DeviceRequestAllocationResult, DeviceSelector,
    DeviceToleration, ResourceClaim,
};
use pinnace_api::Typed;

use super::inventory::{Available, Inventory};
use super::selector::Selectors;

/// How many devices are tried at most before a search is given up.
const MAX_STEPS: usize = 50_000;

/// Where classes come from.
pub(super) type Classes<'a> = dyn Fn(&str) -> Option<Typed<DeviceClass>> + 'a;

/// What devices are found with.
pub(super) struct Finder<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) selectors: &'a Selectors,
    pub(super) classes: &'a Classes<'a>,
}

/// One of a claim's requests, with what may satisfy it, the preferred first.
struct Request {
    claim: usize,
    name: String,
    alternatives: Vec<Alternative>,
}

struct Alternative {
    /// The request's name, with that of the alternative behind it.
    name: String,
    class: String,
    /// The devices that will do, by their places.
    candidates: Vec<usize>,
    many: usize,
    admin: bool,
    tolerations: Vec<DeviceToleration>,
}

/// What requests and their alternatives have in common.
struct Asked<'a> {
    name: String,
    class: &'a str,
    selectors: Option<&'a Vec<DeviceSelector>>,
    mode: Option<&'a str>,
    count: Option<i64>,
    admin: bool,
    tolerations: &'a [DeviceToleration],
}

impl Finder<'_> {
    /// Devices of a node for claims; `None` when it does not have them.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(super) fn allocate(
        &self,
        claims: &[Typed<ResourceClaim>],
        node: &k8s_openapi::api::core::v1::Node,
    ) -> Result<Option<Vec<AllocationResult>>, String> {
        let devices = self.inventory.on(node);
        let mut requests = Vec::new();
        for (index, claim) in claims.iter().enumerate() {
            let asked = claim.spec.devices.as_ref();
            for request in asked.iter().flat_map(|claim| claim.requests.iter().flatten()) {
                let alternatives = self.alternatives(request, &devices)?;
                requests.push(Request { claim: index, name: request.name.clone(), alternatives });
            }
        }
        let taken = devices.iter().map(|one| self.inventory.in_use.contains(&one.id())).collect();
        let mut search =
            Search { claims, requests, devices: &devices, taken, picks: Vec::new(), steps: 0 };
        if !search.solve(0) {
            return Ok(None);
        }
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let allocations = (0..claims.len()).map(|claim| self.result(&search, claim, name));
        Ok(Some(allocations.collect()))
    }

    fn alternatives(
        &self,
        request: &DeviceRequest,
        devices: &[Available<'_>],
    ) -> Result<Vec<Alternative>, String> {
        let exactly = request.exactly.iter().map(|one| Asked {
            name: request.name.clone(),
            class: &one.device_class_name,
            selectors: one.selectors.as_ref(),
            mode: one.allocation_mode.as_deref(),
            count: one.count,
            admin: one.admin_access == Some(true),
            tolerations: one.tolerations.as_deref().unwrap_or_default(),
        });
        let first = request.first_available.iter().flatten().map(|one| Asked {
            name: format!("{}/{}", request.name, one.name),
            class: &one.device_class_name,
            selectors: one.selectors.as_ref(),
            mode: one.allocation_mode.as_deref(),
            count: one.count,
            admin: false,
            tolerations: one.tolerations.as_deref().unwrap_or_default(),
        });
        exactly.chain(first).map(|asked| self.alternative(&asked, devices)).collect()
    }

    fn alternative(
        &self,
        asked: &Asked<'_>,
        devices: &[Available<'_>],
    ) -> Result<Alternative, String> {
        let Some(class) = (self.classes)(asked.class) else {
            let (request, class) = (&asked.name, asked.class);
            return Err(format!("request {request}: device class {class} does not exist"));
        };
        let mut candidates = Vec::new();
        for (place, one) in devices.iter().enumerate() {
            let selected =
                self.selectors.select(class.spec.selectors.as_ref(), one.driver, one.device)?
                    && self.selectors.select(asked.selectors, one.driver, one.device)?;
            if selected && tolerated(one.device, asked.tolerations) {
                candidates.push(place);
            }
        }
        let many = match asked.mode {
            // All of none is not what anybody means.
            Some("All") => candidates.len().max(1),
            _ => usize::try_from(asked.count.unwrap_or(1)).unwrap_or(usize::MAX),
        };
        Ok(Alternative {
            name: asked.name.clone(),
            class: asked.class.to_owned(),
            candidates,
            many,
            admin: asked.admin,
            tolerations: asked.tolerations.to_vec(),
        })
    }

    fn result(&self, search: &Search<'_>, claim: usize, node: &str) -> AllocationResult {
        let picks = search.picks.iter().filter(|pick| search.requests[pick.request].claim == claim);
        let (mut results, mut config, mut local) = (Vec::new(), Vec::new(), false);
        let mut configured: Vec<&str> = Vec::new();
        for pick in picks {
            let alternative = &search.requests[pick.request].alternatives[pick.alternative];
            let one = &search.devices[pick.device];
            local |= one.local;
            results.push(DeviceRequestAllocationResult {
                request: alternative.name.clone(),
                driver: one.driver.to_owned(),
                pool: one.pool.to_owned(),
                device: one.device.name.clone(),
                admin_access: alternative.admin.then_some(true),
                tolerations: Some(alternative.tolerations.clone()).filter(|all| !all.is_empty()),
                ..DeviceRequestAllocationResult::default()
            });
            if !configured.contains(&&alternative.name[..]) {
                configured.push(&alternative.name);
                config.extend(self.class_config(alternative));
            }
        }
        let asked = search.claims[claim].spec.devices.as_ref();
        config.extend(asked.iter().flat_map(|claim| claim.config.iter().flatten()).map(|one| {
            DeviceAllocationConfiguration {
                source: "FromClaim".to_owned(),
                requests: one.requests.clone(),
                opaque: one.opaque.clone(),
            }
        }));
        AllocationResult {
            devices: Some(DeviceAllocationResult {
                results: Some(results),
                config: Some(config).filter(|all| !all.is_empty()),
            }),
            node_selector: local.then(|| only(node)),
            allocation_timestamp: None,
        }
    }

    fn class_config(&self, alternative: &Alternative) -> Vec<DeviceAllocationConfiguration> {
        let class = (self.classes)(&alternative.class);
        let config = class.and_then(|class| class.spec.config.clone()).unwrap_or_default();
        config
            .into_iter()
            .map(|one| DeviceAllocationConfiguration {
                source: "FromClass".to_owned(),
                requests: Some(vec![alternative.name.clone()]),
                opaque: one.opaque,
            })
            .collect()
    }
}

/// Selects one node by its name.
fn only(node: &str) -> NodeSelector {
    let field = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![field]), ..NodeSelectorTerm::default() };
    NodeSelector { node_selector_terms: vec![term] }
}

fn tolerated(device: &Device, tolerations: &[DeviceToleration]) -> bool {
    let forbids = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
    let taints = device.taints.iter().flatten().filter(|taint| forbids(&taint.effect));
    taints.into_iter().all(|taint| {
        tolerations.iter().any(|one| {
            let same = |asked: &Option<String>, actual: &str| {
                asked.as_deref().is_none_or(|asked| asked.is_empty() || asked == actual)
            };
            let value = taint.value.as_deref().unwrap_or_default();
            same(&one.effect, &taint.effect)
                && same(&one.key, &taint.key)
                && (one.operator.as_deref() == Some("Exists")
                    || one.value.as_deref().unwrap_or_default() == value)
        })
    })
}

/// A device that was chosen for a request.
#[derive(Clone, Copy)]
struct Pick {
    request: usize,
    alternative: usize,
    device: usize,
}

/// Tries devices for one request after another, and goes back where one finds none.
struct Search<'a> {
    claims: &'a [Typed<ResourceClaim>],
    requests: Vec<Request>,
    devices: &'a [Available<'a>],
    taken: Vec<bool>,
    picks: Vec<Pick>,
    steps: usize,
}

impl Search<'_> {
    fn solve(&mut self, request: usize) -> bool {
        let Some(asked) = self.requests.get(request) else { return true };
        let alternatives = asked.alternatives.len();
        (0..alternatives).any(|alternative| self.fill(request, alternative, 0, 0))
    }

    /// Takes so many devices as the request still lacks, from a place among its candidates on.
    fn fill(&mut self, request: usize, alternative: usize, from: usize, have: usize) -> bool {
        let asked = &self.requests[request].alternatives[alternative];
        let (many, admin, candidates) = (asked.many, asked.admin, asked.candidates.len());
        if have == many {
            return self.solve(request + 1);
        }
        if candidates.saturating_sub(from) < many - have {
            return false;
        }
        for place in from..candidates {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return false;
            }
            let device = self.requests[request].alternatives[alternative].candidates[place];
            if (self.taken[device] && !admin)
                || !self.keeps_constraints(request, alternative, device)
            {
                continue;
            }
            let was = self.taken[device];
            self.taken[device] |= !admin;
            self.picks.push(Pick { request, alternative, device });
            if self.fill(request, alternative, place + 1, have + 1) {
                return true;
            }
            self.picks.pop();
            self.taken[device] = was;
        }
        false
    }

    fn keeps_constraints(&self, request: usize, alternative: usize, device: usize) -> bool {
        let asked = &self.requests[request];
        let claim = self.claims[asked.claim].spec.devices.as_ref();
        let constraints = claim.iter().flat_map(|claim| claim.constraints.iter().flatten());
        let name = &asked.alternatives[alternative].name;
        constraints.into_iter().filter(|one| concerns(one, &asked.name, name)).all(|constraint| {
            let mut others = self.picks.iter().filter(|pick| {
                let other = &self.requests[pick.request];
                let name = &other.alternatives[pick.alternative].name;
                other.claim == asked.claim && concerns(constraint, &other.name, name)
            });
            if let Some(attribute) = &constraint.match_attribute {
                let Some(own) = self.attribute(device, attribute) else { return false };
                return others.all(|pick| self.attribute(pick.device, attribute) == Some(own));
            }
            if let Some(attribute) = &constraint.distinct_attribute {
                let Some(own) = self.attribute(device, attribute) else { return false };
                return others.all(|pick| self.attribute(pick.device, attribute) != Some(own));
            }
            // One of a kind that came later is kept by nothing here.
            false
        })
    }

    /// What a device has under a name with its domain; one without a domain is of the driver's.
    fn attribute(
        &self,
        device: usize,
        name: &str,
    ) -> Option<&k8s_openapi::api::resource::v1::DeviceAttribute> {
        let one = &self.devices[device];
        let attributes = one.device.attributes.as_ref()?;
        let own = || attributes.get(name.strip_prefix(one.driver)?.strip_prefix('/')?);
        attributes.get(name).or_else(own)
    }
}

fn concerns(constraint: &DeviceConstraint, request: &str, alternative: &str) -> bool {
    let names = constraint.requests.as_deref().unwrap_or_default();
    names.is_empty() || names.iter().any(|name| name == request || name == alternative)
}
