use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ResourceQuota, ScopedResourceSelectorRequirement};
use serde::Deserialize;

use super::{Counted, Usage, hard_of};
use crate::Resource;

/// What nobody uses where no quota is about it: `limitedResources` of upstream's configuration of
/// quotas.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitedResource {
    /// The group of the kind whose writes are looked at, empty for the core group.
    #[serde(default)]
    pub api_group: String,
    /// Its plural.
    pub resource: String,
    /// What names of what is used contain, such as `requests.storage`.
    #[serde(default)]
    pub match_contains: Vec<String>,
    /// The scopes that objects are in.
    #[serde(default)]
    pub match_scopes: Vec<ScopedResourceSelectorRequirement>,
}

impl LimitedResource {
    /// Whether it is about a kind.
    pub fn is_about(&self, resource: &Resource) -> bool {
        self.api_group == resource.group && self.resource == resource.plural
    }
}

/// What the quotas of a namespace are about, of those that are for an object.
#[derive(Debug, Default)]
pub struct Covered {
    names: BTreeSet<String>,
    scopes: BTreeSet<String>,
}

impl Covered {
    /// Adds a quota that is for the object.
    pub fn add(&mut self, quota: &ResourceQuota, counted: &Counted) {
        let hard = quota.status.as_ref().and_then(|status| status.hard.as_ref());
        let names = hard.or(hard_of(quota)).into_iter().flatten().map(|(name, _)| name);
        self.names.extend(names.filter(|name| counted.covers(name)).cloned());
        let Some(spec) = &quota.spec else { return };
        let selector = spec.scope_selector.as_ref();
        let selected = selector.and_then(|selector| selector.match_expressions.as_ref());
        let selected = selected.into_iter().flatten().map(|wanted| &wanted.scope_name);
        self.scopes.extend(spec.scopes.iter().flatten().chain(selected).cloned());
    }

    /// What is used and limited, and no quota is about, in upstream's words.
    pub fn lacks(&self, limited: &[LimitedResource], usage: &Usage) -> Option<Lack> {
        let used =
            usage.amounts.iter().filter(|(_, amount)| !amount.is_zero() && !amount.is_negative());
        let is_limited = |name: &str| {
            let mut parts = limited.iter().flat_map(|one| &one.match_contains);
            parts.any(|part| name.contains(part.as_str()))
        };
        let mut names = used.map(|(name, _)| name.as_str()).filter(|name| is_limited(name));
        let mut lacking: Vec<&str> =
            names.by_ref().filter(|name| !self.names.contains(*name)).collect();
        lacking.sort_unstable();
        if !lacking.is_empty() {
            let why = format!("insufficient quota to consume: {}", lacking.join(","));
            return Some(Lack::Names(why));
        }
        let scopes = limited.iter().flat_map(|one| &one.match_scopes);
        let lacking: Vec<String> = scopes
            .filter(|wanted| usage.matches(wanted) && !self.scopes.contains(&wanted.scope_name))
            .map(|wanted| {
                let values = wanted.values.as_deref().unwrap_or_default().join(" ");
                format!("{{{} {} [{values}]}}", wanted.scope_name, wanted.operator)
            })
            .collect();
        let why = || format!("insufficient quota to match these scopes: [{}]", lacking.join(" "));
        (!lacking.is_empty()).then(|| Lack::Scopes(why()))
    }
}

/// What no quota is about, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Amounts.
    Names(String),
    /// Scopes.
    Scopes(String),
}
