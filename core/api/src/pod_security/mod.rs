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

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use config::{Exemptions, PodSecurityConfiguration};
pub use policy::{Level, LevelVersion, PREFIX, Policy, Version};

/// A pod as the checks see it.
struct Subject<'a> {
    annotations: Option<&'a BTreeMap<String, String>>,
    spec: &'a PodSpec,
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
}

impl Check {
    const fn new(id: &'static str, level: Level, versions: &'static [(u32, Finds)]) -> Self {
        Self { id, level, versions, overrides: None }
    }

    const fn instead_of(mut self, id: &'static str) -> Self {
        self.overrides = Some(id);
        self
    }

    fn at(&self, version: Version) -> Option<Finds> {
        let found = self.versions.iter().rfind(|(since, _)| version >= Version::Minor(*since));
        found.map(|(_, finds)| *finds)
    }
}

/// All checks, in the order in which what they find is said.
const CHECKS: [Check; 19] = [
    Check::new("appArmorProfile", Level::Baseline, &[(0, baseline::app_armor)]),
    Check::new("capabilities_baseline", Level::Baseline, &[(0, baseline::capabilities)]),
    Check::new("hostNamespaces", Level::Baseline, &[(0, baseline::host_namespaces)]),
    Check::new("hostPathVolumes", Level::Baseline, &[(0, baseline::host_paths)]),
    Check::new("hostPorts", Level::Baseline, &[(0, baseline::host_ports)]),
    Check::new("hostProbesAndHostLifecycle", Level::Baseline, &[(34, baseline::probe_hosts)]),
    Check::new("privileged", Level::Baseline, &[(0, baseline::privileged)]),
    Check::new(
        "procMount",
        Level::Baseline,
        &[(0, baseline::proc_mount), (35, baseline::proc_mount_of_host_users)],
    ),
    Check::new(
        "seLinuxOptions",
        Level::Baseline,
        &[(0, baseline::se_linux), (31, baseline::se_linux_with_engine)],
    ),
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
    ),
    Check::new("windowsHostProcess", Level::Baseline, &[(0, baseline::host_process)]),
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
    let subject = Subject { annotations: meta.annotations.as_ref(), spec };
    let applies = |check: &Check| check.level <= wanted.level;
    let is_overridden = |id: &str| {
        CHECKS.iter().any(|other| {
            applies(other) && other.overrides == Some(id) && other.at(wanted.version).is_some()
        })
    };
    let checks = CHECKS.iter().filter(|check| applies(check) && !is_overridden(check.id));
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
