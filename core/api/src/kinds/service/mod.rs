//! Services, as far as can be told without giving them addresses and ports.

mod addresses;
mod defaults;
mod prepare;
mod validate;

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::check::text;
use super::names;
use crate::Strategy;
use crate::field::ErrorList;

/// Services.
pub(super) struct ServiceStrategy;

impl Strategy for ServiceStrategy {
    type Kind = Service;

    fn default(&self, service: &mut Service) {
        defaults::service(service);
    }

    fn prepare_for_create(&self, service: &mut Service) {
        service.status = Some(Default::default());
        prepare::cluster_ips(service.spec.get_or_insert_default(), None);
    }

    fn validate(&self, service: &Service, errors: &mut ErrorList) {
        if let Some(spec) = &service.spec {
            validate::service(service, spec, errors);
        }
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns_label(name)
    }

    fn prepare_for_update(&self, new: &mut Service, old: &Service) {
        new.status.clone_from(&old.status);
        if let (Some(new), Some(old)) = (&mut new.spec, &old.spec) {
            prepare::cluster_ips(new, Some(old));
            prepare::keep_what_was_given(new, old);
            prepare::drop_what_no_longer_applies(new, old);
        }
    }

    fn validate_update(&self, new: &Service, old: &Service, errors: &mut ErrorList) {
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            addresses::validate_update(new, old, errors);
            validate::update(new, old, errors);
        }
        self.validate(new, errors);
    }

    fn prepare_for_status_update(&self, new: &mut Service, old: &Service) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_status_update(&self, new: &Service, _: &Service, errors: &mut ErrorList) {
        validate::status(new, errors);
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

/// Whether a service has no address of its own.
fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(spec.cluster_ips.as_deref(), Some([only]) if only == "None")
}

/// Whether a service can be reached from outside.
fn is_reached_from_outside(spec: &ServiceSpec) -> bool {
    match text(&spec.type_) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => spec.external_ips.iter().flatten().next().is_some(),
        _ => false,
    }
}

/// Whether a load balancer must ask the nodes which of them have endpoints.
fn needs_health_check(spec: &ServiceSpec) -> bool {
    text(&spec.type_) == "LoadBalancer" && text(&spec.external_traffic_policy) == "Local"
}
