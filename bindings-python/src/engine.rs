use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use pinnace::scheduler::Rebalancing;
use pinnace::{
    Clock, DeleteOptions, Env, Error, ListOptions, LogOptions, OnShutdown, Patch,
    PropagationPolicy, Random, Runtime, ServeConfig, blocking,
};
use pyo3::prelude::*;

use crate::call::Call;
use crate::controller::{PythonReconciler, Running};
use crate::convert::{Config, IntoPython};
use crate::error::{misuse, to_python};
use crate::serving::Served;
use crate::stream::Opened;

/// An engine with all that hangs on it, and the process that it belongs to.
pub(crate) struct Shared {
    /// `None` only while it is dropped.
    engine: Option<blocking::Engine>,
    process: u32,
}

impl Shared {
    /// The engine; there is one for as long as anybody can ask.
    pub(crate) fn engine(&self) -> &blocking::Engine {
        match &self.engine {
            Some(engine) => engine,
            None => unreachable!("only the destructor takes it"),
        }
    }

    /// Its threads stay behind in a fork, and with them everything that could answer.
    pub(crate) fn check_process(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(misuse(&format!(
            "this engine lives in process {}, which has forked: start another engine in the child",
            self.process
        )))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        if self.process != std::process::id() {
            // The pods are the parent's, and there are no threads here to join.
            std::mem::forget(engine);
            return;
        }
        // Reconciles that are to be waited for may need the interpreter.
        let mut engine = Some(engine);
        Python::try_attach(|py| {
            let engine = engine.take();
            py.detach(|| drop(engine));
        });
    }
}

/// A call whose result is a running engine.
#[pyfunction]
pub(crate) fn start(config: Config) -> PyResult<Call> {
    let runtime = Runtime::named(&config.runtime).map_err(to_python)?;
    let mut builder = pinnace::Engine::builder().runtime(runtime);
    if let Some(nodes) = config.nodes {
        builder = builder.nodes(nodes);
    }
    if let Some(name) = config.node_name {
        builder = builder.node_name(name);
    }
    if let Some(directory) = config.data_dir {
        builder = builder.data_dir(directory);
    }
    if let Some(directory) = config.plugins_dir {
        builder = builder.plugins_dir(directory);
    }
    builder = match config.on_shutdown.as_deref() {
        None => builder,
        Some("stop") => builder.on_shutdown(OnShutdown::StopPods),
        Some("leave") => builder.on_shutdown(OnShutdown::LeavePods),
        Some(other) => {
            return Err(misuse(&format!("on_shutdown is {other:?}: expected stop or leave")));
        }
    };
    if let Some(seed) = config.seed {
        builder = builder.env(Env::new(Clock::system(), Random::seeded(seed)));
    }
    if let Some(configuration) = &config.scheduler {
        builder = builder.scheduler_configuration(configuration).map_err(to_python)?;
    }
    for plugin in config.scheduler_plugins {
        builder = plugin.add_to(builder)?;
    }
    builder = match config.rebalancing.as_deref() {
        None => builder,
        Some("") => builder.rebalancing(Rebalancing::default()),
        Some(policy) => builder.descheduler_policy(policy).map_err(to_python)?,
    };
    if let Some(configuration) = &config.admission_configuration {
        builder = builder.admission_configuration(configuration).map_err(to_python)?;
    }
    builder = builder.disable_admission(config.disable_admission);
    for admission in config.admission {
        builder = builder.admission(admission.hook());
    }
    for tokens in config.token_authenticators {
        builder = builder.token_authenticator(tokens.hook());
    }
    for authenticator in config.authenticators {
        builder = builder.authenticator(authenticator.hook());
    }
    for authorizer in config.authorizers {
        builder = builder.authorizer(authorizer.hook());
    }
    if let Some(audit) = config.audit {
        builder = audit.add_to(builder)?;
    }
    Ok(Call::thread(move || {
        let engine = Some(blocking::Engine::start(builder)?);
        Ok(Shared { engine, process: std::process::id() })
    }))
}

impl IntoPython for Shared {
    fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Engine(Arc::new(self)))?.into_any())
    }
}

/// An engine; every verb gives a call.
#[pyclass(frozen, module = "pinnace._pinnace")]
pub(crate) struct Engine(Arc<Shared>);

impl Engine {
    /// The engine seen from a namespace, to move into a future.
    fn at(&self, namespace: &str) -> pinnace::Engine {
        self.0.engine().engine().in_namespace(namespace)
    }
}

#[pymethods]
impl Engine {
    fn close(&self) -> PyResult<Call> {
        self.0.check_process()?;
        let shared = self.0.clone();
        Ok(Call::thread(move || shared.engine().shutdown()))
    }

    /// Name and reason of the runtime.
    fn runtime(&self) -> (&'static str, String) {
        let runtime = self.0.engine().engine().runtime();
        (runtime.name, runtime.why.clone())
    }

    fn apply(&self, namespace: &str, manifest: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.apply(&manifest).await })
    }

    fn delete_manifest(&self, namespace: &str, manifest: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.delete_manifest(&manifest).await })
    }

    fn get(&self, namespace: &str, object: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.get(&object).await })
    }

    /// Without a namespace, of all namespaces.
    fn list(
        &self,
        namespace: Option<&str>,
        kind: String,
        labels: &str,
        fields: &str,
    ) -> PyResult<Call> {
        let (engine, all) = (self.at(namespace.unwrap_or_default()), namespace.is_none());
        let options = selection(labels, fields)?;
        Call::future(&self.0, async move {
            let list = if all {
                engine.list_all(&kind, options).await
            } else {
                engine.list(&kind, options).await
            };
            Ok(list?.items)
        })
    }

    /// Without a namespace, of all namespaces.
    fn watch(
        &self,
        namespace: Option<&str>,
        kind: String,
        labels: &str,
        fields: &str,
    ) -> PyResult<Call> {
        let (engine, all) = (self.at(namespace.unwrap_or_default()), namespace.is_none());
        let options = selection(labels, fields)?;
        let shared = self.0.clone();
        Call::future(&self.0, async move {
            let events = if all {
                engine.watch_all(&kind, options).await
            } else {
                engine.watch(&kind, options).await
            };
            Ok(Opened::watch(shared, events?))
        })
    }

    fn create(&self, namespace: &str, json: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.create(json.as_bytes()).await })
    }

    fn update(&self, namespace: &str, json: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.update(json.as_bytes()).await })
    }

    fn update_status(&self, namespace: &str, json: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.update_status(json.as_bytes()).await })
    }

    fn patch(&self, namespace: &str, object: String, kind: &str, json: &str) -> PyResult<Call> {
        let value = serde_json::from_str(json).map_err(|error| misuse(&error.to_string()))?;
        let patch = match kind {
            "merge" => Patch::Merge(value),
            "json" => Patch::Json(value),
            "strategic" => Patch::StrategicMerge(value),
            "apply" => Patch::Apply(value),
            other => {
                return Err(misuse(&format!(
                    "patch type {other:?}: expected merge, json, strategic or apply"
                )));
            }
        };
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.patch(&object, patch).await })
    }

    fn delete(
        &self,
        namespace: &str,
        object: String,
        propagation: Option<&str>,
        grace_period_seconds: Option<i64>,
    ) -> PyResult<Call> {
        let propagation = match propagation {
            None => None,
            Some(name) => Some(PropagationPolicy::parse(name).ok_or_else(|| {
                misuse(&format!("propagation {name:?}: expected Foreground, Background or Orphan"))
            })?),
        };
        let engine = self.at(namespace);
        let options = DeleteOptions { propagation, grace_period_seconds, ..Default::default() };
        Call::future(&self.0, async move { engine.delete(&object, options).await })
    }

    fn scale(&self, namespace: &str, object: String, replicas: i32) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.scale(&object, replicas).await })
    }

    fn wait(
        &self,
        namespace: &str,
        object: String,
        condition: String,
        timeout: f64,
    ) -> PyResult<Call> {
        let engine = self.at(namespace);
        let timeout = seconds("timeout", timeout)?;
        Call::future(&self.0, async move { engine.wait(&object, &condition, timeout).await })
    }

    /// A string, or a stream if it is to be followed.
    #[expect(clippy::too_many_arguments, reason = "the package passes them on as it got them")]
    fn logs(
        &self,
        namespace: &str,
        pod: String,
        container: Option<String>,
        follow: bool,
        previous: bool,
        tail_lines: Option<u64>,
        since: Option<f64>,
        timestamps: bool,
        limit_bytes: Option<u64>,
    ) -> PyResult<Call> {
        let since = since.map(|since| seconds("since", since)).transpose()?;
        let options =
            LogOptions { container, previous, follow, tail_lines, since, timestamps, limit_bytes };
        let engine = self.at(namespace);
        if follow {
            let shared = self.0.clone();
            return Call::future(&self.0, async move {
                Ok(Opened::log(shared, engine.logs(&pod, options).await?))
            });
        }
        Call::future(&self.0, async move {
            let lines: Vec<_> = engine.logs(&pod, options).await?.try_collect().await?;
            let bytes: Vec<u8> = lines.iter().flat_map(|line| line.text.iter().copied()).collect();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
    }

    fn rollout_status(&self, namespace: &str, deployment: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.rollout_status(&deployment).await })
    }

    fn rollout_undo(&self, namespace: &str, deployment: String, revision: i64) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.rollout_undo(&deployment, revision).await })
    }

    fn rollout_restart(&self, namespace: &str, deployment: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.rollout_restart(&deployment).await })
    }

    fn rollout_pause(&self, namespace: &str, deployment: String, paused: bool) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.rollout_pause(&deployment, paused).await })
    }

    fn import_image(&self, path: PathBuf) -> PyResult<Call> {
        let engine = self.at("");
        Call::future(&self.0, async move { engine.import_image(path).await })
    }

    /// Listens on an address, a Unix socket or both.
    fn serve(
        &self,
        address: Option<String>,
        unix: Option<PathBuf>,
        names: Vec<String>,
    ) -> PyResult<Call> {
        if address.is_none() && unix.is_none() {
            return Err(misuse("serve needs an address or a Unix socket"));
        }
        let parse = |address: String| {
            address.parse().map_err(|error| misuse(&format!("address {address:?}: {error}")))
        };
        let config = ServeConfig { address: address.map(parse).transpose()?, unix, names };
        let (engine, shared) = (self.at(""), self.0.clone());
        Call::future(&self.0, async move { Ok(Served::new(shared, engine.serve(config).await?)) })
    }

    fn kubeconfig(&self, user: &str, groups: Vec<String>) -> PyResult<String> {
        self.0.check_process()?;
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        self.at("").kubeconfig(user, &groups).map_err(to_python)
    }

    fn explain(&self, namespace: &str, pod: String) -> PyResult<Call> {
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.explain(&pod).await })
    }

    fn explain_what_if(&self, namespace: &str, json: &str) -> PyResult<Call> {
        let pod = serde_json::from_str(json).map_err(|error| misuse(&format!("pod: {error}")))?;
        let engine = self.at(namespace);
        Call::future(&self.0, async move { engine.explain_what_if(pod).await })
    }

    fn controller(
        &self,
        name: String,
        kind: String,
        owns: Vec<String>,
        workers: usize,
        reconcile: Py<PyAny>,
    ) -> PyResult<Call> {
        let engine = self.at("");
        let reconciler = PythonReconciler { name, reconcile: Arc::new(reconcile) };
        Call::future(&self.0, async move {
            let owns: Vec<&str> = owns.iter().map(String::as_str).collect();
            let controller = engine.controller_of(&kind, &owns, reconciler)?.workers(workers);
            let queue = controller.queue().clone();
            engine.run(controller);
            Ok(Running(queue))
        })
    }
}

fn selection(labels: &str, fields: &str) -> PyResult<ListOptions> {
    let mut options = ListOptions::default();
    let refused = |error| to_python(Error::Api(error));
    if !labels.is_empty() {
        options = options.labels(labels).map_err(refused)?;
    }
    if !fields.is_empty() {
        options = options.fields(fields).map_err(refused)?;
    }
    Ok(options)
}

fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| misuse(&format!("{name}: {error}")))
}
