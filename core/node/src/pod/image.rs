use std::collections::BTreeMap;

use base64::Engine as _;
use k8s_openapi::api::core::v1::Secret;
use pinnace_runtime::RegistryAuth;
use serde_json::Value;

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    pub(crate) fn of(policy: Option<&str>) -> Self {
        match policy {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            _ => Self::IfNotPresent,
        }
    }
}

/// Whether a text can name an image.
///
/// # Errors
/// What is wrong with it, in the words of the reference grammar.
pub(crate) fn check_reference(text: &str) -> Result<(), &'static str> {
    const INVALID: &str = "invalid reference format";
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let hexadecimal = |digest: &str| {
        digest.split_once(':').is_some_and(|(algorithm, hash)| {
            !algorithm.is_empty()
                && hash.len() >= 32
                && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    if !digest.is_none_or(hexadecimal) {
        return Err(INVALID);
    }
    let slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        None => (rest, None),
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let tag_fits = |tag: &str| {
        tag.len() <= 128
            && tag.bytes().next().is_some_and(word)
            && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
    };
    if !tag.is_none_or(tag_fits) {
        return Err(INVALID);
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, path))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), path)
        }
        _ => (None, name),
    };
    let registry_fits = |registry: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        registry.bytes().all(legal)
    };
    if !registry.is_none_or(registry_fits) {
        return Err(INVALID);
    }
    let lower = path.to_ascii_lowercase();
    let part_fits = |part: &str| {
        let alphanumeric = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        part.bytes().next().is_some_and(alphanumeric)
            && part.bytes().last().is_some_and(alphanumeric)
            && part.bytes().all(|byte| alphanumeric(byte) || b"._-".contains(&byte))
    };
    match lower.split('/').all(part_fits) {
        true if lower != path => Err("invalid reference format: repository name must be lowercase"),
        true => Ok(()),
        false => Err(INVALID),
    }
}

/// The registry that an image comes from.
fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// What the pull secrets have for an image's registry, in the order of the secrets.
pub(crate) fn credentials(reference: &str, secrets: &[&Secret]) -> Vec<RegistryAuth> {
    let registry = registry_of(reference);
    let mut found = Vec::new();
    for secret in secrets {
        for (server, entry) in servers(secret) {
            let server = server.trim_start_matches("https://").trim_start_matches("http://");
            let server = server.split('/').next().unwrap_or_default();
            let same = server == registry
                || (registry == "docker.io"
                    && matches!(server, "index.docker.io" | "registry-1.docker.io"));
            if same && let Some(auth) = auth_of(&entry) {
                found.push(auth);
            }
        }
    }
    found
}

fn servers(secret: &Secret) -> BTreeMap<String, Value> {
    let value = |key: &str| -> Option<Value> {
        serde_json::from_slice(&secret.data.as_ref()?.get(key)?.0).ok()
    };
    let auths = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => {
            value(".dockerconfigjson").and_then(|mut config| Some(config.get_mut("auths")?.take()))
        }
        Some("kubernetes.io/dockercfg") => value(".dockercfg"),
        _ => None,
    };
    auths.and_then(|auths| serde_json::from_value(auths).ok()).unwrap_or_default()
}

fn auth_of(entry: &Value) -> Option<RegistryAuth> {
    let text = |key: &str| entry.get(key)?.as_str().filter(|text| !text.is_empty());
    if let Some(token) = text("registrytoken") {
        return Some(RegistryAuth::Bearer(token.to_owned()));
    }
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        let (username, password) = (username.to_owned(), password.to_owned());
        return Some(RegistryAuth::Basic { username, password });
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(RegistryAuth::Basic { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_follow_the_grammar() {
        for text in [
            "busybox",
            "busybox:1.36",
            "library/busybox",
            "127.0.0.1:5000/a/b_c:v1",
            "localhost/x",
            "ghcr.io/Org/x".to_ascii_lowercase().as_str(),
            "a@sha256:0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(check_reference(text), Ok(()), "{text}");
        }
        for text in
            ["", "UPPER", "a b", "a:", "a@sha256:zz", "/a", "a//b", "a:t@", "-a", "a/B:c", "\u{e9}"]
        {
            assert!(check_reference(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pull_secrets_are_matched_by_registry() {
        let config = json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "dTpw"},
            "example.org:5000": {"username": "a", "password": "b"}
        }});
        let mut secret = Secret {
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            ..Default::default()
        };
        let bytes = k8s_openapi::ByteString(serde_json::to_vec(&config).unwrap());
        secret.data = Some([(".dockerconfigjson".to_owned(), bytes)].into());
        let check = |reference: &str, expected: &[(&str, &str)]| {
            let expected: Vec<_> = expected
                .iter()
                .map(|(username, password)| RegistryAuth::Basic {
                    username: (*username).to_owned(),
                    password: (*password).to_owned(),
                })
                .collect();
            assert_eq!(credentials(reference, &[&secret]), expected, "{reference}");
        };
        check("busybox", &[("u", "p")]);
        check("example.org:5000/x", &[("a", "b")]);
        check("example.org/x", &[]);
    }
}
