use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use pinnace_api::Object;

use super::{Hook, Hooks};
use crate::followed::Index;

const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

/// The webhooks that there are.
#[derive(Default)]
pub(crate) struct Webhooks {
    mutating: Sort,
    validating: Sort,
}

/// Webhooks of one sort, by the names of their configurations.
#[derive(Default)]
struct Sort {
    configurations: BTreeMap<String, Vec<Hook>>,
    /// All of them in their order; `None` for none.
    all: Option<Hooks>,
}

impl Sort {
    fn set(&mut self, configuration: &str, hooks: Vec<Hook>) {
        if hooks.is_empty() {
            self.configurations.remove(configuration);
        } else {
            self.configurations.insert(configuration.to_owned(), hooks);
        }
        let all: Hooks = self.configurations.values().flatten().cloned().collect();
        self.all = (!all.is_empty()).then_some(all);
    }
}

impl Webhooks {
    pub(super) fn mutating(&self) -> Option<Hooks> {
        self.mutating.all.clone()
    }

    pub(super) fn validating(&self) -> Option<Hooks> {
        self.validating.all.clone()
    }
}

impl Index for Webhooks {
    const TABLES: &'static [&'static str] = &[MUTATING, VALIDATING];

    fn apply(&mut self, table: &str, object: &Object, removed: bool) {
        let name = object.name();
        let hooks = |hooks: Option<Vec<Hook>>| if removed { None } else { hooks };
        if table == MUTATING {
            let found = object.get::<MutatingWebhookConfiguration>().ok();
            let found = found.map(|configuration| {
                let all = configuration.webhooks.iter().flatten();
                all.map(|webhook| Hook::mutating(name, webhook)).collect()
            });
            self.mutating.set(name, hooks(found).unwrap_or_default());
        } else {
            let found = object.get::<ValidatingWebhookConfiguration>().ok();
            let found = found.map(|configuration| {
                let all = configuration.webhooks.iter().flatten();
                all.map(|webhook| Hook::validating(name, webhook)).collect()
            });
            self.validating.set(name, hooks(found).unwrap_or_default());
        }
    }
}
