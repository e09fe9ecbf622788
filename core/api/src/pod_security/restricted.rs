use k8s_openapi::api::core::v1::{PodSpec, Volume};

use super::baseline::{self, confines};
use super::containers::{insert, named, quoted, setters, where_};
use super::{Subject, Violation, violation};

/// What a container may have that has nothing else.
const CAPABILITY: &str = "NET_BIND_SERVICE";

fn is_windows(spec: &PodSpec) -> bool {
    spec.os.as_ref().is_some_and(|os| os.name == "windows")
}

/// Whether root within the pod is nobody outside.
fn has_own_users(spec: &PodSpec) -> bool {
    spec.host_users == Some(false)
}

pub(super) fn escalation(pod: &Subject<'_>) -> Option<Violation> {
    let containers = where_(pod, |one| {
        one.security.and_then(|security| security.allow_privilege_escalation) != Some(false)
    });
    if containers.is_empty() {
        return None;
    }
    let named = named(&containers);
    violation(
        "allowPrivilegeEscalation != false",
        format!("{named} must set securityContext.allowPrivilegeEscalation=false"),
    )
}

pub(super) fn escalation_but_on_windows(pod: &Subject<'_>) -> Option<Violation> {
    if is_windows(pod.spec) { None } else { escalation(pod) }
}

pub(super) fn capabilities(pod: &Subject<'_>) -> Option<Violation> {
    let mut added = Vec::new();
    let (mut keeping, mut adding) = (Vec::new(), Vec::new());
    for one in &pod.containers {
        let lists = one.security.and_then(|security| security.capabilities.as_ref());
        let dropped = lists.and_then(|lists| lists.drop.as_deref()).unwrap_or_default();
        if !dropped.iter().any(|name| name == "ALL") {
            keeping.push(one.name);
        }
        let own = lists.and_then(|lists| lists.add.as_deref()).unwrap_or_default();
        let bad: Vec<_> = own.iter().filter(|name| *name != CAPABILITY).collect();
        if !bad.is_empty() {
            adding.push(one.name);
        }
        bad.into_iter().for_each(|name| insert(&mut added, name.as_str()));
    }
    let mut details = Vec::new();
    if !keeping.is_empty() {
        let named = named(&keeping);
        details.push(format!("{named} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if !adding.is_empty() {
        let (named, added) = (named(&adding), quoted(&added));
        details
            .push(format!("{named} must not include {added} in securityContext.capabilities.add"));
    }
    if details.is_empty() {
        return None;
    }
    violation("unrestricted capabilities", details.join("; "))
}

pub(super) fn capabilities_but_on_windows(pod: &Subject<'_>) -> Option<Violation> {
    if is_windows(pod.spec) { None } else { capabilities(pod) }
}

pub(super) fn volumes(pod: &Subject<'_>) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), Vec::new());
    for volume in pod.spec.volumes.iter().flatten().filter(|volume| !is_plain(volume)) {
        names.push(volume.name.as_str());
        insert(&mut kinds, kind_of(volume));
    }
    if names.is_empty() {
        return None;
    }
    let (volume, uses, kind) = (
        super::containers::plural("volume", names.len()),
        if names.len() == 1 { "uses" } else { "use" },
        super::containers::plural("restricted volume type", kinds.len()),
    );
    let (names, kinds) = (quoted(&names), quoted(&kinds));
    violation("restricted volume types", format!("{volume} {names} {uses} {kind} {kinds}"))
}

fn is_plain(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

fn kind_of(volume: &Volume) -> &'static str {
    let kinds = [
        ("hostPath", volume.host_path.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephfs", volume.cephfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("fc", volume.fc.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("storageos", volume.storageos.is_some()),
    ];
    kinds.iter().find(|(_, is)| *is).map_or("unknown", |(kind, _)| kind)
}

pub(super) fn non_root(pod: &Subject<'_>) -> Option<Violation> {
    let own = pod.spec.security_context.as_ref().and_then(|own| own.run_as_non_root);
    let says = |wanted: Option<bool>| {
        where_(pod, |one| one.security.and_then(|security| security.run_as_non_root) == wanted)
    };
    let reason = "runAsNonRoot != true";
    let setters = setters(own == Some(false), &says(Some(false)));
    if !setters.is_empty() {
        let setters = setters.join(" and ");
        let detail = format!("{setters} must not set securityContext.runAsNonRoot=false");
        return violation(reason, detail);
    }
    let silent = if own == Some(true) { Vec::new() } else { says(None) };
    if silent.is_empty() {
        return None;
    }
    let named = named(&silent);
    violation(reason, format!("pod or {named} must set securityContext.runAsNonRoot=true"))
}

pub(super) fn non_root_of_host_users(pod: &Subject<'_>) -> Option<Violation> {
    if has_own_users(pod.spec) { None } else { non_root(pod) }
}

pub(super) fn user(pod: &Subject<'_>) -> Option<Violation> {
    let own = pod.spec.security_context.as_ref().and_then(|own| own.run_as_user);
    let containers =
        where_(pod, |one| one.security.and_then(|security| security.run_as_user) == Some(0));
    let setters = setters(own == Some(0), &containers);
    if setters.is_empty() {
        return None;
    }
    violation("runAsUser=0", format!("{} must not set runAsUser=0", setters.join(" and ")))
}

pub(super) fn user_of_host_users(pod: &Subject<'_>) -> Option<Violation> {
    if has_own_users(pod.spec) { None } else { user(pod) }
}

pub(super) fn seccomp(pod: &Subject<'_>) -> Option<Violation> {
    if let Some(found) = baseline::seccomp(pod) {
        return Some(found);
    }
    let own = pod.spec.security_context.as_ref().and_then(|own| own.seccomp_profile.as_ref());
    if own.is_some_and(|own| confines(&own.type_)) {
        return None;
    }
    let silent = where_(pod, |one| {
        one.security.and_then(|security| security.seccomp_profile.as_ref()).is_none()
    });
    if silent.is_empty() {
        return None;
    }
    let named = named(&silent);
    violation(
        "seccompProfile",
        format!(
            "pod or {named} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
             \"Localhost\""
        ),
    )
}

pub(super) fn seccomp_but_on_windows(pod: &Subject<'_>) -> Option<Violation> {
    if is_windows(pod.spec) { None } else { seccomp(pod) }
}
