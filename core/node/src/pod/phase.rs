use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::plan;
use super::record::{self, Record, State};

/// The phases of a pod.
pub(crate) const PENDING: &str = "Pending";
pub(crate) const RUNNING: &str = "Running";
pub(crate) const SUCCEEDED: &str = "Succeeded";
pub(crate) const FAILED: &str = "Failed";

/// Whether a phase is a pod's last.
pub(crate) fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some(SUCCEEDED | FAILED))
}

/// The phase that follows from the containers. With `over`, none of them will be started again,
/// whatever the restart policy says.
pub(crate) fn phase(spec: &PodSpec, records: &[Record], over: bool) -> &'static str {
    let (init, rest) = records.split_at(record::init_count(spec).min(records.len()));
    // Ephemeral containers do not count.
    let main = rest.get(..spec.containers.len()).unwrap_or(rest);
    let never = spec.restart_policy.as_deref() == Some("Never");
    let always = !never && spec.restart_policy.as_deref() != Some("OnFailure");

    let insists = |container: &Container, record: &Record| {
        plan::insists(container, record, spec.restart_policy.as_deref())
    };
    let mut initializing = false;
    for (container, record) in record::containers(spec).zip(init) {
        if record::is_sidecar(container) {
            initializing |= matches!(record.state, State::Absent) && record.last.is_none();
            continue;
        }
        match &record.state {
            State::Exited { ended, .. } if ended.code == 0 => {}
            State::Exited { .. } if !over && insists(container, record) => initializing = true,
            State::Exited { .. } if never || over => return FAILED,
            _ => initializing = true,
        }
    }

    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for (container, record) in spec.containers.iter().zip(main) {
        match &record.state {
            // It is about to run again.
            State::Exited { .. } if !over && insists(container, record) => running += 1,
            State::Running { .. } => running += 1,
            State::Exited { ended, .. } => {
                stopped += 1;
                succeeded += usize::from(ended.code == 0);
            }
            State::Absent if record.last.is_some() => stopped += 1,
            State::Absent => waiting += 1,
        }
    }
    let begun = running + stopped > 0;
    match () {
        () if over && waiting > 0 && running == 0 => FAILED,
        () if (initializing && !begun) || waiting > 0 => PENDING,
        () if running > 0 => RUNNING,
        () if stopped == 0 => PENDING,
        () if over && stopped == succeeded => SUCCEEDED,
        () if over => FAILED,
        () if always => RUNNING,
        () if stopped == succeeded => SUCCEEDED,
        () if never => FAILED,
        () => RUNNING,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::record::Ended;
    use super::*;

    /// One letter per container: `w`aiting, `r`unning, `0` and `1` for exited with that code.
    fn check(policy: &str, init: &str, main: &str, over: bool, expected: &str) {
        let container = |_| Container::default();
        let spec = PodSpec {
            restart_policy: Some(policy.to_owned()),
            init_containers: Some(init.chars().map(container).collect()),
            containers: main.chars().map(container).collect(),
            ..Default::default()
        };
        let records: Vec<Record> = init.chars().chain(main.chars()).map(record).collect();
        let text = format!("{policy} {init}/{main} over={over}");
        assert_eq!(phase(&spec, &records, over), expected, "{text}");
    }

    fn record(state: char) -> Record {
        let state = match state {
            'w' => State::Absent,
            'r' => State::Running {
                id: pinnace_runtime::ContainerId("c".to_owned()),
                started_at: jiff::Timestamp::UNIX_EPOCH,
                image: String::new(),
            },
            code => {
                let mut ended = Ended::unknown(None, "");
                ended.code = code.to_digit(10).unwrap().try_into().unwrap();
                State::Exited { ended, seen: Instant::now() }
            }
        };
        Record { state, ..Record::default() }
    }

    #[tokio::test]
    async fn phases_follow_from_the_containers() {
        check("Always", "", "ww", false, PENDING);
        check("Always", "", "rw", false, PENDING);
        check("Always", "", "rr", false, RUNNING);
        check("Always", "", "r1", false, RUNNING);
        check("Always", "", "11", false, RUNNING);
        check("Always", "", "00", false, RUNNING);
        check("Always", "", "00", true, SUCCEEDED);
        check("Always", "", "01", true, FAILED);
        check("OnFailure", "", "01", false, RUNNING);
        check("OnFailure", "", "00", false, SUCCEEDED);
        check("Never", "", "01", false, FAILED);
        check("Never", "", "0r", false, RUNNING);
        check("Never", "", "00", false, SUCCEEDED);
        check("Never", "1", "w", false, FAILED);
        check("Always", "1", "w", false, PENDING);
        check("Always", "0r", "w", false, PENDING);
        check("Always", "00", "r", false, RUNNING);
        check("Always", "1w", "w", true, FAILED);
        check("Always", "", "w", true, FAILED);
    }
}
