use pinnace_api::Result;
use pinnace_reconcile::Action;

use super::{Rollout, math};

impl Rollout<'_> {
    /// One step of a rolling update: the new set up as far as the surge allows, else the old ones
    /// down as far as availability allows.
    pub(super) async fn roll(&mut self) -> Result<Action> {
        self.ensure_new_set(true).await?;
        if !self.grow_new().await? {
            self.shrink_old().await?;
        }
        if self.is_complete() {
            self.clean_up().await?;
        }
        self.write_rollout_status().await
    }

    /// Whether the new set was resized.
    async fn grow_new(&mut self) -> Result<bool> {
        let Some(new) = self.sets.new.clone() else { return Ok(false) };
        let have = math::replicas(&new);
        let desired = math::desired(&self.deployment);
        let size = if have > desired {
            desired
        } else {
            let total = math::sum(self.sets.all(), math::replicas);
            math::room_for_new(&self.deployment, have, total)
        };
        self.resize(&new, size).await?;
        Ok(size != have)
    }

    async fn shrink_old(&mut self) -> Result<()> {
        let old = math::sum(&self.sets.old, math::replicas);
        if old == 0 {
            return Ok(());
        }
        let desired = math::desired(&self.deployment);
        let min_available = desired - math::limits(&self.deployment).unavailable;
        let new_missing =
            self.sets.new.as_ref().map_or(0, |set| math::replicas(set) - math::available(set));
        let total = math::sum(self.sets.all(), math::replicas);
        // Pods of the new set that are not available yet must not be counted upon.
        let spare = total - min_available - new_missing;
        if spare <= 0 {
            return Ok(());
        }
        self.drop_unhealthy(spare).await?;
        let available = math::sum(self.sets.all(), math::available);
        let mut spare = available - min_available;
        for set in self.sets.old.clone() {
            if spare <= 0 {
                break;
            }
            let have = math::replicas(&set);
            let less = have.min(spare);
            if less > 0 {
                self.resize(&set, have - less).await?;
                spare -= less;
            }
        }
        Ok(())
    }

    /// Old pods that are not available go first: nobody misses them.
    async fn drop_unhealthy(&mut self, mut most: i32) -> Result<()> {
        for set in self.sets.old.clone() {
            if most <= 0 {
                break;
            }
            let have = math::replicas(&set);
            let less = (have - math::available(&set)).min(most);
            if less > 0 {
                self.resize(&set, have - less).await?;
                most -= less;
            }
        }
        Ok(())
    }
}
