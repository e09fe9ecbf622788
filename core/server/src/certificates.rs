//! What the server knows of requests for certificates that their strategy cannot: who asks, and
//! when they are decided.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::{Draft, Object};

use crate::User;

/// Notes who asks for a certificate: the signer goes by it.
pub(crate) fn note_requester(user: &User, draft: &mut Draft) {
    let Some(request) = draft.get_mut::<CertificateSigningRequest>() else { return };
    let spec = &mut request.spec;
    spec.username = Some(user.name.to_string());
    spec.uid = user.uid.as_ref().map(ToString::to_string);
    spec.groups = Some(user.groups.to_vec()).filter(|groups| !groups.is_empty());
    let extra = user.extra.iter().map(|(key, values)| (key.clone(), values.clone()));
    spec.extra =
        Some(extra.collect()).filter(|extra: &std::collections::BTreeMap<_, _>| !extra.is_empty());
}

/// Fills in the times of conditions that have none.
pub(crate) fn stamp_conditions(draft: &mut Draft, old: &Object, now: &Time) {
    let Some(request) = draft.get_mut::<CertificateSigningRequest>() else { return };
    let old = old.get::<CertificateSigningRequest>().ok();
    let before = old.and_then(|old| old.status.as_ref()?.conditions.as_deref()).unwrap_or_default();
    let status = request.status.as_mut();
    for condition in status.and_then(|status| status.conditions.as_mut()).into_iter().flatten() {
        condition.last_update_time.get_or_insert_with(|| now.clone());
        if condition.last_transition_time.is_none() {
            let same = before.iter().find(|before| {
                before.type_ == condition.type_ && before.status == condition.status
            });
            let since = same.and_then(|before| before.last_transition_time.clone());
            condition.last_transition_time = since.or_else(|| Some(now.clone()));
        }
    }
}
