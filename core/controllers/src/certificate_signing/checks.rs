use super::{API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY};
use crate::CertificateRequest;

const NODES: &str = "system:nodes";
pub(super) const NODE_PREFIX: &str = "system:node:";

/// What each signer wants of a request; `None` for other people's signers.
pub(super) fn of_signer(
    signer: &str,
    request: &CertificateRequest,
    usages: &[String],
) -> Option<Result<(), String>> {
    match signer {
        API_CLIENT => Some(api_client(usages)),
        KUBELET_CLIENT => Some(kubelet_client(request, usages)),
        KUBELET_SERVING => Some(kubelet_serving(request, usages)),
        LEGACY => Some(Ok(())),
        _ => None,
    }
}

fn api_client(usages: &[String]) -> Result<(), String> {
    for usage in usages {
        if !matches!(usage.as_str(), "digital signature" | "key encipherment" | "client auth") {
            return Err(format!("invalid usage for client certificate: {usage}"));
        }
    }
    if usages.iter().any(|usage| usage == "client auth") {
        return Ok(());
    }
    Err("missing required usage for client certificate: client auth".to_owned())
}

/// What a node asks for to speak to the API.
pub(super) fn kubelet_client(
    request: &CertificateRequest,
    usages: &[String],
) -> Result<(), String> {
    of_nodes(request)?;
    let none = [
        (&request.dns_names, "DNS"),
        (&request.emails, "Email"),
        (&request.addresses, "IP"),
        (&request.uris, "URI"),
    ];
    refuse(&none)?;
    exactly(usages, "client auth")?;
    named(request)
}

/// What a node asks for to be spoken to.
pub(super) fn kubelet_serving(
    request: &CertificateRequest,
    usages: &[String],
) -> Result<(), String> {
    of_nodes(request)?;
    if request.dns_names.is_empty() && request.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    refuse(&[(&request.emails, "Email"), (&request.uris, "URI")])?;
    exactly(usages, "server auth")?;
    named(request)
}

fn of_nodes(request: &CertificateRequest) -> Result<(), String> {
    if request.organizations == [NODES] {
        return Ok(());
    }
    Err("subject organization is not system:nodes".to_owned())
}

fn named(request: &CertificateRequest) -> Result<(), String> {
    if request.common_name.starts_with(NODE_PREFIX) {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".to_owned())
}

fn refuse(names: &[(&Vec<String>, &str)]) -> Result<(), String> {
    match names.iter().find(|(names, _)| !names.is_empty()) {
        Some((_, kind)) => Err(format!("{kind} subjectAltNames are not allowed")),
        None => Ok(()),
    }
}

/// Signatures and this, with or without the encipherment of keys that RSA has.
fn exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let mut usages: Vec<&str> = usages.iter().map(String::as_str).collect();
    usages.sort_unstable();
    if usages == [purpose, "digital signature"] || usages == ["digital signature", purpose] {
        return Ok(());
    }
    let mut wanted = [purpose, "digital signature", "key encipherment"];
    wanted.sort_unstable();
    if usages == wanted {
        return Ok(());
    }
    Err(format!("usages did not match [{}]", wanted.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signer_wants_what_upstream_wants() {
        let node = CertificateRequest {
            common_name: "system:node:n1".to_owned(),
            organizations: vec!["system:nodes".to_owned()],
            ..CertificateRequest::default()
        };
        let check = |signer: &str,
                     change: &dyn Fn(&mut CertificateRequest),
                     usages: &[&str],
                     expected: Option<Result<(), &str>>| {
            let mut request = node.clone();
            change(&mut request);
            let usages: Vec<_> = usages.iter().map(|usage| (*usage).to_owned()).collect();
            let found = of_signer(signer, &request, &usages);
            assert_eq!(found, expected.map(|expected| expected.map_err(str::to_owned)));
        };
        let client = &["client auth", "digital signature"][..];
        let server = &["server auth", "key encipherment", "digital signature"][..];
        let same = |_: &mut CertificateRequest| {};
        check("example.com/own", &same, client, None);
        check(KUBELET_CLIENT, &same, client, Some(Ok(())));
        let masters = |request: &mut CertificateRequest| {
            request.organizations = vec!["system:masters".to_owned()];
        };
        check(
            KUBELET_CLIENT,
            &masters,
            client,
            Some(Err("subject organization is not system:nodes")),
        );
        let eve = |request: &mut CertificateRequest| request.common_name = "eve".to_owned();
        let name = "subject common name does not begin with system:node:";
        check(KUBELET_CLIENT, &eve, client, Some(Err(name)));
        let dns = |request: &mut CertificateRequest| request.dns_names = vec!["a".to_owned()];
        check(KUBELET_CLIENT, &dns, client, Some(Err("DNS subjectAltNames are not allowed")));
        let usages = "usages did not match [client auth digital signature key encipherment]";
        check(KUBELET_CLIENT, &same, server, Some(Err(usages)));
        check(KUBELET_SERVING, &dns, server, Some(Ok(())));
        check(KUBELET_SERVING, &same, server, Some(Err("DNS or IP subjectAltName is required")));
        check(API_CLIENT, &masters, client, Some(Ok(())));
        let invalid = "invalid usage for client certificate: server auth";
        check(API_CLIENT, &same, server, Some(Err(invalid)));
        let missing = "missing required usage for client certificate: client auth";
        check(API_CLIENT, &same, &["digital signature"], Some(Err(missing)));
        check(LEGACY, &eve, server, Some(Ok(())));
    }
}
