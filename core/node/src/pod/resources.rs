use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use pinnace_api::kinds::qos;
use pinnace_api::quantity::Quantity;
use pinnace_runtime::{QosClass, Resources};

use super::record;
use crate::config::Capacity;

/// `oom_score_adj` by class: those that use no more than they were promised die last.
const GUARANTEED_SCORE: i32 = -997;
const BEST_EFFORT_SCORE: i32 = 1000;

type List = Option<BTreeMap<String, Text>>;

fn amount(list: &List, name: &str) -> Option<Quantity> {
    Quantity::parse(&list.as_ref()?.get(name)?.0).ok()
}

fn millis(list: &List, name: &str) -> i64 {
    amount(list, name).map_or(0, Quantity::millis)
}

fn units(list: &List, name: &str) -> i64 {
    amount(list, name).map_or(0, Quantity::value)
}

/// What a pod asks of its node: the sum of its containers and sidecars, or what one of its init
/// containers needs beside the sidecars started before it, whichever is more; and its overhead.
pub(crate) fn requests(spec: &PodSpec) -> Capacity {
    let of = |requests: &List| Capacity {
        cpu_millis: millis(requests, "cpu"),
        memory_bytes: units(requests, "memory"),
        storage_bytes: units(requests, "ephemeral-storage"),
        pods: 0,
    };
    let container = |container: &Container| {
        container.resources.as_ref().map_or(NOTHING, |resources| of(&resources.requests))
    };
    let mut total = NOTHING;
    for one in &spec.containers {
        total = total.plus(&container(one));
    }
    let (mut sidecars, mut largest) = (NOTHING, NOTHING);
    for init in spec.init_containers.iter().flatten() {
        if record::is_sidecar(init) {
            sidecars = sidecars.plus(&container(init));
            largest = largest.max(&sidecars);
        } else {
            largest = largest.max(&sidecars.plus(&container(init)));
        }
    }
    total = total.plus(&sidecars).max(&largest);
    if let Some(pod) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let pod = Some(pod.clone());
        if let Some(cpu) = amount(&pod, "cpu") {
            total.cpu_millis = cpu.millis();
        }
        if let Some(memory) = amount(&pod, "memory") {
            total.memory_bytes = memory.value();
        }
    }
    total.plus(&of(&spec.overhead)).plus(&Capacity { pods: 1, ..NOTHING })
}

/// Nothing at all.
pub(crate) const NOTHING: Capacity =
    Capacity { cpu_millis: 0, memory_bytes: 0, storage_bytes: 0, pods: 0 };

impl Capacity {
    fn map(&self, other: &Self, with: fn(i64, i64) -> i64) -> Self {
        Self {
            cpu_millis: with(self.cpu_millis, other.cpu_millis),
            memory_bytes: with(self.memory_bytes, other.memory_bytes),
            storage_bytes: with(self.storage_bytes, other.storage_bytes),
            pods: with(self.pods, other.pods),
        }
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.map(other, i64::saturating_add)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.map(other, i64::saturating_sub)
    }

    fn max(&self, other: &Self) -> Self {
        self.map(other, i64::max)
    }

    pub(crate) fn at_least_nothing(&self) -> Self {
        self.max(&NOTHING)
    }
}

/// The class of a pod, as cgroups are grouped by it.
pub(crate) fn qos_class(spec: &PodSpec) -> QosClass {
    match qos::class(spec) {
        qos::GUARANTEED => QosClass::Guaranteed,
        qos::BURSTABLE => QosClass::Burstable,
        _ => QosClass::BestEffort,
    }
}

fn limits(resources: Option<&ResourceRequirements>) -> Resources {
    let Some(resources) = resources else { return Resources::default() };
    let positive = |amount: i64| u64::try_from(amount).unwrap_or(0);
    let cpu_limit = millis(&resources.limits, "cpu");
    let cpu_request = amount(&resources.requests, "cpu").map_or(cpu_limit, Quantity::millis);
    let memory_limit = units(&resources.limits, "memory");
    Resources {
        cpu_request_millis: positive(cpu_request),
        cpu_limit_millis: positive(cpu_limit),
        memory_request_bytes: positive(units(&resources.requests, "memory")),
        memory_limit_bytes: positive(memory_limit),
        ..Resources::default()
    }
}

/// The limits on a container, and how early the kernel kills it when memory runs out.
pub(crate) fn of_container(container: &Container, class: QosClass, node: &Capacity) -> Resources {
    let mut resources = limits(container.resources.as_ref());
    resources.oom_score_adj = oom_score(resources.memory_request_bytes, class, node);
    resources
}

fn oom_score(memory_request: u64, class: QosClass, node: &Capacity) -> i32 {
    match class {
        QosClass::Guaranteed => GUARANTEED_SCORE,
        QosClass::BestEffort => BEST_EFFORT_SCORE,
        QosClass::Burstable => {
            let share = i128::from(memory_request) * 1000 / i128::from(node.memory_bytes.max(1));
            let score = BEST_EFFORT_SCORE - i32::try_from(share).unwrap_or(BEST_EFFORT_SCORE);
            score.clamp(BEST_EFFORT_SCORE + GUARANTEED_SCORE, BEST_EFFORT_SCORE - 1)
        }
    }
}

/// The limits on a pod as a whole: its own, else the sum of its containers' where all of them
/// have some.
pub(crate) fn of_pod(spec: &PodSpec) -> Resources {
    let mut sum = Resources::default();
    let (mut cpu_limited, mut memory_limited) = (true, true);
    for container in &spec.containers {
        let one = limits(container.resources.as_ref());
        sum.cpu_request_millis += one.cpu_request_millis;
        sum.memory_request_bytes += one.memory_request_bytes;
        sum.cpu_limit_millis += one.cpu_limit_millis;
        sum.memory_limit_bytes += one.memory_limit_bytes;
        cpu_limited &= one.cpu_limit_millis > 0;
        memory_limited &= one.memory_limit_bytes > 0;
    }
    for init in spec.init_containers.iter().flatten() {
        let one = limits(init.resources.as_ref());
        let sidecar = record::is_sidecar(init);
        let combine = |sum: u64, one: u64| if sidecar { sum + one } else { sum.max(one) };
        sum.cpu_limit_millis = combine(sum.cpu_limit_millis, one.cpu_limit_millis);
        sum.memory_limit_bytes = combine(sum.memory_limit_bytes, one.memory_limit_bytes);
        cpu_limited &= one.cpu_limit_millis > 0;
        memory_limited &= one.memory_limit_bytes > 0;
    }
    if !cpu_limited {
        sum.cpu_limit_millis = 0;
    }
    if !memory_limited {
        sum.memory_limit_bytes = 0;
    }
    if let Some(own) = &spec.resources {
        let own = limits(Some(own));
        let prefer = |own: u64, sum: u64| if own > 0 { own } else { sum };
        sum.cpu_request_millis = prefer(own.cpu_request_millis, sum.cpu_request_millis);
        sum.cpu_limit_millis = prefer(own.cpu_limit_millis, sum.cpu_limit_millis);
        sum.memory_request_bytes = prefer(own.memory_request_bytes, sum.memory_request_bytes);
        sum.memory_limit_bytes = prefer(own.memory_limit_bytes, sum.memory_limit_bytes);
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(name: &str, list: &str, cpu: &str, memory: &str) -> serde_json::Value {
        json!({"name": name, "resources": {list: {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn init_containers_count_as_much_as_the_largest_of_them() {
        let mut sidecar = with("s", "requests", "100m", "10");
        sidecar["restartPolicy"] = json!("Always");
        let spec: PodSpec = serde_json::from_value(json!({
            "initContainers": [with("i", "requests", "2", "1"), sidecar, with("j", "requests", "1", "100")],
            "containers": [with("a", "requests", "500m", "20"), with("b", "requests", "250m", "20")]
        }))
        .unwrap();
        let requests = requests(&spec);
        assert_eq!((requests.cpu_millis, requests.memory_bytes, requests.pods), (2000, 110, 1));
    }

    #[test]
    fn a_pod_is_limited_when_all_its_containers_are() {
        let spec = |second: serde_json::Value| -> PodSpec {
            serde_json::from_value(json!({"containers": [with("a", "limits", "1", "100"), second]}))
                .unwrap()
        };
        let limited = of_pod(&spec(with("b", "limits", "500m", "50")));
        assert_eq!((limited.cpu_limit_millis, limited.memory_limit_bytes), (1500, 150));
        let open = of_pod(&spec(json!({"name": "b"})));
        assert_eq!((open.cpu_limit_millis, open.memory_limit_bytes), (0, 0));
        assert_eq!(open.cpu_request_millis, 1000);
    }

    #[test]
    fn burstable_containers_are_killed_by_how_little_they_asked_for() {
        let node = Capacity { memory_bytes: 1000, ..Capacity::default() };
        assert_eq!(oom_score(250, QosClass::Burstable, &node), 750);
        assert_eq!(oom_score(0, QosClass::Burstable, &node), 999);
        assert_eq!(oom_score(1000, QosClass::Burstable, &node), 3);
        assert_eq!(oom_score(1, QosClass::Guaranteed, &node), -997);
        assert_eq!(oom_score(0, QosClass::BestEffort, &node), 1000);
    }
}
