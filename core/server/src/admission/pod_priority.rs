use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use pinnace_api::{ApiError, Key, Object, Result};
use pinnace_store::Snapshot;

use super::{Admission, AdmissionRequest, Operation};

/// Classes that are always there, with their values.
const SYSTEM: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const TABLE: &str = "priorityclasses.scheduling.k8s.io";
const PREEMPT_LOWER: &str = "PreemptLowerPriority";

/// Resolves `priorityClassName` of a pod to its priority and preemption policy, and keeps classes from
/// being the default beside another.
pub(super) struct PodPriority;

struct Class {
    name: String,
    value: i32,
    preemption_policy: Option<String>,
}

impl Admission for PodPriority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.subresource.is_some() {
            return Ok(());
        }
        let snapshot = request.snapshot;
        let key = request.key;
        let spec = request.new.as_mut().and_then(|new| new.get_mut::<Pod>()?.spec.as_mut());
        let Some(spec) = spec else { return Ok(()) };
        if request.operation != Operation::Create {
            keep(spec, request.old);
            return Ok(());
        }
        let class = match spec.priority_class_name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => {
                let stored = snapshot.get(TABLE, &Key::cluster(name));
                let stored = stored.map(|class| class.get::<PriorityClass>()).transpose()?;
                Some(stored.map(class_of).or_else(|| system_class(name)).ok_or_else(|| {
                    let why = format!("no PriorityClass with name {name} was found");
                    ApiError::forbidden(request.resource, key.name(), &why)
                })?)
            }
            None => default_of(snapshot).map(class_of),
        };
        let (value, policy) = match class {
            Some(class) => {
                spec.priority_class_name = Some(class.name);
                (class.value, class.preemption_policy)
            }
            None => (0, None),
        };
        if spec.priority.is_some_and(|priority| priority != value) {
            let why = format!(
                "the integer value of priority ({}) must not be provided in pod spec; priority \
                 admission controller computed {value} from the given PriorityClass name",
                spec.priority.unwrap_or_default()
            );
            return Err(ApiError::forbidden(request.resource, key.name(), &why));
        }
        spec.priority = Some(value);
        let policy = policy.unwrap_or_else(|| PREEMPT_LOWER.to_owned());
        match spec.preemption_policy.as_deref() {
            Some(given) if given != policy => {
                let why = format!(
                    "the string value of PreemptionPolicy ({given}) must not be provided in pod \
                     spec; priority admission controller computed {policy} from the given \
                     PriorityClass name"
                );
                Err(ApiError::forbidden(request.resource, key.name(), &why))
            }
            _ => {
                spec.preemption_policy = Some(policy);
                Ok(())
            }
        }
    }

    /// One class at most is that of pods that name none.
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let class = request.new.as_deref().and_then(|new| new.get::<PriorityClass>());
        if class.is_none_or(|class| class.global_default != Some(true)) {
            return Ok(());
        }
        let name_of = |class: &PriorityClass| class.metadata.name.clone().unwrap_or_default();
        match default_of(request.snapshot).map(name_of) {
            Some(other) if request.old.is_none() || other != request.key.name() => {
                let why = format!(
                    "PriorityClass {other} is already marked as default. Only one default can exist"
                );
                Err(ApiError::forbidden(request.resource, request.key.name(), &why))
            }
            _ => Ok(()),
        }
    }
}

/// A pod that is written without its priority keeps it.
fn keep(spec: &mut PodSpec, old: Option<&Object>) {
    let old = old.and_then(|old| old.get::<Pod>().ok()?.spec.as_ref());
    let Some(old) = old else { return };
    spec.priority = spec.priority.or(old.priority);
    if spec.preemption_policy.is_none() {
        spec.preemption_policy.clone_from(&old.preemption_policy);
    }
}

/// The class of pods that name none; the lowest of several that were made at once.
fn default_of(snapshot: &Snapshot) -> Option<&PriorityClass> {
    let classes = snapshot.iter(TABLE).filter_map(|class| class.get::<PriorityClass>().ok());
    classes.filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value)
}

fn class_of(class: &PriorityClass) -> Class {
    Class {
        name: class.metadata.name.clone().unwrap_or_default(),
        value: class.value.unwrap_or(0),
        preemption_policy: class.preemption_policy.clone(),
    }
}

fn system_class(name: &str) -> Option<Class> {
    SYSTEM.iter().find(|(system, _)| *system == name).map(|(name, value)| Class {
        name: (*name).to_owned(),
        value: *value,
        preemption_policy: None,
    })
}
