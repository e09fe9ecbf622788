use std::borrow::Cow;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};

use super::check::{Json, complain, immutable};
use super::names::rules;
use super::next_generation;
use crate::field::{ErrorList, Path};
use crate::{Strategy, Subresource};

/// What a field selector may name.
pub(super) const FIELDS: &[&str] = &["spec.signerName"];
/// What a certificate may be used for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Shortest life of a certificate that may be asked for, in seconds.
const LEAST_SECONDS: i32 = 600;
/// How a request in PEM begins.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE REQUEST-----";
/// Longest name of a signer: of its domain, and of what stands behind it.
const DOMAIN_MAX: usize = 253;

/// Requests for certificates.
pub(super) struct CertificateSigningRequestStrategy;

impl Strategy for CertificateSigningRequestStrategy {
    type Kind = CertificateSigningRequest;

    fn prepare_for_create(&self, request: &mut CertificateSigningRequest) {
        request.metadata.generation = Some(1);
        request.status = Some(CertificateSigningRequestStatus::default());
    }

    fn validate(&self, request: &CertificateSigningRequest, errors: &mut ErrorList) {
        let path = Path::root("spec");
        let spec = &request.spec;
        if !spec.request.0.trim_ascii_start().starts_with(PEM) {
            errors.invalid(
                &path.child("request"),
                "",
                "PEM block type must be CERTIFICATE REQUEST",
            );
        }
        let at = path.child("usages");
        let usages = spec.usages.as_deref().unwrap_or_default();
        if usages.is_empty() {
            errors.required(&at, "");
        }
        for (index, usage) in usages.iter().enumerate() {
            if !USAGES.contains(&usage.as_str()) {
                errors.not_supported(&at.index(index), usage, &USAGES);
            }
            if usages[..index].contains(usage) {
                errors.duplicate(&at.index(index), usage);
            }
        }
        let at = path.child("signerName");
        validate_signer(&spec.signer_name, &at, errors);
        if spec.signer_name == "kubernetes.io/legacy-unknown" {
            let why = "the legacy signerName is not allowed via this API version";
            errors.invalid(&at, &spec.signer_name, why);
        }
        if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < LEAST_SECONDS) {
            let why = format!(
                "may not specify a duration less than {LEAST_SECONDS} seconds (10 minutes)"
            );
            errors.invalid(&path.child("expirationSeconds"), seconds, &why);
        }
        if let Some(status) = &request.status {
            validate_conditions(status, errors);
        }
    }

    /// The spec never changes; the status has its own ways.
    fn prepare_for_update(
        &self,
        new: &mut CertificateSigningRequest,
        old: &CertificateSigningRequest,
    ) {
        new.spec = old.spec.clone();
        new.status.clone_from(&old.status);
        next_generation(&mut new.metadata, &old.metadata, false);
    }

    fn validate_update(
        &self,
        _: &CertificateSigningRequest,
        _: &CertificateSigningRequest,
        _: &mut ErrorList,
    ) {
    }

    /// Approval and denial are left to the subresource `approval`.
    fn prepare_for_status_update(
        &self,
        new: &mut CertificateSigningRequest,
        old: &CertificateSigningRequest,
    ) {
        new.spec = old.spec.clone();
        let decided = |condition: &&CertificateSigningRequestCondition| {
            matches!(condition.type_.as_str(), "Approved" | "Denied")
        };
        let before = conditions(old).iter().filter(decided).cloned();
        let rest = conditions(new).iter().filter(|condition| !decided(condition)).cloned();
        let merged: Vec<_> = before.chain(rest).collect();
        let status = new.status.get_or_insert_default();
        status.conditions = Some(merged).filter(|all| !all.is_empty());
    }

    fn validate_status_update(
        &self,
        new: &CertificateSigningRequest,
        old: &CertificateSigningRequest,
        errors: &mut ErrorList,
    ) {
        let Some(status) = &new.status else { return };
        validate_conditions(status, errors);
        let given = |request: &CertificateSigningRequest| {
            request.status.as_ref().and_then(|status| status.certificate.clone())
        };
        if let Some(before) = given(old).filter(|certificate| !certificate.0.is_empty()) {
            let path = Path::root("status");
            immutable(errors, &path.child("certificate"), &given(new), &Some(before));
        }
    }

    /// Approval decides; it does not issue.
    fn prepare_for_part(
        &self,
        _: Subresource,
        new: &mut CertificateSigningRequest,
        old: &CertificateSigningRequest,
    ) {
        new.spec = old.spec.clone();
        let given = old.status.as_ref().and_then(|status| status.certificate.clone());
        new.status.get_or_insert_default().certificate = given;
    }

    fn validate_part(
        &self,
        _: Subresource,
        new: &CertificateSigningRequest,
        old: &CertificateSigningRequest,
        errors: &mut ErrorList,
    ) {
        let Some(status) = &new.status else { return };
        validate_conditions(status, errors);
        let root = Path::root("status");
        for old in conditions(old) {
            let kind = &old.type_;
            if !conditions(new).iter().any(|condition| condition.type_ == *kind) {
                let why = format!("updates may not remove a condition of type {kind:?}");
                errors.forbidden(&root.child("conditions"), &why);
            }
        }
    }

    fn field<'a>(
        &self,
        request: &'a CertificateSigningRequest,
        path: &str,
    ) -> Option<Cow<'a, str>> {
        (path == "spec.signerName").then_some(Cow::Borrowed(request.spec.signer_name.as_str()))
    }
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    let status = request.status.as_ref();
    status.and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// A signer is named by a domain and a path below it.
fn validate_signer(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(path, name, why);
    };
    complain(errors, path, domain, rules::dns_subdomain(domain));
    if !domain.contains('.') {
        errors.invalid(
            path,
            domain,
            "should be a domain with at least two segments separated by dots",
        );
    }
    complain(errors, path, rest, rules::dns_subdomain(rest));
    if name.len() > 2 * DOMAIN_MAX + 1 {
        errors.too_long(path, 2 * DOMAIN_MAX + 1);
    }
}

fn validate_conditions(status: &CertificateSigningRequestStatus, errors: &mut ErrorList) {
    let root = Path::root("status");
    let path = root.child("conditions");
    let all = status.conditions.as_deref().unwrap_or_default();
    for (index, condition) in all.iter().enumerate() {
        let at = path.index(index);
        let kind = condition.type_.as_str();
        if kind.is_empty() {
            errors.required(&at.child("type"), "");
        }
        if all[..index].iter().any(|other| other.type_ == kind) {
            errors.duplicate(&at.child("type"), kind);
        }
        let at = at.child("status");
        match (kind, condition.status.as_str()) {
            (_, "") => errors.required(&at, ""),
            (_, "True") => {}
            ("Approved" | "Denied" | "Failed", status) => {
                errors.not_supported(&at, status, &["True"]);
            }
            (_, "False" | "Unknown") => {}
            (_, status) => errors.not_supported(&at, status, &["False", "True", "Unknown"]),
        }
    }
    let has = |kind: &str| all.iter().any(|condition| condition.type_ == kind);
    if has("Approved") && has("Denied") {
        let why = "Approved and Denied conditions are mutually exclusive";
        errors.invalid(&path, Json(&text_of(all)), why);
    }
}

fn text_of(all: &[CertificateSigningRequestCondition]) -> Vec<&str> {
    all.iter().map(|condition| condition.type_.as_str()).collect()
}
