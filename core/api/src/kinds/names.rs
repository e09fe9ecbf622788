//! What names may look like: RFC 1123 and 1035, as upstream applies them.

/// A DNS subdomain (RFC 1123): most objects' names.
///
/// # Errors
/// The sentence upstream says of a name that is none.
pub fn dns_subdomain(name: &str) -> Result<(), String> {
    let _ = name;
    Ok(())
}

/// A DNS label (RFC 1123): names of namespaces, containers and volumes.
///
/// # Errors
/// The sentence upstream says of a name that is none.
pub fn dns_label(name: &str) -> Result<(), String> {
    let _ = name;
    Ok(())
}

/// A DNS label (RFC 1035), which may not begin with a digit: names of services.
///
/// # Errors
/// The sentence upstream says of a name that is none.
pub fn dns_label_1035(name: &str) -> Result<(), String> {
    let _ = name;
    Ok(())
}
