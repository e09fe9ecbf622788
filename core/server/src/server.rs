use std::fmt;
use std::sync::{Arc, OnceLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};
use parking_lot::RwLock;
use pinnace_api::pod_security::PodSecurityConfiguration;
use pinnace_api::quota::LimitedResource;
use pinnace_api::{ApiError, Catalog, Key, Reason, Resource, Result};
use pinnace_client::nodes::NodeDirectory;
use pinnace_client::{Client, ListOptions, Subresource};
use pinnace_env::Env;
use pinnace_store::{Snapshot, Store};

use crate::admission::{self, Admission, AdmissionRequest};
use crate::audit::{AuditedRequest, Auditor};
use crate::authentication::{SigningKey, TokenAuthenticator};
use crate::belongings::Belongings;
use crate::elsewhere::OtherServers;
use crate::extension::ExtensionClient;
use crate::figures::AdmissionFigures;
use crate::followed::Followed;
use crate::hooks::{AdmissionHook, Hooks};
use crate::policy::{Policies, RightsOfParams};
use crate::service::{PortsInFlight, ServiceNetwork};
use crate::webhooks::Webhooks;
use crate::{Attributes, Authorizer, Decision, InProcess, MastersOnly, Selectors, User};

/// How often a write is tried anew when other writers come between, before its caller is told.
pub(crate) const WRITE_ATTEMPTS: usize = 64;

/// The API of one engine. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    store: Store,
    catalog: Catalog,
    env: Env,
    authorizer: Arc<dyn Authorizer>,
    admission: Vec<Box<dyn Admission>>,
    services: ServiceNetwork,
    ports: PortsInFlight,
    /// Made when it is first needed, where none was given.
    tokens: OnceLock<SigningKey>,
    belongings: Belongings,
    authenticators: Vec<Arc<dyn TokenAuthenticator>>,
    auditor: Option<Auditor>,
    extensions: Option<Arc<dyn ExtensionClient>>,
    webhooks: Followed<Webhooks>,
    nodes: Option<Arc<dyn NodeDirectory>>,
    policies: Followed<Policies>,
    hooks: Hooks,
    charges_quotas: bool,
    limited: Vec<LimitedResource>,
    /// Set by who has sockets, when they are there.
    others: RwLock<Option<Arc<dyn OtherServers>>>,
    figures: AdmissionFigures,
}

/// Puts a [`Server`] together.
pub struct ServerBuilder {
    store: Store,
    catalog: Catalog,
    env: Env,
    authorizer: Arc<dyn Authorizer>,
    admission: Vec<Box<dyn Admission>>,
    services: ServiceNetwork,
    tokens: OnceLock<SigningKey>,
    certificate: Option<Arc<str>>,
    authenticators: Vec<Arc<dyn TokenAuthenticator>>,
    auditor: Option<Auditor>,
    extensions: Option<Arc<dyn ExtensionClient>>,
    nodes: Option<Arc<dyn NodeDirectory>>,
    pods: PodSecurityConfiguration,
    hooks: Hooks,
    disabled: Vec<String>,
    limited: Vec<LimitedResource>,
}

impl ServerBuilder {
    /// Sets who decides what may be done, instead of [`MastersOnly`].
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Arc::new(authorizer);
        self
    }

    /// Adds a rule for what may be written, after the built-in ones.
    pub fn admission(mut self, rule: impl Admission) -> Self {
        self.admission.push(Box::new(rule));
        self
    }

    /// Adds a function of the host that changes or refuses what is written.
    pub fn hook(mut self, hook: AdmissionHook) -> Self {
        self.hooks.add(hook);
        self
    }

    /// Leaves out built-in rules of admission, by their names in
    /// [`ADMISSION_PLUGINS`](crate::ADMISSION_PLUGINS).
    pub fn disable_admission(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.disabled.extend(names);
        self
    }

    /// Sets what is asked of pods where their namespaces do not say, and of whom nothing is asked.
    pub fn pod_security(mut self, config: PodSecurityConfiguration) -> Self {
        self.pods = config;
        self
    }

    /// Sets what nobody uses where no quota is about it.
    pub fn limited_resources(mut self, limited: Vec<LimitedResource>) -> Self {
        self.limited = limited;
        self
    }

    /// Sets where services get their addresses and ports from.
    pub fn services(mut self, network: ServiceNetwork) -> Self {
        self.services = network;
        self
    }

    /// Sets the key that signs the tokens of service accounts. Without it they end with the server.
    /// With it every namespace is made with a service account, and every pod runs as one.
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.tokens = key.into();
        self
    }

    /// Sets the certificate in PEM by which the API is known: every namespace is made with it.
    pub fn root_certificate(mut self, pem: &str) -> Self {
        self.certificate = Some(pem.into());
        self
    }

    /// Sets who notes requests.
    pub fn auditor(mut self, auditor: Auditor) -> Self {
        self.auditor = Some(auditor);
        self
    }

    /// Sets how webhooks are reached. Without it none is, and what needs one fails.
    pub fn extensions(mut self, client: Arc<dyn ExtensionClient>) -> Self {
        self.extensions = Some(client);
        self
    }

    /// Adds one who knows bearer tokens, to be asked after those that are there.
    pub fn token_authenticator(mut self, tokens: Arc<dyn TokenAuthenticator>) -> Self {
        self.authenticators.push(tokens);
        self
    }

    /// Sets how nodes are reached: without it nothing is known of what they use.
    pub fn nodes(mut self, nodes: Arc<dyn NodeDirectory>) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// The server.
    pub fn build(self) -> Server {
        let Self { store, catalog, env, authorizer, services, tokens, .. } = self;
        let Self { certificate, authenticators, auditor, extensions, nodes, pods, .. } = self;
        let Self { hooks, disabled, limited, .. } = self;
        let belongings = Belongings { accounts: tokens.get().is_some(), certificate };
        let ports = PortsInFlight::default();
        let mut rules = admission::builtin(&env, tokens.get().is_some(), &authorizer, pods);
        let is_disabled = |name: &str| disabled.iter().any(|one| one == name);
        rules.retain(|rule| !is_disabled(rule.name()));
        let charges_quotas = !is_disabled(admission::QUOTA);
        rules.push(Box::new(RightsOfParams::new(authorizer.clone(), catalog.clone())));
        rules.extend(self.admission);
        let admission = rules;
        let webhooks = Followed::new(store.clone());
        let policies = Followed::new(store.clone());
        Server(Arc::new(Inner {
            store,
            catalog,
            env,
            authorizer,
            admission,
            services,
            ports,
            tokens,
            belongings,
            authenticators,
            auditor,
            extensions,
            webhooks,
            nodes,
            policies,
            hooks,
            charges_quotas,
            limited,
            others: RwLock::default(),
            figures: AdmissionFigures::default(),
        }))
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerBuilder")
    }
}

impl Server {
    /// A server over a store, with the built-in rules of admission.
    pub fn builder(store: Store, catalog: Catalog, env: Env) -> ServerBuilder {
        ServerBuilder {
            store,
            catalog,
            env,
            authorizer: Arc::new(MastersOnly),
            admission: Vec::new(),
            services: ServiceNetwork::default(),
            tokens: OnceLock::new(),
            certificate: None,
            authenticators: Vec::new(),
            auditor: None,
            extensions: None,
            nodes: None,
            pods: PodSecurityConfiguration::default(),
            hooks: Hooks::default(),
            disabled: Vec::new(),
            limited: Vec::new(),
        }
    }

    /// A client that acts as `user`.
    pub fn client(&self, user: User) -> Client {
        Client::new(InProcess::new(self.clone(), user))
    }

    /// The kinds that are served.
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// The store behind it.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Time and chance.
    pub fn env(&self) -> &Env {
        &self.0.env
    }

    /// Where services get their addresses and ports from.
    pub fn service_network(&self) -> &ServiceNetwork {
        &self.0.services
    }

    /// Who notes requests.
    pub fn auditor(&self) -> Option<&Auditor> {
        self.0.auditor.as_ref()
    }

    /// What admission takes and lets through.
    pub fn admission_figures(&self) -> &AdmissionFigures {
        &self.0.figures
    }

    pub(crate) fn extensions(&self) -> Option<&dyn ExtensionClient> {
        self.0.extensions.as_deref()
    }

    /// Sets who sends requests on to the servers of other groups, in place of who did.
    pub fn send_on_by(&self, others: Arc<dyn OtherServers>) {
        *self.0.others.write() = Some(others);
    }

    pub(crate) fn other_servers(&self) -> Option<Arc<dyn OtherServers>> {
        self.0.others.read().clone()
    }

    pub(crate) fn webhooks(&self) -> &Followed<Webhooks> {
        &self.0.webhooks
    }

    /// How nodes are reached.
    pub(crate) fn nodes(&self) -> Option<&dyn NodeDirectory> {
        self.0.nodes.as_deref()
    }

    pub(crate) fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    pub(crate) fn policies(&self) -> &Followed<Policies> {
        &self.0.policies
    }

    pub(crate) fn token_authenticators(&self) -> &[Arc<dyn TokenAuthenticator>] {
        &self.0.authenticators
    }

    pub(crate) fn belongings(&self) -> &Belongings {
        &self.0.belongings
    }

    /// What nobody uses where no quota is about it.
    pub(crate) fn limited(&self) -> &[LimitedResource] {
        &self.0.limited
    }

    /// Whether writes are charged to quotas.
    pub(crate) fn charges_quotas(&self) -> bool {
        self.0.charges_quotas
    }

    pub(crate) fn ports(&self) -> &PortsInFlight {
        &self.0.ports
    }

    pub(crate) fn authorizer(&self) -> &dyn Authorizer {
        &*self.0.authorizer
    }

    /// The key that signs tokens, made when it is first needed.
    ///
    /// # Errors
    /// `InternalError` when the machine gives no randomness.
    pub fn signing_key(&self) -> Result<&SigningKey> {
        let kept = &self.0.tokens;
        if kept.get().is_none() {
            // Who comes second at the same time drops the key that was made for nothing.
            let _ = kept.set(SigningKey::generate()?);
        }
        kept.get().ok_or_else(|| ApiError::internal("there is no key that signs tokens"))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.0.store.snapshot()
    }

    /// Asks the authorizer.
    pub(crate) fn authorize(
        &self,
        user: &User,
        verb: &str,
        resource: &Resource,
        subresource: Option<Subresource>,
        namespace: &str,
        name: &str,
    ) -> Result<()> {
        let subresource = subresource.map_or("", Subresource::as_str);
        let selectors = Selectors::default();
        let (group, resource, path) = (&*resource.group, &*resource.plural, "");
        self.check(&Attributes {
            user,
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
            path,
            selectors,
        })
    }

    /// Asks the authorizer about several objects of a kind; about one, where the name is selected.
    pub(crate) fn authorize_several(
        &self,
        user: &User,
        verb: &str,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<()> {
        let namespace = namespace.unwrap_or_default();
        let selectors = Selectors::of(options);
        let (group, resource) = (&*resource.group, &*resource.plural);
        let one = options.fields.as_ref().filter(|_| verb != "deletecollection");
        let name = one.and_then(|fields| fields.requires("metadata.name")).unwrap_or_default();
        let (subresource, path) = ("", "");
        self.check(&Attributes {
            user,
            verb,
            group,
            resource,
            subresource,
            namespace,
            name,
            path,
            selectors,
        })
    }

    /// Asks the authorizer, also about what no kind of the catalog stands for.
    ///
    /// # Errors
    /// `Forbidden`, in upstream's words.
    pub fn check(&self, request: &Attributes<'_>) -> Result<()> {
        self.check_noted(request, None)
    }

    /// As [`Server::check`], for a request that is noted.
    ///
    /// # Errors
    /// `Forbidden`, in upstream's words.
    pub fn check_noted(
        &self,
        request: &Attributes<'_>,
        noted: Option<&AuditedRequest>,
    ) -> Result<()> {
        let decision = self.0.authorizer.authorize(request);
        if let Some(noted) = noted {
            noted.decided(&*self.0.authorizer, request, &decision);
        }
        match decision {
            Decision::Allow => Ok(()),
            Decision::Deny(why) => Err(forbidden(request, &why)),
        }
    }

    /// Asks every rule of admission, in order.
    pub(crate) fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        self.0.admission.iter().try_for_each(|rule| rule.admit(request))
    }

    /// Has every rule of admission look at what is final, in order.
    pub(crate) fn review_by_rules(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        self.0.admission.iter().try_for_each(|rule| rule.review(request))
    }

    /// Checks that a request names a namespace where the kind needs one, and none elsewhere.
    pub(crate) fn check_scope(resource: &Resource, key: &Key) -> Result<()> {
        if resource.is_namespaced() && key.namespace().is_empty() {
            return Err(ApiError::bad_request(
                "an empty namespace may not be set when a resource name is provided",
            ));
        }
        if !resource.is_namespaced() && !key.namespace().is_empty() {
            return Err(ApiError::bad_request(
                "namespace may not be set for a cluster-scoped resource",
            ));
        }
        Ok(())
    }

    /// Checks that a kind has the subresource, and that this can be done with it.
    pub(crate) fn check_part(
        resource: &Resource,
        name: &str,
        subresource: Option<Subresource>,
        verb: &str,
    ) -> Result<()> {
        match subresource {
            Some(part) if !resource.subresources.has(part) => {
                Err(ApiError::not_found(resource, name))
            }
            Some(part) if !part.verbs().contains(&verb) => {
                Err(ApiError::method_not_supported(resource, verb))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

/// The answer to who may not do something, in upstream's words, with what there is to say of it.
pub fn forbidden(request: &Attributes<'_>, why: &str) -> ApiError {
    let user = &*request.user.name;
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    if !request.path.is_empty() {
        let message = format!("User {user:?} cannot {} path {:?}{why}", request.verb, request.path);
        return ApiError::new(Reason::Forbidden, format!("forbidden: {message}"));
    }
    let part = if request.subresource.is_empty() {
        request.resource.to_owned()
    } else {
        format!("{}/{}", request.resource, request.subresource)
    };
    let scope = if request.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", request.namespace)
    };
    let message = format!(
        "User {user:?} cannot {} resource {part:?} in API group {:?} {scope}{why}",
        request.verb, request.group
    );
    let qualified = request.qualified_resource();
    let subject =
        if request.name.is_empty() { qualified } else { format!("{qualified} {:?}", request.name) };
    ApiError::from_status(Status {
        code: Some(403),
        reason: Some(Reason::Forbidden.as_str().to_owned()),
        message: Some(format!("{subject} is forbidden: {message}")),
        details: Some(StatusDetails {
            group: Some(request.group.to_owned()).filter(|group| !group.is_empty()),
            kind: Some(request.resource.to_owned()),
            name: Some(request.name.to_owned()).filter(|name| !name.is_empty()),
            ..Default::default()
        }),
        ..Default::default()
    })
}
