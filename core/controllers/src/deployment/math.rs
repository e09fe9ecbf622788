//! The arithmetic of rollouts.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pinnace_api::Typed;

/// The replicas that a Deployment asks for.
pub(super) fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

/// The replicas that a set asks for.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

/// The replicas that a set has.
pub(super) fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// The replicas of a set that are available.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// The sum of something over sets.
pub(super) fn sum<'a>(
    sets: impl IntoIterator<Item = &'a Typed<ReplicaSet>>,
    of: impl Fn(&ReplicaSet) -> i32,
) -> i32 {
    sets.into_iter().map(|set| of(set)).fold(0, i32::saturating_add)
}

/// By how many pods a rolling update may exceed and fall below the desired number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// The limits of a Deployment; none for one that is not updated by rolling.
pub(super) fn limits(deployment: &Deployment) -> Limits {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy
        .filter(|strategy| strategy.type_.as_deref() != Some("Recreate"))
        .and_then(|strategy| strategy.rolling_update.as_ref());
    match rolling {
        Some(rolling) => resolve(rolling, desired(deployment)),
        None => Limits { surge: 0, unavailable: 0 },
    }
}

/// Shares are rounded so that an update is never slower and never more daring than asked for;
/// where both come to nothing one pod may be missing, or nothing could ever move.
fn resolve(rolling: &RollingUpdateDeployment, desired: i32) -> Limits {
    let share = |value: &Option<IntOrString>, round: fn(f64) -> f64| match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent = text.trim_end_matches('%').parse().unwrap_or(0.0);
            round(percent * f64::from(desired) / 100.0) as i32
        }
        None => 0,
    };
    let surge = share(&rolling.max_surge, f64::ceil).max(0);
    let unavailable = share(&rolling.max_unavailable, f64::floor).clamp(0, desired.max(0));
    match (surge, unavailable) {
        (0, 0) => Limits { surge: 0, unavailable: 1 },
        (surge, unavailable) => Limits { surge, unavailable },
    }
}

/// How many replicas the new set may have when the sets together ask for `total` of them.
pub(super) fn room_for_new(deployment: &Deployment, new: i32, total: i32) -> i32 {
    let desired = desired(deployment);
    let recreate =
        deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref()?.type_.as_deref())
            == Some("Recreate");
    if recreate {
        return desired;
    }
    let max = desired.saturating_add(limits(deployment).surge);
    if total >= max {
        return new;
    }
    new.saturating_add((max - total).min(desired.saturating_sub(new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(replicas: i32, surge: Value, unavailable: Value) -> Deployment {
        serde_json::from_value(json!({"spec": {
            "replicas": replicas, "selector": {}, "template": {},
            "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
        }}))
        .unwrap()
    }

    fn check(replicas: i32, surge: Value, unavailable: Value, expected: (i32, i32)) {
        let Limits { surge, unavailable } = limits(&deployment(replicas, surge, unavailable));
        assert_eq!((surge, unavailable), expected);
    }

    #[test]
    fn shares_are_rounded_up_for_the_surge_and_down_for_what_may_be_missing() {
        check(10, json!("25%"), json!("25%"), (3, 2));
        check(1, json!("25%"), json!("25%"), (1, 0));
        check(3, json!(2), json!(0), (2, 0));
        check(10, json!(0), json!("5%"), (0, 1));
        check(2, json!(0), json!(5), (0, 2));
    }

    #[test]
    fn a_new_set_gets_what_the_surge_leaves() {
        let web = deployment(10, json!("25%"), json!("25%"));
        assert_eq!(room_for_new(&web, 0, 10), 3);
        assert_eq!(room_for_new(&web, 3, 13), 3);
        assert_eq!(room_for_new(&web, 8, 9), 10);
    }
}
