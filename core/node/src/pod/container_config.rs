use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, SELinuxOptions, SeccompProfile};
use pinnace_runtime::{ContainerConfig, Device, Mount, PodConfig, QosClass, Seccomp, Security};

use super::expansion::expand;
use super::{dns, kernel, record, resources};
use crate::config::{Capacity, Machine};
use crate::host::Host;

/// Longest host name that Linux takes, in bytes.
const MAX_HOSTNAME: usize = 63;

/// The longest name that the kernel keeps, in bytes.
const MAX_NODE_NAME: usize = 64;

/// The domain of the cluster, for pods that want their full name as host name.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// What the runtime is to make for a pod as a whole.
///
/// # Errors
/// In upstream's words, why there can be no such pod.
pub(crate) fn pod_config(
    pod: &Pod,
    machine: &Machine,
    host: &Host,
    log_directory: PathBuf,
) -> Result<PodConfig, String> {
    let spec = record::spec_of(pod);
    let meta = &pod.metadata;
    let flag = |flag: Option<bool>| flag == Some(true);
    let host_network = flag(spec.host_network);
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    let (resolv_conf, hosts) = match machine {
        Machine::Simulated => (String::new(), String::new()),
        Machine::Local { .. } => {
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            (
                dns::resolv_conf(spec, || read("/etc/resolv.conf")),
                dns::hosts(spec, host_network.then(|| read("/etc/hosts"))),
            )
        }
    };
    let (hostname, domain) = names(pod, spec)?;
    Ok(PodConfig {
        id: meta.uid.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        hostname,
        domain,
        host_network,
        host_pid: flag(spec.host_pid),
        host_ipc: flag(spec.host_ipc),
        share_process_namespace: flag(spec.share_process_namespace),
        resources: host.pod_limits(spec),
        qos_class: resources::qos_class(spec),
        resolv_conf,
        hosts,
        sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        runtime_handler: String::new(),
        log_directory,
        log_limits: host.logs,
        annotations: annotations(pod),
    })
}

/// Which annotations runtimes see: those that speak to them.
const RUNTIME_ANNOTATIONS: &str = "pinnace.dev/";

fn annotations(pod: &Pod) -> BTreeMap<String, String> {
    let all = pod.metadata.annotations.iter().flatten();
    all.filter(|(key, _)| key.starts_with(RUNTIME_ANNOTATIONS))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The host name of a pod and the domain that it has a name in, empty for none.
fn names(pod: &Pod, spec: &PodSpec) -> Result<(String, String), String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(hostname) = said(&spec.hostname_override) {
        return Ok((hostname, String::new()));
    }
    let mut hostname = said(&spec.hostname).unwrap_or_else(|| name.to_owned());
    hostname.truncate(MAX_HOSTNAME);
    let hostname = hostname.trim_end_matches(['-', '.']).to_owned();
    let Some(subdomain) = said(&spec.subdomain) else { return Ok((hostname, String::new())) };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = format!("{subdomain}.{namespace}.svc.{CLUSTER_DOMAIN}");
    if spec.set_hostname_as_fqdn != Some(true) {
        return Ok((hostname, domain));
    }
    let full = format!("{hostname}.{domain}");
    if full.len() > MAX_NODE_NAME {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too \
             long ({MAX_NODE_NAME} characters is the max, {} characters requested)",
            full.len()
        ));
    }
    Ok((full, domain))
}

/// What belongs into a container beside what its spec says.
pub(crate) struct Inside {
    pub(crate) attempt: u32,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Device>,
    /// A file on the machine for the termination message.
    pub(crate) termination_message: PathBuf,
}

/// What the runtime is to make for one container.
pub(crate) fn container_config(
    pod: &Pod,
    container: &Container,
    class: QosClass,
    node: &Capacity,
    machine: &Machine,
    inside: Inside,
) -> ContainerConfig {
    let spec = record::spec_of(pod);
    let lookup = |name: &str| {
        let found = inside.env.iter().rev().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_str())
    };
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, lookup).into_owned()).collect()
    };
    let message_path =
        container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    ContainerConfig {
        name: container.name.clone(),
        attempt: inside.attempt,
        image: container.image.clone().unwrap_or_default(),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        resources: resources::of_container(container, class, node),
        security: security(spec, container, machine),
        target: target(spec, container),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        stop_signal: container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.stop_signal.clone())
            .unwrap_or_default(),
        termination_message: inside.termination_message,
        termination_message_path: message_path.unwrap_or(DEFAULT_MESSAGE_PATH).into(),
        annotations: BTreeMap::new(),
        mounts: inside.mounts,
        devices: inside.devices,
        env: inside.env,
    }
}

/// Whose processes an ephemeral container sees.
fn target(spec: &PodSpec, container: &Container) -> String {
    let mut ephemeral = spec.ephemeral_containers.iter().flatten();
    let own = ephemeral.find(|one| one.name == container.name);
    own.and_then(|own| own.target_container_name.clone()).unwrap_or_default()
}

/// Where a container leaves its termination message unless it says otherwise.
const DEFAULT_MESSAGE_PATH: &str = "/dev/termination-log";

/// What the container says goes before what the pod says.
fn security(spec: &PodSpec, container: &Container, machine: &Machine) -> Security {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let capabilities = own.and_then(|own| own.capabilities.as_ref());
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        let names = list.into_iter().flatten();
        names.map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned()).collect()
    };
    let mut groups: Vec<i64> =
        pod.and_then(|pod| pod.supplemental_groups.clone()).unwrap_or_default();
    groups.extend(pod.and_then(|pod| pod.fs_group));
    Security {
        user: own.and_then(|own| own.run_as_user).or_else(|| pod?.run_as_user),
        group: own.and_then(|own| own.run_as_group).or_else(|| pod?.run_as_group),
        supplemental_groups: groups,
        run_as_non_root: own.and_then(|own| own.run_as_non_root).or_else(|| pod?.run_as_non_root)
            == Some(true),
        privileged: own.and_then(|own| own.privileged) == Some(true),
        add_capabilities: names(capabilities.and_then(|all| all.add.as_ref())),
        drop_capabilities: names(capabilities.and_then(|all| all.drop.as_ref())),
        read_only_root: own.and_then(|own| own.read_only_root_filesystem) == Some(true),
        no_new_privileges: own.and_then(|own| own.allow_privilege_escalation) == Some(false),
        seccomp: seccomp(
            own.and_then(|own| own.seccomp_profile.as_ref())
                .or_else(|| pod?.seccomp_profile.as_ref()),
            machine,
        ),
        unmasked_proc: own.and_then(|own| own.proc_mount.as_deref()) == Some("Unmasked"),
        strict_groups: pod.and_then(|pod| pod.supplemental_groups_policy.as_deref())
            == Some("Strict"),
        app_armor: own
            .and_then(|own| own.app_armor_profile.as_ref())
            .or_else(|| pod?.app_armor_profile.as_ref())
            .and_then(|profile| profile.localhost_profile.clone())
            .unwrap_or_default(),
        selinux_label: own
            .and_then(|own| own.se_linux_options.as_ref())
            .or_else(|| pod?.se_linux_options.as_ref())
            .filter(|_| matches!(machine, Machine::Local { .. }) && kernel::has_selinux())
            .map(selinux_label)
            .unwrap_or_default(),
    }
}

/// Where profiles of the machine lie, below the agent's state directory.
const SECCOMP_PROFILES: &str = "seccomp";

fn seccomp(profile: Option<&SeccompProfile>, machine: &Machine) -> Seccomp {
    let Some(profile) = profile else { return Seccomp::Unconfined };
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("RuntimeDefault", _) => Seccomp::RuntimeDefault,
        ("Localhost", Some(file)) => {
            let directory = machine.state().unwrap_or(Path::new("/"));
            Seccomp::Localhost(directory.join(SECCOMP_PROFILES).join(file))
        }
        _ => Seccomp::Unconfined,
    }
}

/// A label with what is not said as container runtimes have it.
fn selinux_label(options: &SELinuxOptions) -> String {
    let part = |part: &Option<String>, default: &str| {
        part.clone().filter(|part| !part.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    format!(
        "{}:{}:{}:{}",
        part(&options.user, "system_u"),
        part(&options.role, "system_r"),
        part(&options.type_, "container_t"),
        part(&options.level, "s0")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop", "uid": "u-1"}, "spec": spec
        }))
        .unwrap()
    }

    #[test]
    fn commands_know_the_environment() {
        let pod = pod(json!({
            "securityContext": {"runAsUser": 7, "fsGroup": 9},
            "containers": [{
                "name": "c", "command": ["echo", "$(A)"], "args": ["$(NONE)", "$$(A)"],
                "securityContext": {"runAsUser": 8, "capabilities": {"drop": ["ALL"], "add": ["CAP_CHOWN"]}}
            }]
        }));
        let inside = Inside {
            attempt: 2,
            env: vec![("A".into(), "1".into())],
            mounts: Vec::new(),
            devices: Vec::new(),
            termination_message: PathBuf::new(),
        };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let class = QosClass::BestEffort;
        let config = container_config(
            &pod,
            container,
            class,
            &Capacity::default(),
            &Machine::Simulated,
            inside,
        );
        assert_eq!(config.command, ["echo", "1"]);
        assert_eq!(config.args, ["$(NONE)", "$(A)"]);
        assert_eq!(config.security.user, Some(8));
        assert_eq!(config.security.supplemental_groups, [9]);
        assert_eq!(config.security.add_capabilities, ["CHOWN"]);
    }

    #[test]
    fn host_names_come_from_the_pod() {
        let check = |spec: serde_json::Value, expected: Result<(&str, &str), &str>| {
            let pod = pod(spec);
            let names = names(&pod, record::spec_of(&pod));
            let names = names.as_ref().map(|(name, domain)| (name.as_str(), domain.as_str()));
            assert_eq!(names.map_err(String::as_str), expected);
        };
        let domain = "s.shop.svc.cluster.local";
        check(json!({"containers": []}), Ok(("web-0", "")));
        check(json!({"containers": [], "hostname": "a", "subdomain": "s"}), Ok(("a", domain)));
        let own = json!({"containers": [], "hostnameOverride": "a.b", "subdomain": "s"});
        check(own, Ok(("a.b", "")));
        check(
            json!({"containers": [], "subdomain": "s", "setHostnameAsFQDN": true}),
            Ok(("web-0.s.shop.svc.cluster.local", domain)),
        );
        let long = "a-host-name-that-is-somewhat-long-for-one";
        check(
            json!({
                "containers": [], "hostname": long, "subdomain": "s", "setHostnameAsFQDN": true
            }),
            Err("failed to construct FQDN from pod hostname and cluster domain, FQDN \
                 a-host-name-that-is-somewhat-long-for-one.s.shop.svc.cluster.local is too long \
                 (64 characters is the max, 66 characters requested)"),
        );
    }
}
