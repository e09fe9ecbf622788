use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How a simulated container behaves.
///
/// The default starts at once, runs until it is stopped, and then exits with 0.
///
/// A script has a text form, for annotations: `key=value` pairs and flags, separated by commas.
/// Durations are Go's (`1m30s`, `250ms`); a range of them (`10s..30s`) is drawn anew each time.
///
/// | key | meaning |
/// |---|---|
/// | `start-delay=2s` | how long starting takes |
/// | `start-error=no such file` | starting fails with these words |
/// | `run=30s` | ends by itself after that time |
/// | `exit=1` | the exit code of ending by itself; 0 unless given |
/// | `crash=0.1` | with this probability a start ends in failure, at a random moment before `run` (within a minute when there is no `run`) |
/// | `oom` | ends as if its memory limit was hit: 137, `OOMKilled` |
/// | `message=text` | its termination message |
/// | `stop-delay=1s` | how long it takes to obey the stop signal |
/// | `stop-exit=143` | the exit code of obeying; 0 unless given |
/// | `ignore-term` | doesn't obey, has to be killed |
/// | `log=text` | prints a line; may be repeated |
/// | `log-every=1s` | prints its lines one at a time, over and over, instead of all at the start |
/// | `exec-out=text` | what a command in it prints; may be repeated |
/// | `exec-exit=1` | the exit code of a command in it; 0 unless given |
/// | `exec-delay=1s` | how long a command in it takes |
/// | `listen=8080` | somebody listens at that port and sends back what comes; may be repeated |
/// | `start-after=5s` | its startup probe fails until then |
/// | `ready-after=5s` | its readiness probe fails until then |
/// | `unready-after=1m` | its readiness probe fails from then on |
/// | `fail-after=1m` | its liveness probe fails from then on |
/// | `hook-error=text` | its hooks fail with these words |
/// | `hook-delay=1s` | how long its hooks take |
/// | `cpu=250m` | the CPU it uses while it runs, in cores or thousandths; what it requests, else its limit, else `1m` |
/// | `memory=64Mi` | the memory it uses while it runs; what it requests, else its limit, else `1Mi` |
/// | `disk=64Mi` | what it has written to its root file system |
/// | `image-size=1Gi` | the size of its image |
/// | `pull-delay=5s` | the image has to be pulled, which takes that long |
/// | `pull-error=text` | the image can't be found, with these words |
///
/// Times of probes count from the start of the container. A command with input sends back what
/// comes until that ends. The last three speak of an image and only count in a script that is set for one.
///
/// ```
/// use pinnace_runtime::Script;
/// let script: Script = "run=30s,exit=1".parse()?;
/// assert_eq!(script.exit_code, 1);
/// assert!("run=30 seconds".parse::<Script>().is_err());
/// # Ok::<(), pinnace_runtime::simulated::ScriptError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// How long starting takes; nothing when not set.
    pub start_delay: Option<Span>,
    /// Why starting fails.
    pub start_error: Option<String>,
    /// When it ends by itself.
    pub run: Option<Span>,
    /// Its exit code when it ends by itself.
    pub exit_code: i32,
    /// The probability that a start ends in failure.
    pub crash: f64,
    /// Whether it ends by hitting its memory limit.
    pub out_of_memory: bool,
    /// Its termination message.
    pub message: String,
    /// How long it takes to obey the stop signal.
    pub stop_delay: Option<Span>,
    /// Its exit code when it obeys.
    pub stop_exit_code: i32,
    /// Whether it has to be killed.
    pub ignore_term: bool,
    /// What it prints.
    pub log: Vec<String>,
    /// The time between two lines; all at the start when not set.
    pub log_every: Option<Span>,
    /// What a command in it prints.
    pub exec_output: Vec<String>,
    /// The exit code of a command in it.
    pub exec_exit: i32,
    /// How long a command in it takes.
    pub exec_delay: Option<Span>,
    /// The ports at which somebody listens, who sends back what comes.
    pub listen: Vec<u16>,
    /// Until when its startup probe fails.
    pub start_after: Option<Span>,
    /// Until when its readiness probe fails.
    pub ready_after: Option<Span>,
    /// From when on its readiness probe fails again.
    pub unready_after: Option<Span>,
    /// From when on its liveness probe fails.
    pub fail_after: Option<Span>,
    /// Why its hooks fail.
    pub hook_error: Option<String>,
    /// How long its hooks take.
    pub hook_delay: Option<Span>,
    /// The CPU that it uses, in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// The memory that it uses, in bytes.
    pub memory_bytes: Option<u64>,
    /// What it has written to its root file system, in bytes.
    pub disk_bytes: Option<u64>,
    /// The size of its image, in bytes.
    pub image_bytes: Option<u64>,
    /// How long its image takes to pull; present from the start when not set.
    pub pull_delay: Option<Span>,
    /// Why its image cannot be pulled.
    pub pull_error: Option<String>,
}

/// A duration, or a range to draw one from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span(pub RangeInclusive<Duration>);

impl Span {
    pub(super) fn draw(&self, random: &pinnace_env::Random) -> Duration {
        let (from, to) = (*self.0.start(), *self.0.end());
        if from == to {
            return from;
        }
        let width = u64::try_from(to.saturating_sub(from).as_nanos()).unwrap_or(u64::MAX);
        from + Duration::from_nanos(random.below(width.saturating_add(1)))
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration..=duration)
    }
}

/// A script that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The part that is wrong.
    pub part: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.part, self.reason)
    }
}

impl std::error::Error for ScriptError {}

impl std::str::FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut script = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            script.set(part).map_err(|reason| ScriptError { part: part.to_owned(), reason })?;
        }
        Ok(script)
    }
}

impl Script {
    fn set(&mut self, part: &str) -> Result<(), &'static str> {
        let Some((key, value)) = part.split_once('=') else {
            match part {
                "oom" => self.out_of_memory = true,
                "ignore-term" => self.ignore_term = true,
                _ => return Err("unknown flag"),
            }
            return Ok(());
        };
        let span = || parse_span(value).ok_or("not a duration like 1m30s or 10s..30s");
        let code = || value.parse().map_err(|_| "not an exit code");
        match key {
            "start-delay" => self.start_delay = Some(span()?),
            "start-error" => self.start_error = Some(value.to_owned()),
            "run" => self.run = Some(span()?),
            "exit" => self.exit_code = code()?,
            "crash" => {
                let probability = value.parse().ok().filter(|p| (0.0..=1.0).contains(p));
                self.crash = probability.ok_or("not a probability from 0 to 1")?;
            }
            "message" => self.message = value.to_owned(),
            "stop-delay" => self.stop_delay = Some(span()?),
            "stop-exit" => self.stop_exit_code = code()?,
            "log" => self.log.push(value.to_owned()),
            "log-every" => {
                let every = span()?;
                if every.0.start().is_zero() {
                    return Err("must be longer than nothing");
                }
                self.log_every = Some(every);
            }
            "exec-out" => self.exec_output.push(value.to_owned()),
            "exec-exit" => self.exec_exit = code()?,
            "exec-delay" => self.exec_delay = Some(span()?),
            "listen" => self.listen.push(value.parse().map_err(|_| "not a port")?),
            "start-after" => self.start_after = Some(span()?),
            "ready-after" => self.ready_after = Some(span()?),
            "unready-after" => self.unready_after = Some(span()?),
            "fail-after" => self.fail_after = Some(span()?),
            "hook-error" => self.hook_error = Some(value.to_owned()),
            "hook-delay" => self.hook_delay = Some(span()?),
            "cpu" => {
                self.cpu_millis = Some(parse_cpu(value).ok_or("not a quantity like 250m or 2")?);
            }
            "memory" => {
                let bytes = parse_bytes(value).ok_or("not a quantity like 64Mi")?;
                self.memory_bytes = Some(bytes);
            }
            "disk" | "image-size" => {
                let bytes = Some(parse_bytes(value).ok_or("not a quantity like 64Mi")?);
                if key == "disk" {
                    self.disk_bytes = bytes;
                } else {
                    self.image_bytes = bytes;
                }
            }
            "pull-delay" => self.pull_delay = Some(span()?),
            "pull-error" => self.pull_error = Some(value.to_owned()),
            _ => return Err("unknown key"),
        }
        Ok(())
    }
}

fn parse_cpu(text: &str) -> Option<u64> {
    match text.strip_suffix('m') {
        Some(millis) => millis.parse().ok(),
        None => text.parse::<u64>().ok()?.checked_mul(1000),
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("", 1)];
    let of = |(unit, factor): (&str, u64)| {
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(factor)
    };
    units.into_iter().find_map(of)
}

fn parse_span(text: &str) -> Option<Span> {
    match text.split_once("..") {
        Some((from, to)) => {
            let (from, to) = (parse_duration(from)?, parse_duration(to)?);
            (from <= to).then_some(Span(from..=to))
        }
        None => parse_duration(text).map(Span::from),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read_or_the_wrong_part_is_named() {
        let script: Script =
            "start-delay=2s, run=10s..1m30s,exit=3,crash=0.25,log=a=b,log=c,oom".parse().unwrap();
        assert_eq!(script.start_delay, Some(Duration::from_secs(2).into()));
        assert_eq!(script.run, Some(Span(Duration::from_secs(10)..=Duration::from_secs(90))));
        assert_eq!((script.exit_code, script.crash, script.out_of_memory), (3, 0.25, true));
        assert_eq!(script.log, ["a=b", "c"]);
        assert_eq!("".parse(), Ok(Script::default()));
        for wrong in [
            "run",
            "run=",
            "run=1",
            "run=9s..1s",
            "crash=2",
            "exit=x",
            "log-every=0",
            "sleep=1s",
            "run=1e400s",
            "cpu=x",
            "memory=1Zi",
        ] {
            assert_eq!(wrong.parse::<Script>().unwrap_err().part, wrong);
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (text, millis) in [("250ms", 250), ("1m30s", 90_000), ("1.5s", 1500), ("2h", 7_200_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }
}
