use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DeploymentCondition, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use pinnace_api::{ApiError, Result, Typed};

use super::{Rollout, math, progress, revision, spec, template};
use crate::claim::controller_reference;
use crate::condition;
use crate::template_hash;

impl Rollout<'_> {
    /// Brings revision and annotations of the new set, and the Deployment's own, up to date; makes
    /// the new set if there is none and `create` says so.
    pub(super) async fn ensure_new_set(&mut self, create: bool) -> Result<()> {
        let last = self.sets.old.iter().map(|set| revision::of(&set.metadata)).max().unwrap_or(0);
        let next = last.saturating_add(1);
        match self.sets.new.clone() {
            Some(set) => self.refresh(&set, next).await?,
            None if create => self.create_set(next).await?,
            None => return Ok(()),
        }
        let number = self.sets.new.as_ref().map_or(0, |set| revision::of(&set.metadata));
        self.note_revision(number).await
    }

    async fn refresh(&mut self, set: &Typed<ReplicaSet>, next: i64) -> Result<()> {
        let mut changed = set.to_owned();
        let annotations = changed.metadata.annotations.get_or_insert_default();
        revision::copy_to_set(&self.deployment.metadata, annotations);
        revision::advance(annotations, next);
        let min_ready = spec(&self.deployment)?.min_ready_seconds;
        if let Some(spec) = &mut changed.spec {
            spec.min_ready_seconds = min_ready;
        }
        if changed != **set {
            self.write_set(changed).await?;
        }
        if condition::find(self.conditions.as_ref(), progress::PROGRESSING).is_none() {
            let message = format!("Found new replica set {:?}", set.object().name());
            self.set_progress("True", progress::FOUND, message);
        }
        Ok(())
    }

    async fn create_set(&mut self, next: i64) -> Result<()> {
        let key = self.deployment.object().key();
        let wanted = self.new_set(next)?;
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let size = math::replicas(&wanted);
        match self.controller.set_api.create(wanted).await {
            Ok(set) => {
                self.controller.written.note(&key, set.object().revision());
                if size > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {size}");
                    self.normal("ScalingReplicaSet", message);
                }
                let message = format!("Created new replica set {name:?}");
                self.set_progress("True", progress::CREATED, message);
                self.sets.new = Some(set);
                Ok(())
            }
            Err(error) if error.is_already_exists() => {
                let taken = pinnace_api::Key::new(key.namespace(), name);
                let found = self.controller.set_api.get(&taken).await?;
                let ours = found.object().controller().map(|owner| owner.uid.as_str())
                    == Some(self.deployment.object().uid());
                if ours && template::is_same(&found, &self.deployment) {
                    // Made by an earlier look that the cache has not shown yet.
                    self.sets.new = Some(found);
                    return Ok(());
                }
                self.collisions = Some(self.collisions.unwrap_or(0).saturating_add(1));
                self.write_status().await?;
                Err(error)
            }
            Err(error) => {
                let message = format!("Failed to create new replica set {name:?}: {error}");
                self.set_progress("False", "ReplicaSetCreateError", message.clone());
                self.controller.warn(&self.deployment, "ReplicaSetCreateError", message);
                self.write_status().await?;
                Err(error)
            }
        }
    }

    fn new_set(&self, next: i64) -> Result<ReplicaSet> {
        let owner = &self.deployment.metadata;
        let spec = spec(&self.deployment)?;
        let hash = template_hash::hash(&spec.template, self.collisions.unwrap_or(0));
        let mut pod_template = spec.template.clone();
        let labels = pod_template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(template::HASH_LABEL.to_owned(), hash.clone());
        let labels = labels.clone();
        let mut selector: LabelSelector = spec.selector.clone();
        let matched = selector.match_labels.get_or_insert_default();
        matched.insert(template::HASH_LABEL.to_owned(), hash.clone());

        let total = math::sum(self.sets.all(), math::replicas);
        let desired = math::desired(&self.deployment);
        let mut annotations = BTreeMap::new();
        revision::copy_to_set(owner, &mut annotations);
        revision::advance(&mut annotations, next);
        let surge = math::limits(&self.deployment).surge;
        revision::note_size(&mut annotations, desired, desired.saturating_add(surge));
        Ok(ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", owner.name.as_deref().unwrap_or_default())),
                namespace: owner.namespace.clone(),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(vec![controller_reference("apps/v1", "Deployment", owner)]),
                ..Default::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(math::room_for_new(&self.deployment, 0, total)),
                min_ready_seconds: spec.min_ready_seconds,
                selector,
                template: Some(pod_template),
            }),
            status: None,
        })
    }

    /// Writes a set, and remembers what it became.
    pub(super) async fn write_set(&mut self, set: ReplicaSet) -> Result<Typed<ReplicaSet>> {
        let set = self.controller.set_api.update(set).await?;
        self.controller.written.note(&self.key, set.object().revision());
        self.sets.update(set.clone());
        Ok(set)
    }

    async fn note_revision(&mut self, number: i64) -> Result<()> {
        if number == 0 || revision::of(&self.deployment.metadata) == number {
            return Ok(());
        }
        let key = self.deployment.object().key();
        let uid = self.deployment.metadata.uid.clone();
        let noted = self.controller.deployment_api.modify(&key, |deployment| {
            let same = deployment.metadata.uid == uid;
            if same {
                let annotations = deployment.metadata.annotations.get_or_insert_default();
                annotations.insert(revision::REVISION.to_owned(), number.to_string());
            }
            same
        });
        let noted = noted.await?;
        if noted.metadata.uid != uid {
            return Err(ApiError::internal("the Deployment was replaced by another"));
        }
        self.deployment = noted;
        Ok(())
    }

    /// Sets the condition `Progressing`.
    pub(super) fn set_progress(&mut self, status: &str, reason: &str, message: String) {
        let now = self.controller.env.clock().now_seconds();
        let new = DeploymentCondition {
            type_: progress::PROGRESSING.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now)),
            last_update_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now)),
        };
        condition::set(&mut self.conditions, new);
    }
}
