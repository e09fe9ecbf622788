//! Finding what to execute, and its environment.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::ContainerConfig;

/// `PATH` where neither the image nor the pod says another, as container runtimes have it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command and arguments of a container. There is no image to complete them from.
pub(super) fn arguments(config: &ContainerConfig) -> Vec<String> {
    config.command.iter().chain(&config.args).cloned().collect()
}

/// The environment of a container: nothing of the host's. Later entries win.
pub(super) fn environment(config: &ContainerConfig, hostname: &str) -> Vec<(String, String)> {
    let user =
        config.security.user.unwrap_or_else(|| i64::from(rustix::process::getuid().as_raw()));
    let mut all: Vec<(String, String)> = vec![
        ("PATH".into(), DEFAULT_PATH.into()),
        ("HOSTNAME".into(), hostname.into()),
        ("HOME".into(), home_of(user)),
    ];
    for (name, value) in &config.env {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => old.clone_from(value),
            None => all.push((name.clone(), value.clone())),
        }
    }
    all
}

/// Whether `command` can be executed here and now, by whoever the calling thread is.
///
/// The shell would say so too, but only after the container has begun, and in its own words.
pub(super) fn check_executable(command: &str, path: &str) -> Result<(), String> {
    find_executable(command, path).map(drop)
}

/// The file that `command` names, see [`check_executable`].
pub(super) fn find_executable(command: &str, path: &str) -> Result<PathBuf, String> {
    let refuse =
        |why: &dyn std::fmt::Display| Err::<PathBuf, _>(format!("exec: {command:?}: {why}"));
    if command.is_empty() {
        return refuse(&"no command");
    }
    let found = if command.contains('/') {
        let file = PathBuf::from(command);
        match fs::metadata(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return refuse(&format!("stat {command}: no such file or directory"));
            }
            Err(e) => return refuse(&reason(&e)),
            Ok(found) if found.is_dir() => return refuse(&"is a directory"),
            Ok(_) => file,
        }
    } else {
        let in_path = path.split(':').map(|place| match place {
            "" => PathBuf::from(command),
            place => Path::new(place).join(command),
        });
        let mut runnable = in_path.filter(|file| file.is_file() && may_execute(file).is_ok());
        match runnable.next() {
            Some(file) => file,
            None => return refuse(&"executable file not found in $PATH"),
        }
    };
    if let Err(error) = may_execute(&found) {
        return refuse(&reason(&error));
    }
    check_format(&found).or_else(|why| refuse(&why).map(drop))?;
    Ok(found)
}

fn may_execute(file: &Path) -> io::Result<()> {
    access(file, Access::EXEC_OK).map_err(Into::into)
}

/// What the kernel would execute: a script whose interpreter exists, or a binary for this
/// machine. A shell would take anything else for a script of its own.
fn check_format(file: &Path) -> Result<(), String> {
    const BINARY: &[u8] = b"\x7fELF";
    let beginning = match beginning_of(file) {
        Ok(beginning) => beginning,
        // It may be executable without being readable.
        Err(_) => return Ok(()),
    };
    if let Some(line) = beginning.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let interpreter = line.split_ascii_whitespace().next().unwrap_or_default();
        return match fs::metadata(interpreter) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("its interpreter {interpreter}: {}", reason(&e))),
        };
    }
    let foreign = match beginning_of(Path::new("/proc/self/exe")) {
        // Class and machine; 32-bit programs of the same family run as well.
        Ok(own) => own.get(4) == beginning.get(4) && own.get(18..20) != beginning.get(18..20),
        Err(_) => false,
    };
    if (beginning.starts_with(BINARY) && !foreign) || has_other_formats() {
        return Ok(());
    }
    Err("exec format error".into())
}

fn beginning_of(file: &Path) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    File::open(file)?.take(256).read_to_end(&mut beginning)?;
    Ok(beginning)
}

/// Whether somebody has taught the kernel further formats.
fn has_other_formats() -> bool {
    fs::read_dir("/proc/sys/fs/binfmt_misc").is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name != "register" && name != "status"
        })
    })
}

/// The kernel's words, as Go has them: in lower case and without the number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

fn home_of(user: i64) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd_entry(&users, user).map_or("/", |entry| entry.home).to_owned()
}

/// A line of `/etc/passwd`.
pub(super) struct PasswdEntry<'a> {
    pub(super) group: u32,
    pub(super) home: &'a str,
}

pub(super) fn passwd_entry(users: &str, user: i64) -> Option<PasswdEntry<'_>> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let found = fields.get(2)?.parse() == Ok(user);
        let group = fields.get(3)?.parse().ok()?;
        found.then_some(PasswdEntry { group, home: fields.get(5)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_cannot_be_executed_is_refused_in_the_usual_words() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str, mode: u32| {
            let path = home.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path.to_string_lossy().into_owned()
        };
        let check = |command: &str| check_executable(command, "/usr/bin:/bin").unwrap_err();
        assert_eq!(check("foo"), r#"exec: "foo": executable file not found in $PATH"#);
        assert_eq!(check("/no/foo"), r#"exec: "/no/foo": stat /no/foo: no such file or directory"#);
        assert!(check("/etc").ends_with(": is a directory"));
        assert!(check(&file("plain", "", 0o644)).ends_with(": permission denied"));
        assert!(check(&file("text", "hello", 0o755)).ends_with(": exec format error"));
        let lost = file("lost", "#! /no/interpreter -x\n", 0o755);
        assert!(check(&lost).ends_with("/no/interpreter: no such file or directory"));
        let foreign = "\u{7f}ELF\u{2}\u{1}\u{1}.........\u{2}\u{0}\u{3}\u{3}";
        assert!(check(&file("foreign", foreign, 0o755)).ends_with(": exec format error"));

        assert_eq!(check_executable("sh", "/usr/bin:/bin"), Ok(()));
        assert_eq!(check_executable("/bin/sh", ""), Ok(()));
        assert_eq!(check_executable(&file("script", "#!/bin/sh\n", 0o755), ""), Ok(()));
        let directory = home.path().to_string_lossy();
        assert_eq!(check_executable("script", &directory), Ok(()));
        assert!(check_executable("plain", &directory).is_err());
    }

    #[test]
    fn the_environment_is_the_containers_alone() {
        let env =
            vec![("A".into(), "1".into()), ("PATH".into(), "/x".into()), ("A".into(), "2".into())];
        let config = ContainerConfig { env, ..ContainerConfig::default() };
        let all = environment(&config, "web-0");
        let value = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, v)| &**v);
        assert_eq!(
            (value("A"), value("PATH"), value("HOSTNAME")),
            (Some("2"), Some("/x"), Some("web-0"))
        );
        assert_eq!((all.len(), value("HOME").is_some()), (4, true));
    }

    #[test]
    fn users_are_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34::/var/www:/bin/false\n";
        let entry = passwd_entry(users, 33).unwrap();
        assert_eq!((entry.group, entry.home), (34, "/var/www"));
        assert!(passwd_entry(users, 1).is_none());
    }
}
