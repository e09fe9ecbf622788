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

fn of_list(list: &List) -> Capacity {
    Capacity {
        cpu_millis: millis(list, "cpu"),
        memory_bytes: units(list, "memory"),
        storage_bytes: units(list, "ephemeral-storage"),
        pods: 0,
    }
}

/// The sum of a pod's containers and sidecars, or what one of its init containers needs beside the
/// sidecars started before it, whichever is more; or what is said of the pod as a whole.
fn of_all(spec: &PodSpec, list: fn(&ResourceRequirements) -> &List) -> Capacity {
    let container = |container: &Container| {
        container.resources.as_ref().map_or(NOTHING, |resources| of_list(list(resources)))
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
    if let Some(whole) = spec.resources.as_ref().map(list) {
        if let Some(cpu) = amount(whole, "cpu") {
            total.cpu_millis = cpu.millis();
        }
        if let Some(memory) = amount(whole, "memory") {
            total.memory_bytes = memory.value();
        }
    }
    total
}

/// What a pod asks of its node, its overhead included.
pub(crate) fn requests(spec: &PodSpec) -> Capacity {
    let asked = of_all(spec, |resources| &resources.requests);
    asked.plus(&of_list(&spec.overhead)).plus(&Capacity { pods: 1, ..NOTHING })
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

pub(crate) fn limits(resources: Option<&ResourceRequirements>) -> Resources {
    let Some(resources) = resources else { return Resources::default() };
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

/// The limits on a pod as a whole, its overhead included: its own, else what its containers may use
/// together where all of them have some.
pub(crate) fn of_pod(spec: &PodSpec) -> Resources {
    let asked = requests(spec);
    let limits = of_all(spec, |resources| &resources.limits);
    let overhead = of_list(&spec.overhead);
    let whole = spec.resources.as_ref().map(|whole| &whole.limits);
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let limit = |name: &str, limit: i64, overhead: i64| {
        let has = |list: &List| amount(list, name).is_some_and(|amount| amount.millis() > 0);
        let limited = whole.is_some_and(has)
            || containers().all(|one| one.resources.as_ref().is_some_and(|one| has(&one.limits)));
        if limited && limit > 0 { positive(limit.saturating_add(overhead)) } else { 0 }
    };
    Resources {
        cpu_request_millis: positive(asked.cpu_millis),
        cpu_limit_millis: limit("cpu", limits.cpu_millis, overhead.cpu_millis),
        memory_request_bytes: positive(asked.memory_bytes),
        memory_limit_bytes: limit("memory", limits.memory_bytes, overhead.memory_bytes),
        ..Resources::default()
    }
}

fn positive(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
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
    }

    #[test]
    fn a_pod_weighs_and_may_use_what_all_its_parts_do() {
        let both = |name: &str, cpu: &str, memory: &str| {
            let list = json!({"cpu": cpu, "memory": memory});
            json!({"name": name, "resources": {"requests": list, "limits": list}})
        };
        let mut sidecar = both("s", "100m", "10");
        sidecar["restartPolicy"] = json!("Always");
        let mut spec = json!({
            "initContainers": [sidecar, both("i", "2", "1")],
            "containers": [both("a", "500m", "20"), both("b", "250m", "30")],
            "overhead": {"cpu": "10m", "memory": "5"},
        });
        let check = |spec: &serde_json::Value, cpu, memory| {
            let found = of_pod(&serde_json::from_value(spec.clone()).unwrap());
            assert_eq!((found.cpu_request_millis, found.memory_request_bytes), (cpu, memory));
            assert_eq!((found.cpu_limit_millis, found.memory_limit_bytes), (cpu, memory));
        };
        // The init container beside the sidecar needs most CPU, and all others most memory.
        check(&spec, 2110, 65);
        let list = json!({"cpu": "3", "memory": "100"});
        spec["resources"] = json!({"requests": list, "limits": list});
        check(&spec, 3010, 105);
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
