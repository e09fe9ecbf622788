use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the hierarchies are mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Mount points by controller; several controllers may share one.
    V1 { controllers: BTreeMap<String, PathBuf> },
    /// The one mount point.
    V2 { mount: PathBuf },
}

/// The controllers of version 1 in which we make groups ourselves. An OCI runtime makes the
/// others below the same path, and removal covers all of them.
const OWNED: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "freezer"];

impl Layout {
    /// Version 1 where one of its resource controllers is mounted: then version 2, mounted beside
    /// it, has no controllers to offer.
    pub(super) fn from_mountinfo(mountinfo: &str) -> Option<Self> {
        let mut controllers = BTreeMap::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(mount) = before.split(' ').nth(4) else { continue };
            let mount = PathBuf::from(unescape(mount));
            let mut after = after.split(' ');
            match after.next() {
                Some("cgroup") => {
                    for option in after.nth(1).unwrap_or_default().split(',') {
                        if !matches!(option, "rw" | "ro" | "xattr" | "clone_children" | "") {
                            controllers.insert(option.to_owned(), mount.clone());
                        }
                    }
                }
                Some("cgroup2") => {
                    unified.get_or_insert(mount);
                }
                _ => {}
            }
        }
        if ["cpu", "memory", "pids"].iter().any(|name| controllers.contains_key(*name)) {
            // OCI runtimes make groups in the version 2 hierarchy beside them, too.
            controllers.extend(unified.map(|mount| ("unified".to_owned(), mount)));
            return Some(Self::V1 { controllers });
        }
        unified.map(|mount| Self::V2 { mount })
    }

    /// Every mount point, once.
    pub(super) fn mounts(&self) -> impl Iterator<Item = &Path> {
        let mut mounts: Vec<&Path> = match self {
            Self::V1 { controllers } => controllers.values().map(PathBuf::as_path).collect(),
            Self::V2 { mount } => vec![mount],
        };
        mounts.sort_unstable();
        mounts.dedup();
        mounts.into_iter()
    }

    /// The mount points in which we make groups, once.
    pub(super) fn owned_mounts(&self) -> impl Iterator<Item = &Path> {
        let mut mounts: Vec<&Path> = match self {
            Self::V1 { controllers } => OWNED
                .iter()
                .filter_map(|name| controllers.get(*name).map(PathBuf::as_path))
                .collect(),
            Self::V2 { mount } => vec![mount],
        };
        mounts.sort_unstable();
        mounts.dedup();
        mounts.into_iter()
    }

    /// Where a controller's files are.
    pub(super) fn mount_of(&self, controller: &str) -> Option<&Path> {
        match self {
            Self::V1 { controllers } => controllers.get(controller).map(PathBuf::as_path),
            Self::V2 { mount } => Some(mount),
        }
    }
}

/// Undoes the octal escapes of blanks in `/proc/<pid>/mountinfo`.
pub(crate) fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}
