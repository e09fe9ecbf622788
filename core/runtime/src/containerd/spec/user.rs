use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::User;
use crate::{ContainerConfig, Error, PodConfig, Result};

/// Bytes read of an image's `/etc/passwd` and `/etc/group`.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The largest id there is; the one above says "unchanged" to the kernel.
const MAX_ID: i64 = (u32::MAX - 1) as i64;

/// Who a container shall run as, in words that only the image's files explain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct UserRequest {
    /// A user's name or number.
    user: String,
    /// A group's name or number; the user's own when empty.
    group: String,
    extra_groups: Vec<u32>,
    /// Whether the image's files add no groups.
    strict: bool,
}

impl UserRequest {
    /// What the container's configuration and the image's user ask for together.
    pub(in super::super) fn new(config: &ContainerConfig, image_user: &str) -> Result<Self> {
        let security = &config.security;
        let (image_user, image_group) = image_user.split_once(':').unwrap_or((image_user, ""));
        let (user, group) = match security.user {
            Some(user) => (id(user)?.to_string(), String::new()),
            None => (image_user.to_owned(), image_group.to_owned()),
        };
        let group = match security.group {
            Some(group) => id(group)?.to_string(),
            None => group,
        };
        let extra_groups =
            security.supplemental_groups.iter().map(|&group| id(group)).collect::<Result<_>>()?;
        let user = if user.is_empty() { "0".to_owned() } else { user };
        Ok(Self { user, group, extra_groups, strict: security.strict_groups })
    }
}

/// What the kubelet checks for `runAsNonRoot`.
pub(in super::super) fn check_non_root(
    pod: &PodConfig,
    config: &ContainerConfig,
    image_user: &str,
) -> Result<()> {
    if !config.security.run_as_non_root {
        return Ok(());
    }
    let of = format!(
        "(pod: \"{}_{}({})\", container: {})",
        pod.name, pod.namespace, pod.id, config.name
    );
    let refused = |message: String| Err(Error::InvalidConfig(format!("{message} {of}")));
    match config.security.user {
        Some(0) => refused("container's runAsUser breaks non-root policy".into()),
        Some(_) => Ok(()),
        None => {
            let user = image_user.split(':').next().unwrap_or_default();
            match user.parse::<u32>() {
                Ok(0) => refused("container has runAsNonRoot and image will run as root".into()),
                Ok(_) => Ok(()),
                Err(_) if user.is_empty() => {
                    refused("container has runAsNonRoot and image will run as root".into())
                }
                Err(_) => refused(format!(
                    "container has runAsNonRoot and image has non-numeric user ({user}), \
                     cannot verify user is non-root"
                )),
            }
        }
    }
}

/// Looks names and groups up in the files of the image whose root file system is at `root`.
/// Numbers need no entry there; links never lead out of `root`.
pub(in super::super) fn resolve_user(root: &Path, request: &UserRequest) -> Result<User> {
    let passwd = read(root, "etc/passwd")?;
    let groups = read(root, "etc/group")?;
    lookup(request, &passwd, &groups)
}

fn lookup(request: &UserRequest, passwd: &str, groups: &str) -> Result<User> {
    let number: Option<u32> = request.user.parse().ok();
    let entry = passwd.lines().map(fields).find(|entry| match number {
        Some(uid) => field::<u32>(entry, 2) == Some(uid),
        None => entry.first() == Some(&request.user.as_str()),
    });
    let uid = number.or_else(|| entry.as_ref().and_then(|entry| field(entry, 2)));
    let uid = uid.ok_or_else(|| {
        Error::InvalidConfig(format!(
            "unable to find user {}: no matching entries in passwd file",
            request.user
        ))
    })?;
    let gid = if request.group.is_empty() {
        entry.as_ref().and_then(|entry| field(entry, 3)).unwrap_or(0)
    } else if let Ok(gid) = request.group.parse() {
        gid
    } else {
        let named = groups.lines().map(fields).find(|g| g.first() == Some(&request.group.as_str()));
        named.and_then(|group| field(&group, 2)).ok_or_else(|| {
            Error::InvalidConfig(format!(
                "unable to find group {}: no matching entries in group file",
                request.group
            ))
        })?
    };
    let mut all = vec![gid];
    let name = entry.as_ref().and_then(|entry| entry.first().copied());
    // `supplementalGroupsPolicy: Merge`, which is Kubernetes' default.
    if let Some(name) = name.filter(|_| !request.strict) {
        for group in groups.lines().map(fields) {
            let member = group.get(3).is_some_and(|list| list.split(',').any(|m| m == name));
            all.extend(field::<u32>(&group, 2).filter(|_| member));
        }
    }
    all.extend(&request.extra_groups);
    let mut seen = std::collections::HashSet::new();
    all.retain(|group| seen.insert(*group));
    Ok(User { uid, gid, groups: all })
}

fn fields(line: &str) -> Vec<&str> {
    line.trim().split(':').collect()
}

fn field<T: std::str::FromStr>(entry: &[&str], at: usize) -> Option<T> {
    entry.get(at).and_then(|text| text.parse().ok())
}

fn id(value: i64) -> Result<u32> {
    match u32::try_from(value) {
        Ok(id) if value <= MAX_ID => Ok(id),
        _ => Err(Error::InvalidConfig(format!("user or group id {value} is out of range"))),
    }
}

/// Empty when there is no such file, as in images that hold one binary.
fn read(root: &Path, name: &str) -> Result<String> {
    let failed = |source: std::io::Error| Error::Io {
        operation: format!("read /{name} of the image"),
        source,
    };
    let directory = File::open(root).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&directory, name, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
            return Ok(String::new());
        }
        Err(errno) => return Err(failed(errno.into())),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Ok(String::new());
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(Error::InvalidConfig(format!(
            "/{name} of the image has more than {MAX_FILE_BYTES} bytes"
        )));
    }
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Security;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,web\nweb:x:34:\nlogs:x:40:web\n";

    fn check(user: &str, security: Security, expected: Result<(u32, u32, &[u32]), &str>) {
        let config = ContainerConfig { security, ..ContainerConfig::default() };
        let found = UserRequest::new(&config, user).and_then(|r| lookup(&r, PASSWD, GROUP));
        match (found, expected) {
            (Ok(user), Ok((uid, gid, groups))) => {
                assert_eq!((user.uid, user.gid, user.groups.as_slice()), (uid, gid, groups));
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{user}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn names_and_groups_come_from_the_images_files() {
        let none = Security::default;
        check("", none(), Ok((0, 0, &[0, 10])));
        check("web", none(), Ok((33, 34, &[34, 10, 40])));
        check("33", none(), Ok((33, 34, &[34, 10, 40])));
        check("web:logs", none(), Ok((33, 40, &[40, 10])));
        check("1000", none(), Ok((1000, 0, &[0])));
        check("1000:2000", none(), Ok((1000, 2000, &[2000])));
        check("nobody", none(), Err("unable to find user nobody"));
        check("web:nogroup", none(), Err("unable to find group nogroup"));
    }

    #[test]
    fn the_pod_overrides_the_image() {
        let security = Security {
            user: Some(5),
            group: Some(6),
            supplemental_groups: vec![7, 6],
            ..Security::default()
        };
        check("web:logs", security, Ok((5, 6, &[6, 7])));
        let negative = Security { user: Some(-1), ..Security::default() };
        check("", negative, Err("out of range"));
    }

    #[test]
    fn root_is_refused_as_the_kubelet_does() {
        let pod = PodConfig {
            id: "u".into(),
            name: "p".into(),
            namespace: "n".into(),
            ..PodConfig::default()
        };
        let ask = |user: Option<i64>, image: &str| {
            let security = Security { user, run_as_non_root: true, ..Security::default() };
            let config = ContainerConfig { name: "c".into(), security, ..Default::default() };
            check_non_root(&pod, &config, image).map_err(|error| error.to_string())
        };
        let root = "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\"";
        assert!(ask(None, "").unwrap_err().contains(root));
        assert!(ask(None, "0:5").unwrap_err().contains(root));
        assert!(ask(None, "web").unwrap_err().contains("non-numeric user (web)"));
        assert!(ask(Some(0), "7").unwrap_err().contains("breaks non-root policy"));
        assert_eq!(ask(Some(7), ""), Ok(()));
        assert_eq!(ask(None, "7"), Ok(()));
    }

    #[test]
    fn links_do_not_lead_out_of_the_image() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("passwd"), "evil:x:7:7::/:\n").unwrap();
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir(image.path().join("etc")).unwrap();
        let link = image.path().join("etc/passwd");
        std::os::unix::fs::symlink(outside.path().join("passwd"), &link).unwrap();
        assert_eq!(read(image.path(), "etc/passwd").unwrap(), "");
        assert_eq!(read(image.path(), "etc/group").unwrap(), "");
    }
}
