use super::layout::Layout;
use crate::Resources;

/// The length of the period in which a quota counts, in microseconds.
const PERIOD: u64 = 100_000;
/// The smallest quota that the kernel takes, in microseconds.
const MINIMUM_QUOTA: u64 = 1_000;
/// The bounds of `cpu.shares`.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// One file of a group and what to write into it.
pub(super) struct Setting {
    pub(super) controller: &'static str,
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Whether the file must be there: a limit was asked for.
    pub(super) required: bool,
}

pub(super) fn of(layout: &Layout, resources: &Resources) -> Vec<Setting> {
    let setting = |controller, file, value, required| Setting { controller, file, value, required };
    let quota = (resources.cpu_limit_millis * PERIOD / 1000).max(MINIMUM_QUOTA);
    let (cpu, memory, pids) = (
        resources.cpu_limit_millis > 0,
        resources.memory_limit_bytes > 0,
        resources.pids_limit > 0,
    );
    let or = |set: bool, value: u64, unlimited: &str| {
        if set { value.to_string() } else { unlimited.to_owned() }
    };
    match layout {
        Layout::V1 { .. } => vec![
            weight_of(layout, resources.cpu_request_millis),
            setting("cpu", "cpu.cfs_period_us", PERIOD.to_string(), cpu),
            setting("cpu", "cpu.cfs_quota_us", or(cpu, quota, "-1"), cpu),
            setting(
                "memory",
                "memory.limit_in_bytes",
                or(memory, resources.memory_limit_bytes, "-1"),
                memory,
            ),
            setting("pids", "pids.max", or(pids, resources.pids_limit, "max"), pids),
        ],
        Layout::V2 { .. } => vec![
            weight_of(layout, resources.cpu_request_millis),
            setting("cpu", "cpu.max", format!("{} {PERIOD}", or(cpu, quota, "max")), cpu),
            setting(
                "memory",
                "memory.max",
                or(memory, resources.memory_limit_bytes, "max"),
                memory,
            ),
            setting("pids", "pids.max", or(pids, resources.pids_limit, "max"), pids),
        ],
    }
}

/// How much a group weighs beside others that want more CPU than there is.
pub(super) fn weight_of(layout: &Layout, millis: u64) -> Setting {
    let shares = shares(millis);
    let (file, value) = match layout {
        Layout::V1 { .. } => ("cpu.shares", shares),
        Layout::V2 { .. } => ("cpu.weight", weight(shares)),
    };
    Setting { controller: "cpu", file, value: value.to_string(), required: false }
}

/// 1,024 shares are one core.
fn shares(millis: u64) -> u64 {
    (millis.saturating_mul(1024) / 1000).clamp(*SHARES.start(), *SHARES.end())
}

/// Version 2's weight for version 1's shares: the curve of runc since 1.3.2, which maps the ends
/// of both ranges and the defaults (1,024 and 100) onto each other.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "both ranges are small"
)]
fn weight(shares: u64) -> u64 {
    if shares <= *SHARES.start() {
        return 1;
    }
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_and_the_ends_of_shares_and_weights_meet() {
        assert_eq!([0, 1, 1000, 256_000, u64::MAX].map(shares), [2, 2, 1024, 262_144, 262_144]);
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
        assert_eq!(weight(102), 17);
    }
}
