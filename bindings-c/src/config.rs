use std::ffi::c_char;

use pinnace::access::{AdmissionHook, AuthenticationHook, AuthorizationHook};
use pinnace::scheduler::Rebalancing;
use pinnace::{Clock, EngineBuilder, Env, Random, Runtime};

use crate::audit::Audit;
use crate::boundary::{optional_text, taken};
use crate::error::Failure;
use crate::plugin::SchedulerPlugin;

/// How an engine is to be. Nothing is checked before `pinnace_engine_new`.
///
/// Not for use by several threads at once.
#[derive(Default)]
pub struct Config {
    runtime: Option<String>,
    nodes: Option<usize>,
    node_name: Option<String>,
    data_dir: Option<String>,
    plugins_dir: Option<String>,
    on_shutdown: Option<pinnace::OnShutdown>,
    seed: Option<u64>,
    hooks: Vec<AdmissionHook>,
    token_authenticators: Vec<AuthenticationHook>,
    authenticators: Vec<AuthenticationHook>,
    authorizers: Vec<AuthorizationHook>,
    audit: Option<Audit>,
    scheduler: Option<String>,
    plugins: Vec<SchedulerPlugin>,
    rebalancing: Option<String>,
    admission: Option<String>,
    disabled: Vec<String>,
    /// The first thing that a setter could not take.
    refused: Option<Failure>,
}

/// What becomes of pods when an engine ends.
#[repr(C)]
pub enum OnShutdown {
    /// They are stopped, and everything of theirs is removed: the default in memory.
    Stop = 0,
    /// They go on running; the next engine on the same data directory adopts them: the default on
    /// disk.
    Leave = 1,
}

impl Config {
    pub(crate) fn builder(self) -> Result<EngineBuilder, Failure> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let runtime = self.runtime.as_deref().unwrap_or("auto");
        let mut builder = pinnace::Engine::builder().runtime(Runtime::named(runtime)?);
        if let Some(nodes) = self.nodes {
            builder = builder.nodes(nodes);
        }
        if let Some(name) = self.node_name {
            builder = builder.node_name(name);
        }
        if let Some(directory) = self.data_dir {
            builder = builder.data_dir(directory);
        }
        if let Some(directory) = self.plugins_dir {
            builder = builder.plugins_dir(directory);
        }
        if let Some(what) = self.on_shutdown {
            builder = builder.on_shutdown(what);
        }
        if let Some(seed) = self.seed {
            builder = builder.env(Env::new(Clock::system(), Random::seeded(seed)));
        }
        if let Some(configuration) = &self.scheduler {
            builder = builder.scheduler_configuration(configuration)?;
        }
        for plugin in self.plugins {
            builder = plugin.add_to(builder);
        }
        match self.rebalancing.as_deref() {
            None => {}
            Some("") => builder = builder.rebalancing(Rebalancing::default()),
            Some(policy) => builder = builder.descheduler_policy(policy)?,
        }
        if let Some(configuration) = &self.admission {
            builder = builder.admission_configuration(configuration)?;
        }
        builder = builder.disable_admission(self.disabled);
        for hook in self.hooks {
            builder = builder.admission(hook);
        }
        for tokens in self.token_authenticators {
            builder = builder.token_authenticator(tokens);
        }
        for authenticator in self.authenticators {
            builder = builder.authenticator(authenticator);
        }
        for authorizer in self.authorizers {
            builder = builder.authorizer(authorizer);
        }
        if let Some(Audit { policy, sink }) = self.audit {
            builder = builder.audit(policy, sink);
        }
        Ok(builder)
    }

    pub(crate) fn add_hook(&mut self, hook: AdmissionHook) {
        self.hooks.push(hook);
    }

    pub(crate) fn add_token_authenticator(&mut self, tokens: AuthenticationHook) {
        self.token_authenticators.push(tokens);
    }

    pub(crate) fn add_authenticator(&mut self, authenticator: AuthenticationHook) {
        self.authenticators.push(authenticator);
    }

    pub(crate) fn add_authorizer(&mut self, authorizer: AuthorizationHook) {
        self.authorizers.push(authorizer);
    }

    pub(crate) fn set_audit(&mut self, audit: Audit) {
        self.audit = Some(audit);
    }

    pub(crate) fn add_plugin(&mut self, plugin: SchedulerPlugin) {
        self.plugins.push(plugin);
    }

    /// Keeps what could not be taken, for when the engine is started.
    fn refuse(&mut self, refused: Failure) {
        self.refused.get_or_insert(refused);
    }

    fn set_text(
        &mut self,
        field: impl FnOnce(&mut Self) -> &mut Option<String>,
        value: *const c_char,
        name: &'static str,
    ) {
        match optional_text(value, name) {
            Ok(value) => *field(self) = value.map(str::to_owned),
            Err(refused) => self.refuse(refused),
        }
    }
}

/// Changes a configuration, unless it is NULL.
fn set(config: *mut Config, change: impl FnOnce(&mut Config)) {
    // SAFETY: C passes NULL or a live configuration that no other thread uses.
    quiet!((), unsafe { config.as_mut() }.map(change))
}

/// Adds what can be made of what C has given to a configuration, unless that is NULL.
pub(crate) fn add<T>(
    config: *mut Config,
    made: impl FnOnce() -> Result<T, Failure>,
    add: impl FnOnce(&mut Config, T),
) {
    set(config, |config| match made() {
        Ok(made) => add(config, made),
        Err(refused) => config.refuse(refused),
    });
}

/// A configuration with everything as it is by default. Owned by the caller until it is given to
/// `pinnace_engine_new`.
#[unsafe(no_mangle)]
pub extern "C" fn pinnace_config_new() -> *mut Config {
    quiet!(std::ptr::null_mut(), Some(Box::into_raw(Box::default())))
}

/// Frees a configuration that was not given to `pinnace_engine_new`. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_delete(config: *mut Config) {
    quiet!((), taken(config).map(drop))
}

/// Sets what runs containers: `auto` (containerd where it answers, else `process`; the default),
/// `containerd`, `containerd:///path/to/socket`, `process` or `simulated`. NULL is the default.
/// `runtime` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_runtime(config: *mut Config, runtime: *const c_char) {
    set(config, |config| config.set_text(|config| &mut config.runtime, runtime, "runtime"));
}

/// Sets how many nodes there are: any number of simulated ones, or this machine as the one node of
/// a real runtime. One by default; 0 makes a control plane without nodes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_nodes(config: *mut Config, nodes: usize) {
    set(config, |config| config.nodes = Some(nodes));
}

/// Sets the name of this machine's node; its host name by default and for NULL. `name` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_node_name(config: *mut Config, name: *const c_char) {
    set(config, |config| config.set_text(|config| &mut config.node_name, name, "name"));
}

/// Sets a directory to keep objects in; it is made when needed, and one engine at a time may use
/// it. In memory by default and for NULL. `directory` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_data_dir(
    config: *mut Config,
    directory: *const c_char,
) {
    set(config, |config| config.set_text(|config| &mut config.data_dir, directory, "directory"));
}

/// Sets where CSI drivers register, by Unix sockets: a directory that is made when needed and that is
/// for one engine, such as upstream's `/var/lib/kubelet/plugins_registry`. By default and for NULL it
/// is `node/pods/plugins_registry` in the data directory. The path of a socket has 107 bytes at most.
/// Simulated nodes have no drivers. `directory` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_plugins_dir(
    config: *mut Config,
    directory: *const c_char,
) {
    set(config, |config| config.set_text(|config| &mut config.plugins_dir, directory, "directory"));
}

/// Sets what becomes of pods when the engine ends, a `pinnace_on_shutdown_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_on_shutdown(config: *mut Config, what: i32) {
    const STOP: i32 = OnShutdown::Stop as i32;
    const LEAVE: i32 = OnShutdown::Leave as i32;
    set(config, |config| match what {
        STOP => config.on_shutdown = Some(pinnace::OnShutdown::StopPods),
        LEAVE => config.on_shutdown = Some(pinnace::OnShutdown::LeavePods),
        other => {
            let message = format!("{other} is no pinnace_on_shutdown_t");
            config.refuse(Failure::Argument(message));
        }
    });
}

/// Makes what is random in the engine repeatable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_seed(config: *mut Config, seed: u64) {
    set(config, |config| config.seed = Some(seed));
}

/// Sets how the scheduler decides, by a `KubeSchedulerConfiguration` in YAML or JSON; upstream's
/// defaults for NULL. `configuration` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_scheduler(
    config: *mut Config,
    configuration: *const c_char,
) {
    set(config, |config| {
        config.set_text(|config| &mut config.scheduler, configuration, "configuration");
    });
}

/// Has pods evicted that could be placed better, as a `DeschedulerPolicy` (`descheduler/v1alpha2`) in
/// YAML or JSON says; with all strategies, every five minutes, for an empty one. Off by default and for
/// NULL. `policy` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_rebalancing(
    config: *mut Config,
    policy: *const c_char,
) {
    set(config, |config| {
        config.set_text(|config| &mut config.rebalancing, policy, "policy");
    });
}

/// Sets what rules of admission are told, by an `AdmissionConfiguration` in YAML or JSON:
/// PodSecurity what is asked of pods, ResourceQuota what nobody uses without a quota. Nothing for
/// NULL. `configuration` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_set_admission_configuration(
    config: *mut Config,
    configuration: *const c_char,
) {
    set(config, |config| {
        config.set_text(|config| &mut config.admission, configuration, "configuration");
    });
}

/// Leaves out a rule of admission, by the name of upstream's plug-in, such as `PodSecurity`. NULL
/// leaves out none. `name` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_disable_admission(
    config: *mut Config,
    name: *const c_char,
) {
    set(config, |config| match optional_text(name, "name") {
        Ok(name) => config.disabled.extend(name.map(str::to_owned)),
        Err(refused) => config.refuse(refused),
    });
}
