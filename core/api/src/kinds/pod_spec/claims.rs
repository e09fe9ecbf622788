use k8s_openapi::api::core::v1::PodResourceClaim;

use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, Seen, complain};
use crate::kinds::names::rules;

/// Checks the resource claims of a pod.
pub(super) fn validate(claims: &[PodResourceClaim], path: &Path<'_>, errors: &mut ErrorList) {
    let mut seen = Seen::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        let name = claim.name.as_str();
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if seen.insert(name) {
            complain(errors, &path.child("name"), name, rules::dns_label(name));
        } else {
            errors.duplicate(&path.child("name"), name);
        }
        let sources = [
            ("resourceClaimName", &claim.resource_claim_name),
            ("resourceClaimTemplateName", &claim.resource_claim_template_name),
        ];
        match sources.iter().filter(|(_, source)| source.is_some()).count() {
            0 => {
                let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&path, Json(claim), why);
            }
            1 => {}
            _ => {
                let why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may \
                           be specified";
                errors.invalid(&path, Json(claim), why);
            }
        }
        for (field, source) in sources {
            if let Some(source) = source {
                complain(errors, &path.child(field), source, rules::dns_subdomain(source));
            }
        }
    }
}
