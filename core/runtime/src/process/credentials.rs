//! Who a container runs as.
//!
//! Linux keeps users, groups and capabilities per thread; only the C library makes them the
//! process's. Here a thread of our own changes its own, starts the container, and ends.

use std::fs;
use std::io;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::getuid;
use rustix::thread::{
    CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::command::passwd_entry;
use crate::{Error, Result, Security};

/// Capabilities by number, from `linux/capability.h`.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What to change before the container starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    user: Option<u32>,
    group: Option<u32>,
    groups: Option<Vec<u32>>,
    /// Numbers of capabilities to take away.
    drop: Vec<usize>,
    no_new_privileges: bool,
}

impl Credentials {
    /// # Errors
    /// [`Error::InvalidConfig`] for what this user may not do, or what makes no sense.
    pub(super) fn plan(security: &Security) -> Result<Self> {
        let own = getuid().as_raw();
        let user = security.user.map(|user| id("runAsUser", user)).transpose()?;
        let group = security.group.map(|group| id("runAsGroup", group)).transpose()?;
        if security.run_as_non_root && user.unwrap_or(own) == 0 {
            return Err(Error::InvalidConfig(
                "container has runAsNonRoot and would run as root".into(),
            ));
        }
        let supplemental = security.supplemental_groups.iter();
        let groups: Vec<u32> =
            supplemental.map(|group| id("supplementalGroups", *group)).collect::<Result<_>>()?;
        if own != 0 {
            return Self::of_ordinary_user(own, user, group, &groups, security);
        }
        // As in an image: the user's group of the user database, else 0.
        let group = group.or_else(|| {
            let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
            user.map(|user| passwd_entry(&users, i64::from(user)).map_or(0, |entry| entry.group))
        });
        let changes = user.is_some() || group.is_some() || !groups.is_empty();
        Ok(Self {
            user,
            group,
            groups: changes.then_some(groups),
            drop: capabilities_to_drop(security)?,
            no_new_privileges: security.no_new_privileges,
        })
    }

    /// Without root one is who one is.
    fn of_ordinary_user(
        own: u32,
        user: Option<u32>,
        group: Option<u32>,
        groups: &[u32],
        security: &Security,
    ) -> Result<Self> {
        let refuse = |what: String| Err(Error::InvalidConfig(format!("{what} needs root")));
        if let Some(user) = user.filter(|user| *user != own) {
            return refuse(format!("running as user {user}"));
        }
        let own_group = rustix::process::getgid().as_raw();
        if let Some(group) = group.filter(|group| *group != own_group) {
            return refuse(format!("running as group {group}"));
        }
        let own_groups: Vec<u32> = rustix::process::getgroups()
            .map(|groups| groups.into_iter().map(Gid::as_raw).collect())
            .unwrap_or_default();
        let foreign =
            groups.iter().find(|group| **group != own_group && !own_groups.contains(group));
        if let Some(group) = foreign {
            return refuse(format!("the supplemental group {group}"));
        }
        let no_new_privileges = security.no_new_privileges;
        Ok(Self { no_new_privileges, ..Self::default() })
    }

    /// Changes the calling thread for good. Only for threads of our own.
    pub(super) fn apply(&self) -> io::Result<()> {
        for capability in &self.drop {
            match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
                1 << capability,
            )) {
                // One that this kernel does not know.
                Err(Errno::INVAL) => {}
                other => other?,
            }
        }
        if let Some(groups) = &self.groups {
            let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
            set_thread_groups(&groups)?;
        }
        if let Some(group) = self.group {
            let group = Gid::from_raw(group);
            set_thread_res_gid(group, group, group)?;
        }
        if let Some(user) = self.user {
            let user = Uid::from_raw(user);
            set_thread_res_uid(user, user, user)?;
        }
        if self.no_new_privileges {
            set_no_new_privs(true)?;
        }
        Ok(())
    }
}

/// -1 would mean "unchanged" to the kernel.
fn id(field: &str, value: i64) -> Result<u32> {
    u32::try_from(value)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| Error::InvalidConfig(format!("{field}: {value} is not an id")))
}

/// A process of this runtime has what the host has, minus this.
fn capabilities_to_drop(security: &Security) -> Result<Vec<usize>> {
    if security.privileged {
        return Ok(Vec::new());
    }
    let all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let added = numbers(&security.add_capabilities)?;
    let dropped = if all(&security.drop_capabilities) {
        (0..CAPABILITIES.len()).collect()
    } else {
        numbers(&security.drop_capabilities)?
    };
    if all(&security.add_capabilities) {
        return numbers(&security.drop_capabilities);
    }
    Ok(dropped.into_iter().filter(|number| !added.contains(number)).collect())
}

fn numbers(names: &[String]) -> Result<Vec<usize>> {
    names
        .iter()
        .filter(|name| !name.eq_ignore_ascii_case("ALL"))
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
            CAPABILITIES
                .iter()
                .position(|known| *known == short)
                .ok_or_else(|| Error::InvalidConfig(format!("unknown capability {name:?}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(drop: &[&str], add: &[&str]) -> Vec<usize> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        capabilities_to_drop(&Security {
            drop_capabilities: names(drop),
            add_capabilities: names(add),
            ..Security::default()
        })
        .unwrap()
    }

    #[test]
    fn dropping_all_keeps_what_was_added() {
        assert!(dropped(&[], &["NET_ADMIN"]).is_empty());
        assert_eq!(dropped(&["CAP_CHOWN", "kill"], &[]), [0, 5]);
        let kept = dropped(&["ALL"], &["NET_BIND_SERVICE"]);
        assert_eq!((kept.len(), kept.contains(&10)), (40, false));
        let unknown = Security { drop_capabilities: vec!["FLY".into()], ..Security::default() };
        assert!(capabilities_to_drop(&unknown).is_err());
    }

    #[test]
    fn impossible_ids_are_refused() {
        let plan = |user| Credentials::plan(&Security { user: Some(user), ..Security::default() });
        for user in [-1, i64::from(u32::MAX), i64::MAX] {
            assert!(matches!(plan(user), Err(Error::InvalidConfig(_))), "{user}");
        }
        let root = Security { run_as_non_root: true, user: Some(0), ..Security::default() };
        assert!(Credentials::plan(&root).is_err());
    }
}
