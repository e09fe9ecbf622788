//! Control groups of pods and containers, version 1 and version 2.
//!
//! The tree is the kubelet's, below a root of the engine's own:
//!
//! ```text
//! <root>/kubepods/pod<uid>/<container>                 Guaranteed
//! <root>/kubepods/burstable/pod<uid>/<container>
//! <root>/kubepods/besteffort/pod<uid>/<container>
//! ```
//!
//! All Burstable pods together weigh as much as they have asked for, and all of BestEffort as
//! little as a group can: whatever their number, they take no CPU from those who asked for it.
//!
//! Everything here blocks for as long as the kernel takes, microseconds for most calls; only
//! [`Cgroup::remove`] may wait for killed processes to go. Call it from a blocking thread.

mod layout;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

pub use crate::Usage;
use crate::{Error, QosClass, Resources, Result};
use layout::Layout;
pub(crate) use layout::unescape;
use settings::Setting;

/// How long [`Cgroup::remove`] waits for killed processes to leave.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often [`Cgroup::kill`] looks for new members in version 1, where they can outrun us.
const KILL_ROUNDS: usize = 100;

/// Which interface of the kernel is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// The control groups of one engine on this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cgroups {
    layout: Arc<Layout>,
    root: Arc<str>,
    /// What Burstable pods have asked for, in thousandths of a core, by uid.
    requests: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Cgroups {
    /// Finds how this machine is set up. `root` names the engine's part of every hierarchy, for
    /// example `pinnace-a1b2`; slashes make nested groups.
    ///
    /// # Errors
    /// [`Error::Other`] when no usable hierarchy is mounted, [`Error::InvalidConfig`] for a root
    /// that leaves its place.
    pub fn detect(root: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|e| failed("read", Path::new("/proc/self/mountinfo"), e))?;
        Self::from_mountinfo(&mounts, root)
    }

    /// As [`Cgroups::detect`], from the text of a `/proc/<pid>/mountinfo`.
    ///
    /// # Errors
    /// As [`Cgroups::detect`].
    pub fn from_mountinfo(mountinfo: &str, root: &str) -> Result<Self> {
        let root = root.trim_matches('/');
        if root.is_empty() || root.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Error::InvalidConfig(format!(
                "cgroup root {root:?} is not a path of names"
            )));
        }
        let layout = Layout::from_mountinfo(mountinfo).ok_or_else(|| Error::Other {
            operation: "find cgroups".into(),
            message: "neither cgroup v2 nor the v1 cpu, memory and pids hierarchies are mounted"
                .into(),
        })?;
        Ok(Self { layout: Arc::new(layout), root: root.into(), requests: Arc::default() })
    }

    /// Which interface is in use.
    pub fn version(&self) -> Version {
        match *self.layout {
            Layout::V1 { .. } => Version::V1,
            Layout::V2 { .. } => Version::V2,
        }
    }

    /// Whether this user may make groups here.
    ///
    /// # Errors
    /// Says why not.
    pub fn can_write(&self) -> Result<()> {
        self.group(self.root.to_string()).make()
    }

    /// The group of a pod; it need not exist.
    pub fn pod(&self, uid: &str, qos: QosClass) -> Cgroup {
        self.class(qos).child(&format!("pod{uid}"))
    }

    fn class(&self, qos: QosClass) -> Cgroup {
        let branch = match qos {
            QosClass::Guaranteed => "kubepods",
            QosClass::Burstable => "kubepods/burstable",
            QosClass::BestEffort => "kubepods/besteffort",
        };
        self.group(format!("{}/{branch}", self.root))
    }

    /// Makes the group of a pod and applies `resources`.
    ///
    /// # Errors
    /// As [`Cgroup::create`].
    pub fn create_pod(&self, uid: &str, qos: QosClass, resources: &Resources) -> Result<()> {
        self.pod(uid, qos).create(resources)?;
        self.weigh(uid, qos, resources.cpu_request_millis)
    }

    /// Counts a pod whose group was made by an earlier process.
    ///
    /// # Errors
    /// As [`Cgroup::update`].
    pub fn adopt_pod(&self, uid: &str, qos: QosClass, resources: &Resources) -> Result<()> {
        self.weigh(uid, qos, resources.cpu_request_millis)
    }

    /// Applies other `resources` to a pod.
    ///
    /// # Errors
    /// As [`Cgroup::update`].
    pub fn update_pod(&self, uid: &str, qos: QosClass, resources: &Resources) -> Result<()> {
        self.pod(uid, qos).update(resources)?;
        self.weigh(uid, qos, resources.cpu_request_millis)
    }

    /// Removes the group of a pod, with all that is in it.
    ///
    /// # Errors
    /// As [`Cgroup::remove`].
    pub fn remove_pod(&self, uid: &str, qos: QosClass) -> Result<()> {
        self.pod(uid, qos).remove()?;
        self.weigh(uid, qos, 0)
    }

    /// Has the class of a pod weigh what its pods have asked for, of which this one `millis`.
    fn weigh(&self, uid: &str, qos: QosClass, millis: u64) -> Result<()> {
        // Held while it is written: the last to count is the last to write.
        let mut requests = self.requests.lock();
        let total = match qos {
            // They weigh each for itself.
            QosClass::Guaranteed => return Ok(()),
            QosClass::BestEffort => 0,
            QosClass::Burstable => {
                match millis {
                    0 => requests.remove(uid),
                    millis => requests.insert(uid.to_owned(), millis),
                };
                requests.values().fold(0, |sum: u64, one| sum.saturating_add(*one))
            }
        };
        self.class(qos).apply(&settings::weight_of(&self.layout, total))
    }

    /// The group of everything on this machine, at the root of every hierarchy. The kernel counts
    /// less of it than of others: CPU time always, memory in version 1 alone.
    pub fn machine(&self) -> Cgroup {
        self.group(String::new())
    }

    /// The group that holds all pods of the engine.
    pub fn all(&self) -> Cgroup {
        self.group(self.root.to_string())
    }

    fn group(&self, path: String) -> Cgroup {
        Cgroup { layout: Arc::clone(&self.layout), path }
    }
}

/// One group, by its path below the root of every hierarchy. It need not exist.
#[derive(Clone, Debug)]
pub struct Cgroup {
    layout: Arc<Layout>,
    path: String,
}

impl Cgroup {
    /// The group of a container in this one. `name` is one path component.
    pub fn child(&self, name: &str) -> Self {
        Self { layout: Arc::clone(&self.layout), path: format!("{}/{name}", self.path) }
    }

    /// `linux.cgroupsPath` of an OCI runtime specification for this group (cgroupfs driver).
    pub fn oci_path(&self) -> String {
        format!("/{}", self.path)
    }

    /// The group's directories: one in version 2, one per hierarchy in version 1.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.layout.mounts().map(|mount| mount.join(&self.path)).collect()
    }

    /// Whether the group exists in any hierarchy.
    pub fn exists(&self) -> bool {
        self.directories().iter().any(|directory| directory.is_dir())
    }

    /// Makes the group, its parents included, and applies `resources`.
    ///
    /// # Errors
    /// [`Error::Other`] when the privilege is missing, [`Error::Io`] when the kernel refuses.
    pub fn create(&self, resources: &Resources) -> Result<()> {
        self.make()?;
        self.update(resources)
    }

    /// Applies `resources`; what is zero goes back to unlimited.
    ///
    /// # Errors
    /// [`Error::Io`] when the kernel refuses a value.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        settings::of(&self.layout, resources).iter().try_for_each(|setting| self.apply(setting))
    }

    fn apply(&self, setting: &Setting) -> Result<()> {
        let Some(mount) = self.layout.mount_of(setting.controller) else { return Ok(()) };
        let path = mount.join(&self.path).join(setting.file);
        match fs::write(&path, &setting.value) {
            Err(e) if !setting.required && e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| failed(&format!("write {} to", setting.value), &path, e)),
        }
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    /// [`Error::Io`] when the process is gone or the kernel refuses.
    pub fn add(&self, pid: u32) -> Result<()> {
        for directory in self.owned_directories() {
            let path = directory.join("cgroup.procs");
            fs::write(&path, pid.to_string()).map_err(|e| failed("write", &path, e))?;
        }
        Ok(())
    }

    /// Moves the calling thread alone into the group, so that what it starts is born there. Only
    /// version 1 can do this; false where it can't, and then [`Cgroup::add`] has to move what was
    /// started. That takes milliseconds per hierarchy, this takes none: the kernel need not wait
    /// for anybody else.
    pub(crate) fn join_with_thread(&self) -> Result<bool> {
        if let Layout::V2 { .. } = &*self.layout {
            return Ok(false);
        }
        for directory in self.owned_directories() {
            let path = directory.join("tasks");
            fs::write(&path, "0").map_err(|e| failed("write", &path, e))?;
        }
        Ok(true)
    }

    /// The processes in the group and in all groups below it. This process is never among them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn members(&self) -> Result<Vec<u32>> {
        let mut members = Vec::new();
        for directory in self.directories() {
            collect_members(&directory, &mut members).map_err(|e| failed("read", &directory, e))?;
        }
        // A thread of ours that has joined shows as all of us, until the last moment of its exit.
        members.retain(|pid| *pid != std::process::id());
        members.sort_unstable();
        members.dedup();
        Ok(members)
    }

    /// Kills every process in the group and below it, those included that are just being forked.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Other`] when processes appear faster than they can be killed.
    pub fn kill(&self) -> Result<()> {
        // Whoever is not a member can't make one, so that nobody need be frozen.
        if self.members()?.is_empty() {
            return Ok(());
        }
        match &*self.layout {
            Layout::V2 { mount } => {
                let directory = mount.join(&self.path);
                if !directory.is_dir() {
                    return Ok(());
                }
                // Since Linux 5.14; older kernels are served as version 1 is.
                if fs::write(directory.join("cgroup.kill"), "1").is_ok() {
                    return Ok(());
                }
                self.kill_members()
            }
            Layout::V1 { .. } => {
                // Frozen, nothing can fork; the killed die as soon as they are thawed.
                let state = self
                    .layout
                    .mount_of("freezer")
                    .map(|mount| mount.join(&self.path).join("freezer.state"))
                    .filter(|path| path.exists());
                if let Some(state) = &state {
                    let _ = fs::write(state, "FROZEN");
                }
                let signalled = self.kill_members();
                if let Some(state) = &state {
                    fs::write(state, "THAWED").map_err(|e| failed("write", state, e))?;
                }
                signalled?;
                // Freezing may not have been complete: once more for what was forked meanwhile.
                self.kill_members()
            }
        }
    }

    /// Kills what is in the group and removes it with everything below. What doesn't exist is no
    /// error.
    ///
    /// # Errors
    /// [`Error::Io`] when processes stay longer than five seconds after they were killed.
    pub fn remove(&self) -> Result<()> {
        if !self.exists() {
            return Ok(());
        }
        self.kill()?;
        let directories = self.directories();
        let mut pause = Duration::from_micros(200);
        let mut waited = Duration::ZERO;
        loop {
            let Some((directory, error)) = directories
                .iter()
                .find_map(|directory| remove_tree(directory).err().map(|e| (directory, e)))
            else {
                return Ok(());
            };
            // The kernel has no event for this in version 1.
            let busy = error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error());
            if !busy || waited >= REMOVE_TIMEOUT {
                return Err(failed("remove", directory, error));
            }
            std::thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// What the group uses now; zeros for what its hierarchies don't count.
    ///
    /// # Errors
    /// [`Error::Io`] when the group does not exist.
    pub fn usage(&self) -> Result<Usage> {
        let directory = self.directories().into_iter().find(|d| d.is_dir());
        if directory.is_none() {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            return Err(failed("read", Path::new(&self.path), missing));
        }
        let number = |controller: &str, file: &str| -> u64 {
            self.read(controller, file).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        let field = |controller: &str, file: &str, key: &str| -> u64 {
            self.read(controller, file).and_then(|text| find_field(&text, key)).unwrap_or(0)
        };
        Ok(match *self.layout {
            Layout::V1 { .. } => {
                let memory = number("memory", "memory.usage_in_bytes");
                let of_memory = |key: &str| field("memory", "memory.stat", key);
                Usage {
                    cpu: Duration::from_nanos(number("cpuacct", "cpuacct.usage")),
                    cpu_nano_cores: None,
                    memory_bytes: memory,
                    working_set_bytes: memory.saturating_sub(of_memory("total_inactive_file ")),
                    rss_bytes: of_memory("total_rss "),
                    page_faults: of_memory("total_pgfault "),
                    major_page_faults: of_memory("total_pgmajfault "),
                    oom_kills: field("memory", "memory.oom_control", "oom_kill"),
                    pids: number("pids", "pids.current"),
                }
            }
            Layout::V2 { .. } => {
                let memory = number("memory", "memory.current");
                let of_memory = |key: &str| field("memory", "memory.stat", key);
                Usage {
                    cpu: Duration::from_micros(field("cpu", "cpu.stat", "usage_usec")),
                    cpu_nano_cores: None,
                    memory_bytes: memory,
                    working_set_bytes: memory.saturating_sub(of_memory("inactive_file ")),
                    rss_bytes: of_memory("anon "),
                    page_faults: of_memory("pgfault "),
                    major_page_faults: of_memory("pgmajfault "),
                    oom_kills: field("memory", "memory.events", "oom_kill "),
                    pids: number("pids", "pids.current"),
                }
            }
        })
    }

    fn make(&self) -> Result<()> {
        for mount in self.layout.owned_mounts() {
            let directory = mount.join(&self.path);
            fs::create_dir_all(&directory).map_err(|e| {
                let lacks = matches!(
                    e.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                );
                if lacks {
                    let message = format!("{e}: this needs write access to {}", mount.display());
                    return Error::Other { operation: "make cgroup".into(), message };
                }
                failed("make", &directory, e)
            })?;
        }
        if let Layout::V2 { mount } = &*self.layout {
            self.delegate(mount);
        }
        Ok(())
    }

    /// Gives every group on the way down its controllers; a controller that is not there shows
    /// itself when a limit is written.
    fn delegate(&self, mount: &Path) {
        let mut directory = mount.to_path_buf();
        let components: Vec<_> = self.path.split('/').collect();
        for component in &components {
            for controller in ["+cpu", "+memory", "+pids"] {
                let _ = fs::write(directory.join("cgroup.subtree_control"), controller);
            }
            directory.push(component);
        }
    }

    /// The group's directories in the hierarchies that we put processes into.
    fn owned_directories(&self) -> Vec<PathBuf> {
        self.layout.owned_mounts().map(|mount| mount.join(&self.path)).collect()
    }

    /// Signals every member until no new one appears.
    fn kill_members(&self) -> Result<()> {
        let mut signalled = HashSet::new();
        for _ in 0..KILL_ROUNDS {
            let mut any = false;
            for pid in self.members()? {
                let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
                    continue;
                };
                if signalled.insert(pid) {
                    any |= kill_process(target, Signal::KILL).is_ok();
                }
            }
            if !any {
                return Ok(());
            }
        }
        Err(Error::Other {
            operation: format!("kill the processes of cgroup {}", self.path),
            message: "they multiply faster than they can be killed".into(),
        })
    }

    fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.layout.mount_of(controller)?.join(&self.path).join(file)).ok()
    }
}

fn collect_members(directory: &Path, members: &mut Vec<u32>) -> io::Result<()> {
    let text = match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A group that is being removed, or a threaded group of version 2.
        Err(e) if matches!(e.raw_os_error(), Some(19 | 95)) => String::new(),
        Err(e) => return Err(e),
    };
    // A process of another PID namespace shows as 0.
    members
        .extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    for below in subdirectories(directory)? {
        collect_members(&below, members)?;
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    for below in subdirectories(directory)? {
        remove_tree(&below)?;
    }
    match fs::remove_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn subdirectories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn find_field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

fn failed(verb: &str, path: &Path, source: io::Error) -> Error {
    Error::Io { operation: format!("{verb} {}", path.display()), source }
}
