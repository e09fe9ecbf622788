//! The resources of a pod as a whole, while they change.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{PodSpec, PodStatus, ResourceRequirements};

use super::resize::differ;

/// What a pod as a whole was granted and has, while that is not what it asks for.
#[derive(Debug, Default)]
pub(crate) struct PodLevel {
    granted: Option<Box<ResourceRequirements>>,
    enacted: Option<Box<ResourceRequirements>>,
}

impl PodLevel {
    /// What an earlier agent has left, by the pod's status.
    pub(super) fn adopted(spec: &PodSpec, status: &PodStatus) -> Self {
        let Some(enacted) = status.resources.as_ref() else { return Self::default() };
        let asked = asked(spec);
        if spec.resources.is_none() || !differ(enacted, &asked) {
            return Self::default();
        }
        let allocated = ResourceRequirements {
            requests: status.allocated_resources.clone(),
            limits: asked.limits.clone(),
            ..ResourceRequirements::default()
        };
        let granted = differ(&allocated, &asked).then(|| Box::new(enacted.clone()));
        Self { granted, enacted: Some(Box::new(enacted.clone())) }
    }

    /// Keeps what the pod had, should it ask for something else now.
    pub(super) fn renew(&mut self, before: &PodSpec, now: &PodSpec, runs: bool) {
        let (before, now) = (asked(before), asked(now));
        if !differ(&before, &now) {
            return;
        }
        if runs && self.enacted.is_none() {
            self.enacted = Some(Box::new(before.clone().into_owned()));
        }
        if self.granted.is_none() {
            self.granted = Some(Box::new(before.into_owned()));
        }
    }

    /// Whether it has, or was granted, something else than it asks for.
    pub(super) fn is_open(&self) -> bool {
        self.granted.is_some() || self.enacted.is_some()
    }

    /// Whether it waits to be granted what it asks for.
    pub(super) fn waits(&self) -> bool {
        self.granted.is_some()
    }

    /// What it was granted, if that is not what it asks for.
    pub(super) fn granted(&self) -> Option<&ResourceRequirements> {
        self.granted.as_deref()
    }

    /// What it has, if that may not be what it was granted.
    pub(super) fn enacted(&self) -> Option<&ResourceRequirements> {
        self.enacted.as_deref()
    }

    /// Whether it has something else than it was granted.
    pub(super) fn is_unfinished(&self, spec: &PodSpec) -> bool {
        let target = self.granted.as_deref().map_or_else(|| asked(spec), Cow::Borrowed);
        self.enacted.as_deref().is_some_and(|enacted| differ(enacted, &target))
    }

    /// It was granted all that it asks for.
    pub(super) fn grant(&mut self) {
        self.granted = None;
    }

    /// It has what it was granted.
    pub(super) fn enact(&mut self) {
        self.enacted.clone_from(&self.granted);
    }
}

fn asked(spec: &PodSpec) -> Cow<'_, ResourceRequirements> {
    spec.resources.as_ref().map_or_else(Cow::default, Cow::Borrowed)
}
