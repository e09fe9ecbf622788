//! Which system calls a container may make.

use std::path::Path;

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use crate::{Error, Result, Seccomp};

/// What the default profile lets through by name.
const DEFAULT: &str = include_str!("seccomp.txt");
/// The section of [`DEFAULT`] that is everybody's.
const ALL: &str = "all";
/// Bytes that a profile of the machine may have.
const MAX_PROFILE_BYTES: u64 = 1 << 20;

/// The execution domains that programs may choose: Linux, `UNAME26`, 32 bits, both, and asking.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Sockets to the machine under a virtual one pass by the network namespace.
const AF_VSOCK: u64 = 40;
/// The flags of `clone` that make namespaces.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
/// The number of `ENOSYS`: libraries that get it fall back to `clone`.
const ENOSYS: u32 = 38;

/// The filter of a container with these capabilities; `None` for no filter.
pub(super) fn filter(
    wanted: &Seccomp,
    capabilities: impl IntoIterator<Item = Capability>,
) -> Result<Option<LinuxSeccomp>> {
    match wanted {
        Seccomp::Unconfined => Ok(None),
        Seccomp::RuntimeDefault => default(capabilities).map(Some),
        Seccomp::Localhost(path) => read(path).map(Some),
    }
}

fn read(path: &Path) -> Result<LinuxSeccomp> {
    let refuse = |why: &dyn std::fmt::Display| {
        Err(Error::InvalidConfig(format!("cannot load seccomp profile {}: {why}", path.display())))
    };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > MAX_PROFILE_BYTES => return refuse(&"it is too large"),
        Ok(_) => {}
        Err(error) => return refuse(&error),
    }
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => return refuse(&error),
    };
    serde_json::from_slice(&text).or_else(|error| refuse(&error))
}

/// Everything but what is listed fails with `EPERM`.
fn default(capabilities: impl IntoIterator<Item = Capability>) -> Result<LinuxSeccomp> {
    let capabilities: Vec<String> =
        capabilities.into_iter().map(|capability| capability.to_string()).collect();
    let has = |name: &str| {
        let short = name.strip_prefix("CAP_").unwrap_or(name);
        capabilities.iter().any(|own| own.strip_prefix("CAP_").unwrap_or(own) == short)
    };
    let mut names: Vec<String> = Vec::new();
    for (section, listed) in sections() {
        if section == ALL || section == std::env::consts::ARCH || has(section) {
            names.extend(listed.map(str::to_owned));
        }
    }
    names.sort_unstable();
    names.dedup();
    let mut calls = vec![call(&names, LinuxSeccompAction::ScmpActAllow, None, None)?];
    let allow = LinuxSeccompAction::ScmpActAllow;
    for domain in PERSONALITIES {
        let condition = (0, domain, None, LinuxSeccompOperator::ScmpCmpEq);
        calls.push(call(&["personality".into()], allow, None, Some(condition))?);
    }
    let condition = (0, AF_VSOCK, None, LinuxSeccompOperator::ScmpCmpNe);
    calls.push(call(&["socket".into()], allow, None, Some(condition))?);
    if !has("CAP_SYS_ADMIN") {
        // Of processes and threads, but not of namespaces.
        let flags = if cfg!(target_arch = "s390x") { 1 } else { 0 };
        let condition = (flags, CLONE_NAMESPACES, Some(0), LinuxSeccompOperator::ScmpCmpMaskedEq);
        calls.push(call(&["clone".into()], allow, None, Some(condition))?);
        // Its flags lie in memory, where no filter can see them.
        let errno = LinuxSeccompAction::ScmpActErrno;
        calls.push(call(&["clone3".into()], errno, Some(ENOSYS), None)?);
    }
    let mut filter = LinuxSeccomp::default();
    filter
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_architectures(Some(architectures()))
        .set_syscalls(Some(calls));
    Ok(filter)
}

type Condition = (usize, u64, Option<u64>, LinuxSeccompOperator);

fn call(
    names: &[String],
    action: LinuxSeccompAction,
    errno: Option<u32>,
    condition: Option<Condition>,
) -> Result<LinuxSyscall> {
    let broken =
        |error: oci_spec::OciSpecError| Error::InvalidConfig(format!("seccomp profile: {error}"));
    let mut call = LinuxSyscallBuilder::default().names(names.to_vec()).action(action);
    if let Some(errno) = errno {
        call = call.errno_ret(errno);
    }
    if let Some((index, value, other, operator)) = condition {
        let mut argument = LinuxSeccompArgBuilder::default().index(index).value(value).op(operator);
        if let Some(other) = other {
            argument = argument.value_two(other);
        }
        call = call.args(vec![argument.build().map_err(broken)?]);
    }
    call.build().map_err(broken)
}

/// The sections of the list: their names, and what they name.
fn sections() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    DEFAULT.split("\n[").skip(1).filter_map(|section| {
        let (name, calls) = section.split_once("]\n")?;
        Some((name, calls.split_ascii_whitespace()))
    })
}

/// The machine's own and those that its kernel runs besides.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(capabilities: &[Capability]) -> Vec<String> {
        let filter = filter(&Seccomp::RuntimeDefault, capabilities.iter().copied());
        let calls = filter.unwrap().unwrap().syscalls().clone().unwrap();
        let plain = |call: &&LinuxSyscall| {
            call.action() == LinuxSeccompAction::ScmpActAllow && call.args().is_none()
        };
        calls.iter().filter(plain).flat_map(|call| call.names().clone()).collect()
    }

    #[test]
    fn the_default_profile_depends_on_capabilities() {
        let plain = allowed(&[Capability::Chown]);
        let has = |list: &[String], name: &str| list.iter().any(|call| call == name);
        assert!(has(&plain, "read") && has(&plain, "execve"));
        for forbidden in ["mount", "unshare", "keyctl", "add_key", "kexec_load", "clone", "reboot"]
        {
            assert!(!has(&plain, forbidden), "{forbidden}");
        }
        let admin = allowed(&[Capability::SysAdmin]);
        assert!(has(&admin, "mount") && has(&admin, "clone3") && !has(&admin, "reboot"));
        assert!(has(&allowed(&[Capability::SysChroot]), "chroot"));
    }

    #[test]
    fn profiles_of_the_machine_are_read_or_the_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.json");
        std::fs::write(&path, r#"{"defaultAction": "SCMP_ACT_LOG"}"#).unwrap();
        let read = |path: &Path| filter(&Seccomp::Localhost(path.to_owned()), []);
        let profile = read(&path).unwrap().unwrap();
        assert_eq!(profile.default_action(), LinuxSeccompAction::ScmpActLog);
        std::fs::write(&path, "{").unwrap();
        for path in [path, directory.path().join("none.json")] {
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
        }
        assert_eq!(filter(&Seccomp::Unconfined, []).unwrap(), None);
    }
}
