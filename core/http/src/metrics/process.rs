use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// What the operating system tells of this process, read when it is asked for.
#[derive(Debug)]
pub(super) struct Process;

/// Bytes of a page of memory and ticks of a second, as Linux counts on all that it runs on here.
const PAGE_BYTES: f64 = 4096.0;
const TICKS_PER_SECOND: f64 = 100.0;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let pages = read("/proc/self/statm");
        let pages: Vec<f64> = pages.split(' ').filter_map(|field| field.parse().ok()).collect();
        let bytes = |at: usize| pages.get(at).map(|pages| pages * PAGE_BYTES);
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes", bytes(0))?;
        gauge("process_resident_memory_bytes", "Resident memory size in bytes", bytes(1))?;
        let descriptors = std::fs::read_dir("/proc/self/fd").ok();
        let open = descriptors.map(|entries| entries.count() as f64);
        gauge("process_open_fds", "Number of open file descriptors", open)?;
        let limits = read("/proc/self/limits");
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let most = limit.and_then(|line| line.split_whitespace().next()?.parse().ok());
        gauge("process_max_fds", "Maximum number of open file descriptors", most)?;
        let times = cpu_ticks(&read("/proc/self/stat")).map(|ticks| ticks / TICKS_PER_SECOND);
        let Some(seconds) = times else { return Ok(()) };
        // `_total` is added to the names of counters.
        let (name, help) = ("process_cpu_seconds", "Total user and system CPU time in seconds");
        let metric = ConstCounter::new(seconds);
        metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }
}

/// User and system time: the 14th and 15th field, counted behind the name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: f64 = times.next()?.parse().ok()?;
    let system: f64 = times.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_processes_may_hold_anything() {
        let stat = "1 (a) b (c)) S 0 1 2 3 4 5 6 7 8 9 250 50 0 0";
        assert_eq!(cpu_ticks(stat), Some(300.0));
        assert_eq!(cpu_ticks("1"), None);
    }
}
