//! Defaulting, validation and preparation of the built-in kinds, a file each.

mod admission;
mod api_service;
mod autoscaling_v1;
mod certificate_signing_request;
pub(crate) mod check;
mod component_status;
mod conditions;
mod config_map;
mod controller_revision;
mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod devices;
mod endpoints;
mod event;
mod event_v1;
mod flow_control;
mod horizontal_pod_autoscaler;
mod job;
pub mod label_selector;
mod lease;
mod limits;
pub mod metadata;
pub mod names;
mod namespace;
mod networking;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_disruption_budget;
mod pod_spec;
mod priority_class;
pub mod qos;
mod rbac;
mod replica_set;
mod replicated;
mod replication_controller;
mod reviews;
mod runtime_class;
mod secret;
mod service;
mod service_account;
mod stateful_set;
mod storage;
mod webhook_client;

pub use custom_resource_definition::CLEANUP as CUSTOM_CLEANUP;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub(crate) use pod_spec::is_extended as is_extended_resource;

use crate::{Dependents, Resource, Subresource, Verbs};

/// Every built-in kind, group by group, in the order in which discovery shows them.
pub fn all() -> Vec<Resource> {
    let groups = [
        core(),
        admission(),
        api_extensions(),
        api_registration(),
        apps(),
        authentication(),
        authorization(),
        autoscaling(),
        batch(),
        certificates(),
        coordination(),
        discovery(),
        events(),
        flow_control(),
        crate::metrics::kinds(),
        networking(),
        node(),
        policy(),
        rbac(),
        resource(),
        scheduling(),
        storage(),
    ];
    groups.into_iter().flatten().collect()
}

fn core() -> Vec<Resource> {
    vec![
        Resource::review("componentstatus", component_status::ComponentStatusStrategy)
            .verbs(Verbs::READ)
            .short(&["cs"]),
        Resource::builtin("configmap", config_map::ConfigMapStrategy).short(&["cm"]),
        Resource::builtin("endpoints", endpoints::EndpointsStrategy).short(&["ep"]),
        Resource::builtin("event", event::EventStrategy)
            .short(&["ev"])
            .dependents(Dependents::None)
            .fields(event::FIELDS),
        Resource::builtin("limitrange", limits::LimitRangeStrategy).short(&["limits"]),
        Resource::builtin("namespace", namespace::NamespaceStrategy)
            .short(&["ns"])
            .verbs(Verbs::SINGLE)
            .with_status()
            .with(&[Subresource::Finalize])
            .fields(&["status.phase"]),
        Resource::builtin("node", node::NodeStrategy)
            .short(&["no"])
            .with_status()
            .fields(&["spec.unschedulable"]),
        Resource::builtin(
            "persistentvolumeclaim",
            persistent_volume_claim::PersistentVolumeClaimStrategy,
        )
        .short(&["pvc"])
        .with_status(),
        Resource::builtin("persistentvolume", persistent_volume::PersistentVolumeStrategy)
            .short(&["pv"])
            .with_status(),
        Resource::builtin("pod", pod::PodStrategy)
            .short(&["po"])
            .category(&["all"])
            .with_status()
            .with(&[
                Subresource::Binding,
                Subresource::Eviction,
                Subresource::EphemeralContainers,
                Subresource::Resize,
            ])
            .fields(pod::FIELDS),
        Resource::review("binding", pod::BindingStrategy),
        Resource::builtin("podtemplate", replication_controller::PodTemplateStrategy),
        Resource::builtin(
            "replicationcontroller",
            replication_controller::ReplicationControllerStrategy,
        )
        .short(&["rc"])
        .category(&["all"])
        .with_status()
        .with_scale()
        .dependents(Dependents::Orphaned)
        .fields(&["status.replicas"]),
        Resource::builtin("resourcequota", limits::ResourceQuotaStrategy)
            .short(&["quota"])
            .with_status(),
        Resource::builtin("secret", secret::SecretStrategy).fields(&["type"]),
        Resource::builtin("serviceaccount", service_account::ServiceAccountStrategy)
            .short(&["sa"])
            .with(&[Subresource::Token]),
        Resource::builtin("service", service::ServiceStrategy)
            .short(&["svc"])
            .category(&["all"])
            .with_status()
            .fields(&["spec.clusterIP", "spec.type"]),
    ]
}

fn admission() -> Vec<Resource> {
    use admission::{
        MutatingAdmissionPolicyBindingStrategy, MutatingAdmissionPolicyStrategy,
        MutatingWebhookConfigurationStrategy, ValidatingAdmissionPolicyBindingStrategy,
        ValidatingAdmissionPolicyStrategy, ValidatingWebhookConfigurationStrategy,
    };
    vec![
        Resource::builtin("mutatingadmissionpolicy", MutatingAdmissionPolicyStrategy)
            .category(&["api-extensions"]),
        Resource::builtin("mutatingadmissionpolicybinding", MutatingAdmissionPolicyBindingStrategy)
            .category(&["api-extensions"]),
        Resource::builtin("mutatingwebhookconfiguration", MutatingWebhookConfigurationStrategy)
            .category(&["api-extensions"]),
        Resource::builtin("validatingadmissionpolicy", ValidatingAdmissionPolicyStrategy)
            .category(&["api-extensions"])
            .with_status(),
        Resource::builtin(
            "validatingadmissionpolicybinding",
            ValidatingAdmissionPolicyBindingStrategy,
        )
        .category(&["api-extensions"]),
        Resource::builtin("validatingwebhookconfiguration", ValidatingWebhookConfigurationStrategy)
            .category(&["api-extensions"]),
    ]
}

fn api_extensions() -> Vec<Resource> {
    let strategy = custom_resource_definition::CustomResourceDefinitionStrategy;
    vec![
        Resource::builtin("customresourcedefinition", strategy)
            .short(&["crd", "crds"])
            .category(&["api-extensions"])
            .with_status(),
    ]
}

fn api_registration() -> Vec<Resource> {
    vec![
        Resource::builtin("apiservice", api_service::ApiServiceStrategy)
            .category(&["api-extensions"])
            .with_status(),
    ]
}

fn apps() -> Vec<Resource> {
    vec![
        Resource::builtin("deployment", deployment::DeploymentStrategy)
            .short(&["deploy"])
            .category(&["all"])
            .with_status()
            .with_scale(),
        Resource::builtin("replicaset", replica_set::ReplicaSetStrategy)
            .short(&["rs"])
            .category(&["all"])
            .with_status()
            .with_scale(),
        Resource::builtin("statefulset", stateful_set::StatefulSetStrategy)
            .short(&["sts"])
            .category(&["all"])
            .with_status()
            .with_scale(),
        Resource::builtin("daemonset", daemon_set::DaemonSetStrategy)
            .short(&["ds"])
            .category(&["all"])
            .with_status(),
        Resource::builtin("controllerrevision", controller_revision::ControllerRevisionStrategy),
    ]
}

fn autoscaling() -> Vec<Resource> {
    let strategy = horizontal_pod_autoscaler::HorizontalPodAutoscalerStrategy;
    vec![
        Resource::builtin("horizontalpodautoscaler", strategy)
            .short(&["hpa"])
            .category(&["all"])
            .with_status(),
        Resource::converted(
            "horizontalpodautoscaler",
            horizontal_pod_autoscaler::HorizontalPodAutoscalerStrategy,
            autoscaling_v1::CpuAutoscalers,
        )
        .short(&["hpa"])
        .category(&["all"])
        .with_status(),
    ]
}

fn discovery() -> Vec<Resource> {
    vec![Resource::builtin("endpointslice", endpoints::EndpointSliceStrategy)]
}

fn storage() -> Vec<Resource> {
    vec![
        Resource::builtin("csidriver", storage::CsiDriverStrategy),
        Resource::builtin("csinode", storage::CsiNodeStrategy),
        Resource::builtin("csistoragecapacity", storage::CsiStorageCapacityStrategy),
        Resource::builtin("storageclass", storage::StorageClassStrategy).short(&["sc"]),
        Resource::builtin("volumeattachment", storage::VolumeAttachmentStrategy).with_status(),
        Resource::builtin("volumeattributesclass", storage::VolumeAttributesClassStrategy)
            .short(&["vac"]),
    ]
}

fn authentication() -> Vec<Resource> {
    vec![
        Resource::review("selfsubjectreview", reviews::SelfSubjectReviewStrategy),
        Resource::review("tokenreview", reviews::TokenReviewStrategy),
    ]
}

fn authorization() -> Vec<Resource> {
    use reviews::{LocalSubjectAccessReviewStrategy, SelfSubjectAccessReviewStrategy};
    vec![
        Resource::review("localsubjectaccessreview", LocalSubjectAccessReviewStrategy),
        Resource::review("selfsubjectaccessreview", SelfSubjectAccessReviewStrategy),
        Resource::review("selfsubjectrulesreview", reviews::SelfSubjectRulesReviewStrategy),
        Resource::review("subjectaccessreview", reviews::SubjectAccessReviewStrategy),
    ]
}

fn batch() -> Vec<Resource> {
    vec![
        Resource::builtin("job", job::JobStrategy)
            .category(&["all"])
            .with_status()
            .dependents(Dependents::Orphaned)
            .fields(job::FIELDS),
        Resource::builtin("cronjob", job::CronJobStrategy)
            .short(&["cj"])
            .category(&["all"])
            .with_status(),
    ]
}

fn policy() -> Vec<Resource> {
    let budget = pod_disruption_budget::PodDisruptionBudgetStrategy;
    vec![Resource::builtin("poddisruptionbudget", budget).short(&["pdb"]).with_status()]
}

fn certificates() -> Vec<Resource> {
    use certificate_signing_request::{CertificateSigningRequestStrategy, FIELDS};
    vec![
        Resource::builtin("certificatesigningrequest", CertificateSigningRequestStrategy)
            .short(&["csr"])
            .with_status()
            .with(&[Subresource::Approval])
            .fields(FIELDS),
    ]
}

fn events() -> Vec<Resource> {
    vec![
        Resource::converted("event", event::StrictEventStrategy, event_v1::Events)
            .short(&["ev"])
            .dependents(Dependents::None)
            .fields(event_v1::FIELDS),
    ]
}

fn flow_control() -> Vec<Resource> {
    let level = flow_control::PriorityLevelConfigurationStrategy;
    vec![
        Resource::builtin("flowschema", flow_control::FlowSchemaStrategy).with_status(),
        Resource::builtin("prioritylevelconfiguration", level).with_status(),
    ]
}

fn networking() -> Vec<Resource> {
    vec![
        Resource::builtin("ingressclass", networking::IngressClassStrategy),
        Resource::builtin("ingress", networking::IngressStrategy).short(&["ing"]).with_status(),
        Resource::builtin("networkpolicy", networking::NetworkPolicyStrategy).short(&["netpol"]),
        Resource::builtin("ipaddress", networking::IpAddressStrategy).short(&["ip"]),
        Resource::builtin("servicecidr", networking::ServiceCidrStrategy).with_status(),
    ]
}

fn node() -> Vec<Resource> {
    vec![Resource::builtin("runtimeclass", runtime_class::RuntimeClassStrategy)]
}

fn rbac() -> Vec<Resource> {
    vec![
        Resource::builtin("clusterrolebinding", rbac::ClusterRoleBindingStrategy),
        Resource::builtin("clusterrole", rbac::ClusterRoleStrategy),
        Resource::builtin("rolebinding", rbac::RoleBindingStrategy),
        Resource::builtin("role", rbac::RoleStrategy),
    ]
}

fn resource() -> Vec<Resource> {
    vec![
        Resource::builtin("deviceclass", devices::DeviceClassStrategy),
        Resource::builtin("resourceclaim", devices::ResourceClaimStrategy).with_status(),
        Resource::builtin("resourceclaimtemplate", devices::ResourceClaimTemplateStrategy),
        Resource::builtin("resourceslice", devices::ResourceSliceStrategy).fields(devices::FIELDS),
    ]
}

fn coordination() -> Vec<Resource> {
    vec![Resource::builtin("lease", lease::LeaseStrategy)]
}

fn scheduling() -> Vec<Resource> {
    vec![Resource::builtin("priorityclass", priority_class::PriorityClassStrategy).short(&["pc"])]
}

/// Carries `metadata.generation` over from the stored object, one higher when the desired state
/// has changed.
pub(crate) fn next_generation(new: &mut ObjectMeta, old: &ObjectMeta, changed: bool) {
    new.generation = match (old.generation, changed) {
        (generation, false) => generation,
        (generation, true) => Some(generation.unwrap_or(0).saturating_add(1)),
    };
}

/// Whether a text is absent or empty, which the API does not tell apart.
fn is_blank(text: &Option<String>) -> bool {
    text.as_deref().is_none_or(str::is_empty)
}

/// Fills in a text that is absent or empty.
fn fill(text: &mut Option<String>, default: &str) {
    if is_blank(text) {
        *text = Some(default.to_owned());
    }
}

/// Fills in a number that is absent or zero.
fn fill_number(number: &mut Option<i32>, default: i32) {
    if number.unwrap_or(0) == 0 {
        *number = Some(default);
    }
}

/// Drops fields that say nothing, as upstream's encoding does: an empty text, list or map, and
/// `false` or zero where that is the same as absent. So a client that leaves them out when it
/// writes an object back has changed nothing.
macro_rules! omit_empty {
    ($object:expr; $($field:ident),* $(,)?) => {
        $(if $object.$field.as_ref().is_some_and($crate::kinds::Empty::is_empty) {
            $object.$field = None;
        })*
    };
}
use omit_empty;

/// What upstream's encoding leaves out.
trait Empty {
    fn is_empty(&self) -> bool;
}

impl Empty for String {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Empty for bool {
    fn is_empty(&self) -> bool {
        !self
    }
}

impl Empty for i32 {
    fn is_empty(&self) -> bool {
        *self == 0
    }
}

impl<T> Empty for Vec<T> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Empty for std::collections::BTreeMap<K, V> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}
