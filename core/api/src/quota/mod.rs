//! What the objects of a namespace use of its quotas: what admission, which charges them, and the
//! controller, which counts them again, must agree on.
//!
//! See <https://kubernetes.io/docs/concepts/policy/resource-quotas/>.

mod claims;
mod devices;
mod limited;
mod pods;
mod scopes;
mod services;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ScopedResourceSelectorRequirement, Service,
};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::quantity::Quantity;
use crate::{Catalog, Object, Resource, Result, Subresource};
pub use limited::{Covered, Lack, LimitedResource};
use scopes::Traits;

/// Amounts by the names that quotas give them.
pub type Amounts = BTreeMap<String, Quantity>;

/// Names that begin so count objects of a kind.
const COUNT: &str = "count/";
/// Kinds that quotas may name as they are, from before there was [`COUNT`].
const LEGACY: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
/// Kinds that are counted as more than objects.
const MEASURED: [&str; 4] =
    ["pods", "services", "persistentvolumeclaims", "resourceclaims.resource.k8s.io"];
/// Kinds that nobody counts.
const IGNORED: [&str; 2] = ["events", "events.events.k8s.io"];

/// A kind, as quotas count it.
#[derive(Clone, Debug)]
pub struct Counted {
    /// `plural.group`.
    name: Arc<str>,
    measure: Measure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Pod,
    Service,
    Claim,
    Devices,
    Object,
}

/// What an object uses, and which quotas that concerns.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// How much, by name.
    pub amounts: Amounts,
    traits: Traits,
}

impl Counted {
    /// How a kind counts; `None` when quotas do not know it.
    pub fn of(resource: &Resource) -> Option<Self> {
        let name = resource.name();
        let is_kept = resource.is_stored() || resource.is_elsewhere();
        if !resource.is_namespaced() || !is_kept || IGNORED.contains(&&**name) {
            return None;
        }
        let measure = match &**name {
            "pods" => Measure::Pod,
            "services" => Measure::Service,
            "persistentvolumeclaims" => Measure::Claim,
            "resourceclaims.resource.k8s.io" => Measure::Devices,
            _ => Measure::Object,
        };
        Some(Self { name: name.clone(), measure })
    }

    /// Whether a write may use more than before.
    pub fn is_charged(&self, is_new: bool, part: Option<Subresource>) -> bool {
        match (self.measure, part) {
            (Measure::Pod, Some(Subresource::Resize)) => true,
            (Measure::Claim, Some(Subresource::Status)) => true,
            (_, Some(_)) => false,
            (Measure::Pod | Measure::Object, None) => is_new,
            (Measure::Service | Measure::Claim | Measure::Devices, None) => true,
        }
    }

    /// Whether a quota that names this limits the kind.
    pub fn covers(&self, name: &str) -> bool {
        if let Some(kind) = name.strip_prefix(COUNT) {
            return kind == &*self.name;
        }
        match self.measure {
            Measure::Pod => pods::covers(name),
            Measure::Service => services::NAMES.contains(&name),
            Measure::Claim => claims::covers(name),
            Measure::Devices => name.ends_with(devices::SUFFIX),
            Measure::Object => name == &*self.name && LEGACY.contains(&name),
        }
    }

    /// What an object of the kind uses.
    ///
    /// # Errors
    /// `InternalError` for an object that cannot be read, or is of another kind.
    pub fn usage(&self, object: &Object, now: Timestamp) -> Result<Usage> {
        let mut amounts = Amounts::new();
        let mut traits = Traits::None;
        match self.measure {
            Measure::Pod => {
                let pod = object.get::<Pod>()?;
                pods::measure(pod, now, &mut amounts);
                traits = Traits::of_pod(pod);
            }
            Measure::Service => services::measure(object.get::<Service>()?, &mut amounts),
            Measure::Claim => {
                let claim = object.get::<PersistentVolumeClaim>()?;
                claims::measure(claim, &mut amounts);
                traits = Traits::of_claim(claim);
            }
            Measure::Devices => devices::measure(object.get::<ResourceClaim>()?, &mut amounts),
            Measure::Object if LEGACY.contains(&&*self.name) => {
                amounts.insert(self.name.to_string(), Quantity::from_units(1));
            }
            Measure::Object => {}
        }
        amounts.insert(format!("{COUNT}{}", self.name), Quantity::from_units(1));
        Ok(Usage { amounts, traits })
    }

    /// What an object does not say and must, as a quota limits these; in upstream's words.
    pub fn unspecified(&self, object: &Object, names: &[&str]) -> Option<String> {
        match self.measure {
            Measure::Pod => pods::unspecified(object.get::<Pod>().ok()?, names),
            _ => None,
        }
    }
}

impl Usage {
    /// Whether a quota is for objects such as this.
    pub fn is_in_scope_of(&self, quota: &ResourceQuota) -> bool {
        self.traits.are_in_scope_of(quota)
    }

    /// Whether an object is in a scope, as a selector asks for it.
    fn matches(&self, wanted: &ScopedResourceSelectorRequirement) -> bool {
        let values = wanted.values.as_deref().unwrap_or_default();
        self.traits.matches(&wanted.scope_name, &wanted.operator, values)
    }
}

/// The kinds that a quota limits, and the names of kinds that there are not.
pub fn kinds_of(quota: &ResourceQuota, catalog: &Catalog) -> (Vec<Arc<Resource>>, bool) {
    let mut kinds: Vec<Arc<Resource>> = Vec::new();
    let mut is_complete = true;
    for name in hard_of(quota).into_iter().flatten().map(|(name, _)| name) {
        let found: Vec<&str> = match name.strip_prefix(COUNT) {
            Some(kind) => {
                is_complete &= catalog.by_name(kind).is_some();
                vec![kind]
            }
            None => MEASURED.into_iter().chain(LEGACY).collect(),
        };
        for kind in found.into_iter().filter_map(|kind| catalog.by_name(kind)) {
            let covers = Counted::of(&kind).is_some_and(|counted| counted.covers(name));
            if covers && !kinds.iter().any(|known| known.name() == kind.name()) {
                kinds.push(kind);
            }
        }
    }
    (kinds, is_complete)
}

/// What a quota allows, as its owner wants it.
pub fn hard_of(quota: &ResourceQuota) -> Option<&BTreeMap<String, Text>> {
    quota.spec.as_ref()?.hard.as_ref()
}

/// The amounts of a list; what cannot be read is nothing.
pub fn amounts_of(list: Option<&BTreeMap<String, Text>>) -> Amounts {
    let read = |(name, text): (&String, &Text)| {
        (name.clone(), Quantity::try_from(text).unwrap_or_default())
    };
    list.into_iter().flatten().map(read).collect()
}

/// Whether two lists say the same, however they are written.
pub fn are_equal(a: Option<&BTreeMap<String, Text>>, b: Option<&BTreeMap<String, Text>>) -> bool {
    a == b || amounts_of(a) == amounts_of(b)
}

/// Adds an amount to what there is under a name.
pub(crate) fn add(amounts: &mut Amounts, name: &str, amount: Quantity) {
    match amounts.get_mut(name) {
        Some(sum) => *sum += amount,
        None => _ = amounts.insert(name.to_owned(), amount),
    }
}
