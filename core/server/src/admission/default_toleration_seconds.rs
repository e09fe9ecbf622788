use k8s_openapi::api::core::v1::{Pod, Toleration};
use pinnace_api::Result;

use super::{Admission, AdmissionRequest, Operation};

/// How long a pod stays on a node that has stopped answering, unless it says otherwise.
const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Gives pods that say nothing of it a toleration of five minutes for failing nodes.
pub(super) struct DefaultTolerationSeconds;

impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        // A change that leaves them out has them come back: tolerations are only ever added.
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || request.subresource.is_some() {
            return Ok(());
        }
        let spec = request.new.as_mut().and_then(|new| new.get_mut::<Pod>()?.spec.as_mut());
        let Some(spec) = spec else { return Ok(()) };
        let tolerations = spec.tolerations.get_or_insert_default();
        for taint in TAINTS {
            if !tolerations.iter().any(|toleration| covers(toleration, taint)) {
                tolerations.push(Toleration {
                    key: Some(taint.to_owned()),
                    operator: Some("Exists".to_owned()),
                    effect: Some("NoExecute".to_owned()),
                    toleration_seconds: Some(SECONDS),
                    ..Default::default()
                });
            }
        }
        Ok(())
    }
}

fn covers(toleration: &Toleration, taint: &str) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
}
