use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::processes::{end, families, listening_sockets, signal};
use crate::{find_program, search_path, wait_until};

/// How long containerd may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A containerd with root, state, socket and configuration in a temporary directory, and without
/// its CRI plugin.
///
/// Dropping it ends it with everything that it started and removes what they left: processes,
/// mounts, files.
pub struct PrivateContainerd {
    directory: TempDir,
    child: Option<Child>,
}

impl PrivateContainerd {
    /// Starts one and waits until its socket accepts.
    ///
    /// # Errors
    /// What kept it from starting, with the end of its own log.
    pub fn start() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("pinnace-c8d-").tempdir()?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "version = 2\n\
             root = \"{root}\"\n\
             state = \"{state}\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.runtime\", \
             \"io.containerd.cri.v1.images\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\n  address = \"{socket}\"\n\
             [debug]\n  level = \"info\"\n",
            root = path("root"),
            state = path("state"),
            socket = path("containerd.sock"),
        );
        std::fs::write(directory.path().join("config.toml"), config)?;
        let mut containerd = Self { directory, child: None };
        containerd.run()?;
        Ok(containerd)
    }

    /// Starts containerd again after [`PrivateContainerd::kill`].
    ///
    /// # Errors
    /// As [`PrivateContainerd::start`].
    pub fn run(&mut self) -> io::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let program = find_program("containerd")
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "containerd"))?;
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.directory.path().join("containerd.log"))?;
        let path = std::env::join_paths(search_path()).map_err(io::Error::other)?;
        let child = Command::new(program)
            .arg("--config")
            .arg(self.directory.path().join("config.toml"))
            // Where it finds its shim, and the shim finds runc.
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let child = self.child.insert(child);
        let socket = self.directory.path().join("containerd.sock");
        let mut ended = false;
        let accepts = wait_until(PATIENCE, || {
            ended = !matches!(child.try_wait(), Ok(None));
            ended || UnixStream::connect(&socket).is_ok()
        });
        if accepts && !ended {
            return Ok(());
        }
        Err(io::Error::other(format!("containerd does not start: {}", self.log())))
    }

    /// Kills containerd itself as a crash would; what it runs goes on.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("containerd.sock")
    }

    /// A place in the temporary directory, for what belongs to the test.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The process of containerd itself, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The processes that containerd started: shims and what runs in containers.
    pub fn processes(&self) -> Vec<u32> {
        families(&self.socket().display().to_string())
    }

    /// The mounts below the temporary directory, the innermost first.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut mounts: Vec<PathBuf> = text
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .map(PathBuf::from)
            .filter(|path| path.starts_with(self.directory.path()))
            .collect();
        mounts.reverse();
        mounts
    }

    /// The sockets of the shims that run. containerd keeps them outside of its own directories.
    pub fn shim_sockets(&self) -> Vec<PathBuf> {
        let mut sockets = listening_sockets(&self.processes());
        sockets.retain(|path| path.parent().is_some_and(|parent| parent.ends_with("containerd/s")));
        sockets
    }

    /// The end of containerd's own log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("containerd.log"));
        let text = text.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl PrivateContainerd {
    /// Ends containerd and everything that it started, and takes its mounts away. The temporary
    /// directory goes with the value itself.
    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child, PATIENCE);
        }
        let sockets = self.shim_sockets();
        // A container's first process takes the others with it.
        wait_until(PATIENCE, || {
            let processes = self.processes();
            processes.iter().for_each(|pid| signal(*pid, Signal::KILL));
            processes.is_empty()
        });
        wait_until(PATIENCE, || {
            let mounts = self.mounts();
            for mount in &mounts {
                let _ = unmount(mount, UnmountFlags::DETACH);
            }
            mounts.is_empty()
        });
        for socket in sockets {
            let _ = std::fs::remove_file(socket);
        }
    }
}

impl Drop for PrivateContainerd {
    fn drop(&mut self) {
        self.end();
    }
}
