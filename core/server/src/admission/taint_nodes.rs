use k8s_openapi::api::core::v1::{Node, Taint};
use pinnace_api::Result;

use super::{Admission, AdmissionRequest, Operation};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const NO_SCHEDULE: &str = "NoSchedule";

/// Keeps pods off new nodes until they have said that they are ready: who watches their conditions
/// takes the taint away.
pub(super) struct TaintNodesByCondition;

impl Admission for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.operation != Operation::Create || request.subresource.is_some() {
            return Ok(());
        }
        let node = request.new.as_mut().and_then(|new| new.get_mut::<Node>());
        let Some(node) = node else { return Ok(()) };
        let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
        if !taints.iter().any(|taint| taint.key == NOT_READY && taint.effect == NO_SCHEDULE) {
            taints.push(Taint {
                key: NOT_READY.to_owned(),
                effect: NO_SCHEDULE.to_owned(),
                ..Taint::default()
            });
        }
        Ok(())
    }
}
