//! Who may come and what they may do, beside what the cluster itself knows of them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pinnace_api::admission_config::AdmissionConfiguration;
pub use pinnace_api::pod_security::{
    Exemptions, Level, LevelVersion, PodSecurityConfiguration, Policy, Version,
};
use pinnace_api::quota::LimitedResource;
use pinnace_env::Env;
use pinnace_http::authentication::jwt::{AuthenticationConfiguration, JwtTokens};
use pinnace_http::{Anonymous, FrontBuilder};
pub use pinnace_http::{Authenticator, TokenAuthenticator};
use pinnace_server::rbac::{Rbac, RbacEscalation};
pub use pinnace_server::{ADMISSION_PLUGINS, Authorizer};
use pinnace_server::{Authorizers, NodeAuthorizer, ServerBuilder};
use pinnace_store::Store;

pub use pinnace_http::Peer;
pub use pinnace_http::authentication::jwt;
pub use pinnace_server::audit;
use pinnace_server::audit::{AuditPolicy, AuditSink, Auditor};
pub use pinnace_server::authentication::{
    AuthenticationHook, Identity, StaticTokens, TokenFileError,
};
pub use pinnace_server::{
    AdmissionHook, Attributes, AuthorizationHook, Decision, Rules, Ruling, Selectors, User,
};

use crate::builder::config;
use crate::{EngineBuilder, Error, Result};

/// What a builder has been told.
#[derive(Clone, Default)]
pub(crate) struct Access {
    authenticators: Vec<Arc<dyn Authenticator>>,
    tokens: Vec<Arc<dyn TokenAuthenticator>>,
    authentication: AuthenticationConfiguration,
    authorizers: Vec<Arc<dyn Authorizer>>,
    hooks: Vec<AdmissionHook>,
    audit: Option<(AuditPolicy, Arc<dyn AuditSink>)>,
    pods: PodSecurityConfiguration,
    limited: Vec<LimitedResource>,
    disabled: Vec<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

impl Access {
    /// Gives a server its authorizers, in upstream's order, and those who know tokens.
    pub(crate) fn guard(
        &self,
        mut server: ServerBuilder,
        store: &Store,
        env: &Env,
    ) -> Result<ServerBuilder> {
        for tokens in &self.tokens {
            server = server.token_authenticator(tokens.clone());
        }
        for tokens in JwtTokens::of(&self.authentication, env)? {
            server = server.token_authenticator(Arc::new(tokens));
        }
        for hook in &self.hooks {
            server = server.hook(hook.clone());
        }
        let rbac = Rbac::new(store.clone());
        let nodes = Arc::new(NodeAuthorizer::new(store.clone()));
        let mut chain = Authorizers::default().and(nodes).and(Arc::new(rbac.clone()));
        for authorizer in &self.authorizers {
            chain = chain.and(authorizer.clone());
        }
        if let Some((policy, sink)) = &self.audit {
            let auditor = Auditor::new(policy.clone(), sink.clone());
            server = server.auditor(auditor.map_err(|error| config(format!("audit: {error}")))?);
        }
        let mut disabled = self.disabled.iter();
        if let Some(unknown) = disabled.find(|name| !ADMISSION_PLUGINS.contains(&name.as_str())) {
            return Err(config(format!("admission: there is no plugin {unknown:?}")));
        }
        let server = server.pod_security(self.pods.clone());
        let server = server.limited_resources(self.limited.clone());
        let server = server.disable_admission(self.disabled.clone());
        let escalation = RbacEscalation::new(rbac).allowed_by(Arc::new(chain.clone()));
        Ok(server.authorizer(chain).admission(escalation))
    }

    pub(crate) fn front(&self, mut front: FrontBuilder) -> FrontBuilder {
        for authenticator in &self.authenticators {
            front = front.authenticator(authenticator.clone());
        }
        match &self.authentication.anonymous {
            Some(anonymous) => front.anonymous(Anonymous::of(anonymous)),
            None => front,
        }
    }
}

impl EngineBuilder {
    /// Adds a host's own way to know who makes a request over HTTP, such as an
    /// [`AuthenticationHook`], to be asked after certificates and tokens.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.access.authenticators.push(Arc::new(authenticator));
        self
    }

    /// Adds somebody who knows bearer tokens, such as [`StaticTokens`] or an
    /// [`AuthenticationHook`].
    pub fn token_authenticator(mut self, tokens: impl TokenAuthenticator) -> Self {
        self.access.tokens.push(Arc::new(tokens));
        self
    }

    /// Accepts the tokens of other issuers as a configuration says, and lets anonymous callers
    /// reach what it says. Issuers are asked for their keys when the first token of theirs comes.
    pub fn authentication(mut self, config: AuthenticationConfiguration) -> Self {
        self.access.authentication = config;
        self
    }

    /// Notes requests and calls as a policy says, in an
    /// [`AuditFile`](audit::AuditFile) or wherever the host wants them. All that could be written
    /// is written when [`Engine::shutdown`](crate::Engine::shutdown) is done.
    pub fn audit(mut self, policy: AuditPolicy, sink: impl AuditSink) -> Self {
        self.access.audit = Some((policy, Arc::new(sink)));
        self
    }

    /// Sets what is asked of pods where their namespaces do not say
    /// (`pod-security.kubernetes.io/enforce` and the like), and of whom nothing is asked.
    pub fn pod_security(mut self, config: PodSecurityConfiguration) -> Self {
        self.access.pods = config;
        self
    }

    /// Tells rules of admission what an `AdmissionConfiguration` in YAML or JSON says
    /// (`apiserver.config.k8s.io/v1`), as files for upstream's server hold it: PodSecurity what is
    /// asked of pods, ResourceQuota what nobody uses without a quota.
    ///
    /// # Errors
    /// [`Error::Config`] for what cannot be read, and for rules that are told what they take no
    /// notice of. A document in a file of its own is one of those:
    /// [`EngineBuilder::admission_configuration_file`] takes these.
    pub fn admission_configuration(self, text: &str) -> Result<Self> {
        self.told(text, |_| Err("only a configuration in a file names others".to_owned()))
    }

    /// As [`EngineBuilder::admission_configuration`], by a file. Files that it names are looked for
    /// beside it.
    ///
    /// # Errors
    /// As there, and [`Error::Io`] when the file cannot be read.
    pub fn admission_configuration_file(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let beside = path.parent().unwrap_or(Path::new("")).to_owned();
        self.told(&text, |named| {
            std::fs::read_to_string(beside.join(named)).map_err(|error| error.to_string())
        })
    }

    fn told(mut self, text: &str, load: impl Fn(&str) -> Result<String, String>) -> Result<Self> {
        let read = AdmissionConfiguration::read(text, &ADMISSION_PLUGINS, load);
        let read = read.map_err(|error| config(format!("admission: {}", error.message())))?;
        if let Some(pods) = read.pod_security {
            self.access.pods = pods;
        }
        if let Some(limited) = read.limited {
            self.access.limited = limited;
        }
        Ok(self)
    }

    /// Adds a function of the host that is asked about what is written, by whomever, and changes or
    /// refuses it. Writes wait for it: the fewer kinds it is asked about, the better. It is not asked
    /// about what every cluster is made with, before the engine runs.
    pub fn admission(mut self, hook: AdmissionHook) -> Self {
        self.access.hooks.push(hook);
        self
    }

    /// Leaves out built-in rules of admission, by their names in [`ADMISSION_PLUGINS`].
    pub fn disable_admission(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.access.disabled.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds a host's own authorizer, to be asked when neither the node authorizer nor RBAC allows
    /// something.
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.access.authorizers.push(Arc::new(authorizer));
        self
    }
}
