//! What containerd may not do on this machine, and containers without it.

use std::path::Path;

use tokio::net::UnixStream;

/// The kernel's own bound of `oom_score_adj`.
const LOWEST: i32 = -1000;
/// `CAP_SYS_RESOURCE`: whoever lacks it may not lower an `oom_score_adj`.
const SYS_RESOURCE: u32 = 24;

/// The lowest `oom_score_adj` that a container can be given. Where containerd may not lower its own,
/// in a container of its own for example, a pod of the class Guaranteed would not start at all.
pub(super) async fn lowest_oom_score(socket: &Path) -> i32 {
    let Some(pid) = pid_of(socket).await else { return LOWEST };
    let process = Path::new("/proc").join(pid.to_string());
    let read = |file: &str| std::fs::read_to_string(process.join(file)).ok();
    let (Some(status), Some(own)) = (read("status"), read("oom_score_adj")) else { return LOWEST };
    let lowest = lowest(&status, &own);
    if lowest > LOWEST {
        tracing::warn!(
            "containerd (process {pid}) lacks CAP_SYS_RESOURCE: the oom_score_adj of containers is \
             never below {lowest}, so memory that they were promised does not protect them; give \
             containerd the capability to change that"
        );
    }
    lowest
}

/// The process that listens there, unless it is out of sight.
async fn pid_of(socket: &Path) -> Option<i32> {
    let stream = UnixStream::connect(socket).await.ok()?;
    stream.peer_cred().ok()?.pid().filter(|pid| *pid > 0)
}

/// By `/proc/PID/status` and `/proc/PID/oom_score_adj`.
fn lowest(status: &str, own: &str) -> i32 {
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    match capabilities {
        Some(set) if set & (1 << SYS_RESOURCE) == 0 => own.trim().parse().unwrap_or(LOWEST),
        _ => LOWEST,
    }
}

#[cfg(test)]
mod tests {
    use super::lowest;

    #[test]
    fn who_may_not_lower_a_score_keeps_its_own() {
        assert_eq!(lowest("Name:\tcontainerd\nCapEff:\t000001fffeffffff\n", "-5\n"), -5);
        assert_eq!(lowest("Name:\tcontainerd\nCapEff:\t000001ffffffffff\n", "-5\n"), -1000);
        assert_eq!(lowest("", ""), -1000);
    }
}
