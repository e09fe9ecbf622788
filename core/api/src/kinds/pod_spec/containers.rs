use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use super::{Context, env, mounts, ports, probes, resources, security};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{Seen, complain, required_choice, text};
use crate::kinds::names::rules;

/// Most rules by which a container restarts.
const RESTART_RULES_MAX: usize = 20;
/// Most exit codes in such a rule.
const EXIT_CODES_MAX: usize = 255;
/// When an image may be pulled.
pub(super) const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

/// Checks all containers of a pod: regular, init and ephemeral.
pub(super) fn validate(
    spec: &PodSpec,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    regular(&spec.containers, context, &path.child("containers"), errors);
    init(spec, context, &path.child("initContainers"), errors);
    ephemeral(spec, context, &path.child("ephemeralContainers"), errors);
}

fn regular(
    containers: &[Container],
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if containers.is_empty() {
        return errors.required(path, "");
    }
    let mut names = Seen::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        common(container, context, &path, errors);
        if !names.insert(container.name.as_str()) {
            errors.duplicate(&path.child("name"), &container.name);
        }
        probes::validate(container, context, &path, errors);
        restart_policy(container, &path, errors);
    }
    ports::validate_host_ports(containers.iter().enumerate(), path, errors);
}

fn init(spec: &PodSpec, context: &Context<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(containers) = &spec.init_containers else { return };
    let mut names = Seen::new();
    for container in &spec.containers {
        names.insert(container.name.as_str());
    }
    for (index, container) in containers.iter().enumerate() {
        let at = path.index(index);
        common(container, context, &at, errors);
        restart_policy(container, &at, errors);
        let name = container.name.as_str();
        if !name.is_empty() && !names.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        ports::validate_host_ports(std::iter::once((0, container)), path, errors);
        if is_sidecar(container) {
            probes::validate(container, context, &at, errors);
            continue;
        }
        let only_sidecars = [
            ("lifecycle", container.lifecycle.is_some()),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
        ];
        for (field, _) in only_sidecars.into_iter().filter(|(_, set)| *set) {
            let why = "may not be set for init containers without restartPolicy=Always";
            errors.forbidden(&at.child(field), why);
        }
    }
}

/// Whether an init container keeps running beside the containers.
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn ephemeral(spec: &PodSpec, context: &Context<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let Some(containers) = &spec.ephemeral_containers else { return };
    let mut others = Seen::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        others.insert(container.name.as_str());
    }
    let mut names = Seen::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let shared = as_container(container);
        common(&shared, context, &path, errors);
        validate_image_space(&shared, &path, errors);
        let name = container.name.as_str();
        if others.contains(name) || !names.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        let target = text(&container.target_container_name);
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        forbidden_in_ephemeral(&shared, &path, errors);
    }
}

fn forbidden_in_ephemeral(container: &Container, path: &Path<'_>, errors: &mut ErrorList) {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    let resources = container.resources.as_ref().is_some_and(|resources| {
        resources.limits.is_some() || resources.requests.is_some() || resources.claims.is_some()
    });
    let fields = [
        ("ports", container.ports.is_some()),
        ("resources", resources),
        ("resizePolicy", container.resize_policy.is_some()),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", container.restart_policy_rules.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        errors.forbidden(&path.child(field), WHY);
    }
    // Sub-paths are bind mounts that stay until the pod ends.
    let list = path.child("volumeMounts");
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let at = list.index(index);
        let fields = [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)];
        for (field, _) in fields.into_iter().filter(|(_, value)| !text(value).is_empty()) {
            errors.forbidden(&at.child(field), WHY);
        }
    }
}

/// The fields that every container has.
fn common(container: &Container, context: &Context<'_>, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("name");
    let name = container.name.as_str();
    if name.is_empty() {
        errors.required(&at, "");
    } else {
        complain(errors, &at, name, rules::dns_label(name));
    }
    if text(&container.image).is_empty() {
        errors.required(&path.child("image"), "");
    }
    let policy = &container.termination_message_policy;
    let policies = ["File", "FallbackToLogsOnError"];
    required_choice(errors, &path.child("terminationMessagePolicy"), policy, &policies);
    if let Some(ports) = &container.ports {
        ports::validate(ports, &path.child("ports"), errors);
    }
    if let Some(variables) = &container.env {
        env::validate(variables, context, &path.child("env"), errors);
    }
    if let Some(sources) = &container.env_from {
        env::validate_from(sources, &path.child("envFrom"), errors);
    }
    mounts::validate_mounts(container, context, &path.child("volumeMounts"), errors);
    mounts::validate_devices(container, context, &path.child("volumeDevices"), errors);
    let at = path.child("imagePullPolicy");
    required_choice(errors, &at, &container.image_pull_policy, &PULL_POLICIES);
    if let Some(requirements) = &container.resources {
        let at = path.child("resources");
        resources::validate_container(requirements, context.claims, &at, errors);
    }
    resize_policy(container, context, &path.child("resizePolicy"), errors);
    let at = path.child("securityContext");
    security::validate_container(container.security_context.as_ref(), context, &at, errors);
}

fn restart_policy(container: &Container, path: &Path<'_>, errors: &mut ErrorList) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let at = path.child("restartPolicy");
    match container.restart_policy.as_deref() {
        None if rules.is_empty() => return,
        None => errors.required(&at, "must specify restartPolicy when restart rules are used"),
        Some("Always" | "OnFailure" | "Never") => {}
        Some(other) => errors.not_supported(&at, other, &["Always", "Never", "OnFailure"]),
    }
    let list = path.child("restartPolicyRules");
    if rules.len() > RESTART_RULES_MAX {
        errors.too_many(&list, rules.len(), RESTART_RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = list.index(index);
        if rule.action != "Restart" {
            errors.not_supported(&path.child("action"), &rule.action, &["Restart"]);
        }
        let at = path.child("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.required(&at, "must be specified");
            continue;
        };
        if !matches!(&codes.operator[..], "In" | "NotIn") {
            errors.not_supported(&at.child("operator"), &codes.operator, &["In", "NotIn"]);
        }
        let count = codes.values.as_ref().map_or(0, Vec::len);
        if count > EXIT_CODES_MAX {
            errors.too_many(&at.child("values"), count, EXIT_CODES_MAX);
        }
    }
}

fn resize_policy(
    container: &Container,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut seen = Seen::new();
    for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
        let resource = policy.resource_name.as_str();
        if !seen.insert(resource) {
            errors.duplicate(&path.index(index), resource);
        }
        match resource {
            "cpu" | "memory" => {}
            "" => errors.required(path, ""),
            other => errors.not_supported(path, other, &["cpu", "memory"]),
        }
        match &policy.restart_policy[..] {
            "NotRequired" | "RestartContainer" => {}
            "" => errors.required(path, ""),
            other => errors.not_supported(path, other, &["NotRequired", "RestartContainer"]),
        }
        if context.restart_policy == "Never" && policy.restart_policy != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(path, &policy.restart_policy, why);
        }
    }
}

/// An image may not stand in spaces; templates are let through with them, as ever.
pub(super) fn validate_image_space(container: &Container, path: &Path<'_>, errors: &mut ErrorList) {
    let image = text(&container.image);
    if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        errors.invalid(&path.child("image"), image, why);
    }
}

/// An ephemeral container seen as what it shares with the others; there are few of them.
fn as_container(container: &EphemeralContainer) -> Container {
    let one = container.clone();
    Container {
        args: one.args,
        command: one.command,
        env: one.env,
        env_from: one.env_from,
        image: one.image,
        image_pull_policy: one.image_pull_policy,
        lifecycle: one.lifecycle,
        liveness_probe: one.liveness_probe,
        name: one.name,
        ports: one.ports,
        readiness_probe: one.readiness_probe,
        resize_policy: one.resize_policy,
        resources: one.resources,
        restart_policy: one.restart_policy,
        restart_policy_rules: one.restart_policy_rules,
        security_context: one.security_context,
        startup_probe: one.startup_probe,
        stdin: one.stdin,
        stdin_once: one.stdin_once,
        termination_message_path: one.termination_message_path,
        termination_message_policy: one.termination_message_policy,
        tty: one.tty,
        volume_devices: one.volume_devices,
        volume_mounts: one.volume_mounts,
        working_dir: one.working_dir,
    }
}
