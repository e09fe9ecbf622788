use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::check::{immutable, required_choice, text};
use super::fill;
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// The highest priority that is not the system's own.
const HIGHEST: i32 = 1_000_000_000;
/// The classes of the system and their priorities.
const SYSTEM: [(&str, i32); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Priority classes.
pub(super) struct PriorityClassStrategy;

impl Strategy for PriorityClassStrategy {
    type Kind = PriorityClass;

    fn default(&self, class: &mut PriorityClass) {
        fill(&mut class.preemption_policy, "PreemptLowerPriority");
    }

    fn prepare_for_create(&self, class: &mut PriorityClass) {
        class.metadata.generation = Some(1);
    }

    fn validate(&self, class: &PriorityClass, errors: &mut ErrorList) {
        let name = text(&class.metadata.name);
        if name.starts_with("system-") {
            if let Err(why) = is_known(name, class) {
                let meta = Path::root("metadata");
                let why = format!(
                    "priority class names with 'system-' prefix are reserved for system use \
                     only. error: {why}"
                );
                errors.forbidden(&meta.child("name"), &why);
            }
        } else if class.value.unwrap_or(0) > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.forbidden(&Path::root("value"), &why);
        }
        validate_policy(class, errors);
    }

    fn validate_update(&self, new: &PriorityClass, old: &PriorityClass, errors: &mut ErrorList) {
        if new.value.unwrap_or(0) != old.value.unwrap_or(0) {
            errors.forbidden(&Path::root("value"), "may not be changed in an update.");
        }
        let path = Path::root("preemptionPolicy");
        immutable(errors, &path, &new.preemption_policy, &old.preemption_policy);
    }
}

fn validate_policy(class: &PriorityClass, errors: &mut ErrorList) {
    let policies = ["PreemptLowerPriority", "Never"];
    let path = Path::root("preemptionPolicy");
    required_choice(errors, &path, &class.preemption_policy, &policies);
}

fn is_known(name: &str, class: &PriorityClass) -> Result<(), String> {
    let Some((_, value)) = SYSTEM.into_iter().find(|(known, _)| *known == name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    if class.value != Some(value) {
        return Err(format!("value of {name} PriorityClass must be {value}"));
    }
    if class.global_default == Some(true) {
        return Err(format!("globalDefault of {name} PriorityClass must be false"));
    }
    Ok(())
}
