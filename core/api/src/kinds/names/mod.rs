//! What names may look like: RFC 1123 and 1035, as upstream applies them.
//!
//! The functions here say whether a name will do. Those in [`rules`] list everything that is wrong
//! with one, for errors that name each.

pub mod rules;

/// A DNS subdomain (RFC 1123): most objects' names.
///
/// # Errors
/// The sentence upstream says of a name that is none.
pub fn dns_subdomain(name: &str) -> Result<(), String> {
    verdict(rules::dns_subdomain(name))
}

/// A DNS label (RFC 1123): names of namespaces, services, containers and volumes.
///
/// # Errors
/// The sentence upstream says of a name that is none.
pub fn dns_label(name: &str) -> Result<(), String> {
    verdict(rules::dns_label(name))
}

/// A DNS label (RFC 1035), which may not begin with a digit.
///
/// # Errors
/// The sentence upstream says of a name that is none.
pub fn dns_label_1035(name: &str) -> Result<(), String> {
    verdict(rules::dns_label_1035(name))
}

/// A qualified name: a label key, a finalizer, a condition's type; with an optional `prefix/`.
///
/// # Errors
/// The sentence upstream says of a name that is none.
pub fn qualified_name(name: &str) -> Result<(), String> {
    verdict(rules::qualified_name(name))
}

/// A label's value.
///
/// # Errors
/// The sentence upstream says of a value that is none.
pub fn label_value(value: &str) -> Result<(), String> {
    verdict(rules::label_value(value))
}

/// A name that is a segment of a path and else free: names of roles and bindings.
///
/// # Errors
/// The sentence upstream says of a name that is none.
pub fn path_segment(name: &str) -> Result<(), String> {
    if matches!(name, "." | "..") {
        return Err(format!("may not be '{name}'"));
    }
    let forbidden: Vec<String> = ["/", "%"]
        .into_iter()
        .filter(|sign| name.contains(sign))
        .map(|sign| format!("may not contain '{sign}'"))
        .collect();
    verdict(forbidden)
}

/// A prefix that a name is generated from: it may end with a dash where the name may not.
///
/// # Errors
/// What `validate` says of the prefix as if something stood behind the dash.
pub fn generate_name(
    prefix: &str,
    validate: impl Fn(&str) -> Result<(), String>,
) -> Result<(), String> {
    match prefix.strip_suffix('-') {
        Some(stem) if !stem.is_empty() => {
            let mut masked = stem.to_owned();
            masked.pop();
            masked.push('a');
            validate(&masked)
        }
        _ => validate(prefix),
    }
}

fn verdict(complaints: Vec<String>) -> Result<(), String> {
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join(", ")) }
}
