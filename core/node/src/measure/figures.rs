//! What the kernel says in `/proc`.

use std::time::Duration;

/// `/proc/stat` counts in hundredths of a second: `USER_HZ`, which no kernel changes.
const TICK: Duration = Duration::from_millis(10);

/// Memory of this machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) inactive_file: u64,
    pub(super) anonymous: u64,
}

impl Memory {
    /// What is in use without what the kernel can drop at once.
    pub(super) fn working_set(&self) -> u64 {
        self.total.saturating_sub(self.free).saturating_sub(self.inactive_file)
    }

    /// What is left.
    pub(super) fn available(&self) -> u64 {
        self.total.saturating_sub(self.working_set())
    }
}

/// What `/proc/meminfo` says.
pub(super) fn memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes.saturating_mul(1024))
    };
    Some(Memory {
        total: field("MemTotal")?,
        free: field("MemFree")?,
        inactive_file: field("Inactive(file)").unwrap_or(0),
        anonymous: field("AnonPages").unwrap_or(0),
    })
}

/// The time that all processors were busy, by `/proc/stat`.
pub(super) fn cpu_time(text: &str) -> Duration {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guests are counted as user already.
    let busy = line.split_ascii_whitespace().take(8).enumerate();
    let busy = busy.filter(|(index, _)| !matches!(index, 3 | 4));
    let ticks: u64 = busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum();
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// The processes and threads that there are, by `/proc/loadavg`.
pub(super) fn processes(text: &str) -> Option<i64> {
    let (_, all) = text.split_ascii_whitespace().nth(3)?.split_once('/')?;
    all.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let text = "MemTotal:   100 kB\nMemFree:  40 kB\nMemAvailable: 1 kB\nInactive: 9 kB\n\
                    Inactive(file):  10 kB\nAnonPages:  20 kB\nHugePages_Total: 0\n";
        let found = memory(text).unwrap();
        let figures = [found.working_set(), found.available(), found.anonymous];
        assert_eq!(figures.map(|bytes| bytes / 1024), [50, 50, 20]);
        assert_eq!(memory("MemTotal: lots\n"), None);
        let text = "cpu  100 10 50 9999 999 1 2 3 77 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(cpu_time(text), Duration::from_millis(1660));
        assert_eq!(cpu_time(""), Duration::ZERO);
        assert_eq!(processes("0.00 0.01 0.05 2/345 6789\n"), Some(345));
        assert_eq!(processes("0.00"), None);
    }
}
