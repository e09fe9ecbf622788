//! The kinds of Kubernetes.

use k8s_openapi::api::{
    admissionregistration, apiserverinternal, apps, authentication, authorization, autoscaling,
    batch, certificates, coordination, core, discovery, events, flowcontrol, networking, node,
    policy, rbac, resource, scheduling, storage, storagemigration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;

use crate::metrics::{NodeMetrics, PodMetrics};
use crate::{Codec, DynamicObject, Kind, ObjectMeta, Payload, kind};

kind!(
    admissionregistration::v1::MutatingAdmissionPolicy,
    admissionregistration::v1::MutatingAdmissionPolicyBinding,
    admissionregistration::v1::MutatingWebhookConfiguration,
    admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    admissionregistration::v1::ValidatingWebhookConfiguration,
    apps::v1::ControllerRevision,
    apps::v1::DaemonSet,
    apps::v1::Deployment,
    apps::v1::ReplicaSet,
    apps::v1::StatefulSet,
    authentication::v1::SelfSubjectReview,
    authentication::v1::TokenRequest,
    authentication::v1::TokenReview,
    authorization::v1::LocalSubjectAccessReview,
    authorization::v1::SelfSubjectAccessReview,
    authorization::v1::SelfSubjectRulesReview,
    authorization::v1::SubjectAccessReview,
    autoscaling::v1::HorizontalPodAutoscaler,
    autoscaling::v1::Scale,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::CronJob,
    batch::v1::Job,
    certificates::v1::CertificateSigningRequest,
    coordination::v1::Lease,
    core::v1::Binding,
    core::v1::ComponentStatus,
    core::v1::ConfigMap,
    core::v1::Endpoints,
    core::v1::Event,
    core::v1::LimitRange,
    core::v1::Namespace,
    core::v1::Node,
    core::v1::PersistentVolume,
    core::v1::PersistentVolumeClaim,
    core::v1::Pod,
    core::v1::PodTemplate,
    core::v1::ReplicationController,
    core::v1::ResourceQuota,
    core::v1::Secret,
    core::v1::ServiceAccount,
    discovery::v1::EndpointSlice,
    events::v1::Event,
    flowcontrol::v1::FlowSchema,
    flowcontrol::v1::PriorityLevelConfiguration,
    networking::v1::IPAddress,
    networking::v1::Ingress,
    networking::v1::IngressClass,
    networking::v1::NetworkPolicy,
    node::v1::RuntimeClass,
    policy::v1::Eviction,
    rbac::v1::ClusterRole,
    rbac::v1::ClusterRoleBinding,
    rbac::v1::Role,
    rbac::v1::RoleBinding,
    resource::v1::DeviceClass,
    resource::v1::ResourceClaimTemplate,
    resource::v1::ResourceSlice,
    scheduling::v1::PriorityClass,
    storage::v1::CSIDriver,
    storage::v1::CSINode,
    storage::v1::CSIStorageCapacity,
    storage::v1::StorageClass,
    storage::v1::VolumeAttachment,
    storage::v1::VolumeAttributesClass,
    apiregistration::v1::APIService,
    // Not served, but shown to those that have them.
    apiserverinternal::v1alpha1::StorageVersion,
    certificates::v1beta1::ClusterTrustBundle,
    certificates::v1beta1::PodCertificateRequest,
    coordination::v1beta1::LeaseCandidate,
    resource::v1alpha3::ResourcePoolStatusRequest,
    resource::v1beta1::DeviceClass,
    resource::v1beta2::DeviceTaintRule,
    scheduling::v1alpha2::PodGroup,
    scheduling::v1alpha2::Workload,
    storagemigration::v1beta1::StorageVersionMigration,
    NodeMetrics,
    PodMetrics,
);
// Those that have general conditions.
kind!(
    admissionregistration::v1::ValidatingAdmissionPolicy =>
    Codec::with_conditions::<admissionregistration::v1::ValidatingAdmissionPolicy>()
);
kind!(
    core::v1::Service =>
    Codec::with_conditions::<core::v1::Service>()
);
kind!(
    networking::v1::ServiceCIDR =>
    Codec::with_conditions::<networking::v1::ServiceCIDR>()
);
kind!(
    policy::v1::PodDisruptionBudget =>
    Codec::with_conditions::<policy::v1::PodDisruptionBudget>()
);
kind!(
    resource::v1::ResourceClaim =>
    Codec::with_conditions::<resource::v1::ResourceClaim>()
);
kind!(
    apiextensions::v1::CustomResourceDefinition =>
    Codec::new::<apiextensions::v1::CustomResourceDefinition>().resting()
);

impl Kind for DynamicObject {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn api_version(&self) -> &str {
        &self.api_version
    }
    fn kind(&self) -> &str {
        &self.kind
    }
    fn codec() -> &'static Codec {
        static CODEC: Codec = Codec::new::<DynamicObject>();
        &CODEC
    }
    fn erased(self) -> Box<dyn Payload> {
        Box::new(self)
    }
}
