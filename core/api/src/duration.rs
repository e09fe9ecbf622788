//! Lengths of time as Go writes them: numbers with units, such as `1h30m`.

use jiff::SignedDuration;

/// Reads one; `None` where Go would not.
pub(crate) fn parse(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut nanos: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let (number, tail) = rest.split_at(rest.len() - unit.len());
        let next = tail.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.');
        let scale: i128 = match &tail[..tail.len() - next.len()] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos = nanos.checked_add(whole.checked_mul(scale)?)?;
        let fraction = fraction.get(..fraction.len().min(18))?;
        if !fraction.is_empty() {
            let digits = u32::try_from(fraction.len()).ok()?;
            nanos = nanos.checked_add(
                fraction.parse::<i128>().ok()?.checked_mul(scale)? / 10_i128.pow(digits),
            )?;
        }
        rest = next;
    }
    SignedDuration::try_from_nanos_i128(nanos.checked_mul(sign)?)
}
