use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use pinnace_api::{Result, Typed};

use super::{Deployments, math, selector_of, template};
use crate::claim::controller_reference;

/// The ReplicaSets of a Deployment, oldest first.
pub(super) struct ReplicaSets {
    /// The one of the present template, if there is one.
    pub(super) new: Option<Typed<ReplicaSet>>,
    /// All others.
    pub(super) old: Vec<Typed<ReplicaSet>>,
}

impl ReplicaSets {
    /// Tells the new set from the old ones. Should two have the same template, the older is new,
    /// so that every look agrees.
    pub(super) fn of(mut all: Vec<Typed<ReplicaSet>>, deployment: &Deployment) -> Self {
        all.sort_by(|a, b| {
            let made = |set: &Typed<ReplicaSet>| set.metadata.creation_timestamp.clone();
            (made(a), a.object().name()).cmp(&(made(b), b.object().name()))
        });
        let new = all.iter().position(|set| template::is_same(set, deployment));
        let new = new.map(|index| all.remove(index));
        Self { new, old: all }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<&Typed<ReplicaSet>> {
        self.old.iter().chain(&self.new).collect()
    }

    /// Those that ask for pods.
    pub(super) fn active(&self) -> Vec<&Typed<ReplicaSet>> {
        self.all().into_iter().filter(|set| math::replicas(set) > 0).collect()
    }

    /// Replaces a set by its newer version.
    pub(super) fn update(&mut self, set: Typed<ReplicaSet>) {
        let same = |other: &&mut Typed<ReplicaSet>| other.object().uid() == set.object().uid();
        if let Some(slot) = self.old.iter_mut().chain(self.new.iter_mut()).find(same) {
            *slot = set;
        }
    }
}

impl Deployments {
    /// The sets that belong to a Deployment; adopts and releases by labels.
    pub(super) async fn claim(
        &self,
        deployment: &Typed<Deployment>,
    ) -> Result<Vec<Typed<ReplicaSet>>> {
        let selector = selector_of(deployment)?;
        let uid = deployment.object().uid();
        let going = deployment.metadata.deletion_timestamp.is_some();
        let mut claimed = Vec::new();
        for set in self.sets.owned_by(uid) {
            if selector.matches(set.object().labels()) {
                claimed.push(set);
            } else if !going {
                self.change_owners(&set, |owners| owners.retain(|owner| owner.uid != uid)).await?;
            }
        }
        if going {
            return Ok(claimed);
        }
        let orphans: Vec<_> = self
            .sets
            .list(Some(deployment.object().namespace()))
            .into_iter()
            .filter(|set| {
                set.object().controller().is_none()
                    && set.metadata.deletion_timestamp.is_none()
                    && selector.matches(set.object().labels())
            })
            .collect();
        if orphans.is_empty() || !self.may_adopt(deployment).await? {
            return Ok(claimed);
        }
        let owner = controller_reference("apps/v1", "Deployment", &deployment.metadata);
        for set in orphans {
            let adopted = self.change_owners(&set, |owners| {
                if !owners.iter().any(|owner| owner.controller == Some(true)) {
                    owners.push(owner.clone());
                }
            });
            if let Some(set) = adopted.await?
                && set.object().controller().is_some_and(|owner| owner.uid == uid)
            {
                self.written.note(&deployment.object().key(), set.object().revision());
                claimed.push(set);
            }
        }
        Ok(claimed)
    }

    async fn may_adopt(&self, deployment: &Typed<Deployment>) -> Result<bool> {
        let fresh = self.deployment_api.find(&deployment.object().key()).await?;
        Ok(fresh.is_some_and(|fresh| {
            fresh.metadata.uid == deployment.metadata.uid
                && fresh.metadata.deletion_timestamp.is_none()
        }))
    }

    async fn change_owners(
        &self,
        set: &Typed<ReplicaSet>,
        change: impl Fn(&mut Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>)
        + Send
        + Sync,
    ) -> Result<Option<Typed<ReplicaSet>>> {
        let uid = set.metadata.uid.clone();
        let key = set.object().key();
        let changed = self.set_api.modify(&key, |set| {
            let same = set.metadata.uid == uid;
            if same {
                change(set.metadata.owner_references.get_or_insert_default());
            }
            same
        });
        match changed.await {
            Ok(set) => Ok(Some(set)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
