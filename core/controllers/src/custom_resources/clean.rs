//! The end of a kind: its objects go first.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::custom::definition::{self, CLEANUP};
use pinnace_api::{Result, Typed, Verbs};
use pinnace_client::{DeleteOptions, ListOptions};
use pinnace_reconcile::Action;

use super::CustomResources;

/// What can be done with objects of a kind that goes.
pub(super) const VERBS: Verbs =
    Verbs(&["delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
/// When to look again for objects that something else holds.
const AGAIN: Duration = Duration::from_millis(500);

impl CustomResources {
    /// Deletes a definition's objects, and lets it go when there are none.
    pub(super) async fn clean(
        &self,
        found: &Typed<CustomResourceDefinition>,
        mut wanted: CustomResourceDefinition,
    ) -> Result<Action> {
        if !found.metadata.finalizers.iter().flatten().any(|one| one == CLEANUP) {
            return Ok(Action::Done);
        }
        let left = self.delete_objects(found).await?;
        let now = Time(self.env.clock().now_seconds());
        let (value, reason, message) = match left {
            0 => ("False", "InstanceDeletionCompleted", "removed all instances"),
            _ => ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"),
        };
        if let Some(status) = &mut wanted.status {
            definition::set_terminating(status, value, reason, message, &now);
        }
        if wanted.status != found.status {
            self.write_status(found, &wanted).await?;
        }
        if left > 0 {
            return Ok(Action::RequeueAfter(AGAIN));
        }
        let uid = found.object().uid();
        let key = found.object().key();
        let released = self.api.modify(&key, |current| {
            let finalizers = current.metadata.finalizers.get_or_insert_default();
            let before = finalizers.len();
            finalizers.retain(|one| one != CLEANUP);
            current.metadata.uid.as_deref() == Some(uid)
                && current.metadata.finalizers.as_ref().map(Vec::len) != Some(before)
        });
        match released.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Action::Done),
        }
    }

    /// Deletes all objects of the kind, and says how many there are still.
    async fn delete_objects(&self, found: &CustomResourceDefinition) -> Result<usize> {
        let name = format!("{}.{}", found.spec.names.plural, found.spec.group);
        // One that was never served has no objects.
        let Some(kind) = self.client.catalog().by_table(&name).filter(|kind| kind.is_custom())
        else {
            return Ok(0);
        };
        let api = self.client.resource(kind);
        for object in api.list(None, ListOptions::default()).await?.items {
            if object.is_deleting() {
                continue;
            }
            match api.delete(&object.key(), DeleteOptions::default()).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(api.list(None, ListOptions::default()).await?.items.len())
    }
}
