use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A condition of some kind's status.
pub(crate) trait Condition {
    fn type_(&self) -> &str;
    fn status(&self) -> &str;
    fn reason(&self) -> &str;
    /// When the status changed last.
    fn transition(&mut self) -> &mut Option<Time>;
}

macro_rules! condition {
    ($($type:ty),*) => {$(
        impl Condition for $type {
            fn type_(&self) -> &str {
                &self.type_
            }
            fn status(&self) -> &str {
                &self.status
            }
            fn reason(&self) -> &str {
                self.reason.as_deref().unwrap_or_default()
            }
            fn transition(&mut self) -> &mut Option<Time> {
                &mut self.last_transition_time
            }
        }
    )*};
}

condition!(
    k8s_openapi::api::apps::v1::DeploymentCondition,
    k8s_openapi::api::apps::v1::ReplicaSetCondition,
    k8s_openapi::api::core::v1::NamespaceCondition,
    k8s_openapi::api::core::v1::NodeCondition,
    k8s_openapi::api::core::v1::PodCondition
);

/// The condition of a type.
pub(crate) fn find<'a, C: Condition>(conditions: Option<&'a Vec<C>>, type_: &str) -> Option<&'a C> {
    conditions?.iter().find(|condition| condition.type_() == type_)
}

/// Puts a condition in the place of the one of its type. One of the same status and reason is left
/// as it is; one of the same status keeps the time of its transition.
pub(crate) fn set<C: Condition>(conditions: &mut Option<Vec<C>>, mut new: C) {
    let conditions = conditions.get_or_insert_default();
    match conditions.iter_mut().find(|old| old.type_() == new.type_()) {
        Some(old) if old.status() == new.status() && old.reason() == new.reason() => {}
        Some(old) => {
            if old.status() == new.status() {
                *new.transition() = old.transition().take();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

/// Takes the condition of a type away.
pub(crate) fn remove<C: Condition>(conditions: &mut Option<Vec<C>>, type_: &str) {
    if let Some(list) = conditions {
        list.retain(|condition| condition.type_() != type_);
        if list.is_empty() {
            *conditions = None;
        }
    }
}
