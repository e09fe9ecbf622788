use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::networking::v1::Ingress;
use pinnace_api::{Object, Result};
use pinnace_store::Snapshot;

use super::{Admission, AdmissionRequest, Operation};

const STORAGE_CLASSES: &str = "storageclasses.storage.k8s.io";
const STORAGE_DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
/// How claims named their class before they had a field for it.
const STORAGE_CLASS_OF: &str = "volume.beta.kubernetes.io/storage-class";
const INGRESS_CLASSES: &str = "ingressclasses.networking.k8s.io";
const INGRESS_DEFAULT: [&str; 1] = ["ingressclass.kubernetes.io/is-default-class"];
/// How ingresses named their class before they had a field for it.
const INGRESS_CLASS_OF: &str = "kubernetes.io/ingress.class";

/// Gives claims that name no class the default one.
pub(super) struct DefaultStorageClass;

impl Admission for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.operation != Operation::Create || request.subresource.is_some() {
            return Ok(());
        }
        let snapshot = request.snapshot;
        let claim = request.new.as_mut().and_then(|new| new.get_mut::<PersistentVolumeClaim>());
        let Some(claim) = claim else { return Ok(()) };
        let annotations = claim.metadata.annotations.as_ref();
        let named = annotations.is_some_and(|all| all.contains_key(STORAGE_CLASS_OF));
        let spec = claim.spec.get_or_insert_default();
        if !named && spec.storage_class_name.is_none() {
            spec.storage_class_name = default_of(snapshot, STORAGE_CLASSES, &STORAGE_DEFAULT);
        }
        Ok(())
    }
}

/// Gives ingresses that name no class the default one.
pub(super) struct DefaultIngressClass;

impl Admission for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.operation != Operation::Create || request.subresource.is_some() {
            return Ok(());
        }
        let snapshot = request.snapshot;
        let ingress = request.new.as_mut().and_then(|new| new.get_mut::<Ingress>());
        let Some(ingress) = ingress else { return Ok(()) };
        let annotations = ingress.metadata.annotations.as_ref();
        let named = annotations.is_some_and(|all| all.contains_key(INGRESS_CLASS_OF));
        let spec = ingress.spec.get_or_insert_default();
        if !named && spec.ingress_class_name.is_none() {
            spec.ingress_class_name = default_of(snapshot, INGRESS_CLASSES, &INGRESS_DEFAULT);
        }
        Ok(())
    }
}

/// The class that is marked as the default: the newest of several, by name among those as new.
fn default_of(snapshot: &Snapshot, table: &str, marks: &[&str]) -> Option<String> {
    let is_default = |class: &&Object| {
        let annotations = class.meta().annotations.as_ref();
        annotations.is_some_and(|all| {
            marks.iter().any(|mark| all.get(*mark).is_some_and(|value| value == "true"))
        })
    };
    let created = |class: &Object| class.meta().creation_timestamp.as_ref().map(|time| time.0);
    let newest = snapshot
        .iter(table)
        .filter(is_default)
        .min_by(|a, b| created(b).cmp(&created(a)).then_with(|| a.name().cmp(b.name())));
    newest.map(|class| class.name().to_owned())
}
