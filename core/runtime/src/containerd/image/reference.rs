use oci_client::Reference;

use crate::{Error, Result};

/// An image's name as Docker completes it: `busybox` is `docker.io/library/busybox:latest`. With
/// a digest the tag says nothing and goes.
pub(super) fn parse(reference: &str) -> Result<Reference> {
    let parsed: Reference = reference.parse().map_err(|error: oci_client::ParseError| {
        Error::InvalidImage { reference: reference.to_owned(), message: error.to_string() }
    })?;
    Ok(match parsed.digest() {
        Some(digest) => parsed.clone_with_digest(digest.to_owned()),
        None => parsed,
    })
}

/// The repository without tag and digest, for example `docker.io/library/busybox`.
pub(super) fn repository(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(reference) => format!("{}/{}", reference.registry(), reference.repository()),
        Err(_) => name.to_owned(),
    }
}

/// Whether `reference` is an image's identity (`sha256:` and 64 hexadecimal digits), not a name.
pub(super) fn is_image_id(reference: &str) -> bool {
    reference.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Whether a registry is on this machine's loopback, where plain HTTP is what people run.
pub(super) fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    };
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = "sha256:".to_owned() + &"a".repeat(64);
        let cases = [
            ("busybox".to_owned(), "docker.io/library/busybox:latest".to_owned()),
            ("team/web:1".to_owned(), "docker.io/team/web:1".to_owned()),
            ("localhost:5000/web".to_owned(), "localhost:5000/web:latest".to_owned()),
            (format!("web:1@{digest}"), format!("docker.io/library/web@{digest}")),
        ];
        for (given, expected) in cases {
            assert_eq!(parse(&given).unwrap().whole(), expected);
        }
        assert!(parse("Not A Name").is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn only_loopback_registries_are_plain() {
        for plain in ["localhost", "localhost:5000", "127.0.0.1:5000"] {
            assert!(is_loopback(plain), "{plain}");
        }
        for tls in ["docker.io", "10.0.0.1:5000", "localhost.example.com", "127.example.com"] {
            assert!(!is_loopback(tls), "{tls}");
        }
    }
}
