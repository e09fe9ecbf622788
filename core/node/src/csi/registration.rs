//! Drivers come and go by sockets in a directory, as upstream's plugin watcher has it.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver, CSINodeSpec, VolumeNodeResources};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pinnace_api::Key;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::protocol::{self, CALL_TIMEOUT, Empty, NodeInfo, PluginInfo, REGISTRATION_TIMEOUT};
use crate::agent::Shared;

/// How often the directory is looked at, as upstream's reconciler does.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before a plugin is asked again that failed: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(122);
/// How many sockets are looked at; the directory is not the agent's alone.
const SOCKETS_AT_MOST: usize = 256;

/// Which file a socket is: one that was removed and made anew is another.
type Identity = (u64, u64, i64, i64);

/// What is known of a socket.
struct Plugin {
    identity: Identity,
    state: State,
    delay: Duration,
}

enum State {
    /// To be asked, not before that time.
    Waiting(Instant),
    Asked,
    Registered(String),
}

/// A registration that has ended: of which socket, and with the driver's name or why not.
struct Ended {
    path: PathBuf,
    identity: Identity,
    result: Result<String, String>,
}

/// Registers drivers and lets them go, as long as it is polled.
pub(crate) async fn run(shared: &Arc<Shared>, mut synced: watch::Receiver<bool>) {
    let Some(directory) = shared.machine.plugins() else { return };
    let _ = synced.wait_for(|synced| *synced).await;
    if let Err(error) = tokio::fs::create_dir_all(&directory).await {
        tracing::warn!(directory = %directory.display(), %error, "no CSI drivers: not made");
        return;
    }
    let mut plugins: BTreeMap<PathBuf, Plugin> = BTreeMap::new();
    // Each goes its own way: one that never answers keeps no other waiting.
    let mut asked = FuturesUnordered::new();
    let mut look = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(look) => {
                let path = directory.clone();
                if let Ok(found) = shared.tasks.spawn_blocking(move || sockets(&path)).await {
                    compare(shared, &mut plugins, found).await;
                }
                asked.extend(due(&mut plugins).into_iter().map(|(path, identity)| async move {
                    let result = register(shared, &path).await;
                    Ended { path, identity, result }
                }));
                look = Instant::now() + LOOK_EVERY;
            }
            Some(ended) = asked.next() => note(shared, &mut plugins, ended).await,
        }
    }
}

/// The sockets in a directory. Blocks.
fn sockets(directory: &Path) -> BTreeMap<PathBuf, Identity> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let sockets = visible.filter_map(|entry| {
        let found = std::fs::metadata(entry.path()).ok()?;
        let identity = (found.dev(), found.ino(), found.ctime(), found.ctime_nsec());
        found.file_type().is_socket().then(|| (entry.path(), identity))
    });
    sockets.take(SOCKETS_AT_MOST).collect()
}

/// Takes in which sockets there are now.
async fn compare(
    shared: &Arc<Shared>,
    plugins: &mut BTreeMap<PathBuf, Plugin>,
    found: BTreeMap<PathBuf, Identity>,
) {
    let is_gone = |path: &PathBuf, plugin: &Plugin| found.get(path) != Some(&plugin.identity);
    let gone: Vec<PathBuf> = plugins
        .iter()
        .filter(|(path, one)| is_gone(path, one))
        .map(|(path, _)| path.clone())
        .collect();
    for path in gone {
        if let Some(State::Registered(name)) = plugins.remove(&path).map(|plugin| plugin.state) {
            let_go(shared, &name, &path).await;
        }
    }
    for (path, identity) in found {
        let state = State::Waiting(Instant::now());
        plugins.entry(path).or_insert(Plugin { identity, state, delay: RETRY_FIRST });
    }
}

/// The sockets whose turn it is to be asked; from now on they are.
fn due(plugins: &mut BTreeMap<PathBuf, Plugin>) -> Vec<(PathBuf, Identity)> {
    let now = Instant::now();
    let due = plugins
        .iter_mut()
        .filter(|(_, one)| matches!(one.state, State::Waiting(until) if until <= now));
    due.map(|(path, plugin)| {
        plugin.state = State::Asked;
        (path.clone(), plugin.identity)
    })
    .collect()
}

/// Notes how a registration has ended; the socket may have gone meanwhile.
async fn note(shared: &Arc<Shared>, plugins: &mut BTreeMap<PathBuf, Plugin>, ended: Ended) {
    let Ended { path, identity, result } = ended;
    let plugin = plugins.get_mut(&path).filter(|plugin| plugin.identity == identity);
    match (plugin, result) {
        (Some(plugin), Ok(name)) => plugin.state = State::Registered(name),
        (Some(plugin), Err(error)) => {
            tracing::warn!(socket = %path.display(), error, "plugin not registered");
            plugin.state = State::Waiting(Instant::now() + plugin.delay);
            plugin.delay = (plugin.delay * 2).min(RETRY_MAX);
        }
        (None, Ok(name)) => let_go(shared, &name, &path).await,
        (None, Err(_)) => {}
    }
}

/// A driver is gone, unless another socket has taken its name over.
async fn let_go(shared: &Arc<Shared>, name: &str, path: &Path) {
    if shared.csi.remove(name, path)
        && let Err(error) = write_driver(shared, name, None).await
    {
        tracing::warn!(driver = name, %error, "CSI driver not taken out of the CSINode");
    }
}

async fn register(shared: &Arc<Shared>, socket: &Path) -> Result<String, String> {
    let method = "/pluginregistration.Registration/GetInfo";
    let info: PluginInfo = protocol::call(socket, method, Empty {}, REGISTRATION_TIMEOUT).await?;
    let registered = install(shared, socket, &info).await;
    let status = protocol::RegistrationStatus {
        plugin_registered: registered.is_ok(),
        error: registered.clone().err().unwrap_or_default(),
    };
    let method = "/pluginregistration.Registration/NotifyRegistrationStatus";
    let told = protocol::call::<_, Empty>(socket, method, status, REGISTRATION_TIMEOUT).await;
    registered?;
    // The driver works, whether it has listened or not.
    if let Err(error) = told {
        tracing::warn!(driver = info.name, %error, "CSI driver not told that it is registered");
    }
    Ok(info.name)
}

async fn install(shared: &Arc<Shared>, socket: &Path, info: &PluginInfo) -> Result<(), String> {
    check(info, socket)?;
    let endpoint = match info.endpoint.as_str() {
        "" => socket.to_owned(),
        endpoint => PathBuf::from(endpoint),
    };
    let method = "/csi.v1.Node/NodeGetInfo";
    let node: NodeInfo = protocol::call(&endpoint, method, Empty {}, CALL_TIMEOUT).await?;
    if node.node_id.is_empty() {
        return Err(format!(
            "error adding CSI driver node info: driver {} has no node ID",
            info.name
        ));
    }
    write_labels(shared, &node).await.map_err(|error| error.to_string())?;
    let written = write_driver(shared, &info.name, Some(driver(&info.name, &node))).await;
    written.map_err(|error| {
        format!("error updating CSINode object with CSI driver node info: {error}")
    })?;
    shared.csi.add(&info.name, socket.to_owned(), endpoint);
    Ok(())
}

fn check(info: &PluginInfo, socket: &Path) -> Result<(), String> {
    if info.kind != "CSIPlugin" {
        let socket = socket.display();
        return Err(format!(
            "no handler registered for plugin type: {} at socket {socket}",
            info.kind
        ));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if info.name.is_empty() || info.name.len() > 63 || !info.name.bytes().all(legal) {
        return Err(format!("invalid CSI driver name {:?}", info.name));
    }
    let major = |version: &String| version.trim_start_matches('v').split('.').next() == Some("1");
    if !info.supported_versions.iter().any(major) {
        return Err(format!(
            "failed to validate plugin {}: none of the CSI versions reported by this driver are \
             supported",
            info.name
        ));
    }
    Ok(())
}

fn driver(name: &str, node: &NodeInfo) -> CSINodeDriver {
    let topology = node.accessible_topology.iter().flat_map(|topology| topology.segments.keys());
    let mut keys: Vec<String> = topology.cloned().collect();
    keys.sort();
    // Nothing is said of drivers without a limit; one beyond what fits is the largest there is.
    let count = Some(node.max_volumes_per_node).filter(|count| *count > 0);
    let count = count.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
    CSINodeDriver {
        name: name.to_owned(),
        node_id: node.node_id.clone(),
        topology_keys: Some(keys).filter(|keys| !keys.is_empty()),
        allocatable: count.map(|count| VolumeNodeResources { count: Some(count) }),
    }
}

/// Shows where the driver says that the node is. A label that says otherwise is not overwritten.
async fn write_labels(shared: &Arc<Shared>, node: &NodeInfo) -> Result<(), String> {
    let Some(topology) = node.accessible_topology.as_ref().filter(|all| !all.segments.is_empty())
    else {
        return Ok(());
    };
    let Some(key) = node_key(shared) else { return Ok(()) };
    let present = shared.nodes.get(&key).await.map_err(|error| error.to_string())?;
    for (label, value) in &topology.segments {
        let known = present.metadata.labels.as_ref().and_then(|labels| labels.get(label));
        if let Some(known) = known.filter(|known| *known != value) {
            return Err(format!(
                "detected topology value collision: driver reported {label:?}:{value:?} but \
                 existing label is {label:?}:{known:?}"
            ));
        }
    }
    let written = shared.nodes.modify(&key, |node: &mut Node| {
        let labels = node.metadata.labels.get_or_insert_default();
        let before = labels.len();
        labels.extend(topology.segments.clone());
        labels.len() != before
    });
    written.await.map(drop).map_err(|error| format!("error updating node: {error}"))
}

/// Sets a driver in the node's CSINode, or takes it out.
async fn write_driver(
    shared: &Arc<Shared>,
    name: &str,
    driver: Option<CSINodeDriver>,
) -> pinnace_api::Result<()> {
    let Some(key) = node_key(shared) else { return Ok(()) };
    let api = shared.client.of::<CSINode>()?;
    let set = |drivers: &mut Vec<CSINodeDriver>| {
        drivers.retain(|one| one.name != name);
        drivers.extend(driver.clone());
    };
    let modified = api.modify(&key, |node| {
        let before = node.spec.drivers.clone();
        set(&mut node.spec.drivers);
        node.spec.drivers != before
    });
    match modified.await {
        Err(error) if error.is_not_found() && driver.is_some() => {}
        Err(error) if error.is_not_found() => return Ok(()),
        modified => return modified.map(drop),
    }
    let node = shared.nodes.get(&key).await?;
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: key.name().to_owned(),
        uid: node.object().uid().to_owned(),
        ..OwnerReference::default()
    };
    let metadata = ObjectMeta {
        name: Some(key.name().to_owned()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    let mut drivers = Vec::new();
    set(&mut drivers);
    api.create(CSINode { metadata, spec: CSINodeSpec { drivers } }).await.map(drop)
}

/// A real machine is one node.
fn node_key(shared: &Shared) -> Option<Key> {
    shared.hosts.keys().next().map(|name| Key::cluster(&**name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_refused_for_its_kind_its_name_and_its_versions() {
        let check = |kind: &str, name: &str, version: &str| {
            let info = PluginInfo {
                kind: kind.to_owned(),
                name: name.to_owned(),
                endpoint: String::new(),
                supported_versions: vec![version.to_owned()],
            };
            check(&info, Path::new("/s.sock"))
        };
        assert_eq!(check("CSIPlugin", "hostpath.csi.k8s.io", "1.0.0"), Ok(()));
        assert!(check("DevicePlugin", "x", "1.0.0").unwrap_err().contains("DevicePlugin"));
        assert!(check("CSIPlugin", "a/../b", "1.0.0").unwrap_err().contains("name"));
        assert!(check("CSIPlugin", "x", "0.3.0").unwrap_err().contains("versions"));
    }
}
