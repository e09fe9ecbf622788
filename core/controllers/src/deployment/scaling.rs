use k8s_openapi::api::apps::v1::ReplicaSet;
use pinnace_api::{Result, Typed};
use pinnace_client::DeleteOptions;

use super::{Rollout, math, revision, spec};

impl Rollout<'_> {
    /// Whether the Deployment asks for another number than when its sets were sized.
    pub(super) fn was_scaled(&self) -> bool {
        let desired = math::desired(&self.deployment);
        self.sets.active().into_iter().any(|set| {
            revision::noted(set, revision::DESIRED).is_some_and(|noted| noted != desired)
        })
    }

    /// Sets a size, and notes beside it what the Deployment asks for. Tells of it by an Event.
    pub(super) async fn resize(&mut self, set: &Typed<ReplicaSet>, size: i32) -> Result<()> {
        let before = math::replicas(set);
        let desired = math::desired(&self.deployment);
        let max = desired.saturating_add(math::limits(&self.deployment).surge);
        let mut changed = set.to_owned();
        let annotations = changed.metadata.annotations.get_or_insert_default();
        revision::note_size(annotations, desired, max);
        if let Some(spec) = &mut changed.spec {
            spec.replicas = Some(size);
        }
        if changed == **set {
            return Ok(());
        }
        self.write_set(changed).await?;
        if size != before {
            let way = if size > before { "up" } else { "down" };
            let name = set.object().name();
            let message = format!("Scaled {way} replica set {name} from {before} to {size}");
            self.normal("ScalingReplicaSet", message);
        }
        Ok(())
    }

    /// Sizes the sets for a Deployment that is scaled or paused: the one that is active gets all;
    /// in the midst of a rollout the change is shared in proportion.
    pub(super) async fn scale(&mut self) -> Result<()> {
        let desired = math::desired(&self.deployment);
        if let Some(only) = self.active_or_latest() {
            if math::replicas(&only) != desired {
                self.resize(&only, desired).await?;
            }
            return Ok(());
        }
        if self.is_saturated() {
            for old in self.sets.old.clone() {
                if math::replicas(&old) > 0 {
                    self.resize(&old, 0).await?;
                }
            }
            return Ok(());
        }
        if self.is_recreate() {
            return Ok(());
        }
        self.scale_in_proportion(desired).await
    }

    async fn scale_in_proportion(&mut self, desired: i32) -> Result<()> {
        let mut sets: Vec<Typed<ReplicaSet>> = self.sets.active().into_iter().cloned().collect();
        let surge = math::limits(&self.deployment).surge;
        let allowed = if desired > 0 { desired.saturating_add(surge) } else { 0 };
        let to_add = allowed - math::sum(&sets, math::replicas);
        // What rounding leaves goes to the largest; among equals growth to the newest, loss to the
        // oldest.
        sets.sort_by_key(|set| set.metadata.creation_timestamp.clone());
        if to_add > 0 {
            sets.reverse();
        }
        sets.sort_by_key(|set| std::cmp::Reverse(math::replicas(set)));
        let mut added = 0;
        let mut sizes = Vec::with_capacity(sets.len());
        for set in &sets {
            let share = if to_add == 0 { 0 } else { self.share(set, desired, surge) };
            let left = to_add - added;
            let share = if to_add > 0 { share.clamp(0, left) } else { share.clamp(left, 0) };
            sizes.push(math::replicas(set).saturating_add(share));
            added += share;
        }
        if let Some(first) = sizes.first_mut() {
            *first = first.saturating_add(to_add - added).max(0);
        }
        for (set, size) in sets.iter().zip(sizes) {
            self.resize(set, size).await?;
        }
        Ok(())
    }

    /// By how much a set changes when all change alike.
    fn share(&self, set: &ReplicaSet, desired: i32, surge: i32) -> i32 {
        let size = math::replicas(set);
        if desired == 0 {
            return -size;
        }
        let max = f64::from(desired.saturating_add(surge));
        let noted = revision::noted(set, revision::MAX).filter(|max| *max > 0);
        let before = noted
            .or_else(|| self.deployment.status.as_ref()?.replicas)
            .filter(|before| *before > 0)
            .map_or(max, f64::from);
        (f64::from(size) * max / before).round() as i32 - size
    }

    /// The one set that asks for pods; if none does, the new one, or the latest old one.
    fn active_or_latest(&self) -> Option<Typed<ReplicaSet>> {
        match &self.sets.active()[..] {
            [] => self.sets.new.clone().or_else(|| self.sets.old.last().cloned()),
            [one] => Some((*one).clone()),
            _ => None,
        }
    }

    /// Whether the new set has all the pods that there should be.
    fn is_saturated(&self) -> bool {
        let desired = math::desired(&self.deployment);
        self.sets.new.as_ref().is_some_and(|set| {
            math::replicas(set) == desired
                && revision::noted(set, revision::DESIRED) == Some(desired)
                && math::available(set) == desired
        })
    }

    /// Deletes old sets beyond the history that is to be kept.
    pub(super) async fn clean_up(&mut self) -> Result<()> {
        let Some(limit) = spec(&self.deployment)?.revision_history_limit else { return Ok(()) };
        let keep = usize::try_from(limit).unwrap_or(0);
        let mut idle: Vec<_> = self
            .sets
            .old
            .iter()
            .filter(|set| {
                let seen = set.status.as_ref().and_then(|status| status.observed_generation);
                set.metadata.deletion_timestamp.is_none()
                    && math::replicas(set) == 0
                    && math::actual(set) == 0
                    && seen >= set.metadata.generation
            })
            .cloned()
            .collect();
        idle.sort_by_key(|set| revision::of(&set.metadata));
        let surplus = idle.len().saturating_sub(keep);
        for set in idle.into_iter().take(surplus) {
            let key = set.object().key();
            match self.controller.set_api.delete(&key, DeleteOptions::default()).await {
                Ok(_) => self.sets.old.retain(|old| old.object().uid() != set.object().uid()),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
