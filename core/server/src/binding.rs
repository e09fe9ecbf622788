use k8s_openapi::api::core::v1::{Binding, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::{ApiError, Draft, Key, Object, Resource, Result};
use pinnace_client::{Subresource, Target, WriteOptions};

use crate::write::Write;
use crate::{Operation, Server, User};

impl Server {
    /// Puts a pod on a node. Only a pod that is on none, is not going and waits for nothing can be
    /// bound, so two schedulers never bind the same pod.
    pub(crate) async fn bind(
        &self,
        user: &User,
        target: Target,
        draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        let (namespace, name) = (target.key.namespace(), target.key.name());
        let part = Some(Subresource::Binding);
        self.authorize(user, "create", &target.resource, part, namespace, name)?;
        self.bind_authorized(user, target, draft, options).await
    }

    /// Puts the pod on a node that a `Binding` of its own, and not one sent to the pod, is named
    /// after: how clients did it before there were subresources.
    pub(crate) async fn bind_by_name(
        &self,
        user: &User,
        target: &Target,
        mut draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        Self::check_kind(&target.resource, &draft)?;
        Self::check_namespace(&mut draft, &target.resource, target.key.namespace())?;
        let name = draft.meta().name.clone().unwrap_or_default();
        if name.is_empty() {
            return Err(ApiError::bad_request("name is required"));
        }
        let pods = self.catalog().by_kind("v1", "Pod")?;
        let pod = Target {
            resource: pods,
            key: Key::new(target.key.namespace(), name),
            subresource: Some(Subresource::Binding),
        };
        self.bind_authorized(user, pod, draft, options).await
    }

    async fn bind_authorized(
        &self,
        user: &User,
        target: Target,
        mut draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let name = target.key.name();
        let write = Write::to(user, Operation::Create, &target, None, &options);
        self.admit_part(&write, &mut draft)?;
        self.mutate(&write, Some(&mut draft), |draft| self.admit_part(&write, draft)).await?;
        self.review_final(&write, Some(&mut draft)).await?;
        let binding = draft
            .get::<Binding>()
            .ok_or_else(|| ApiError::bad_request("the body of a binding must be a v1 Binding"))?;
        let node = binding.target.name.as_deref().unwrap_or_default();
        let kind = binding.target.kind.as_deref().unwrap_or_default();
        if node.is_empty() || !matches!(kind, "" | "Node") {
            return Err(ApiError::bad_request("a binding's target must be a Node with a name"));
        }
        let now = self.env().clock().now_seconds();
        self.rewrite(&target, &options, |old| {
            std::future::ready(bound(resource, name, &old, binding, node, now))
        })
        .await
    }
}

/// A pod with the node that a binding names.
fn bound(
    resource: &Resource,
    name: &str,
    old: &Object,
    binding: &Binding,
    node: &str,
    now: jiff::Timestamp,
) -> Result<Draft> {
    let pod = old.get::<Pod>()?;
    let conflict = |why: String| Err(ApiError::conflict(resource, "", &why));
    if let Some(uid) = &binding.metadata.uid
        && uid != old.uid()
    {
        return conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old.uid()
        ));
    }
    if old.is_deleting() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let spec = pod.spec.as_ref();
    let bound = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if !bound.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {bound:?}"));
    }
    if spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|g| !g.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut draft = old.draft()?;
    if let Some(pod) = draft.get_mut::<Pod>() {
        pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
        if let Some(annotations) = &binding.metadata.annotations {
            let kept = pod.metadata.annotations.get_or_insert_default();
            kept.extend(annotations.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        if let Some(labels) = &binding.metadata.labels {
            let kept = pod.metadata.labels.get_or_insert_default();
            kept.extend(labels.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        mark_scheduled(pod, now);
    }
    Ok(draft)
}

/// Whether objects of a kind bind the pod that they are named after.
pub(crate) fn binds(resource: &Resource) -> bool {
    resource.kind == "Binding" && resource.group.is_empty()
}

fn mark_scheduled(pod: &mut Pod, now: jiff::Timestamp) {
    let status = pod.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    let scheduled = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..Default::default()
    };
    match conditions.iter_mut().find(|condition| condition.type_ == scheduled.type_) {
        Some(condition) if condition.status == scheduled.status => {}
        Some(condition) => *condition = scheduled,
        None => conditions.push(scheduled),
    }
}
