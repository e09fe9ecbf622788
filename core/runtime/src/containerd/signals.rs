use crate::{Error, Result};

/// Names by number, as Linux has them on all its common architectures.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const REAL_TIME_MIN: u32 = 34;
const REAL_TIME_MAX: u32 = 64;

pub(super) const TERM: u32 = 15;
pub(super) const KILL: u32 = 9;

/// The number of a signal as images and pods name it: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
pub(super) fn parse(name: &str) -> Result<u32> {
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
        for bad in ["", "0", "65", "SIGNOPE", "RTMIN+99", "-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
