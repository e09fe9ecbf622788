use std::borrow::Cow;

use k8s_openapi::api::core::v1::Service;

use super::names;
use crate::Strategy;

mod defaults;

/// Services.
pub(super) struct ServiceStrategy;

impl Strategy for ServiceStrategy {
    type Kind = Service;

    fn default(&self, service: &mut Service) {
        defaults::service(service);
    }

    fn prepare_for_create(&self, service: &mut Service) {
        service.status = Some(Default::default());
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns_label(name)
    }

    fn prepare_for_update(&self, new: &mut Service, old: &Service) {
        new.status.clone_from(&old.status);
    }

    fn prepare_for_status_update(&self, new: &mut Service, old: &Service) {
        new.spec.clone_from(&old.spec);
    }

    fn field<'a>(&self, service: &'a Service, path: &str) -> Option<Cow<'a, str>> {
        let spec = service.spec.as_ref();
        let text = match path {
            "spec.clusterIP" => spec.and_then(|spec| spec.cluster_ip.as_deref()),
            "spec.type" => spec.and_then(|spec| spec.type_.as_deref()),
            _ => return None,
        };
        Some(Cow::Borrowed(text.unwrap_or_default()))
    }
}
