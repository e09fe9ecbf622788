use std::collections::HashMap;

use k8s_openapi::api::core::v1::{PodSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{volume_claims, volume_sources};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{self, Seen, complain, text};
use crate::kinds::names::rules;
use crate::quantity::Quantity;

/// The volumes of a pod by name, those that have passed.
pub(super) struct Volumes<'a> {
    all: &'a [Volume],
    /// Only when there are too many to look through, or one has not passed.
    index: Option<HashMap<&'a str, &'a Volume, ahash::RandomState>>,
}

impl<'a> Volumes<'a> {
    /// The volume of a name.
    pub(super) fn find(&self, name: &str) -> Option<&'a Volume> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.all.iter().find(|volume| volume.name == name),
        }
    }
}

/// Checks the volumes of a pod.
pub(super) fn validate<'a>(
    spec: &'a PodSpec,
    pod: Option<&ObjectMeta>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) -> Volumes<'a> {
    let all = spec.volumes.as_deref().unwrap_or_default();
    let many = all.len() > check::FEW;
    let before = errors.iter().len();
    let mut seen = Seen::new();
    let mut failed = Vec::new();
    for (index, volume) in all.iter().enumerate() {
        let path = path.index(index);
        let errors_before = errors.iter().len();
        validate_source(volume, pod, &path, errors);
        let name = volume.name.as_str();
        let at = path.child("name");
        if name.is_empty() {
            errors.required(&at, "");
        } else {
            complain(errors, &at, name, rules::dns_label(name));
        }
        if seen.contains(name) {
            errors.duplicate(&at, name);
        }
        if errors.iter().len() == errors_before {
            seen.insert(name);
        } else {
            failed.push(index);
        }
        validate_claim_is_not_made_here(volume, all, pod, &path, errors);
    }
    let index = (many || errors.iter().len() > before).then(|| {
        let passed = |(index, volume): (usize, &'a Volume)| {
            failed.binary_search(&index).is_err().then_some((volume.name.as_str(), volume))
        };
        all.iter().enumerate().filter_map(passed).collect()
    });
    Volumes { all, index }
}

/// A claim that is made for an ephemeral volume of this very pod cannot be asked for.
fn validate_claim_is_not_made_here(
    volume: &Volume,
    all: &[Volume],
    pod: Option<&ObjectMeta>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let (Some(claim), Some(pod)) = (&volume.persistent_volume_claim, pod) else { return };
    let Some(rest) = claim.claim_name.strip_prefix(text(&pod.name)) else { return };
    let Some(made_for) = rest.strip_prefix('-') else { return };
    if all.iter().any(|other| other.ephemeral.is_some() && other.name == made_for) {
        let at = path.child("persistentVolumeClaim");
        let why = "must not reference a PVC that gets created for an ephemeral volume";
        errors.invalid(&at.child("claimName"), &claim.claim_name, why);
    }
}

fn validate_source(
    volume: &Volume,
    pod: Option<&ObjectMeta>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut found = false;
    if let Some(directory) = &volume.empty_dir {
        found = true;
        // An unreadable one would not have passed upstream's decoder.
        let limit = directory.size_limit.as_ref().map(|limit| Quantity::parse(&limit.0));
        if limit.is_some_and(|limit| limit.is_err() || limit.is_ok_and(Quantity::is_negative)) {
            let at = path.child("emptyDir");
            let why = "SizeLimit field must be a valid resource quantity";
            errors.forbidden(&at.child("sizeLimit"), why);
        }
    }
    volume_sources::validate(volume, &mut found, path, errors);
    if let Some(ephemeral) = &volume.ephemeral
        && volume_sources::only_one(&mut found, "ephemeral", path, errors)
    {
        volume_claims::validate(ephemeral, &path.child("ephemeral"), errors);
        validate_claim_name(volume, pod, path, errors);
    }
    volume_sources::validate_image(volume, &mut found, pod.is_some(), path, errors);
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

/// The claim made for an ephemeral volume is named after pod and volume.
fn validate_claim_name(
    volume: &Volume,
    pod: Option<&ObjectMeta>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let pod = pod.map_or("", |pod| text(&pod.name));
    if pod.is_empty() || volume.name.is_empty() {
        return;
    }
    let claim = format!("{pod}-{}", volume.name);
    for why in rules::dns_subdomain(&claim) {
        let why = format!("PVC name {claim:?}: {why}");
        errors.invalid(&path.child("name"), &volume.name, &why);
    }
}
