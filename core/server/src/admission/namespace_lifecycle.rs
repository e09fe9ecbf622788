use k8s_openapi::api::core::v1::Namespace;
use pinnace_api::{ApiError, Key, Reason, Result};

use super::{Admission, AdmissionRequest, Operation};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// The kind of questions about what may be done in a namespace.
const ACCESS: &str = "localsubjectaccessreviews.authorization.k8s.io";

/// Objects are created only in namespaces that exist and are not going; some namespaces never go.
pub(super) struct NamespaceLifecycle;

impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        let resource = request.resource;
        if &*resource.kind == "Namespace" && resource.group.is_empty() {
            if request.operation == Operation::Delete && IMMORTAL.contains(&request.key.name()) {
                let why = "this namespace may not be deleted";
                return Err(ApiError::forbidden(resource, request.key.name(), why));
            }
            return Ok(());
        }
        let is_new = request.operation == Operation::Create && resource.is_namespaced();
        // Whether somebody may do something is told wherever it would be: to say that there is no
        // such namespace would tell more.
        if !is_new || &**resource.name() == ACCESS {
            return Ok(());
        }
        let namespace = request.key.namespace();
        let Some(found) = request.snapshot.get("namespaces", &Key::cluster(namespace)) else {
            let message = format!("namespaces {namespace:?} not found");
            return Err(ApiError::new(Reason::NotFound, message));
        };
        let phase = found.get::<Namespace>()?.status.as_ref().and_then(|s| s.phase.as_deref());
        if found.is_deleting() || phase == Some("Terminating") {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let told = format!("namespace {namespace} is being terminated");
            let refused = ApiError::forbidden(resource, request.key.name(), &why);
            return Err(refused.caused("NamespaceTerminating", "metadata.namespace", &told));
        }
        Ok(())
    }
}
