use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::selector::Selector;
use pinnace_api::{Result, Typed};

use super::{ORPHANS, ReplicaSets, controller_reference};
use crate::pods;

impl ReplicaSets {
    /// The pods that belong to a set: those it owns and selects. Those it owns and no longer
    /// selects are released; those it selects and nobody owns are adopted.
    pub(super) async fn claim(
        &self,
        set: &Typed<ReplicaSet>,
        selector: &Selector,
    ) -> Result<Vec<Typed<Pod>>> {
        let mut claimed = Vec::new();
        for pod in self.pods.owned_by(set.object().uid()) {
            if selector.matches(pod.object().labels()) {
                claimed.push(pod);
            } else if set.metadata.deletion_timestamp.is_none() {
                self.release(set, &pod).await?;
            }
        }
        let orphans = self.pods.by_index(ORPHANS, set.object().namespace());
        let mut adoptable = orphans
            .into_iter()
            .filter(|pod| pods::is_active(pod) && selector.matches(pod.object().labels()))
            .peekable();
        if adoptable.peek().is_some() && self.may_adopt(set).await? {
            for pod in adoptable {
                if let Some(pod) = self.adopt(set, &pod).await? {
                    claimed.push(pod);
                }
            }
        }
        Ok(claimed)
    }

    /// Asks the API, not the cache: a set that was deleted and made anew must not adopt in the old
    /// one's name.
    async fn may_adopt(&self, set: &Typed<ReplicaSet>) -> Result<bool> {
        let fresh = self.set_api.find(&set.object().key()).await?;
        Ok(fresh.is_some_and(|fresh| {
            fresh.metadata.uid == set.metadata.uid && fresh.metadata.deletion_timestamp.is_none()
        }))
    }

    async fn adopt(&self, set: &Typed<ReplicaSet>, pod: &Typed<Pod>) -> Result<Option<Typed<Pod>>> {
        let uid = pod.metadata.uid.clone();
        let owner = controller_reference("apps/v1", "ReplicaSet", &set.metadata);
        let key = pod.object().key();
        let adopted = self.pod_api.modify(&key, |pod| {
            let owners = pod.metadata.owner_references.get_or_insert_default();
            let free =
                pod.metadata.uid == uid && !owners.iter().any(|o| o.controller == Some(true));
            if free {
                owners.push(owner.clone());
            }
            free
        });
        match adopted.await {
            Ok(pod) => {
                let ours = pod.object().controller().is_some_and(|o| o.uid == set.object().uid());
                self.written.note(&set.object().key(), pod.object().revision());
                Ok(ours.then_some(pod))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, set: &Typed<ReplicaSet>, pod: &Typed<Pod>) -> Result<()> {
        let uid = set.object().uid();
        let key = pod.object().key();
        let released = self.pod_api.modify(&key, |pod| {
            let owners = pod.metadata.owner_references.get_or_insert_default();
            let before = owners.len();
            owners.retain(|owner| owner.uid != uid);
            before != owners.len()
        });
        match released.await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
