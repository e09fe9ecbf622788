//! What the server knows of requests for certificates that their strategy cannot: who asks, and
//! when they are decided.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::{Draft, Object};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AttributeTypeAndValue;

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

/// Whom a certificate is asked for.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    /// The common name.
    pub(crate) common_name: String,
    /// The organizations: of a user, its groups.
    pub(crate) organizations: Vec<String>,
}

impl Subject {
    /// Reads it from a request in PEM.
    ///
    /// # Errors
    /// Why it is no request, in words for people.
    pub(crate) fn of_request(pem: &[u8]) -> Result<Self, String> {
        let none = || "PEM block type must be CERTIFICATE REQUEST".to_owned();
        let (_, block) = parse_x509_pem(pem).map_err(|_| none())?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(none());
        }
        let read = X509CertificationRequest::from_der(&block.contents);
        let (_, request) = read.map_err(|error| error.to_string())?;
        let subject = &request.certification_request_info.subject;
        let text =
            |part: &AttributeTypeAndValue<'_>| part.as_str().map(str::to_owned).unwrap_or_default();
        Ok(Self {
            common_name: subject.iter_common_name().last().map(text).unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
        })
    }
}
