use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks at a condition until it holds; false when it does not within `limit`.
pub fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let rounds = limit.as_millis() / PAUSE.as_millis();
    for _ in 0..rounds.max(1) {
        if holds() {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    holds()
}

/// Processes by what their command lines contain, each with all its descendants.
pub(crate) fn families(mark: &str) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut found = Vec::new();
    for pid in all() {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes()) {
            found.push(pid);
        }
    }
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        for child in children.get(&pid).into_iter().flatten() {
            if !found.contains(child) {
                found.push(*child);
            }
        }
        next += 1;
    }
    found
}

/// The Unix sockets with a path that processes have open.
pub(crate) fn listening_sockets(pids: &[u32]) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let by_inode: HashMap<&str, &str> = table
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace().skip(6);
            Some((columns.next()?, columns.next()?))
        })
        .filter(|(_, path)| path.starts_with('/'))
        .collect();
    let mut found: Vec<PathBuf> = Vec::new();
    for pid in pids {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for target in open.filter_map(|entry| std::fs::read_link(entry.path()).ok()) {
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            found.extend(inode.and_then(|inode| by_inode.get(inode)).map(PathBuf::from));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state and the parent follow it.
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Sends a signal to one process that this crate started.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends a child, by force when asking does not help.
pub(crate) fn end(child: &mut Child, patience: Duration) {
    signal(child.id(), Signal::TERM);
    if !wait_until(patience, || !matches!(child.try_wait(), Ok(None))) {
        let _ = child.kill();
        let _ = child.wait();
    }
}
