use crate::{Error, Result};

/// Names by number, as Linux has them on all its common architectures.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const REAL_TIME_MIN: u32 = 34;
const REAL_TIME_MAX: u32 = 64;

/// The number of a signal as images and pods name it: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
pub(crate) fn parse(name: &str) -> Result<u32> {
    let unknown = || Error::InvalidConfig(format!("unknown signal {name:?}"));
    let in_range = |number: &u32| (1..=REAL_TIME_MAX).contains(number);
    if let Ok(number) = name.parse::<u32>() {
        return Some(number).filter(in_range).ok_or_else(unknown);
    }
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == short) {
        return u32::try_from(at + 1).map_err(|_| unknown());
    }
    let number = if let Some(rest) = short.strip_prefix("RTMIN") {
        offset(rest.strip_prefix('+').or(rest.is_empty().then_some("0")))
            .and_then(|offset| REAL_TIME_MIN.checked_add(offset))
    } else if let Some(rest) = short.strip_prefix("RTMAX") {
        offset(rest.strip_prefix('-').or(rest.is_empty().then_some("0")))
            .and_then(|offset| REAL_TIME_MAX.checked_sub(offset))
    } else {
        None
    };
    number.filter(|n| (REAL_TIME_MIN..=REAL_TIME_MAX).contains(n)).ok_or_else(unknown)
}

/// A signal by its number, real-time signals included.
#[cfg(target_os = "linux")]
pub(crate) fn from_number(number: u32) -> Option<rustix::process::Signal> {
    let number = i32::try_from(number).ok()?;
    if let Some(named) = rustix::process::Signal::from_named_raw(number) {
        return Some(named);
    }
    let real_time = (REAL_TIME_MIN..=REAL_TIME_MAX).contains(&number.unsigned_abs());
    real_time.then(|| real_time_signal(number))
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "rustix leaves real-time signals to the C library")]
fn real_time_signal(number: i32) -> rustix::process::Signal {
    // SAFETY: the number is one that neither glibc nor musl keeps for itself (32 and 33), and it
    // is only ever sent to other processes.
    unsafe { rustix::process::Signal::from_raw_unchecked(number) }
}

fn offset(text: Option<&str>) -> Option<u32> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (name, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGSYS", 31),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGRTMIN", 34),
        ] {
            assert_eq!(parse(name).unwrap(), number, "{name}");
        }
        assert_eq!(from_number(37).map(|signal| signal.as_raw()), Some(37));
        assert_eq!((from_number(0), from_number(32), from_number(65)), (None, None, None));
        for bad in ["", "0", "65", "SIGNOPE", "RTMIN+99", "-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
