use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

use http::header::{USER_AGENT, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::upgrade::OnUpgrade;
use pinnace_api::selector::{FieldSelector, Selector};
use pinnace_api::{Reason, Result};
use pinnace_client::Warnings;
use pinnace_client::nodes::NodeDirectory;
use pinnace_env::Stopwatch;
use pinnace_server::{Attributes, InProcess, Selectors, Server, User};
use tokio_util::sync::CancellationToken;

use crate::aggregation::{Aggregator, Forwarded, Remote};
use crate::audit;
use crate::authentication::{self, ANONYMOUS, Anonymous, BearerTokens, Connection, Impersonation};
use crate::discovery::Discovery;
use crate::encoding::{Accepted, Can};
use crate::flow_control::{FlowControl, Marks, Refused};
use crate::handlers::{Call, method_not_allowed, no_such_resource};
use crate::health::{Health, Page};
use crate::metrics::{About, Metrics};
use crate::openapi::OpenApi;
use crate::request::{Query, RequestInfo};
use crate::response::{self, AUDIT_ID};
use crate::streams::{self, Connect};
use crate::{Authenticator, Body, BoxError, ClientIdentity, Peer, RequestBody};

/// Bytes of an audit id that a client may choose.
const MAX_AUDIT_ID: usize = 64;
/// Where those who check tokens by themselves find who signs them, and with which keys.
const ISSUER_PATH: &str = "/.well-known/openid-configuration";
const KEYS_PATH: &str = "/openid/v1/jwks";

/// The API over HTTP: a function from request to response. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) server: Server,
    discovery: Discovery,
    openapi: OpenApi,
    health: Health,
    metrics: Metrics,
    flow_control: FlowControl,
    authenticators: Vec<Box<dyn Authenticator>>,
    anonymous: Anonymous,
    impersonation: Impersonation,
    nodes: Option<Arc<dyn NodeDirectory>>,
    aggregator: Option<Aggregator>,
}

/// A request as it came, without its body.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) info: &'a RequestInfo,
    query: &'a Query,
    pub(crate) peer: &'a Peer,
}

/// What comes with the head of a request.
struct Content {
    body: RequestBody,
    /// The connection itself, where it can be taken over.
    upgrade: Option<OnUpgrade>,
}

/// Puts a [`Front`] together.
pub struct FrontBuilder {
    server: Server,
    authenticators: Vec<Box<dyn Authenticator>>,
    anonymous: Anonymous,
    nodes: Option<Arc<dyn NodeDirectory>>,
    aggregator: Option<Aggregator>,
    health: Health,
}

impl FrontBuilder {
    /// Adds a check to some of the pages `/healthz`, `/livez` and `/readyz`.
    pub fn check(
        self,
        name: &str,
        pages: &[Page],
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.health.add(name, pages, check);
        self
    }

    /// Adds an authenticator, to be asked after those that are there.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Box::new(authenticator));
        self
    }

    /// Sets what callers without a name may reach: health and version, if this is not called.
    pub fn anonymous(mut self, anonymous: Anonymous) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// Sets how nodes are reached. Without it, what needs one is not there.
    pub fn nodes(mut self, nodes: Arc<dyn NodeDirectory>) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// Has other servers serve groups, as `APIService` objects say; without it none does. They
    /// believe who makes a request when `identity` proves to them whose front this is.
    ///
    /// # Errors
    /// [`Error::Certificate`](crate::Error::Certificate) for an identity that is none.
    pub fn aggregate(mut self, identity: Option<&ClientIdentity>) -> crate::Result<Self> {
        self.aggregator = Some(Aggregator::new(self.server.clone(), identity)?);
        Ok(self)
    }

    /// The front.
    pub fn build(self) -> Front {
        let Self { server, authenticators, anonymous, nodes, aggregator, health } = self;
        let metrics = Metrics::new(&server);
        let openapi = OpenApi::new(server.catalog().clone());
        let openapi = openapi.with_remotes(aggregator.clone());
        let flow_control = FlowControl::new();
        metrics.add(|registry| flow_control.register(registry));
        let impersonation = Impersonation::default();
        metrics.add(|registry| impersonation.register(registry));
        health.add("poststarthook/priority-and-fairness-config-consumer", &Page::ALL, {
            let pending = flow_control.pending();
            move || match pending.load(Ordering::Acquire) {
                false => Ok(()),
                true => Err("not finished".to_owned()),
            }
        });
        let mut paths = health.paths();
        let others = ["/metrics", "/openapi/v2", "/openapi/v3", ISSUER_PATH, KEYS_PATH];
        paths.extend(others.map(str::to_owned));
        let discovery = Discovery::new(server.catalog().clone(), paths);
        let discovery = discovery.with_remotes(aggregator.clone());
        let inner = Inner {
            server,
            discovery,
            openapi,
            health,
            metrics,
            flow_control,
            authenticators,
            anonymous,
            impersonation,
            nodes,
            aggregator,
        };
        Front(Arc::new(inner))
    }
}

impl fmt::Debug for FrontBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrontBuilder")
    }
}

impl Front {
    /// A front of a server. It knows callers by what their connection proves, and by the tokens
    /// that the server knows.
    pub fn builder(server: Server) -> FrontBuilder {
        let tokens = BearerTokens(server.clone());
        let authenticators: Vec<Box<dyn Authenticator>> =
            vec![Box::new(Connection), Box::new(tokens)];
        let anonymous = Anonymous::default();
        let health = Health::of(&server);
        FrontBuilder { server, authenticators, anonymous, nodes: None, aggregator: None, health }
    }

    /// Who reaches the servers of other groups, if anybody does.
    pub fn aggregator(&self) -> Option<&Aggregator> {
        self.0.aggregator.as_ref()
    }

    /// What `/healthz`, `/livez` and `/readyz` check; more can be added.
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// What `/metrics` shows; more can be added.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Keeps the objects by which requests are let in, `FlowSchema` and
    /// `PriorityLevelConfiguration`, and follows them, until `stop`. Without it upstream's defaults
    /// rule.
    pub fn maintain(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let front = self.clone();
        front.0.flow_control.pending().store(true, Ordering::Release);
        async move {
            if let Err(error) = front.0.flow_control.maintain(&front.0.server, &stop).await {
                tracing::error!(%error, "flow control follows its objects no more");
            }
        }
    }

    /// Answers a request. Whatever is wrong is an answer, too.
    pub async fn handle(&self, request: Request<RequestBody>, peer: &Peer) -> Response<Body> {
        let watch = Stopwatch::start();
        let (mut parts, body) = request.into_parts();
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let audit_id = self.audit_id(&parts);
        let warnings = Warnings::collect();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let info = RequestInfo::read(&parts.method, parts.uri.path(), &query);
        let about = self.about(info.as_ref().ok(), &query);
        let long = matches!(about.verb, "WATCH" | "CONNECT");
        let serving = self.0.metrics.begin(&about, long);
        let mut marks = Marks::default();
        let mut noted = audit::Noted::new(&audit_id);
        let answered = match info {
            Ok(info) => {
                let content = Content { body, upgrade };
                let asked = Asked { parts: &parts, info: &info, query: &query, peer };
                self.route(asked, content, &warnings, &mut marks, &mut noted).await
            }
            Err(error) => Err(error),
        };
        noted.answered(&answered);
        let mut response = answered.unwrap_or_else(|error| {
            let can = Can { shapes: false, stream: false, protobuf: true };
            // Whoever takes nothing of it gets what everybody reads.
            let accepted = Accepted::negotiate(&parts.headers, &query, can);
            let mut response = response::failure(&error, accepted.unwrap_or(Accepted::JSON));
            if error.reason() == Reason::Unauthorized {
                let challenge = http::HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            response
        });
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        marks.put(&mut response);
        response::finish(&mut response, &audit_id, warnings.take());
        self.0.metrics.end(&about, response.status(), (!long).then(|| watch.elapsed()));
        let end = noted.end(response.status(), long);
        let response = response.map(|body| body.holding((serving, end)));
        tracing::debug!(
            target: "pinnace_http::access",
            method = %parts.method,
            path = parts.uri.path(),
            status = response.status().as_u16(),
            elapsed = ?watch.elapsed(),
            peer = ?peer.address,
            agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()),
            audit_id,
        );
        response
    }

    /// The id of a request: the client's, if it is one, or a new one.
    fn audit_id(&self, parts: &Parts) -> String {
        let given = parts.headers.get(AUDIT_ID).and_then(|id| id.to_str().ok());
        match given.filter(|id| !id.is_empty() && id.len() <= MAX_AUDIT_ID) {
            Some(id) => id.to_owned(),
            None => self.0.server.env().random().uid(),
        }
    }

    async fn route(
        &self,
        asked: Asked<'_>,
        content: Content,
        warnings: &Warnings,
        marks: &mut Marks,
        noted: &mut audit::Noted<'_>,
    ) -> Result<Response<Body>> {
        let Asked { parts, info, query, peer } = asked;
        let server = &self.0.server;
        let user = authentication::authenticate(&self.0.authenticators, parts, peer).await;
        noted.begin(server, user.as_ref().ok(), asked);
        let user = user?;
        let open = !info.is_resource && authentication::is_open(&info.path);
        if &*user.name == ANONYMOUS && !self.0.anonymous.may_reach(&info.path) {
            return Err(authentication::unauthorized());
        }
        let narrowed = Narrowed::by(info, query);
        let wanted = narrowed.attributes(&user, info);
        let impersonation = &self.0.impersonation;
        let user = match impersonation.impersonate(server, &wanted, &parts.headers)? {
            Some(other) => {
                noted.acts_as(&other.user, other.constraint);
                other.user
            }
            None => user,
        };
        // Kept until the answer is made: sending it is bounded by the connection.
        let _seat = match self.0.flow_control.admit(&user, info, marks).await {
            Ok(seat) => seat,
            Err(Refused) => return Ok(response::too_many()),
        };
        if !open {
            // The pipeline asks again, for it has other callers, too: here it is asked before the
            // body is read.
            noted.check(server, &narrowed.attributes(&user, info))?;
        }
        if let Some((aggregator, remote)) = self.remote(info) {
            let Content { body, upgrade } = content;
            let is_watch = info.verb == "watch";
            let forwarded = Forwarded { parts, body, upgrade, user: &user, peer, is_watch };
            return aggregator.forward(&remote, forwarded).await;
        }
        if !info.is_resource {
            return self.document(parts);
        }
        let catalog = server.catalog();
        let found = catalog.by_path(&info.group, &info.version, &info.resource);
        // One of another server is that server's, which nobody has been found for above.
        let Some(resource) = found.filter(|found| !found.is_elsewhere()) else {
            let known = catalog.all().iter().any(|entry| {
                entry.group == info.group && entry.version == info.version && !entry.is_elsewhere()
            });
            return if known { Err(no_such_resource()) } else { Ok(response::no_such_page()) };
        };
        if !resource.is_namespaced() && !info.namespace_of_objects().is_empty() {
            return Err(no_such_resource());
        }
        if streams::is_connection(&resource, &info.subresource) {
            info.check_segments()?;
            let connect = Connect {
                server,
                nodes: self.0.nodes.as_ref(),
                user: &user,
                info,
                query,
                headers: &parts.headers,
                peer,
                resource: &resource,
            };
            return connect.run(parts, content.body, content.upgrade).await;
        }
        // As upstream, which has no routes for it.
        if parts.method == Method::HEAD {
            return Err(method_not_allowed());
        }
        let call = Call {
            server,
            api: InProcess::new(server.clone(), user).part_of(noted.request()),
            info,
            query,
            headers: &parts.headers,
            peer,
            resource,
            warnings,
        };
        call.run(content.body, content.upgrade).await
    }

    /// The server that a request is for, where that is another than this one.
    fn remote(&self, info: &RequestInfo) -> Option<(&Aggregator, Remote)> {
        let aggregator = self.0.aggregator.as_ref()?;
        let (group, version) = match info.is_resource {
            true => (&*info.group, &*info.version),
            false => {
                // What it has, and the description of that.
                let path = info.path.trim_matches('/');
                let path = path.strip_prefix("openapi/v3/").unwrap_or(path);
                path.strip_prefix("apis/")?.split_once('/')?
            }
        };
        Some((aggregator, aggregator.find(group, version)?))
    }

    /// Answers what is not about objects: discovery, health and their like.
    fn document(&self, parts: &Parts) -> Result<Response<Body>> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(method_not_allowed());
        }
        let Inner { server, discovery, openapi, health, metrics, .. } = &*self.0;
        let response = match parts.uri.path() {
            "/metrics" => Some(metrics.respond()),
            ISSUER_PATH => {
                let configuration = server.signing_key()?.configuration();
                Some(response::shared("application/json", &configuration))
            }
            KEYS_PATH => {
                let keys = server.signing_key()?.key_set();
                Some(response::shared("application/jwk-set+json", &keys))
            }
            path if path.starts_with("/openapi/") => openapi.respond(parts, server.env().now()),
            _ => discovery.respond(parts).or_else(|| health.respond(parts)),
        };
        Ok(response.map_or_else(response::no_such_page, |response| response.map(Body::from)))
    }

    /// What a request is counted as. Only what the catalog knows is named.
    fn about(&self, info: Option<&RequestInfo>, query: &Query) -> About {
        let Some(info) = info.filter(|info| info.is_resource) else {
            return About { verb: "GET", ..About::default() };
        };
        let catalog = self.0.server.catalog();
        let Some(kind) = catalog.by_path(&info.group, &info.version, &info.resource) else {
            return About { verb: "GET", ..About::default() };
        };
        let part = info.subresource.as_str();
        let part =
            crate::discovery::resources::parts(&kind).into_iter().find(|one| one.name == part);
        let connects = part.is_some_and(|part| part.kind.kind.ends_with("Options"));
        About {
            verb: if connects { "CONNECT" } else { verb_of(&info.verb) },
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: part.map_or_else(String::new, |part| part.name.to_owned()),
            scope: match (&*info.name, &*info.namespace) {
                ("", "") => "cluster",
                ("", _) => "namespace",
                _ => "resource",
            },
            dry_run: query.get("dryRun").is_some(),
        }
    }
}

/// A front as a service of `tower`, for clients within this process.
#[derive(Clone, Debug)]
pub struct FrontService {
    front: Front,
    peer: Peer,
}

impl Front {
    /// A service whose requests come from `peer`.
    pub fn service(&self, peer: Peer) -> FrontService {
        FrontService { front: self.clone(), peer }
    }
}

impl<B> tower_service::Service<Request<B>> for FrontService
where
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { front, peer } = self.clone();
        let request = request.map(|body| UnsyncBoxBody::new(body.map_err(Into::into)));
        Box::pin(async move { Ok(front.handle(request, &peer).await) })
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Front")
    }
}

/// A verb as upstream's figures name it.
fn verb_of(verb: &str) -> &'static str {
    match verb {
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "GET",
    }
}

/// To which objects a request about several is narrowed down.
struct Narrowed {
    fields: Option<FieldSelector>,
    labels: Option<Selector>,
}

impl Narrowed {
    fn by(info: &RequestInfo, query: &Query) -> Self {
        let several = matches!(&*info.verb, "list" | "watch" | "deletecollection");
        let text = |name: &str| query.text(name).filter(|_| several && info.is_resource);
        Self {
            fields: text("fieldSelector").and_then(|text| FieldSelector::parse(text).ok()),
            labels: text("labelSelector").and_then(|text| Selector::parse(text).ok()),
        }
    }

    /// What an authorizer is asked.
    fn attributes<'a>(&'a self, user: &'a User, info: &'a RequestInfo) -> Attributes<'a> {
        if !info.is_resource {
            return Attributes::path(user, &info.verb, &info.path);
        }
        Attributes {
            user,
            verb: &info.verb,
            group: &info.group,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            path: "",
            selectors: Selectors { fields: self.fields.as_ref(), labels: self.labels.as_ref() },
        }
    }
}
