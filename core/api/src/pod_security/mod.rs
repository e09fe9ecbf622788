//! The pod security standards: what pods must not ask for, by level and version.
//!
//! See <https://kubernetes.io/docs/concepts/security/pod-security-standards/>. The checks and their
//! words are those of Kubernetes 1.36; a namespace may name an earlier version, and is then held to
//! what that one asks.

mod baseline;
mod config;
mod containers;
mod policy;
mod restricted;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use containers::Container;

pub use config::{Exemptions, PodSecurityConfiguration};
pub use policy::{Level, LevelVersion, PREFIX, Policy, Version};

/// A pod as the checks see it.
struct Subject<'a> {
    annotations: Option<&'a BTreeMap<String, String>>,
    spec: &'a PodSpec,
    containers: Vec<Container<'a>>,
    /// Whether the pod or a container says anything of its security.
    has_security: bool,
}

impl<'a> Subject<'a> {
    fn new(meta: &'a ObjectMeta, spec: &'a PodSpec) -> Self {
        let containers: Vec<_> = containers::of(spec).collect();
        // Every pod has been given one that says nothing.
        let says_nothing = |own: &PodSecurityContext| *own == PodSecurityContext::default();
        let has_security = spec.security_context.as_ref().is_some_and(|own| !says_nothing(own))
            || containers.iter().any(|container| container.security.is_some());
        Self { annotations: meta.annotations.as_ref(), spec, containers, has_security }
    }
}

/// What a pod asks for and must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it is.
    pub reason: Cow<'static, str>,
    /// Where, and what it should be.
    pub detail: String,
}

type Finds = fn(&Subject<'_>) -> Option<Violation>;

/// Something that is asked of pods.
struct Check {
    id: &'static str,
    level: Level,
    /// How it is asked, by the minor version from which on it is.
    versions: &'static [(u32, Finds)],
    /// The check of the level below that it takes the place of.
    overrides: Option<&'static str>,
    /// Whether it finds nothing where nobody says anything of security, as most pods do.
    of_security: bool,
}

impl Check {
    const fn new(id: &'static str, level: Level, versions: &'static [(u32, Finds)]) -> Self {
        Self { id, level, versions, overrides: None, of_security: false }
    }

    const fn instead_of(mut self, id: &'static str) -> Self {
        self.overrides = Some(id);
        self
    }

    const fn of_security(mut self) -> Self {
        self.of_security = true;
        self
    }

    fn at(&self, version: Version) -> Option<Finds> {
        let found = self.versions.iter().rfind(|(since, _)| version >= Version::Minor(*since));
        found.map(|(_, finds)| *finds)
    }
}

/// All checks, in the order in which what they find is said.
static CHECKS: [Check; 19] = [
    Check::new("appArmorProfile", Level::Baseline, &[(0, baseline::app_armor)]),
    Check::new("capabilities_baseline", Level::Baseline, &[(0, baseline::capabilities)])
        .of_security(),
    Check::new("hostNamespaces", Level::Baseline, &[(0, baseline::host_namespaces)]),
    Check::new("hostPathVolumes", Level::Baseline, &[(0, baseline::host_paths)]),
    Check::new("hostPorts", Level::Baseline, &[(0, baseline::host_ports)]),
    Check::new("hostProbesAndHostLifecycle", Level::Baseline, &[(34, baseline::probe_hosts)]),
    Check::new("privileged", Level::Baseline, &[(0, baseline::privileged)]).of_security(),
    Check::new(
        "procMount",
        Level::Baseline,
        &[(0, baseline::proc_mount), (35, baseline::proc_mount_of_host_users)],
    )
    .of_security(),
    Check::new(
        "seLinuxOptions",
        Level::Baseline,
        &[(0, baseline::se_linux), (31, baseline::se_linux_with_engine)],
    )
    .of_security(),
    Check::new(
        "seccompProfile_baseline",
        Level::Baseline,
        &[(0, baseline::seccomp_annotations), (19, baseline::seccomp)],
    ),
    Check::new(
        "sysctls",
        Level::Baseline,
        &[
            (0, baseline::sysctls),
            (27, baseline::sysctls_27),
            (29, baseline::sysctls_29),
            (32, baseline::sysctls_32),
        ],
    )
    .of_security(),
    Check::new("windowsHostProcess", Level::Baseline, &[(0, baseline::host_process)]).of_security(),
    Check::new(
        "allowPrivilegeEscalation",
        Level::Restricted,
        &[(8, restricted::escalation), (25, restricted::escalation_but_on_windows)],
    ),
    Check::new(
        "capabilities_restricted",
        Level::Restricted,
        &[(22, restricted::capabilities), (25, restricted::capabilities_but_on_windows)],
    )
    .instead_of("capabilities_baseline"),
    Check::new("procMount_restricted", Level::Restricted, &[(35, baseline::proc_mount)])
        .of_security()
        .instead_of("procMount"),
    Check::new("restrictedVolumes", Level::Restricted, &[(0, restricted::volumes)])
        .instead_of("hostPathVolumes"),
    Check::new(
        "runAsNonRoot",
        Level::Restricted,
        &[(0, restricted::non_root), (35, restricted::non_root_of_host_users)],
    ),
    Check::new(
        "runAsUser",
        Level::Restricted,
        &[(23, restricted::user), (35, restricted::user_of_host_users)],
    ),
    Check::new(
        "seccompProfile_restricted",
        Level::Restricted,
        &[(19, restricted::seccomp), (25, restricted::seccomp_but_on_windows)],
    )
    .instead_of("seccompProfile_baseline"),
];

/// What a pod asks for that a level at a version forbids.
pub fn violations(wanted: LevelVersion, meta: &ObjectMeta, spec: &PodSpec) -> Vec<Violation> {
    if wanted.level == Level::Privileged {
        return Vec::new();
    }
    let subject = Subject::new(meta, spec);
    let applies = |check: &Check| check.level <= wanted.level;
    let concerns = |check: &Check| subject.has_security || !check.of_security;
    let is_overridden = |id: &str| {
        CHECKS.iter().any(|other| {
            applies(other) && other.overrides == Some(id) && other.at(wanted.version).is_some()
        })
    };
    let checks = CHECKS.iter().filter(|check| applies(check) && concerns(check));
    let checks = checks.filter(|check| !is_overridden(check.id));
    let checks = checks.filter_map(|check| check.at(wanted.version));
    checks.filter_map(|finds| finds(&subject)).collect()
}

/// All that is forbidden, with where it is.
pub fn details(violations: &[Violation]) -> String {
    let text = |one: &Violation| match one.detail.as_str() {
        "" => one.reason.to_string(),
        detail => format!("{} ({detail})", one.reason),
    };
    violations.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// All that is forbidden.
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|one| &*one.reason).collect::<Vec<_>>().join(", ")
}

fn violation(reason: impl Into<Cow<'static, str>>, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.into(), detail })
}
