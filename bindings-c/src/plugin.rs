use std::ffi::{CString, c_char, c_void};
use std::time::Duration;

use parking_lot::Mutex;
use pinnace::EngineBuilder;
use pinnace::k8s_openapi::api::core::v1::Pod;
use pinnace::scheduler::{Answer, BatchNodes, BatchPlugin, Refusal};

use crate::boundary::{handle, optional_text, options, text};
use crate::callback::{Finalizer, JudgeCallback, UserData};
use crate::config::{Config, add};
use crate::controller::called_back;
use crate::error::Failure;

/// How long a plugin may take unless its options say otherwise, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;

/// What a plugin of the scheduler is like. Zero-initialize it and set `size` to
/// `sizeof(pinnace_scheduler_plugin_options_t)`; strings are borrowed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SchedulerPluginOptions {
    /// Its own size.
    pub size: usize,
    /// Its name, for configuration and messages; not NULL.
    pub name: *const c_char,
    /// By how much its scores count; 0 means 1.
    pub weight: i64,
    /// Why nodes are excluded, for the conditions of pods; a text with the name for NULL.
    pub reason: *const c_char,
    /// How long it may take, in milliseconds; 10 seconds for 0. Pods that need its word while it does
    /// not answer get an error that names it.
    pub timeout_ms: u64,
}

/// The nodes that a plugin is asked about, in arrays of the same length.
pub struct Nodes {
    nodes: BatchNodes,
    /// Texts that were lent.
    texts: Mutex<Vec<CString>>,
}

impl Nodes {
    fn lend(&self, text: &str) -> Option<*const c_char> {
        let text = CString::new(text).ok()?;
        let pointer = text.as_ptr();
        self.texts.lock().push(text);
        Some(pointer)
    }
}

/// How many nodes there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_nodes_len(nodes: *const Nodes) -> usize {
    quiet!(0, Some(handle(nodes, "nodes").ok()?.nodes.len()))
}

/// The name of a node; NULL beyond the last. Valid during the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_nodes_name(nodes: *const Nodes, node: usize) -> *const c_char {
    quiet!(std::ptr::null(), {
        let nodes = handle(nodes, "nodes").ok()?;
        nodes.lend(nodes.nodes.objects().get(node)?.object().name())
    })
}

/// The value of a label of a node; NULL where it has none. `key` is borrowed; the value is valid during
/// the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_nodes_label(
    nodes: *const Nodes,
    node: usize,
    key: *const c_char,
) -> *const c_char {
    quiet!(std::ptr::null(), {
        let nodes = handle(nodes, "nodes").ok()?;
        let key = text(key, "key").ok()?;
        let labels = nodes.nodes.objects().get(node)?.object().labels()?;
        nodes.lend(labels.get(key)?)
    })
}

/// What each node has of a resource: an array with a number per node, in thousandths of a core for
/// `cpu`, else in bytes or pieces; NULL when no node has it. Valid during the callback. `resource` is
/// borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_nodes_allocatable(
    nodes: *const Nodes,
    resource: *const c_char,
) -> *const i64 {
    column(nodes, resource, |nodes, resource| nodes.allocatable(resource))
}

/// What the pods of each node ask of a resource, as `pinnace_nodes_allocatable`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_nodes_requested(
    nodes: *const Nodes,
    resource: *const c_char,
) -> *const i64 {
    column(nodes, resource, |nodes, resource| nodes.requested(resource))
}

fn column(
    nodes: *const Nodes,
    resource: *const c_char,
    of: impl for<'a> Fn(&'a BatchNodes, &str) -> Option<&'a [i64]>,
) -> *const i64 {
    quiet!(std::ptr::null(), {
        let nodes = handle(nodes, "nodes").ok()?;
        Some(of(&nodes.nodes, text(resource, "resource").ok()?)?.as_ptr())
    })
}

/// Adds a plugin to all profiles of the scheduler: `callback` excludes and ranks nodes, one call for all
/// nodes of a pod.
///
/// `options` is borrowed. `user_data` stays borrowed until `finalizer` is called, which is when the
/// engine ends or the configuration is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_config_add_scheduler_plugin(
    config: *mut Config,
    options: *const SchedulerPluginOptions,
    callback: JudgeCallback,
    user_data: *mut c_void,
    finalizer: Finalizer,
) {
    let user_data = UserData::new(user_data, finalizer);
    let plugin = || SchedulerPlugin::new(options, callback, user_data);
    add(config, plugin, Config::add_plugin);
}

type Judge =
    unsafe extern "C" fn(*mut c_void, *const c_char, usize, *const Nodes, *mut f64, usize) -> bool;

/// A plugin whose judgement is a callback.
pub(crate) struct SchedulerPlugin {
    name: String,
    reason: String,
    weight: i64,
    timeout: Duration,
    callback: Judge,
    user_data: UserData,
}

impl SchedulerPlugin {
    fn new(
        given: *const SchedulerPluginOptions,
        callback: JudgeCallback,
        user_data: UserData,
    ) -> Result<Self, Failure> {
        // SAFETY: all fields may be zero.
        let given = unsafe { options(given, "options")? };
        let name = text(given.name, "name")?.to_owned();
        let reason = match optional_text(given.reason, "reason")? {
            Some(reason) => reason.to_owned(),
            None => format!("node(s) were rejected by plugin {name:?}"),
        };
        let timeout = if given.timeout_ms == 0 { TIMEOUT_MS } else { given.timeout_ms };
        Ok(Self {
            name,
            reason,
            weight: given.weight,
            timeout: Duration::from_millis(timeout),
            callback: callback.ok_or(Failure::Null("callback"))?,
            user_data,
        })
    }

    pub(crate) fn add_to(self, builder: EngineBuilder) -> EngineBuilder {
        let (weight, timeout) = (self.weight, self.timeout);
        builder.scheduler_plugin(self, weight, timeout)
    }
}

impl BatchPlugin for SchedulerPlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn judge(&self, pod: &Pod, nodes: &BatchNodes, scores: &mut [f64]) -> Answer {
        let pod = serde_json::to_string(pod).map_err(Refusal::error)?;
        let pod = CString::new(pod).map_err(Refusal::error)?;
        let nodes = Nodes { nodes: nodes.clone(), texts: Mutex::default() };
        // SAFETY: C has given a function for its user data; all that is lent outlives the call.
        let told = called_back(|| unsafe {
            let (text, len) = (pod.as_ptr(), pod.as_bytes().len());
            (self.callback)(
                self.user_data.get(),
                text,
                len,
                &raw const nodes,
                scores.as_mut_ptr(),
                scores.len(),
            )
        });
        match told {
            true => Ok(()),
            false => Err(Refusal::Error(format!("plugin {:?} cannot tell", self.name))),
        }
    }

    fn reason(&self) -> String {
        self.reason.clone()
    }
}
