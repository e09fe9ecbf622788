use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

use super::{Context, paths, windows};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Json, Seen, choice, complain, text};
use crate::kinds::names::rules;

/// Most bytes of the name of a kernel parameter.
const SYSCTL_MAX: usize = 253;
/// Most bytes of a path on Linux, without the end.
const PROFILE_MAX: usize = 4095;

/// Checks the security context of a pod.
pub(super) fn validate_pod(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(context) = &spec.security_context else { return };
    let path = path.child("securityContext");
    let ids = [
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ];
    unix_ids(&ids, &path, errors);
    let groups = path.child("supplementalGroups");
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        complain(errors, &groups.index(index), *group, rules::unix_id(*group));
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, why);
    }
    sysctls(context, spec, &path.child("sysctls"), errors);
    let policy = &context.fs_group_change_policy;
    choice(errors, &path.child("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    let options = context.windows_options.as_ref();
    windows::validate_options(options, &path.child("windowsOptions"), errors);
    app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
    let policy = &context.supplemental_groups_policy;
    choice(errors, &path.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    let policy = &context.se_linux_change_policy;
    choice(errors, &path.child("seLinuxChangePolicy"), policy, &["MountOption", "Recursive"]);
}

fn unix_ids(ids: &[(&str, Option<i64>)], path: &Path<'_>, errors: &mut ErrorList) {
    for (field, id) in ids {
        if let Some(id) = *id {
            complain(errors, &path.child(field), id, rules::unix_id(id));
        }
    }
}

fn sysctls(context: &PodSecurityContext, spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let mut seen = Seen::new();
    for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let at = path.index(index);
        let at = at.child("name");
        let name = sysctl.name.as_str();
        let new = seen.insert(name);
        if name.is_empty() {
            errors.required(&at, "");
        } else if !is_sysctl(name) {
            let why = format!(
                "must have at most {SYSCTL_MAX} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            errors.invalid(&at, name, &why);
        } else if !new {
            errors.duplicate(&at, name);
        }
        match namespace_of(name) {
            Some("net") if spec.host_network == Some(true) => {
                errors.invalid(&at, name, "may not be specified when 'hostNetwork' is true");
            }
            Some("ipc") if spec.host_ipc == Some(true) => {
                errors.invalid(&at, name, "may not be specified when 'hostIPC' is true");
            }
            _ => {}
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let segment = |segment: &str| {
        let bytes = segment.as_bytes();
        bytes.first().is_some_and(outer)
            && bytes.last().is_some_and(outer)
            && bytes.iter().all(|byte| outer(byte) || matches!(byte, b'-' | b'_'))
    };
    name.len() <= SYSCTL_MAX && name.split(['.', '/']).all(segment)
}

/// The namespace a kernel parameter belongs to. If the first separator is a slash, dots and
/// slashes have changed places.
fn namespace_of(name: &str) -> Option<&'static str> {
    let slashed = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let is = |prefix: &str| {
        name.len() >= prefix.len()
            && name.bytes().zip(prefix.bytes()).all(|(byte, wanted)| {
                let wanted = if wanted == b'.' && slashed { b'/' } else { wanted };
                byte == wanted
            })
    };
    if is("net.") {
        return Some("net");
    }
    let ipc = is("kernel.shm")
        || is("kernel.msg")
        || is("fs.mqueue.")
        || is("kernel.sem") && name.len() == "kernel.sem".len();
    ipc.then_some("ipc")
}

/// Checks the security context of a container.
pub(super) fn validate_container(
    security: Option<&SecurityContext>,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(security) = security else { return };
    let ids = [("runAsUser", security.run_as_user), ("runAsGroup", security.run_as_group)];
    unix_ids(&ids, path, errors);
    if let Some(mount) = &security.proc_mount {
        let at = path.child("procMount");
        if !matches!(&mount[..], "Default" | "Unmasked") {
            errors.not_supported(&at, mount, &["Default", "Unmasked"]);
        }
        if context.host_users && mount == "Unmasked" {
            errors.invalid(&at, mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(security.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    if security.allow_privilege_escalation == Some(false) {
        if security.privileged == Some(true) {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, Json(security), why);
        }
        let added = security.capabilities.as_ref().and_then(|caps| caps.add.as_ref());
        for _ in added.into_iter().flatten().filter(|capability| *capability == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` \
                       CAP_SYS_ADMIN";
            errors.invalid(path, Json(security), why);
        }
    }
    let options = security.windows_options.as_ref();
    windows::validate_options(options, &path.child("windowsOptions"), errors);
    app_armor(security.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
}

fn seccomp(profile: Option<&SeccompProfile>, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(profile) = profile else { return };
    match &profile.type_[..] {
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        "" => {
            errors.required(&path.child("type"), "type is required when seccompProfile is set");
        }
        other => {
            let types = ["Localhost", "RuntimeDefault", "Unconfined"];
            errors.not_supported(&path.child("type"), other, &types);
        }
    }
    let at = path.child("localhostProfile");
    match (&profile.type_[..], &profile.localhost_profile) {
        ("Localhost", None) => {
            errors.required(&at, "must be set when seccomp type is Localhost");
        }
        ("Localhost", Some(file)) => paths::local_descending(file, &at, errors),
        (_, Some(_)) => {
            let why = "can only be set when seccomp type is Localhost";
            errors.invalid(&at, Json(profile), why);
        }
        (_, None) => {}
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(profile) = profile else { return };
    let at = path.child("localhostProfile");
    match (&profile.type_[..], &profile.localhost_profile) {
        ("Localhost", file) => {
            let file = text(file);
            if file.trim() != file {
                errors.invalid(&at, file, "must not be padded with whitespace");
            } else if file.is_empty() {
                errors.required(&at, "must be set when AppArmor type is Localhost");
            }
            if file.len() > PROFILE_MAX {
                errors.too_long(&at, PROFILE_MAX);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(file)) => {
            errors.invalid(&at, file, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => {
            errors.required(&path.child("type"), "type is required when appArmorProfile is set");
        }
        (other, _) => {
            let types = ["Localhost", "RuntimeDefault", "Unconfined"];
            errors.not_supported(&path.child("type"), other, &types);
        }
    }
}

/// A pod with users of its own shares no other namespace with the host.
pub(super) fn validate_host_users(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    if spec.host_users != Some(false) {
        return;
    }
    let shared = [
        ("hostNetwork", spec.host_network),
        ("HostPID", spec.host_pid),
        ("HostIPC", spec.host_ipc),
    ];
    for (field, _) in shared.into_iter().filter(|(_, shared)| *shared == Some(true)) {
        errors.forbidden(&path.child(field), "when `pod.Spec.HostUsers` is false");
    }
}
