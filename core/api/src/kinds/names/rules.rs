//! Rules for texts. Each gives everything that is wrong, in upstream's words; the empty list,
//! which takes no memory, is a text that will do.

/// Most bytes of a DNS label, and of the name part of a label key.
const LABEL_MAX: usize = 63;
/// Most bytes of a DNS subdomain.
const SUBDOMAIN_MAX: usize = 253;
/// Most bytes of a port's name.
const PORT_NAME_MAX: usize = 15;

macro_rules! label_pattern {
    () => {
        "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    };
}
macro_rules! key_pattern {
    () => {
        "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
    };
}

const LABEL: &str = concat!(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and ",
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used ",
    "for validation is '",
    label_pattern!(),
    "')"
);
const WILDCARD_SUBDOMAIN: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a \
     valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and \
     end with an alphanumeric character (e.g. '*.example.com', regex used for validation is \
     '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN: &str = concat!(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or ",
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used ",
    "for validation is '",
    label_pattern!(),
    "(\\.",
    label_pattern!(),
    ")*')"
);
const SEARCH_DOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric \
    character (e.g. 'example.com', regex used for validation is \
    '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
    '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
    'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const KEY: &str = concat!(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an ",
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for ",
    "validation is '",
    key_pattern!(),
    "')"
);
const VALUE: &str = concat!(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or ",
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  ",
    "or '12345', regex used for validation is '(",
    key_pattern!(),
    ")?')"
);
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or \
    '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
    '[-._a-zA-Z0-9]+')";
const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
    'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' \
    (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// A DNS label (RFC 1123).
pub fn dns_label(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > LABEL_MAX {
        complaints.push(too_many_characters(LABEL_MAX));
    }
    if !is_label(value) {
        let why = if value.split('.').all(is_label) { "must not contain dots" } else { LABEL };
        complaints.push(why.to_owned());
    }
    complaints
}

/// A DNS subdomain (RFC 1123).
pub fn dns_subdomain(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        complaints.push(too_many_characters(SUBDOMAIN_MAX));
    }
    if !value.split('.').all(is_label) {
        complaints.push(SUBDOMAIN.to_owned());
    }
    complaints
}

/// A DNS subdomain behind `*.`, which stands for any label.
pub fn wildcard_dns_subdomain(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        complaints.push(too_many_characters(SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label)) {
        complaints.push(WILDCARD_SUBDOMAIN.to_owned());
    }
    complaints
}

/// A DNS subdomain in which underscores may stand, as search paths have them.
pub fn search_domain(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        complaints.push(too_many_characters(SUBDOMAIN_MAX));
    }
    let fits = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label);
        is_made_of(label, is_lower_alphanumeric, |byte| matches!(byte, b'-' | b'_'))
    };
    if !value.split('.').all(fits) {
        complaints.push(SEARCH_DOMAIN.to_owned());
    }
    complaints
}

/// A DNS label (RFC 1035).
pub fn dns_label_1035(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > LABEL_MAX {
        complaints.push(too_many_characters(LABEL_MAX));
    }
    if !is_label(value) || value.as_bytes()[0].is_ascii_digit() {
        complaints.push(LABEL_1035.to_owned());
    }
    complaints
}

/// A qualified name: a label key.
pub fn qualified_name(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut parts = value.split('/');
    let name = match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
        (name, None, _) => name,
        (prefix, Some(name), None) => {
            check_prefix(prefix, &mut complaints);
            name
        }
        _ => {
            complaints.push(format!(
                "a valid label key {KEY} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            ));
            return complaints;
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        complaints.push(format!("name part {}", too_many_bytes(LABEL_MAX)));
    }
    if !is_key(name) {
        complaints.push(format!("name part {KEY}"));
    }
    complaints
}

fn check_prefix(prefix: &str, complaints: &mut Vec<String>) {
    if prefix.is_empty() {
        complaints.push("prefix part must be non-empty".to_owned());
        return;
    }
    if prefix.len() > SUBDOMAIN_MAX {
        complaints.push(format!("prefix part {}", too_many_bytes(SUBDOMAIN_MAX)));
    }
    if !prefix.split('.').all(is_label) {
        complaints.push(format!("prefix part {SUBDOMAIN}"));
    }
}

/// An annotation's key: a qualified name in whatever case.
pub fn annotation_key(value: &str) -> Vec<String> {
    let complaints = qualified_name(value);
    if complaints.is_empty() || !value.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return complaints;
    }
    qualified_name(&value.to_lowercase())
}

/// A label's value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > LABEL_MAX {
        complaints.push(too_many_bytes(LABEL_MAX));
    }
    if !value.is_empty() && !is_key(value) {
        complaints.push(VALUE.to_owned());
    }
    complaints
}

/// A port's name, an IANA service name in lower case.
pub fn port_name(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |why: &str| complaints.push(why.to_owned());
    if value.len() > PORT_NAME_MAX {
        complain(&too_many_characters(PORT_NAME_MAX));
    }
    let fits = |byte: u8| is_lower_alphanumeric(byte) || byte == b'-';
    if value.is_empty() || !value.bytes().all(fits) {
        complain("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !value.bytes().any(|byte| byte.is_ascii_lowercase()) {
        complain("must contain at least one letter (a-z)");
    }
    if value.contains("--") {
        complain("must not contain consecutive hyphens");
    }
    if value.starts_with('-') || value.ends_with('-') {
        complain("must not begin or end with a hyphen");
    }
    complaints
}

/// The name of an environment variable.
pub fn env_name(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.is_empty() {
        complaints.push("environment variable name must be non-empty".to_owned());
    }
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=') {
        let why = "a valid environment variable name must consist only of printable ASCII \
                   characters other than '='";
        complaints.push(why.to_owned());
    }
    complaints
}

/// A key in a config map or secret.
pub fn config_key(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        complaints.push(too_many_characters(SUBDOMAIN_MAX));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if value.is_empty() || !value.bytes().all(fits) {
        complaints.push(CONFIG_KEY.to_owned());
    }
    let climbs = match value {
        "." => Some("must not be '.'"),
        ".." => Some("must not be '..'"),
        _ => value.starts_with("..").then_some("must not start with '..'"),
    };
    complaints.extend(climbs.map(str::to_owned));
    complaints
}

/// The name of an HTTP header.
pub fn header_name(value: &str) -> Vec<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !value.is_empty() && value.bytes().all(fits) { Vec::new() } else { vec![HEADER.to_owned()] }
}

/// A percentage: `25%`.
pub fn percent(value: &str) -> Vec<String> {
    let fits = value
        .strip_suffix('%')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    if fits { Vec::new() } else { vec![PERCENT.to_owned()] }
}

/// A port's number.
pub fn port_number(value: i32) -> Vec<String> {
    in_range(value.into(), 1, 65535)
}

/// The id of a user or group.
pub fn unix_id(value: i64) -> Vec<String> {
    in_range(value, 0, u32::MAX.into())
}

/// A number between two others.
pub fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&value) { Vec::new() } else { vec![range_message(low, high)] }
}

/// What is said of a number that is not in a range.
pub fn range_message(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn too_many_characters(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn too_many_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn is_label(label: &str) -> bool {
    is_made_of(label, is_lower_alphanumeric, |byte| byte == b'-')
}

fn is_key(name: &str) -> bool {
    let inner = |byte| matches!(byte, b'-' | b'_' | b'.');
    is_made_of(name, |byte| byte.is_ascii_alphanumeric(), inner)
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether a text begins and ends with `outer` and has nothing but `outer` and `inner` in it.
fn is_made_of(text: &str, outer: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        [only] => outer(*only),
        [first, middle @ .., last] => {
            outer(*first) && outer(*last) && middle.iter().all(|byte| outer(*byte) || inner(*byte))
        }
    }
}
