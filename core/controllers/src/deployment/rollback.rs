use pinnace_api::Result;

use super::{Rollout, revision, template};

impl Rollout<'_> {
    /// The revision to go back to, by the annotation that stands for the old rollback request; 0
    /// means the one before.
    pub(super) fn rollback_target(&self) -> Option<i64> {
        revision::get(&self.deployment.metadata, revision::ROLLBACK)?.parse().ok()
    }

    /// Goes back to an earlier template if that was asked for. Whether there was anything to do.
    pub(super) async fn roll_back(&mut self) -> Result<bool> {
        let Some(target) = self.rollback_target() else { return Ok(false) };
        let all = self.sets.all();
        let mut revisions: Vec<_> = all.iter().map(|set| revision::of(&set.metadata)).collect();
        revisions.sort_unstable();
        let number = match target {
            0 => revisions.iter().rev().nth(1).copied().unwrap_or(0),
            number => number,
        };
        let found = all.iter().find(|set| number > 0 && revision::of(&set.metadata) == number);
        let found = found.map(|set| (*set).clone());
        match &found {
            None => {
                let message = "Unable to find last revision.";
                self.controller.warn(&self.deployment, "RollbackRevisionNotFound", message);
            }
            Some(set) if template::is_same(set, &self.deployment) => {
                let message = format!(
                    "The rollback revision contains the same template as current deployment {:?}",
                    self.deployment.object().name()
                );
                self.controller.warn(&self.deployment, "RollbackTemplateUnchanged", message);
            }
            Some(_) => {
                let message = format!(
                    "Rolled back deployment {:?} to revision {number}",
                    self.deployment.object().name()
                );
                self.normal("RollbackDone", message);
            }
        }
        let mut changed = self.deployment.to_owned();
        if let Some(set) = found.filter(|set| !template::is_same(set, &self.deployment)) {
            if let (Some(spec), Some(old)) =
                (&mut changed.spec, set.spec.as_ref().and_then(|spec| spec.template.clone()))
            {
                spec.template = old;
                let meta = spec.template.metadata.get_or_insert_default();
                if let Some(labels) = &mut meta.labels {
                    labels.remove(template::HASH_LABEL);
                }
            }
            revision::copy_back(&set.metadata, &mut changed.metadata);
        }
        if let Some(annotations) = &mut changed.metadata.annotations {
            annotations.remove(revision::ROLLBACK);
        }
        self.controller.deployment_api.update(changed).await?;
        Ok(true)
    }
}
