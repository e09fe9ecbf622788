//! Formats of text and numbers: those that upstream's validator knows. What it does not know says
//! nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use serde_json::Value;

use crate::kinds::names::rules;

/// Whether a text is of a format.
pub(crate) fn fits(format: &str, text: &str) -> bool {
    match &*format.replace('-', "") {
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "datetime" => text.parse::<jiff::Timestamp>().is_ok() && text.contains(['T', 't']),
        "duration" => is_duration(text),
        "email" => is_email(text),
        "hostname" => is_host_name(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uri" => url::Url::parse(text).is_ok() || text.starts_with('/'),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some(b'3')),
        "uuid4" => is_uuid(text, Some(b'4')),
        "uuid5" => is_uuid(text, Some(b'5')),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && is_hex(digits)
        }
        "bsonobjectid" => text.len() == 24 && is_hex(text),
        "k8sshortname" => rules::dns_label(text).is_empty(),
        "k8slongname" => rules::dns_subdomain(text).is_empty(),
        _ => true,
    }
}

/// Whether a number is within what a format holds.
pub(super) fn holds(format: &str, value: &Value) -> bool {
    let whole = value.as_i64();
    match format {
        "int32" => whole.is_some_and(|whole| i32::try_from(whole).is_ok()),
        "int64" => whole.is_some() || value.as_f64().is_some_and(|number| number.abs() < 9.3e18),
        "float" => value.as_f64().is_some_and(|number| number.abs() <= f64::from(f32::MAX)),
        _ => true,
    }
}

/// Numbers with units, as in Go: `1h30m`, also days and weeks.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['+', '-']);
    let mut parts = 0;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - unit.len()];
        let unit = unit.trim_start();
        let tail = unit.trim_start_matches(|c: char| c.is_alphabetic());
        let known = ["ns", "us", "µs", "ms", "s", "m", "h", "d", "w"];
        let name = &unit[..unit.len() - tail.len()];
        if number.parse::<f64>().is_err()
            || !(known.contains(&name) || (name.is_empty() && number == "0"))
        {
            return false;
        }
        parts += 1;
        rest = tail.trim_start();
    }
    parts > 0
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.rsplit_once('@') else { return false };
    !user.is_empty() && !user.contains(char::is_whitespace) && is_host_name(host)
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && !text.is_empty() && text.trim_end_matches('.').split('.').all(label)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn is_mac(text: &str) -> bool {
    let by = if text.contains(':') { ':' } else { '-' };
    let parts: Vec<&str> = text.split(by).collect();
    matches!(parts.len(), 6 | 8) && parts.iter().all(|part| part.len() == 2 && is_hex(part))
}

fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let digits = text.replace('-', "");
    let fits = |version: u8| digits.as_bytes().get(12) == Some(&version);
    digits.len() == 32 && is_hex(&digits) && version.is_none_or(fits)
}
