use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, DownwardAPIVolumeFile, KeyToPath, PodCertificateProjection,
    ProjectedVolumeSource, ServiceAccountTokenProjection,
};

use super::volume_sources::key_to_path;
use super::{downward, paths};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, Seen, complain, text};
use crate::kinds::names::rules;
use crate::kinds::{label_selector, metadata};

/// Seconds a projected service account token lives at least and at most.
const TOKEN_SECONDS: (i64, i64) = (10 * 60, 1 << 32);
/// Seconds a pod's certificate lives at least and at most.
const CERTIFICATE_SECONDS: (i32, i32) = (3600, 91 * 24 * 3600);
const KEY_TYPES: [&str; 6] =
    ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const CONFLICT: &str = "conflicting duplicate paths";

/// Checks a volume that brings several sources together.
pub(super) fn validate(source: &ProjectedVolumeSource, path: &Path<'_>, errors: &mut ErrorList) {
    paths::mode(source.default_mode, &path.child("defaultMode"), errors);
    let mut files = Seen::new();
    let list = path.child("sources");
    for (index, source) in source.sources.iter().flatten().enumerate() {
        let at = list.index(index);
        let mut count = 0;
        if let Some(secret) = &source.secret {
            count += 1;
            let items = secret.items.as_deref();
            keys(&secret.name, items, &mut files, path, &at.child("secret"), errors);
        }
        if let Some(config_map) = &source.config_map {
            count += 1;
            let items = config_map.items.as_deref();
            keys(&config_map.name, items, &mut files, path, &at.child("configMap"), errors);
        }
        if let Some(downward) = &source.downward_api {
            count += 1;
            let at = at.child("downwardAPI");
            for file in downward.items.iter().flatten() {
                downward_file(file, &at, errors);
                if !file.path.is_empty() && !files.insert(file.path.as_str()) {
                    errors.invalid(path, &file.path, CONFLICT);
                }
            }
        }
        if let Some(token) = &source.service_account_token {
            count += 1;
            service_account_token(token, path, &at.child("serviceAccountToken"), errors);
        }
        if let Some(bundle) = &source.cluster_trust_bundle {
            count += 1;
            trust_bundle(bundle, &at.child("clusterTrustBundle"), errors);
            if !files.insert(bundle.path.as_str()) {
                errors.invalid(path, &bundle.path, CONFLICT);
            }
        }
        if let Some(certificate) = &source.pod_certificate {
            count += 1;
            pod_certificate(certificate, &at.child("podCertificate"), errors);
            let written = [
                &certificate.credential_bundle_path,
                &certificate.key_path,
                &certificate.certificate_chain_path,
            ];
            for file in written.into_iter().map(text).filter(|file| !file.is_empty()) {
                if !files.insert(file) {
                    errors.invalid(path, file, CONFLICT);
                }
            }
        }
        if count > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type per source");
        }
    }
}

fn keys<'a>(
    name: &str,
    items: Option<&'a [KeyToPath]>,
    files: &mut Seen<&'a str>,
    volume: &Path<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    let list = path.child("items");
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        key_to_path(item, &list.index(index), errors);
        if !item.path.is_empty() && !files.insert(item.path.as_str()) {
            errors.invalid(volume, name, CONFLICT);
        }
    }
}

/// Checks a file made of what the API says of the pod.
pub(super) fn downward_file(file: &DownwardAPIVolumeFile, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("path");
    if file.path.is_empty() {
        errors.required(&at, "");
    }
    paths::local_non_reserved(&file.path, &at, errors);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), resource) => {
            downward::field_ref(field, &downward::VOLUME_FIELDS, &path.child("fieldRef"), errors);
            if resource.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path, "resource", why);
            }
        }
        (None, Some(resource)) => {
            downward::resource_ref(resource, true, &path.child("resourceFieldRef"), errors);
        }
        (None, None) => {
            errors.required(path, "one of fieldRef and resourceFieldRef is required");
        }
    }
    paths::mode(file.mode, &path.child("mode"), errors);
}

fn service_account_token(
    token: &ServiceAccountTokenProjection,
    volume: &Path<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let seconds = token.expiration_seconds.unwrap_or(0);
    let at = path.child("expirationSeconds");
    if seconds < TOKEN_SECONDS.0 {
        errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > TOKEN_SECONDS.1 {
        errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    let at = volume.child("path");
    if token.path.is_empty() {
        errors.required(&at, "");
    } else {
        paths::local_non_reserved(&token.path, &at, errors);
    }
}

fn trust_bundle(bundle: &ClusterTrustBundleProjection, path: &Path<'_>, errors: &mut ErrorList) {
    match (&bundle.name, &bundle.signer_name) {
        (Some(_), Some(_)) => {
            errors.invalid(path, Json(bundle), "only one of name and signerName may be used");
        }
        (Some(name), None) => {
            let at = path.child("name");
            if name.is_empty() {
                errors.required(&at, "must be a valid object name");
            }
            // Bundles of a signer are named for it: `example.com:mysigner:name`.
            let own = name.rsplit_once(':').map_or(name.as_str(), |(_, own)| own);
            for why in rules::dns_subdomain(own) {
                errors.invalid(&at, name, &format!("not a valid clustertrustbundlename: {why}"));
            }
            if let Some(selector) = &bundle.label_selector {
                let why = "labelSelector must be unset if name is specified";
                errors.invalid(&path.child("labelSelector"), Json(selector), why);
            }
        }
        (None, Some(signer)) => {
            signer_name(signer, &path.child("signerName"), errors);
            if let Some(selector) = &bundle.label_selector {
                label_selector::validate(selector, &path.child("labelSelector"), errors);
            }
        }
        (None, None) => errors.required(path, "either name or signerName must be specified"),
    }
    let at = path.child("path");
    if bundle.path.is_empty() {
        errors.required(&at, "");
    }
    paths::local_non_reserved(&bundle.path, &at, errors);
}

/// `example.com/mysigner`.
fn signer_name(signer: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if signer.is_empty() {
        return errors.required(path, "must be a valid signer name");
    }
    let Some((domain, rest)) = signer.split_once('/').filter(|(_, rest)| !rest.contains('/'))
    else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(path, signer, why);
    };
    complain(errors, path, domain, rules::dns_subdomain(domain));
    complain(errors, path, rest, rules::dns_subdomain(rest));
}

fn pod_certificate(
    certificate: &PodCertificateProjection,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    signer_name(&certificate.signer_name, &path.child("signerName"), errors);
    if !KEY_TYPES.contains(&certificate.key_type.as_str()) {
        errors.not_supported(&path.child("keyType"), &certificate.key_type, &KEY_TYPES);
    }
    let (least, most) = CERTIFICATE_SECONDS;
    let at = path.child("maxExpirationSeconds");
    match certificate.max_expiration_seconds {
        None => errors.required(&at, ""),
        Some(seconds) if seconds < least => {
            errors.invalid(
                &at,
                seconds,
                &format!("if provided, maxExpirationSeconds must be >= {least}"),
            );
        }
        Some(seconds) if seconds > most => {
            errors.invalid(
                &at,
                seconds,
                &format!("if provided, maxExpirationSeconds must be <= {most}"),
            );
        }
        Some(_) => {}
    }
    let written = [
        ("credentialBundlePath", &certificate.credential_bundle_path),
        ("keyPath", &certificate.key_path),
        ("certificateChainPath", &certificate.certificate_chain_path),
    ];
    for (field, file) in written {
        paths::local_non_reserved(text(file), &path.child(field), errors);
    }
    if written.iter().all(|(_, file)| text(file).is_empty()) {
        let why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.required(path, why);
    }
    let annotations = certificate.user_annotations.iter().flatten();
    metadata::annotations(annotations, &path.child("userAnnotations"), errors);
}
