use k8s_openapi::api::core::v1::Pod;

use crate::cluster::NodeIndex;
use crate::framework::{
    Answer, ClusterEvent, Cycle, Events, Filter, Hint, Obstacle, Plugin, PreFilter, PreFiltered,
    Reasons, Scope, Verdict,
};
use crate::pod::{HostPort, PodInfo};

/// Keeps pods off nodes where a host port that they ask for is taken.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts;

impl NodePorts {
    /// The plugin's name.
    pub const NAME: &'static str = "NodePorts";
}

impl Plugin for NodePorts {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scope(&self) -> Scope {
        Scope::NodeUsage
    }

    fn events(&self) -> Events {
        Events::POD_DELETE | Events::NODE_ADD
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        if !event.what.overlaps(Events::POD_DELETE) {
            return Hint::Queue;
        }
        let (gone, _) = event.read::<Pod>();
        let freed = gone.and_then(|gone| gone.spec.as_ref()).map(HostPort::of).unwrap_or_default();
        if conflict(pod.class().usage().ports(), &freed) { Hint::Queue } else { Hint::Skip }
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

fn conflict(wanted: &[HostPort], taken: &[HostPort]) -> bool {
    wanted.iter().any(|one| taken.iter().any(|other| one.conflicts_with(other)))
}

impl PreFilter for NodePorts {
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        let none = cycle.pod.class().usage().ports().is_empty();
        Ok(if none { PreFiltered::Skip } else { PreFiltered::All })
    }
}

impl Filter for NodePorts {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        let wanted = cycle.pod.class().usage().ports();
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if conflict(wanted, cycle.cluster.node(*node).ports()) {
                *verdict = Verdict::Unschedulable;
            }
        }
        Ok(())
    }

    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec!["node(s) didn't have free ports for the requested pod ports".into()]
    }

    fn obstacles(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Vec<Obstacle> {
        let taken = cycle.cluster.node(node).ports();
        let wanted = cycle.pod.class().usage().ports().iter();
        wanted
            .filter(|one| conflict(std::slice::from_ref(*one), taken))
            .map(|one| Obstacle::FreePort {
                port: one.number(),
                protocol: one.protocol().to_owned(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestCluster, node, pod, verdicts_in};
    use super::*;

    fn ports(ports: &str) -> PodInfo {
        pod(&format!("containers: [{{name: a, ports: [{ports}]}}]"))
    }

    #[test]
    fn ports_conflict_by_number_protocol_and_address() {
        let check = |taken: &str, wanted: &str, fits: bool| {
            let mut cluster = TestCluster::of(&[node("a", "")]);
            cluster.place(&ports(taken), "a");
            let verdicts = verdicts_in(&NodePorts, &ports(wanted), &mut cluster);
            let reason = "node(s) didn't have free ports for the requested pod ports";
            assert_eq!(verdicts, [if fits { "" } else { reason }], "{taken} / {wanted}");
        };
        check("{hostPort: 80}", "{hostPort: 80}", false);
        check("{hostPort: 80}", "{hostPort: 81}", true);
        check("{hostPort: 80}", "{hostPort: 80, protocol: UDP}", true);
        check("{hostPort: 80}", "{hostPort: 80, protocol: TCP}", false);
        check("{hostPort: 80}", "{hostPort: 80, hostIP: 127.0.0.1}", false);
        check("{hostPort: 80, hostIP: 127.0.0.1}", "{hostPort: 80, hostIP: 0.0.0.0}", false);
        check("{hostPort: 80, hostIP: 127.0.0.1}", "{hostPort: 80, hostIP: 127.0.0.2}", true);
        check("{containerPort: 80}", "{containerPort: 80}", true);
    }

    #[test]
    fn sidecars_count_and_init_containers_do_not() {
        let mut cluster = TestCluster::of(&[node("a", "")]);
        cluster.place(
            &pod("initContainers: [{name: s, restartPolicy: Always, ports: [{hostPort: 1}]}, \
                 {name: i, ports: [{hostPort: 2}]}]"),
            "a",
        );
        let mut fits = |port: &str| verdicts_in(&NodePorts, &ports(port), &mut cluster) == [""];
        assert!(!fits("{hostPort: 1}"));
        assert!(fits("{hostPort: 2}"));
    }

    #[test]
    fn a_port_is_free_again_when_its_pod_goes() {
        let mut cluster = TestCluster::of(&[node("a", "")]);
        let holder = ports("{hostPort: 80}");
        cluster.place(&holder, "a");
        cluster.cluster.remove_pod(holder.uid());
        assert_eq!(verdicts_in(&NodePorts, &ports("{hostPort: 80}"), &mut cluster), [""]);
    }

    #[test]
    fn only_a_pod_with_the_same_port_helps_by_going() {
        let check = |gone: &str, expected| {
            let gone = ports(gone);
            let event = ClusterEvent {
                what: Events::POD_DELETE,
                old: Some(gone.pod().object()),
                new: None,
            };
            assert_eq!(NodePorts.hint(&ports("{hostPort: 80}"), &event), expected);
        };
        check("{hostPort: 80}", Hint::Queue);
        check("{hostPort: 81}", Hint::Skip);
        check("", Hint::Skip);
    }
}
