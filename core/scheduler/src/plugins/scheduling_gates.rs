use k8s_openapi::api::core::v1::Pod;

use crate::framework::{Answer, Events, Plugin, PreEnqueue, Refusal, Scope};

/// Keeps pods back as long as they have scheduling gates.
#[derive(Clone, Copy, Debug)]
pub struct SchedulingGates;

impl SchedulingGates {
    /// The plugin's name.
    pub const NAME: &'static str = "SchedulingGates";
}

impl Plugin for SchedulingGates {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scope(&self) -> Scope {
        Scope::NodeObject
    }

    fn events(&self) -> Events {
        Events::OWN_GATES
    }

    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        Some(self)
    }
}

impl PreEnqueue for SchedulingGates {
    fn pre_enqueue(&self, pod: &Pod) -> Answer {
        let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_deref());
        let names: Vec<_> = gates.unwrap_or_default().iter().map(|gate| &gate.name[..]).collect();
        if names.is_empty() {
            return Ok(());
        }
        let reason = format!("waiting for scheduling gates: [{}]", names.join(" "));
        Err(Refusal::unresolvable(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::pod;
    use super::*;

    #[test]
    fn a_pod_with_gates_is_not_tried() {
        let check = |spec: &str, expected: Option<&str>| {
            let answer = SchedulingGates.pre_enqueue(pod(spec).pod());
            assert_eq!(answer.err().map(|refusal| refusal.to_string()).as_deref(), expected);
        };
        check("", None);
        check("schedulingGates: []", None);
        check(
            "schedulingGates: [{name: a}, {name: b}]",
            Some("waiting for scheduling gates: [a b]"),
        );
    }
}
