use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle,
    LifecycleHandler, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, VolumeMount,
};

use super::{canonical_list, volume_defaults};
use crate::kinds::{fill, fill_number, omit_empty};

/// Seconds a pod has to end when it does not say.
pub(in crate::kinds) const TERMINATION_GRACE_PERIOD_SECONDS: i64 = 30;

/// Fills in what the template of a workload leaves open.
pub(in crate::kinds) fn template(template: &mut PodTemplateSpec) {
    template.metadata.get_or_insert_default();
    pod_spec(template.spec.get_or_insert_default());
}

/// Fills in what every pod spec leaves open, of a pod as of a template.
pub(in crate::kinds) fn pod_spec(spec: &mut PodSpec) {
    omit_empty!(spec; ephemeral_containers, host_aliases, host_ipc, host_network, host_pid,
        hostname, image_pull_secrets, init_containers, node_name, node_selector, overhead,
        priority_class_name, readiness_gates, resource_claims, scheduling_gates,
        service_account_name, subdomain, tolerations, topology_spread_constraints, volumes);
    fill(&mut spec.dns_policy, "ClusterFirst");
    fill(&mut spec.restart_policy, "Always");
    fill(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(TERMINATION_GRACE_PERIOD_SECONDS);
    service_account(spec);
    spec.overhead.iter_mut().for_each(canonical_list);
    spec.resources.iter_mut().for_each(resources);
    spec.containers.iter_mut().for_each(container);
    spec.init_containers.iter_mut().flatten().for_each(container);
    spec.ephemeral_containers.iter_mut().flatten().for_each(ephemeral_container);
    spec.volumes.iter_mut().flatten().for_each(volume_defaults::volume);
}

/// `serviceAccount` is the old name of `serviceAccountName`: both always say the same.
fn service_account(spec: &mut PodSpec) {
    if spec.service_account_name.is_none() {
        spec.service_account_name = spec.service_account.take().filter(|name| !name.is_empty());
    }
    if spec.service_account != spec.service_account_name {
        spec.service_account.clone_from(&spec.service_account_name);
    }
}

macro_rules! container_defaults {
    ($container:expr) => {{
        let container = $container;
        omit_empty!(container; args, command, env, env_from, image, ports, resize_policy,
            restart_policy_rules, stdin, stdin_once, tty, volume_devices, volume_mounts,
            working_dir);
        if crate::kinds::is_blank(&container.image_pull_policy) {
            container.image_pull_policy = Some(pull_policy(container.image.as_deref()).to_owned());
        }
        fill(&mut container.termination_message_path, "/dev/termination-log");
        fill(&mut container.termination_message_policy, "File");
        container.ports.iter_mut().flatten().for_each(port);
        container.env.iter_mut().flatten().for_each(env);
        container.volume_mounts.iter_mut().flatten().for_each(mount);
        container.lifecycle.iter_mut().for_each(lifecycle);
        container.liveness_probe.iter_mut().for_each(probe);
        container.readiness_probe.iter_mut().for_each(probe);
        container.startup_probe.iter_mut().for_each(probe);
        resources(container.resources.get_or_insert_default());
    }};
}

fn container(container: &mut Container) {
    container_defaults!(container);
}

fn ephemeral_container(container: &mut EphemeralContainer) {
    omit_empty!(container; target_container_name);
    container_defaults!(container);
}

/// `Always` for images whose tag is, or means, `latest`.
pub(super) fn pull_policy(image: Option<&str>) -> &'static str {
    let image = image.unwrap_or_default();
    let (name, digest) =
        image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or_default();
    let tag = match last.split_once(':') {
        Some((_, tag)) => tag,
        None if digest.is_none() && !name.is_empty() => "latest",
        None => "",
    };
    if tag == "latest" { "Always" } else { "IfNotPresent" }
}

fn port(port: &mut ContainerPort) {
    omit_empty!(port; host_ip, host_port, name);
    fill(&mut port.protocol, "TCP");
}

fn env(variable: &mut EnvVar) {
    omit_empty!(variable; value);
    let Some(source) = &mut variable.value_from else { return };
    if let Some(field) = &mut source.field_ref {
        fill(&mut field.api_version, "v1");
    }
    if let Some(file) = &mut source.file_key_ref {
        file.optional.get_or_insert(false);
    }
}

fn mount(mount: &mut VolumeMount) {
    omit_empty!(mount; read_only, sub_path, sub_path_expr);
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    let handlers = [&mut lifecycle.post_start, &mut lifecycle.pre_stop];
    for handler in handlers.into_iter().flatten() {
        let LifecycleHandler { http_get: get, .. } = handler;
        get.iter_mut().for_each(http_get);
    }
}

fn probe(probe: &mut Probe) {
    omit_empty!(probe; initial_delay_seconds);
    fill_number(&mut probe.timeout_seconds, 1);
    fill_number(&mut probe.period_seconds, 10);
    fill_number(&mut probe.success_threshold, 1);
    fill_number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn http_get(action: &mut HTTPGetAction) {
    omit_empty!(action; host, http_headers);
    fill(&mut action.path, "/");
    fill(&mut action.scheme, "HTTP");
}

pub(in crate::kinds) fn resources(resources: &mut ResourceRequirements) {
    omit_empty!(resources; claims, limits, requests);
    let lists = [&mut resources.limits, &mut resources.requests];
    lists.into_iter().flatten().for_each(canonical_list);
}
