use k8s_openapi::api::core::v1::{PodSpec, SecurityContext, WindowsSecurityContextOptions};

use super::all_security_contexts;
use crate::field::{ErrorList, Path};
use crate::kinds::check::complain;
use crate::kinds::names::rules;

/// Most KiB of a credential spec.
const CREDENTIAL_SPEC_KIB: usize = 64;
/// Bytes that the domain in a user's name stays below.
const DOMAIN_MAX: usize = 256;
/// Most bytes of the user in a user's name.
const USER_MAX: usize = 104;
const NOT_FOR_WINDOWS: &str = "cannot be set for a windows pod";
const NOT_FOR_LINUX: &str = "windows options cannot be set for a linux pod";

/// Checks the operating system of a pod, and that nothing is set that it does not have.
pub(super) fn validate_os(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(os) = &spec.os else { return };
    let at = path.child("os");
    match &os.name[..] {
        "" => errors.required(&at.child("name"), "cannot be empty"),
        "linux" => linux_only(spec, path, errors),
        "windows" => windows_only(spec, path, errors),
        other => errors.not_supported(&at, other, &["linux", "windows"]),
    }
}

fn linux_only(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let context = spec.security_context.as_ref();
    if context.is_some_and(|context| context.windows_options.is_some()) {
        let at = path.child("securityContext");
        errors.forbidden(&at.child("windowsOptions"), NOT_FOR_LINUX);
    }
    each_container(spec, path, |security, path| {
        if security.windows_options.is_some() {
            errors.forbidden(&path.child("windowsOptions"), NOT_FOR_LINUX);
        }
    });
}

fn windows_only(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let none = Default::default();
    let context = spec.security_context.as_ref().unwrap_or(&none);
    let at = path.child("securityContext");
    let fields = [
        (&at, "appArmorProfile", context.app_armor_profile.is_some()),
        (&at, "seLinuxOptions", context.se_linux_options.is_some()),
        (path, "hostUsers", spec.host_users.is_some()),
        (path, "hostPID", spec.host_pid == Some(true)),
        (path, "hostIPC", spec.host_ipc == Some(true)),
        (&at, "seccompProfile", context.seccomp_profile.is_some()),
        (&at, "fsGroup", context.fs_group.is_some()),
        (&at, "fsGroupChangePolicy", context.fs_group_change_policy.is_some()),
        (&at, "sysctls", context.sysctls.iter().flatten().next().is_some()),
        (path, "shareProcessNamespace", spec.share_process_namespace.is_some()),
        (&at, "runAsUser", context.run_as_user.is_some()),
        (&at, "runAsGroup", context.run_as_group.is_some()),
        (&at, "supplementalGroups", context.supplemental_groups.is_some()),
        (&at, "supplementalGroupsPolicy", context.supplemental_groups_policy.is_some()),
        (&at, "seLinuxChangePolicy", context.se_linux_change_policy.is_some()),
    ];
    for (at, field, _) in fields.into_iter().filter(|(_, _, set)| *set) {
        errors.forbidden(&at.child(field), NOT_FOR_WINDOWS);
    }
    each_container(spec, path, |security, path| {
        let fields = [
            ("appArmorProfile", security.app_armor_profile.is_some()),
            ("seLinuxOptions", security.se_linux_options.is_some()),
            ("seccompProfile", security.seccomp_profile.is_some()),
            ("capabilities", security.capabilities.is_some()),
            ("readOnlyRootFilesystem", security.read_only_root_filesystem.is_some()),
            ("privileged", security.privileged.is_some()),
            ("allowPrivilegeEscalation", security.allow_privilege_escalation.is_some()),
            ("procMount", security.proc_mount.is_some()),
            ("runAsUser", security.run_as_user.is_some()),
            ("runAsGroup", security.run_as_group.is_some()),
        ];
        for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
            errors.forbidden(&path.child(field), NOT_FOR_WINDOWS);
        }
    });
}

fn each_container(
    spec: &PodSpec,
    path: &Path<'_>,
    mut visit: impl FnMut(&SecurityContext, &Path<'_>),
) {
    for (field, index, _, security) in all_security_contexts(spec) {
        if let Some(security) = security {
            let at = path.child(field);
            let at = at.index(index);
            visit(security, &at.child("securityContext"));
        }
    }
}

/// Either all containers are processes of the host, which is Windows, or none is.
pub(super) fn validate_host_process(spec: &PodSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let of = |options: Option<&WindowsSecurityContextOptions>| {
        options.and_then(|options| options.host_process)
    };
    let pod = spec.security_context.as_ref();
    let pod = of(pod.and_then(|context| context.windows_options.as_ref()));
    let (mut all, mut of_host) = (0, 0);
    for (field, index, _, security) in all_security_contexts(spec) {
        let own = of(security.and_then(|security| security.windows_options.as_ref()));
        if let (Some(pod), Some(own)) = (pod, own)
            && pod != own
        {
            let why =
                format!("pod hostProcess value must be identical if both are specified, was {pod}");
            let at = path.child(field);
            let at = at.index(index);
            let at = at.child("securityContext");
            errors.invalid(&at.child("windowsOptions").child("hostProcess"), own, &why);
        }
        all += 1;
        of_host += usize::from(own.or(pod) == Some(true));
    }
    if of_host == 0 {
        return;
    }
    if of_host != all {
        let why = "If pod contains any hostProcess containers then all containers must be \
                   HostProcess containers";
        errors.invalid(path, "", why);
    }
    if spec.host_network != Some(true) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&path.child("hostNetwork"), false, why);
    }
}

/// Checks what only Windows has.
pub(super) fn validate_options(
    options: Option<&WindowsSecurityContextOptions>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        let at = path.child("gmsaCredentialSpecName");
        complain(errors, &at, name, rules::dns_subdomain(name));
    }
    if let Some(spec) = &options.gmsa_credential_spec {
        let at = path.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.invalid(&at, spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > CREDENTIAL_SPEC_KIB * 1024 {
            let why = format!("gmsaCredentialSpec size must be under {CREDENTIAL_SPEC_KIB} KiB");
            errors.invalid(&at, spec, &why);
        }
    }
    if let Some(name) = &options.run_as_user_name {
        validate_user_name(name, &path.child("runAsUserName"), errors);
    }
}

fn validate_user_name(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    let mut invalid = |why: &str| errors.invalid(path, name, why);
    if name.is_empty() {
        return invalid("runAsUserName cannot be an empty string");
    }
    if name.bytes().any(|byte| byte.is_ascii_control()) {
        return invalid("runAsUserName cannot contain control characters");
    }
    let (domain, user) = match name.split_once('\\') {
        None => (None, name),
        Some((_, user)) if user.contains('\\') => {
            return invalid("runAsUserName cannot contain more than one backslash");
        }
        Some((domain, user)) => (Some(domain), user),
    };
    if let Some(domain) = domain {
        if domain.len() >= DOMAIN_MAX {
            let why =
                format!("runAsUserName's Domain length must be under {DOMAIN_MAX} characters");
            invalid(&why);
        }
        if !is_net_bios(domain) && !is_dns(domain) {
            invalid("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        invalid("runAsUserName's User cannot be empty");
    } else if user.len() > USER_MAX {
        let why =
            format!("runAsUserName's User length must not be longer than {USER_MAX} characters");
        invalid(&why);
    }
    if !user.is_empty() && user.bytes().all(|byte| matches!(byte, b'.' | b' ')) {
        invalid("runAsUserName's User cannot contain only periods or spaces");
    }
    if user
        .contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']'])
    {
        invalid("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
}

fn is_net_bios(domain: &str) -> bool {
    let count = domain.chars().count();
    (1..=15).contains(&count)
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    })
}
