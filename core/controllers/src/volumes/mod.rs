//! Persistent volumes: claims find their volumes, volumes are made for claims and go with them, and
//! neither goes while it is in use.

mod attachments;
mod binding;
mod claims;
mod ephemeral;
mod expansion;
mod local_path;
mod protection;
mod released;

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{Key, Object, Result, volumes};
use pinnace_client::{Informer, Lister};
use pinnace_reconcile::Controller;

use crate::Context;
pub use local_path::{DEFAULT_CLASS, LOCAL_PATH, default_storage_class};

/// The index of pods by the claims that they use.
const BY_CLAIM: &str = "claim";

/// All controllers of volumes.
pub(crate) fn controllers(context: &Context) -> Result<Vec<Controller>> {
    let mut all = vec![
        claims::controller(context)?,
        released::controller(context)?,
        ephemeral::controller(context)?,
        expansion::controller(context)?,
        local_path::controller(context)?,
        attachments::controller(context)?,
    ];
    all.extend(protection::controllers(context)?);
    Ok(all)
}

/// The cache of pods, by the claims that they use as well.
fn pods_by_claim(context: &Context) -> Result<Lister<Pod>> {
    let pods = context.informers.of::<Pod>()?;
    index_by_claim(pods.informer());
    Ok(pods)
}

fn index_by_claim(pods: &Informer) {
    pods.index(BY_CLAIM, |object| claim_keys(object).iter().map(Key::to_string).collect());
}

/// The claims that a pod uses.
fn claim_keys(pod: &Object) -> Vec<Key> {
    let claims = pod.get::<Pod>().map(|read| volumes::claims_of(read).collect::<Vec<_>>());
    let claims = claims.unwrap_or_default().into_iter();
    claims.map(|(name, _)| Key::new(pod.namespace(), name)).collect()
}
