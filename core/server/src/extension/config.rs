use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig as AdmissionConfig;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use url::Url;

use super::ExtensionAddress;
use crate::Server;

/// The port of HTTPS, and of services that name none.
const PORT: u16 = 443;

/// Where a webhook is found, read from `clientConfig` once.
#[derive(Clone, Debug)]
pub(crate) struct ExtensionConfig {
    place: Place,
    authority: String,
    server_name: String,
    path: String,
    ca_bundle: Option<Arc<[u8]>>,
}

#[derive(Clone, Debug)]
enum Place {
    Url,
    Service {
        namespace: String,
        name: String,
        port: u16,
    },
    /// There is nothing to be found, for this reason.
    Nowhere(String),
}

impl ExtensionConfig {
    pub(crate) fn of_admission(config: &AdmissionConfig) -> Self {
        let service = config.service.as_ref().map(|service| {
            (&*service.namespace, &*service.name, service.path.as_deref(), service.port)
        });
        Self::new(config.url.as_deref(), service, config.ca_bundle.as_ref())
    }

    pub(crate) fn of_conversion(config: &extensions::WebhookClientConfig) -> Self {
        let service = config.service.as_ref().map(|service| {
            (&*service.namespace, &*service.name, service.path.as_deref(), service.port)
        });
        Self::new(config.url.as_deref(), service, config.ca_bundle.as_ref())
    }

    fn new(
        url: Option<&str>,
        service: Option<(&str, &str, Option<&str>, Option<i32>)>,
        ca_bundle: Option<&ByteString>,
    ) -> Self {
        let ca_bundle = ca_bundle.filter(|bundle| !bundle.0.is_empty());
        let ca_bundle = ca_bundle.map(|bundle| Arc::from(&*bundle.0));
        if let Some((namespace, name, path, port)) = service {
            let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT);
            let server_name = format!("{name}.{namespace}.svc");
            return Self {
                authority: format!("{server_name}:{port}"),
                server_name,
                path: rooted(path.unwrap_or_default()),
                ca_bundle,
                place: Place::Service {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    port,
                },
            };
        }
        let nowhere = |why: String| Self {
            place: Place::Nowhere(why),
            authority: String::new(),
            server_name: String::new(),
            path: String::new(),
            ca_bundle: None,
        };
        let Some(url) = url else {
            let why = "webhook configuration must have either service or URL";
            return nowhere(why.to_owned());
        };
        let parsed = match Url::parse(url) {
            Ok(parsed) => parsed,
            Err(why) => return nowhere(format!("Unparsable URL: {why}")),
        };
        let Some(host) = parsed.host_str() else {
            return nowhere("Unparsable URL: there is no host".to_owned());
        };
        let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self {
            place: Place::Url,
            authority: format!("{host}{port}"),
            server_name: host.trim_matches(['[', ']']).to_owned(),
            path: rooted(parsed.path()),
            ca_bundle,
        }
    }

    /// Host and port, as messages have them.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where it answers now.
    pub(super) fn resolve(&self, server: &Server) -> Result<ExtensionAddress, String> {
        let addresses = match &self.place {
            Place::Nowhere(why) => return Err(why.clone()),
            Place::Url => Vec::new(),
            Place::Service { namespace, name, port } => {
                let found = server.service_endpoints(namespace, name, *port);
                found.map_err(|error| error.message().to_owned())?
            }
        };
        Ok(ExtensionAddress {
            authority: self.authority.clone(),
            server_name: self.server_name.clone(),
            addresses,
            ca_bundle: self.ca_bundle.clone(),
        })
    }
}

/// A path that begins with a slash.
fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}
