use std::collections::HashSet;
use std::str::FromStr;

use oci_spec::runtime::{Capability, LinuxCapabilities};

use crate::{Error, Result, Security};

/// containerd's default set.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// Every capability by its number in the kernel.
const BY_NUMBER: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// What a container may do. Nothing is inheritable or ambient, as in containerd since
/// CVE-2022-24769.
pub(super) fn capabilities(security: &Security) -> Result<LinuxCapabilities> {
    let set = granted(security)?;
    let mut capabilities = LinuxCapabilities::default();
    capabilities
        .set_bounding(Some(set.clone()))
        .set_effective(Some(set.clone()))
        .set_permitted(Some(set))
        .set_inheritable(None)
        .set_ambient(None);
    Ok(capabilities)
}

pub(super) fn granted(security: &Security) -> Result<HashSet<Capability>> {
    if security.privileged {
        return Ok(known());
    }
    let mut set = HashSet::from(DEFAULT);
    if security.add_capabilities.iter().any(|name| is_all(name)) {
        set = known();
    }
    if security.drop_capabilities.iter().any(|name| is_all(name)) {
        set.clear();
    }
    for name in security.add_capabilities.iter().filter(|name| !is_all(name)) {
        set.insert(parse(name)?);
    }
    for name in security.drop_capabilities.iter().filter(|name| !is_all(name)) {
        set.remove(&parse(name)?);
    }
    Ok(set)
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL")
}

fn parse(name: &str) -> Result<Capability> {
    let upper = name.to_ascii_uppercase();
    Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper))
        .map_err(|_| Error::InvalidConfig(format!("unknown capability {name:?}")))
}

/// Every capability that this process may hand on, and so the kernel knows.
fn known() -> HashSet<Capability> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let mask = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let numbered = BY_NUMBER.into_iter().enumerate();
    numbered
        .filter(|(number, _)| mask >> number & 1 == 1)
        .map(|(_, capability)| capability)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], expected: &[Capability]) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let security = Security {
            add_capabilities: owned(add),
            drop_capabilities: owned(drop),
            ..Security::default()
        };
        assert_eq!(granted(&security).unwrap(), expected.iter().copied().collect());
    }

    #[test]
    fn capabilities_are_added_before_they_are_dropped() {
        check(&[], &[], &DEFAULT);
        check(&[], &["ALL"], &[]);
        check(&["NET_ADMIN"], &["ALL"], &[Capability::NetAdmin]);
        check(&["net_admin", "CAP_KILL"], &["all", "KILL"], &[Capability::NetAdmin]);
    }

    #[test]
    fn all_is_every_capability_that_this_process_may_hand_on() {
        let security = Security { privileged: true, ..Security::default() };
        assert_eq!(granted(&security).unwrap(), known());
        assert_eq!(BY_NUMBER.into_iter().collect::<HashSet<_>>().len(), BY_NUMBER.len());
    }

    #[test]
    fn unknown_capabilities_are_refused() {
        assert!(parse("FLY").is_err());
    }
}
