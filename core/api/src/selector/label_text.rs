//! What label keys and values may look like, said as upstream says it.

const NAME_MAX: usize = 63;
const PREFIX_MAX: usize = 253;

const NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
                         and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
                         '123-abc', regex used for validation is \
                         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                           characters, '-' or '.', and must start and end with an alphanumeric \
                           character (e.g. 'example.com', regex used for validation is \
                           '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric \
                          characters, '-', '_' or '.', and must start and end with an alphanumeric \
                          character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
                          validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with a label key, `None` if nothing is.
pub(super) fn key_problem(key: &str) -> Option<String> {
    let mut problems = Vec::new();
    let mut parts = key.split('/');
    let name = match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
        (name, None, _) => name,
        (prefix, Some(name), None) => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > PREFIX_MAX {
                    problems.push(format!("prefix part {}", too_long(PREFIX_MAX)));
                }
                if !prefix.split('.').all(is_dns_label) {
                    problems.push(format!("prefix part {PREFIX_RULE}"));
                }
            }
            name
        }
        _ => {
            return Some(format!(
                "a valid label key {NAME_RULE} with an optional DNS subdomain prefix and '/' \
                 (e.g. 'example.com/MyName')"
            ));
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > NAME_MAX {
        problems.push(format!("name part {}", too_long(NAME_MAX)));
    }
    if !is_name(name) {
        problems.push(format!("name part {NAME_RULE}"));
    }
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// What is wrong with a label value, `None` if nothing is.
pub(super) fn value_problem(value: &str) -> Option<String> {
    let mut problems = Vec::new();
    if value.len() > NAME_MAX {
        problems.push(too_long(NAME_MAX));
    }
    if !value.is_empty() && !is_name(value) {
        problems.push(VALUE_RULE.to_owned());
    }
    (!problems.is_empty()).then(|| problems.join("; "))
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn is_name(name: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bounded_by(name, u8::is_ascii_alphanumeric) && name.as_bytes().iter().all(inner)
}

fn is_dns_label(label: &str) -> bool {
    let outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bounded_by(label, outer) && label.as_bytes().iter().all(|byte| outer(byte) || *byte == b'-')
}

fn bounded_by(text: &str, outer: impl Fn(&u8) -> bool) -> bool {
    text.as_bytes().first().is_some_and(&outer) && text.as_bytes().last().is_some_and(&outer)
}
