use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use pinnace_api::{ApiError, Result};
use pinnace_client::Client;
use pinnace_client::nodes::{NodeConnection, PodReference};
use pinnace_env::Env;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::certificate::{Applicant, ServingCertificate};
use super::guard::Guard;
use crate::encoding::Accepted;
use crate::handlers::method_not_allowed;
use crate::listener::{self, Handle, Serving, Tls};
use crate::pki;
use crate::request::Query;
use crate::response::{self, reply};
use crate::streams::port_forward::Pod;
use crate::streams::remote_command::{Wanted, streams};
use crate::streams::{Upgrading, asks_for_upgrade, log};
use crate::{Body, Peer, RequestBody};

/// What a [`Kubelet`] serves, and to whom.
pub struct KubeletConfig {
    /// The node's name.
    pub node: String,
    /// The node's addresses, for which its certificate is to be.
    pub addresses: Vec<IpAddr>,
    /// What answers.
    pub connection: Arc<dyn NodeConnection>,
    /// The cluster, as the node may ask it: it signs the certificate and says who may do what.
    pub client: Client,
    /// The certificate of the cluster's authority, in PEM: whose clients are known.
    pub authority: String,
    /// Time and chance.
    pub env: Env,
}

/// A node that listens for the cluster.
///
/// Whoever connects brings a certificate of the cluster's authority or a token of the cluster; what they
/// may do the cluster is asked, by a `SubjectAccessReview` about the node's parts (`nodes/proxy`,
/// `nodes/stats` and so on), as upstream's kubelet does.
#[must_use = "it stops listening when it is dropped"]
pub struct Kubelet {
    serving: Serving,
    certificate: Arc<ServingCertificate>,
    applicant: Applicant,
}

impl Kubelet {
    /// Begins to listen. Connections fail until [`Kubelet::run`] has had a certificate signed.
    ///
    /// # Errors
    /// [`Error::Certificate`](crate::Error::Certificate) for an authority that is none.
    pub fn serve(listener: TcpListener, config: KubeletConfig) -> crate::Result<Self> {
        let KubeletConfig { node, addresses, connection, client, authority, env } = config;
        let certificate = Arc::new(ServingCertificate::default());
        let tls = Tls::with(pki::der(&authority)?, certificate.clone())?;
        let guard = Guard::new(client.clone(), node.clone());
        let pages = Pages { guard, connection, env: env.clone() };
        let serving = listener::serve(Arc::new(pages), listener, tls, &authority);
        let applicant = Applicant { client, env, node, addresses };
        Ok(Self { serving, certificate, applicant })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.serving.address()
    }

    /// Ends when the node has a certificate, and can be reached; or when it has stopped.
    pub fn certified(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut shown = self.certificate.shown();
        async move {
            // Without a sender there will be none any more.
            let _ = shown.wait_for(Option::is_some).await;
        }
    }

    /// Keeps a certificate, until `stop` is cancelled; then it listens no more, and everything of it
    /// has ended when this returns.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.certificate.keep(&self.applicant)).await;
        self.serving.stop().await;
    }
}

impl fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kubelet({:?})", self.serving)
    }
}

struct Pages {
    guard: Guard,
    connection: Arc<dyn NodeConnection>,
    env: Env,
}

#[async_trait]
impl Handle for Pages {
    async fn handle(&self, request: Request<RequestBody>, peer: &Peer) -> Response<Body> {
        let (mut parts, _) = request.into_parts();
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let upgrade = upgrade.filter(|_| asks_for_upgrade(&parts.headers));
        let answered = self.answer(&parts, upgrade, peer).await;
        let mut response =
            answered.unwrap_or_else(|error| response::failure(&error, Accepted::JSON));
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }
}

impl Pages {
    async fn answer(
        &self,
        parts: &Parts,
        upgrade: Option<OnUpgrade>,
        peer: &Peer,
    ) -> Result<Response<Body>> {
        self.guard.check(parts, peer).await?;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let path: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
        let pod = |namespace: &str, name: &str, uid: &str| PodReference {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        let upgrading = || {
            if !matches!(parts.method, Method::GET | Method::POST) {
                return Err(method_not_allowed());
            }
            let upgrade =
                upgrade.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
            Ok(Upgrading { headers: &parts.headers, upgrade, peer })
        };
        match path[..] {
            [what @ ("exec" | "attach"), namespace, name, container] => {
                let pod = pod(namespace, name, "");
                self.command(what, pod, container, &query, upgrading()?).await
            }
            [what @ ("exec" | "attach"), namespace, name, uid, container] => {
                let pod = pod(namespace, name, uid);
                self.command(what, pod, container, &query, upgrading()?).await
            }
            ["portForward", namespace, name] => {
                self.ports(pod(namespace, name, ""), &query, upgrading()?)
            }
            ["portForward", namespace, name, uid] => {
                self.ports(pod(namespace, name, uid), &query, upgrading()?)
            }
            _ if !matches!(parts.method, Method::GET | Method::HEAD) => Err(method_not_allowed()),
            ["containerLogs", namespace, name, container] => {
                let options = log::log_options(&query, name, self.env.now())?;
                let pod = pod(namespace, name, "");
                let lines = self.connection.logs(&pod, container, options).await?;
                log::respond(lines, &parts.headers, None, peer)
            }
            _ => self.page(parts).await,
        }
    }

    async fn command(
        &self,
        what: &str,
        pod: PodReference,
        container: &str,
        query: &Query,
        client: Upgrading<'_>,
    ) -> Result<Response<Body>> {
        let flag = |name| query.flag(name);
        let streams = streams(flag("input"), flag("output"), flag("error"), flag("tty"))?;
        let command = query.all("command").map(str::to_owned).collect();
        let command = (what == "exec").then_some(command);
        let container = container.to_owned();
        Wanted { pod, container, command, streams }.connect(&*self.connection, client).await
    }

    fn ports(
        &self,
        reference: PodReference,
        query: &Query,
        client: Upgrading<'_>,
    ) -> Result<Response<Body>> {
        Pod { node: self.connection.clone(), reference }.forward(client, query)
    }

    async fn page(&self, parts: &Parts) -> Result<Response<Body>> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(match self.connection.document(path).await? {
            Some(page) => reply(StatusCode::OK, &page.media_type, page.body),
            None => response::no_such_page(),
        })
    }
}
