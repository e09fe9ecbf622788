use super::containers::{insert, named, plural, quoted, setters, where_};
use super::{Subject, Violation, violation};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Safe parameters of the kernel; those behind came later.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
const SE_LINUX: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// Whether a profile of AppArmor or seccomp is one that confines.
pub(super) fn confines(profile: &str) -> bool {
    matches!(profile, "RuntimeDefault" | "Localhost")
}

pub(super) fn app_armor(pod: &Subject<'_>) -> Option<Violation> {
    if !pod.has_security && pod.annotations.is_none() {
        return None;
    }
    let mut bad = Vec::new();
    let own = pod.spec.security_context.as_ref().and_then(|own| own.app_armor_profile.as_ref());
    let own = own.filter(|own| !confines(&own.type_));
    if let Some(own) = own {
        insert(&mut bad, own.type_.clone());
    }
    let containers = where_(pod, |one| {
        let profile = one.security.and_then(|security| security.app_armor_profile.as_ref());
        let Some(profile) = profile.filter(|profile| !confines(&profile.type_)) else {
            return false;
        };
        insert(&mut bad, profile.type_.clone());
        true
    });
    let mut setters = setters(own.is_some(), &containers);
    let annotations = pod.annotations.into_iter().flatten().filter(|(key, value)| {
        let confines =
            value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
        key.starts_with(APP_ARMOR) && !confines
    });
    let annotations: Vec<_> = annotations.map(|(key, value)| format!("{key}={value:?}")).collect();
    if !annotations.is_empty() {
        setters.push(plural("annotation", annotations.len()));
    }
    bad.extend(annotations);
    if setters.is_empty() {
        return None;
    }
    let setters = setters.join(" and ");
    let detail = format!("{setters} must not set AppArmor profile type to {}", quoted(&bad));
    violation(plural("forbidden AppArmor profile", bad.len()), detail)
}

pub(super) fn capabilities(pod: &Subject<'_>) -> Option<Violation> {
    let mut added = Vec::new();
    let containers = where_(pod, |one| {
        let lists = one.security.and_then(|security| security.capabilities.as_ref());
        let list = lists.and_then(|lists| lists.add.as_deref()).unwrap_or_default();
        let bad = list.iter().filter(|name| !CAPABILITIES.contains(&name.as_str()));
        bad.fold(false, |_, name| {
            insert(&mut added, name.clone());
            true
        })
    });
    if containers.is_empty() {
        return None;
    }
    let (containers, added) = (named(&containers), quoted(&added));
    let detail =
        format!("{containers} must not include {added} in securityContext.capabilities.add");
    violation("non-default capabilities", detail)
}

pub(super) fn host_namespaces(pod: &Subject<'_>) -> Option<Violation> {
    let spec = pod.spec;
    let all = [
        ("hostNetwork=true", spec.host_network),
        ("hostPID=true", spec.host_pid),
        ("hostIPC=true", spec.host_ipc),
    ];
    let set = all.iter().filter(|(_, value)| *value == Some(true)).map(|(name, _)| *name);
    let set: Vec<_> = set.collect();
    if set.is_empty() {
        return None;
    }
    violation("host namespaces", set.join(", "))
}

pub(super) fn host_paths(pod: &Subject<'_>) -> Option<Violation> {
    let volumes = pod.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let names: Vec<_> = volumes.map(|volume| &volume.name).collect();
    if names.is_empty() {
        return None;
    }
    violation("hostPath volumes", format!("{} {}", plural("volume", names.len()), quoted(&names)))
}

pub(super) fn host_ports(pod: &Subject<'_>) -> Option<Violation> {
    let mut ports = Vec::new();
    let containers = where_(pod, |one| {
        let used = one.ports.iter().filter_map(|port| port.host_port).filter(|port| *port != 0);
        used.fold(false, |_, port| {
            insert(&mut ports, port.to_string());
            true
        })
    });
    if containers.is_empty() {
        return None;
    }
    let uses = if containers.len() == 1 { "uses" } else { "use" };
    let (named, word) = (named(&containers), plural("hostPort", ports.len()));
    violation("hostPort", format!("{named} {uses} {word} {}", ports.join(", ")))
}

pub(super) fn probe_hosts(pod: &Subject<'_>) -> Option<Violation> {
    let mut hosts: Vec<&str> = Vec::new();
    let mut containers: Vec<&str> = Vec::new();
    for one in &pod.containers {
        let probes = one.probes.into_iter().flatten().flat_map(|probe| {
            let http = probe.http_get.as_ref().and_then(|get| get.host.as_deref());
            [http, probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref())]
        });
        let hooks = one.lifecycle.into_iter().flat_map(|all| [&all.post_start, &all.pre_stop]);
        let hooks = hooks.flatten().flat_map(|hook| {
            let http = hook.http_get.as_ref().and_then(|get| get.host.as_deref());
            [http, hook.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref())]
        });
        for host in probes.chain(hooks).flatten().filter(|host| !host.is_empty()) {
            insert(&mut hosts, host);
            insert(&mut containers, one.name);
        }
    }
    if containers.is_empty() {
        return None;
    }
    let uses = if containers.len() == 1 { "uses" } else { "use" };
    let word = plural("probe or lifecycle host", hosts.len());
    let detail = format!("{} {uses} {word} {}", named(&containers), quoted(&hosts));
    violation("probe or lifecycle host", detail)
}

pub(super) fn privileged(pod: &Subject<'_>) -> Option<Violation> {
    let containers =
        where_(pod, |one| one.security.and_then(|security| security.privileged).unwrap_or(false));
    if containers.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", named(&containers));
    violation("privileged", detail)
}

pub(super) fn proc_mount(pod: &Subject<'_>) -> Option<Violation> {
    let mut types = Vec::new();
    let containers = where_(pod, |one| {
        let mount = one.security.and_then(|security| security.proc_mount.as_deref());
        let Some(mount) = mount.filter(|mount| *mount != "Default") else { return false };
        insert(&mut types, mount);
        true
    });
    if containers.is_empty() {
        return None;
    }
    let (named, types) = (named(&containers), quoted(&types));
    violation("procMount", format!("{named} must not set securityContext.procMount to {types}"))
}

/// Users of a pod's own namespace see a `/proc` that is theirs.
pub(super) fn proc_mount_of_host_users(pod: &Subject<'_>) -> Option<Violation> {
    if pod.spec.host_users == Some(false) { None } else { proc_mount(pod) }
}

pub(super) fn se_linux(pod: &Subject<'_>) -> Option<Violation> {
    se_linux_but(pod, &SE_LINUX[..4])
}

pub(super) fn se_linux_with_engine(pod: &Subject<'_>) -> Option<Violation> {
    se_linux_but(pod, &SE_LINUX)
}

fn se_linux_but(pod: &Subject<'_>, types: &[&str]) -> Option<Violation> {
    use k8s_openapi::api::core::v1::SELinuxOptions;
    let (mut bad, mut user, mut role) = (Vec::new(), false, false);
    let is_set = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    let mut is_bad = |options: &SELinuxOptions| {
        let kind = options.type_.as_deref().unwrap_or_default();
        let known = types.contains(&kind);
        if !known {
            insert(&mut bad, kind.to_owned());
        }
        let (sets_user, sets_role) =
            (is_set(options.user.as_deref()), is_set(options.role.as_deref()));
        user |= sets_user;
        role |= sets_role;
        !known || sets_user || sets_role
    };
    let own = pod.spec.security_context.as_ref().and_then(|own| own.se_linux_options.as_ref());
    let own = own.is_some_and(&mut is_bad);
    let containers = where_(pod, |one| {
        one.security
            .and_then(|security| security.se_linux_options.as_ref())
            .is_some_and(&mut is_bad)
    });
    let setters = setters(own, &containers);
    if setters.is_empty() {
        return None;
    }
    let mut data = Vec::new();
    if !bad.is_empty() {
        data.push(format!("{} {}", plural("type", bad.len()), quoted(&bad)));
    }
    if user {
        data.push("user may not be set".to_owned());
    }
    if role {
        data.push("role may not be set".to_owned());
    }
    let (setters, data) = (setters.join(" and "), data.join("; "));
    violation(
        "seLinuxOptions",
        format!("{setters} set forbidden securityContext.seLinuxOptions: {data}"),
    )
}

/// Profiles of seccomp as they were named before there were fields.
pub(super) fn seccomp_annotations(pod: &Subject<'_>) -> Option<Violation> {
    let value = |key: &str| {
        let value = pod.annotations?.get(key)?;
        let confines = matches!(value.as_str(), "runtime/default" | "docker/default")
            || value.starts_with("localhost/");
        (!confines).then(|| format!("{key}={value:?}"))
    };
    let mut bad: Vec<String> = value(SECCOMP_POD).into_iter().collect();
    for one in &pod.containers {
        if let Some(text) = value(&format!("{SECCOMP_CONTAINER}{}", one.name)) {
            insert(&mut bad, text);
        }
    }
    bad.sort();
    if bad.is_empty() {
        return None;
    }
    let word = plural("annotation", bad.len());
    violation("seccompProfile", format!("forbidden {word} {}", bad.join(", ")))
}

pub(super) fn seccomp(pod: &Subject<'_>) -> Option<Violation> {
    if !pod.has_security {
        return None;
    }
    let mut bad: Vec<&str> = Vec::new();
    let own = pod.spec.security_context.as_ref().and_then(|own| own.seccomp_profile.as_ref());
    let own = own.map(|own| own.type_.as_str()).filter(|own| !confines(own));
    bad.extend(own);
    let containers = where_(pod, |one| {
        let profile = one.security.and_then(|security| security.seccomp_profile.as_ref());
        let Some(profile) = profile.filter(|profile| !confines(&profile.type_)) else {
            return false;
        };
        insert(&mut bad, profile.type_.as_str());
        true
    });
    let setters = setters(own.is_some(), &containers);
    if setters.is_empty() {
        return None;
    }
    let (setters, bad) = (setters.join(" and "), quoted(&bad));
    let detail = format!("{setters} must not set securityContext.seccompProfile.type to {bad}");
    violation("seccompProfile", detail)
}

pub(super) fn sysctls(pod: &Subject<'_>) -> Option<Violation> {
    sysctls_but(pod, &SYSCTLS[..5])
}

pub(super) fn sysctls_27(pod: &Subject<'_>) -> Option<Violation> {
    sysctls_but(pod, &SYSCTLS[..6])
}

pub(super) fn sysctls_29(pod: &Subject<'_>) -> Option<Violation> {
    sysctls_but(pod, &SYSCTLS[..10])
}

pub(super) fn sysctls_32(pod: &Subject<'_>) -> Option<Violation> {
    sysctls_but(pod, &SYSCTLS)
}

fn sysctls_but(pod: &Subject<'_>, safe: &[&str]) -> Option<Violation> {
    let own = pod.spec.security_context.as_ref();
    let all = own.and_then(|own| own.sysctls.as_deref()).unwrap_or_default();
    let bad: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
    let bad: Vec<_> = bad.into_iter().filter(|name| !safe.contains(name)).collect();
    if bad.is_empty() {
        return None;
    }
    violation("forbidden sysctls", bad.join(", "))
}

pub(super) fn host_process(pod: &Subject<'_>) -> Option<Violation> {
    let own = pod.spec.security_context.as_ref().and_then(|own| own.windows_options.as_ref());
    let own = own.and_then(|own| own.host_process).unwrap_or(false);
    let containers = where_(pod, |one| {
        let options = one.security.and_then(|security| security.windows_options.as_ref());
        options.and_then(|options| options.host_process).unwrap_or(false)
    });
    let setters = setters(own, &containers);
    if setters.is_empty() {
        return None;
    }
    let setters = setters.join(" and ");
    violation(
        "hostProcess",
        format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}
