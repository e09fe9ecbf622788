use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use pinnace_client::EventType;
use pinnace_network::PodAttachment;
use pinnace_runtime::PodConfig;

use super::admission;
use super::container_config::pod_config;
use super::fields::Surroundings;
use super::worker::{Cx, Stage, Worker};
use super::{host_ports, kernel, phase, tokens, unsupported};
use crate::config::Machine;
use crate::sources::{self, Sources};
use crate::volumes::{self, MountError, Prepared};
use crate::{csi, logs};

/// The reason of Events about what a pod's containers share.
const FAILED_SANDBOX: &str = "FailedCreatePodSandBox";

impl Worker {
    /// Takes the pod over if it ran before, else admits it.
    pub(super) fn begin(&mut self, cx: &Cx) {
        let ran_before = self.adopt(cx);
        if self.gone && !ran_before {
            return self.go_to(Stage::Gone);
        }
        if self.is_terminal() {
            self.over = true;
            return self.go_to(Stage::Cleaning);
        }
        let requests = self.requests();
        if ran_before {
            let never = |_: &_| Ok::<(), std::convert::Infallible>(());
            let _ = cx.host().reserve(&requests, never);
            self.reserved = Some(requests);
            return self.go_to(Stage::SettingUp);
        }
        if self.object().is_deleting() {
            self.over = true;
            return self.go_to(Stage::Cleaning);
        }
        let node = admission::asks_for_node(self.pod())
            .then(|| cx.shared.nodes_cache.get(&pinnace_api::Key::cluster(&*cx.host().name)))
            .flatten();
        let pod = self.pod();
        let local = cx.shared.machine.state().is_some();
        let taken = has_taken_ports(cx, pod);
        let admitted = cx.host().reserve(&requests, |used| {
            admission::pressure(pod, &cx.host().pressures())?;
            admission::ports(taken)?;
            admission::app_armor(pod, || local && !kernel::has_app_armor())?;
            admission::admit(pod, node.as_deref(), &requests, used, &cx.host().allocatable)
        });
        match admitted {
            Ok(()) => {
                self.reserved = Some(requests);
                self.watch_references(cx);
                self.go_to(Stage::SettingUp);
            }
            Err(verdict) => {
                let (reason, message) = (verdict.reason.clone(), verdict.message.clone());
                self.event(cx, None, EventType::Warning, &reason, message);
                self.verdict = Some(verdict);
                self.over = true;
                self.go_to(Stage::Cleaning);
            }
        }
    }

    /// Has the pod looked at when anything changes that it refers to.
    pub(super) fn watch_references(&self, cx: &Cx) {
        let mut all = sources::of_pod(self.pod());
        if cx.shared.machine.state().is_none() {
            // Claims are for real volumes.
            all.retain(|one| !matches!(one, sources::Reference::Claim(_)));
        }
        cx.shared.watch_references(&cx.slot, all);
    }

    /// Makes what the containers share: volumes, sandbox and network.
    pub(super) async fn set_up(&mut self, cx: &Cx) {
        if let Machine::Local { .. } = cx.shared.machine
            && let Err(message) = unsupported::check(self.pod())
        {
            let message = format!("Failed to create pod sandbox: {message}");
            self.event(cx, None, EventType::Warning, FAILED_SANDBOX, message);
            return self.try_later(cx);
        }
        let volumes = &super::record::spec_of(self.pod()).volumes;
        if volumes.as_ref().is_some_and(|volumes| !volumes.is_empty())
            && let Err(error) = Box::pin(self.prepare_volumes(cx)).await
        {
            self.event(cx, None, EventType::Warning, error.reason, error.message);
            return self.try_later(cx);
        }
        let turn = cx.shared.clone();
        let turn = self.busy(cx, turn.turn()).await;
        let directory = logs::pod_directory(&cx.shared.logs, self.pod());
        let made = pod_config(self.pod(), &cx.shared.machine, cx.host(), directory);
        let handler = Box::pin(self.runtime_handler(cx)).await;
        let handler = handler.map_err(|error| error.message().to_owned());
        let config = match made.and_then(|config| Ok((config, handler?))) {
            Ok((config, runtime_handler)) => PodConfig { runtime_handler, ..config },
            Err(why) => {
                let message = format!("Failed to create pod sandbox: {why}");
                self.event(cx, None, EventType::Warning, FAILED_SANDBOX, message);
                return self.try_later(cx);
            }
        };
        let runtime = cx.runtime();
        self.features = self.busy(cx, runtime.features(&config.runtime_handler)).await;
        self.made = true;
        let sandbox = match self.busy(cx, runtime.create_pod(&config)).await {
            Ok(sandbox) => sandbox,
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.event(cx, None, EventType::Warning, FAILED_SANDBOX, message);
                return self.try_later(cx);
            }
        };
        let namespace = match (&sandbox.network_namespace, &cx.shared.machine) {
            _ if config.host_network => None,
            (Some(namespace), _) => Some(namespace.clone()),
            (None, Machine::Simulated) => Some(Path::new("").to_owned()),
            // The runtime could not make one, so the pod answers at the machine's addresses.
            (None, Machine::Local { .. }) => None,
        };
        self.pod_ips = match namespace {
            None => cx.host().ips.clone(),
            Some(namespace) => {
                let network = cx.host().network.clone();
                let uid = cx.slot.uid.clone();
                let ports = host_ports::of(self.pod());
                let attach = async {
                    let pod = PodAttachment { pod_uid: &uid, namespace: &namespace };
                    let addresses = network.attach(&pod).await?;
                    if !ports.is_empty() {
                        network.publish(&uid, &ports).await?;
                    }
                    Ok::<_, pinnace_network::Error>(addresses)
                };
                match self.busy(cx, Box::pin(attach)).await {
                    Ok(addresses) => addresses.ips.iter().map(ToString::to_string).collect(),
                    Err(error) => {
                        let message = format!(
                            "Failed to create pod sandbox: failed to set up the pod network: {}",
                            chain(&error)
                        );
                        self.event(cx, None, EventType::Warning, FAILED_SANDBOX, message);
                        return self.try_later(cx);
                    }
                }
            }
        };
        drop(turn);
        self.has_sandbox = true;
        self.go_to(Stage::Active);
    }

    /// What carries out the pod, by its RuntimeClass.
    async fn runtime_handler(&mut self, cx: &Cx) -> pinnace_api::Result<String> {
        let name = super::record::spec_of(self.pod()).runtime_class_name.clone();
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(String::new()) };
        let client = cx.shared.client.clone();
        let found =
            async move { client.of::<RuntimeClass>()?.get(&pinnace_api::Key::cluster(name)).await };
        Ok(self.busy(cx, found).await?.handler.clone())
    }

    async fn prepare_volumes(&mut self, cx: &Cx) -> Result<(), MountError> {
        let pod = self.pod();
        let references = sources::of_volumes(pod).collect();
        let client = cx.shared.client.clone();
        let namespace = cx.slot.key.namespace().to_owned();
        let read = Sources::read(&client, &namespace, references);
        let failed = |error| MountError::general(format!("MountVolume.SetUp failed: {error}"));
        let found = self.busy(cx, read).await.map_err(failed)?;
        let (object, known) = (self.object(), self.tokens.clone());
        let (env, local) = (cx.shared.env.clone(), cx.shared.machine.state().is_some());
        let more = async {
            let pod = object.get()?;
            if !local {
                return Ok((found.with_tokens(tokens::unread(pod)), Vec::new()));
            }
            let tokens = tokens::renew(&client, &env, pod, tokens::wanted(pod), &known).await?;
            let found = found.with_tokens(tokens.clone()).with_claims(&client, pod).await?;
            Ok((found, tokens))
        };
        let (found, tokens) = self.busy(cx, more).await.map_err(failed)?;
        self.tokens = tokens;
        let found = Box::pin(self.publish_volumes(cx, found)).await?;
        let Some(state) = cx.shared.machine.state().map(Path::to_owned) else {
            let around = self.surroundings(cx);
            return volumes::check(self.pod(), &found, &around);
        };
        let object = self.object();
        let host = cx.slot.host.clone();
        let pod_ips = self.pod_ips.clone();
        let work = cx.shared.tasks.spawn_blocking(move || -> Result<Prepared, MountError> {
            let pod = object.get().map_err(|error| MountError::general(error.to_string()))?;
            let around = Surroundings {
                host_ips: &host.ips,
                pod_ips: &pod_ips,
                allocatable: &host.allocatable,
            };
            for volume in super::record::spec_of(pod).volumes.iter().flatten() {
                volumes::supported(volume)?;
            }
            volumes::prepare(&state, pod, &found, &around)
        });
        let done = self.busy(cx, work).await;
        let prepared = done.map_err(|error| MountError::general(error.to_string()))??;
        // Images that are mounted already stay.
        self.volumes.extend(prepared);
        Ok(())
    }

    /// Has drivers put their volumes somewhere; those that are there already stay.
    async fn publish_volumes(
        &mut self,
        cx: &Cx,
        mut found: Sources,
    ) -> Result<Sources, MountError> {
        if cx.shared.machine.state().is_none() {
            return Ok(found);
        }
        let object = self.object();
        let failed = |error: pinnace_api::ApiError| MountError::general(error.to_string());
        let pod = object.get::<Pod>().map_err(failed)?;
        let shared = cx.shared.clone();
        for volume in super::record::spec_of(pod).volumes.iter().flatten() {
            let claim = sources::claim_of(pod, volume);
            let claimed = claim.and_then(|claim| found.claimed(&claim).ok());
            let Some(source) = csi::source_of(pod, volume, claimed) else { continue };
            let path = match self.volumes.get(&volume.name) {
                Some(path) => path.clone(),
                None => {
                    // It is to be undone, even if nothing else is ever made for the pod.
                    self.made = true;
                    let source = Arc::new(source);
                    let publish = csi::publish(&shared, &cx.slot.host.name, pod, &source);
                    self.busy(cx, Box::pin(publish)).await?
                }
            };
            found = found.with_published(&volume.name, path);
        }
        Ok(found)
    }

    /// Brings the volumes of a running pod up to date with what they show.
    pub(super) async fn refresh_volumes(&mut self, cx: &Cx) {
        let shows = |volume: &k8s_openapi::api::core::v1::Volume| {
            volume.config_map.is_some()
                || volume.secret.is_some()
                || volume.projected.is_some()
                || volume.downward_api.is_some()
        };
        let volumes = &super::record::spec_of(self.pod()).volumes;
        if cx.shared.machine.state().is_none() || !volumes.iter().flatten().any(shows) {
            return;
        }
        if let Err(error) = self.prepare_volumes(cx).await {
            self.event(cx, None, EventType::Warning, error.reason, error.message);
        }
    }

    pub(super) fn surroundings<'a>(&'a self, cx: &'a Cx) -> Surroundings<'a> {
        Surroundings {
            host_ips: &cx.host().ips,
            pod_ips: &self.pod_ips,
            allocatable: &cx.host().allocatable,
        }
    }
}

/// Whether a port of the machine that a pod asks for is that of another pod here.
fn has_taken_ports(cx: &Cx, pod: &Pod) -> bool {
    if host_ports::asked(pod).is_empty() {
        return false;
    }
    cx.shared.slots_of(&cx.slot.host.runtime).iter().any(|other| {
        let here = Arc::ptr_eq(&other.host, &cx.slot.host) && other.uid != cx.slot.uid;
        let Ok(other) = other.pod().typed::<Pod>() else { return false };
        let status = other.status.as_ref();
        // One that is only about to begin comes after this one.
        let begun = status.is_some_and(|status| status.start_time.is_some());
        let ended = phase::is_terminal(status.and_then(|status| status.phase.as_deref()));
        // Nobody waits for one that was deleted at once.
        let given_up = other.metadata.deletion_grace_period_seconds == Some(0);
        here && begun && !ended && !given_up && host_ports::conflict(pod, &other)
    })
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
