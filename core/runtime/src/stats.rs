//! What pods and containers use, in the words of the CRI.

use std::time::Duration;

use jiff::Timestamp;

use crate::{ContainerId, PodId};

/// What a group of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time used so far.
    pub cpu: Duration,
    /// Billionths of a core in use at this moment, where the runtime knows; else it follows from two
    /// readings of `cpu`.
    pub cpu_nano_cores: Option<u64>,
    /// Memory in use, page cache included.
    pub memory_bytes: u64,
    /// Memory in use without what the kernel can drop at once: `working_set_bytes`.
    pub working_set_bytes: u64,
    /// Memory that belongs to no file.
    pub rss_bytes: u64,
    /// Page faults so far.
    pub page_faults: u64,
    /// Page faults so far that had to be read from a disk.
    pub major_page_faults: u64,
    /// Processes killed because the memory limit was hit.
    pub oom_kills: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq)]
pub struct PodStats {
    /// The pod.
    pub pod: PodId,
    /// When this was so.
    pub at: Timestamp,
    /// When the pod was made.
    pub started_at: Timestamp,
    /// The pod as a whole.
    pub usage: Usage,
    /// Its network interfaces but for `lo`; none on the machine's network.
    pub interfaces: Vec<InterfaceStats>,
    /// Its containers that run.
    pub containers: Vec<ContainerStats>,
}

/// What a running container uses.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerStats {
    /// The container.
    pub id: ContainerId,
    /// Name within the pod.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its processes.
    pub usage: Usage,
    /// What it has written to its root file system; `None` when that was not asked for or is not
    /// known.
    pub written: Option<Written>,
}

/// What lies in a directory or a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

/// What has gone through a network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Its name in the pod.
    pub name: String,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// What came in wrong.
    pub receive_errors: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
    /// What could not go out.
    pub send_errors: u64,
}

/// The interfaces in the text of a `/proc/<pid>/net/dev`, but for `lo`.
pub fn interfaces(text: &str) -> Vec<InterfaceStats> {
    let read = |line: &str| {
        let (name, figures) = line.split_once(':')?;
        let figures: Vec<u64> =
            figures.split_ascii_whitespace().map_while(|figure| figure.parse().ok()).collect();
        Some(InterfaceStats {
            name: name.trim().to_owned(),
            received_bytes: *figures.first()?,
            receive_errors: *figures.get(2)?,
            sent_bytes: *figures.get(8)?,
            send_errors: *figures.get(10)?,
        })
    };
    text.lines().filter_map(read).filter(|interface| interface.name != "lo").collect()
}

/// A pod and how to measure it: what runtimes that have real processes know.
#[cfg(target_os = "linux")]
pub(crate) struct Subject {
    pub(crate) pod: PodId,
    pub(crate) started_at: Timestamp,
    pub(crate) cgroup: Option<crate::cgroup::Cgroup>,
    pub(crate) host_network: bool,
    pub(crate) containers: Vec<Part>,
}

/// A running container of a [`Subject`].
#[cfg(target_os = "linux")]
pub(crate) struct Part {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) started_at: Timestamp,
    pub(crate) pid: u32,
    pub(crate) cgroup: Option<crate::cgroup::Cgroup>,
    pub(crate) written: Option<Written>,
}

#[cfg(target_os = "linux")]
impl Subject {
    /// Reads the figures; zeros for what has just gone. Blocks.
    pub(crate) fn measure(self, at: Timestamp) -> PodStats {
        use crate::cgroup::Cgroup;
        let usage = |cgroup: &Option<Cgroup>| {
            cgroup.as_ref().and_then(|cgroup| cgroup.usage().ok()).unwrap_or_default()
        };
        let first = self.containers.first().filter(|_| !self.host_network);
        let devices = first.map(|first| format!("/proc/{}/net/dev", first.pid));
        let devices = devices.and_then(|path| std::fs::read_to_string(path).ok());
        let containers = self.containers.into_iter().map(|part| ContainerStats {
            usage: usage(&part.cgroup),
            id: part.id,
            name: part.name,
            started_at: part.started_at,
            written: part.written,
        });
        // Before the pod as a whole, which has never used less than they.
        let containers: Vec<_> = containers.collect();
        PodStats {
            usage: usage(&self.cgroup),
            interfaces: interfaces(&devices.unwrap_or_default()),
            containers,
            pod: self.pod,
            at,
            started_at: self.started_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_from_the_kernels_table() {
        let text = "Inter-|   Receive                 |  Transmit\n \
            face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs\n    \
            lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
            eth0:1500 10 2 0 0 0 0 0 300 4 1 0 0 0 0 0\n broken: 1 x\n";
        let eth0 = InterfaceStats {
            name: "eth0".to_owned(),
            received_bytes: 1500,
            receive_errors: 2,
            sent_bytes: 300,
            send_errors: 1,
        };
        assert_eq!(interfaces(text), [eth0]);
    }
}
