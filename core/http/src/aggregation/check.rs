use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::select_ok;
use http::header::{ACCEPT, ETAG, HOST, HeaderValue, IF_NONE_MATCH};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_api::elsewhere;
use pinnace_server::{ExtensionAddress, User};
use serde_json::Value;

use super::remote::Remote;
use super::{Aggregator, Found, Swagger, forward};
use crate::extensions::{dial, words};

/// How long a server may take to say what it has, and how much that may be, in bytes.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 3 << 20;
/// At how many of its places a server is looked for.
const MAX_PLACES: usize = 5;
/// Where a server lists its descriptions.
const DESCRIPTIONS: &str = "/openapi/v3";
/// Where it describes all of it in the older form, and how long that may be, in bytes.
const SWAGGER: &str = "/openapi/v2";
const MAX_SWAGGER: usize = 16 << 20;

/// What is asked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    path: &'a str,
    /// What is had of it already, as the server has called that.
    tag: Option<&'a str>,
    max: usize,
}

impl<'a> Wanted<'a> {
    fn new(path: &'a str) -> Self {
        Self { path, tag: None, max: MAX_ANSWER }
    }
}

/// What was answered.
struct Answer {
    code: u16,
    tag: Option<String>,
    body: Bytes,
}

impl Aggregator {
    /// Asks another server whether it serves the version of the group that it is said to serve.
    ///
    /// # Errors
    /// Why that cannot be told, or that it does not, in upstream's words.
    pub async fn check(&self, service: &APIService) -> Result<(), String> {
        let Some(remote) = Remote::of(service) else { return Ok(()) };
        let address = self.address(&remote).map_err(|error| error.message().to_owned())?;
        let path = path_of(service);
        let places = address.addresses.iter().take(MAX_PLACES);
        let asked = places.map(|place| Box::pin(self.ask(&address, *place, &path)));
        let ((body, place), _) = select_ok(asked).await?;
        // Who has other things to say there is there all the same.
        if let Ok(list) = serde_json::from_slice::<APIResourceList>(&body) {
            let name = service.metadata.name.clone().unwrap_or_default();
            let description = self.description(&address, place, &path).await;
            let spec = service.spec.as_ref();
            let group = spec.and_then(|spec| spec.group.as_deref()).unwrap_or_default();
            let version = spec.and_then(|spec| spec.version.as_deref()).unwrap_or_default();
            let kinds = elsewhere::kinds(group, version, &list.resources);
            self.0.server.catalog().serve_elsewhere(group, version, kinds);
            let before = self.0.known.lock().get(&name).and_then(|found| found.swagger.clone());
            let swagger = self.swagger(&address, place, &path, before).await;
            let resources = Arc::new(list.resources);
            let found = Found { resources, description, swagger };
            self.0.known.lock().insert(name, found);
        }
        Ok(())
    }

    /// Where a server describes what it has at a path, if it does.
    async fn description(
        &self,
        address: &ExtensionAddress,
        place: SocketAddr,
        path: &str,
    ) -> Option<String> {
        let address = ExtensionAddress { addresses: vec![place], ..address.clone() };
        let wanted = Wanted::new(DESCRIPTIONS);
        let got = tokio::time::timeout(TIMEOUT, self.get(&address, place, wanted)).await;
        let Answer { code, body, .. } = got.ok()?.ok()?;
        let index: Value = serde_json::from_slice(&body).ok().filter(|_| code == 200)?;
        let url = index["paths"][path.trim_start_matches('/')]["serverRelativeURL"].as_str()?;
        url.starts_with(DESCRIPTIONS).then(|| url.to_owned())
    }

    /// What a server describes in OpenAPI v2 of what it has at a path, if it does. What is known
    /// already is not sent again.
    async fn swagger(
        &self,
        address: &ExtensionAddress,
        place: SocketAddr,
        path: &str,
        before: Option<Arc<Swagger>>,
    ) -> Option<Arc<Swagger>> {
        let address = ExtensionAddress { addresses: vec![place], ..address.clone() };
        let tag = before.as_ref().and_then(|before| before.tag.as_deref());
        let wanted = Wanted { path: SWAGGER, tag, max: MAX_SWAGGER };
        let got = tokio::time::timeout(TIMEOUT, self.get(&address, place, wanted)).await;
        let Answer { code, tag, body } = got.ok()?.ok()?;
        match code {
            200 => {
                let document: Value = serde_json::from_slice(&body).ok()?;
                Swagger::of(&document, path, tag).map(Arc::new)
            }
            304 => before,
            _ => None,
        }
    }

    async fn ask(
        &self,
        address: &ExtensionAddress,
        place: SocketAddr,
        path: &str,
    ) -> Result<(Bytes, SocketAddr), String> {
        let url = format!("https://{place}{path}");
        let failed = |why: &str| format!("failing or missing response from {url}: {why}");
        let address = ExtensionAddress { addresses: vec![place], ..address.clone() };
        let wanted = Wanted::new(path);
        let got = tokio::time::timeout(TIMEOUT, self.get(&address, place, wanted)).await;
        let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        match got {
            Err(_) => Err(failed(&format!("Get {url:?}: {late}"))),
            Ok(Err(why)) => Err(failed(&format!("Get {url:?}: {why}"))),
            Ok(Ok(Answer { code: 200..300, body, .. })) => Ok((body, place)),
            Ok(Ok(Answer { code, .. })) => Err(failed(&format!("bad status from {url}: {code}"))),
        }
    }

    /// What is at a path. Whose certificate it is does not matter here: whoever could lie about
    /// that could as well be silent.
    async fn get(
        &self,
        address: &ExtensionAddress,
        place: SocketAddr,
        wanted: Wanted<'_>,
    ) -> Result<Answer, String> {
        let text = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = wanted.path.parse::<Uri>().map_err(|error| error.to_string())?;
        request.headers_mut().insert(HOST, text(&place.to_string())?);
        if let Some(tag) = wanted.tag {
            request.headers_mut().insert(IF_NONE_MATCH, text(tag)?);
        }
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let user = User::new("system:kube-aggregator", ["system:masters".to_owned()]);
        forward::name(request.headers_mut(), &user).map_err(|error| error.message().to_owned())?;
        let (stream, _) = dial(address, self.0.trust.anybody()?).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
        // It ends with its sender.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| words(&error))?;
        let code = response.status().as_u16();
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.map(str::to_owned);
        let body = Limited::new(response.into_body(), wanted.max).collect().await;
        Ok(Answer { code, tag, body: body.map_err(|error| error.to_string())?.to_bytes() })
    }
}

/// Where a server says what it has.
fn path_of(service: &APIService) -> String {
    let spec = service.spec.as_ref();
    let group = spec.and_then(|spec| spec.group.as_deref()).unwrap_or_default();
    let version = spec.and_then(|spec| spec.version.as_deref()).unwrap_or_default();
    match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    }
}
