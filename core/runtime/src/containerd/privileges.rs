//! What containerd may not do on this machine, and containers without it.

use std::path::Path;

use tokio::net::UnixStream;

/// The kernel's own bound of `oom_score_adj`.
const LOWEST: i32 = -1000;
/// `CAP_SYS_RESOURCE`: whoever lacks it may not lower an `oom_score_adj`.
const SYS_RESOURCE: u32 = 24;

/// What containerd may do.
pub(super) struct Privileges {
    /// The lowest `oom_score_adj` that a container can be given. Where containerd may not lower its
    /// own, in a container of its own for example, a pod of the class Guaranteed would not start at
    /// all with what it is promised.
    pub(super) lowest_oom_score: i32,
    /// What that means for people, and the remedy.
    pub(super) restriction: Option<String>,
}

impl Privileges {
    /// Those of the containerd behind a socket; all where that can't be seen.
    pub(super) async fn of(socket: &Path) -> Self {
        let Some(pid) = pid_of(socket).await else { return Self::within(LOWEST) };
        let process = Path::new("/proc").join(pid.to_string());
        let read = |file: &str| std::fs::read_to_string(process.join(file)).ok();
        match (read("status"), read("oom_score_adj")) {
            (Some(status), Some(own)) => Self::within(lowest(&status, &own)),
            _ => Self::within(LOWEST),
        }
    }

    fn within(lowest_oom_score: i32) -> Self {
        let restriction = (lowest_oom_score > LOWEST).then(|| {
            format!(
                "containerd lacks CAP_SYS_RESOURCE, so the oom_score_adj of containers is never \
                 below {lowest_oom_score} and memory that they were promised does not protect them: \
                 give containerd the capability"
            )
        });
        Self { lowest_oom_score, restriction }
    }
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
    use super::{Privileges, lowest};

    #[test]
    fn only_what_cannot_be_is_told() {
        assert_eq!(Privileges::within(-1000).restriction, None);
        let told = Privileges::within(-5).restriction.unwrap();
        assert!(told.contains("never below -5") && told.contains("CAP_SYS_RESOURCE"), "{told}");
    }

    #[test]
    fn who_may_not_lower_a_score_keeps_its_own() {
        assert_eq!(lowest("Name:\tcontainerd\nCapEff:\t000001fffeffffff\n", "-5\n"), -5);
        assert_eq!(lowest("Name:\tcontainerd\nCapEff:\t000001ffffffffff\n", "-5\n"), -1000);
        assert_eq!(lowest("", ""), -1000);
    }
}
