//! `pinnace explain`: why a pod is where it is, or nowhere.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Pod;
use pinnace::scheduler::{Explanation, NodeScore, Obstacle, SchedulerConfig, explain_pod};
use pinnace::{Client, Env, Informers, Key, Typed};
use pinnace_api::manifest;
use pinnace_remote::{Kubeconfig, Remote};
use serde_json::Value;

use crate::Failure;
use crate::cluster::kubeconfig;
use crate::snapshot::Snapshot;

/// How many excluded nodes are listed before the rest is only counted.
const MOST_EXCLUDED: usize = 20;

/// Explains why a pod is where it is, or nowhere, or where one would go that is not there.
#[derive(Args)]
pub(crate) struct Explain {
    /// The pod, `web-1` or `pods/web-1`.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pod: Option<String>,
    /// A manifest of a pod that need not exist, or of what makes pods; `-` reads from standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The pod's namespace; that of the kubeconfig's context, or `default`.
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// How the cluster is reached, this one or any other; else `$KUBECONFIG`, else `kubeconfig` here.
    #[arg(long, value_name = "F")]
    kubeconfig: Option<PathBuf>,
    /// A KubeSchedulerConfiguration: how is decided; upstream's defaults without it.
    #[arg(long, value_name = "F")]
    scheduler_config: Option<PathBuf>,
    /// For people or for programs.
    #[arg(short, long, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl Explain {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let scheduling = match &self.scheduler_config {
            Some(path) => {
                let about = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
                let text = std::fs::read(path).map_err(|error| about(&error))?;
                let read = manifest::read_one(&text).map_err(|error| about(&error))?;
                SchedulerConfig::from_kube(&read).map_err(|error| about(&error))?
            }
            None => SchedulerConfig::default(),
        };
        let config = Kubeconfig::read(&kubeconfig(self.kubeconfig.as_deref()))?;
        let (cluster, mut failures) = Snapshot::new(Remote::new(&config)?);
        let namespace = self.namespace.clone().or(config.namespace);
        let namespace = namespace.unwrap_or_else(|| "default".into());
        let client = Client::new(cluster);
        let pod = match &self.file {
            Some(file) => Typed::new(pod_of(&crate::read(file)?, &namespace)?),
            None => {
                let name = self.pod.as_deref().unwrap_or_default();
                let name = name.trim_start_matches("pods/").trim_start_matches("pod/");
                client.of::<Pod>()?.get(&Key::new(&*namespace, name)).await?
            }
        };
        let informers = Informers::new(client);
        let env = Env::system();
        let explained = tokio::select! {
            explained = explain_pod(&informers, &env, &scheduling, pod) => explained.map_err(Failure::from),
            failed = failures.wait_for(Option::is_some) => {
                let failed = failed.ok().and_then(|failed| failed.clone());
                Err(failed.unwrap_or_default().into())
            }
        };
        informers.shutdown().await;
        let explained = explained?;
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&explained)?),
            Output::Text => print!("{}", text(&explained)),
        }
        Ok(())
    }
}

/// The pod of a manifest, or the one that its first object would make.
fn pod_of(text: &str, namespace: &str) -> Result<Pod, Failure> {
    let objects = manifest::read(text.as_bytes())?;
    let is_pod = |object: &&Value| object["kind"] == "Pod" && object["apiVersion"] == "v1";
    let pod = match objects.iter().find(is_pod) {
        Some(pod) => pod.clone(),
        None => {
            let templates = ["/spec/template", "/spec/jobTemplate/spec/template"];
            let template =
                |object: &Value| templates.iter().find_map(|place| object.pointer(place)).cloned();
            let (owner, mut pod) = objects
                .iter()
                .find_map(|object| Some((object, template(object)?)))
                .ok_or("the manifest has no pod, and nothing that makes pods")?;
            pod["apiVersion"] = "v1".into();
            pod["kind"] = "Pod".into();
            pod["metadata"]["name"] = owner["metadata"]["name"].clone();
            pod["metadata"]["namespace"] = owner["metadata"]["namespace"].clone();
            pod
        }
    };
    let mut pod: Pod = serde_json::from_value(pod)?;
    pod.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
    Ok(pod)
}

fn text(explained: &Explanation) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_text(&mut out, explained);
    out
}

fn write_text(out: &mut String, explained: &Explanation) -> std::fmt::Result {
    writeln!(out, "pod {}, scheduled by {}", explained.pod, explained.scheduler)?;
    if let Some(message) = &explained.message {
        writeln!(out, "\n{message}")?;
    }
    if let [best, rest @ ..] = &explained.fitting[..] {
        let alike = rest.iter().take_while(|one| one.total == best.total).count();
        write!(out, "\nbest: {}, {} points", best.node, best.total)?;
        match alike {
            0 => writeln!(out)?,
            many => writeln!(out, ", as {many} other(s): one of them is drawn")?,
        }
        match rest.first() {
            Some(second) => {
                writeln!(out, "runner-up: {}, {} points", second.node, second.total)?;
                compare(out, best, Some(second))?;
            }
            None => compare(out, best, None)?,
        }
        let others = rest.len().saturating_sub(1);
        if others > 0 {
            writeln!(out, "{others} more node(s) would do")?;
        }
    }
    if !explained.excluded.is_empty() {
        writeln!(out, "\nexcluded:")?;
        for node in explained.excluded.iter().take(MOST_EXCLUDED) {
            for why in &node.reasons {
                let (name, plugin, reasons) = (&node.node, &why.plugin, why.reasons.join(", "));
                writeln!(out, "  {name}: {plugin}: {reasons}")?;
            }
        }
        let left = explained.excluded.len().saturating_sub(MOST_EXCLUDED);
        if left > 0 {
            writeln!(out, "  and {left} more")?;
        }
    }
    if !explained.relaxations.is_empty() {
        writeln!(out, "\nwhat would have to change, the least first:")?;
        for one in &explained.relaxations {
            let changes: Vec<String> = one.changes.iter().map(change).collect();
            writeln!(out, "  {}: {}", one.node, changes.join("; "))?;
        }
    }
    Ok(())
}

/// What each plugin gives the best and the second.
fn compare(out: &mut String, best: &NodeScore, second: Option<&NodeScore>) -> std::fmt::Result {
    let width = best.scores.iter().map(|score| score.plugin.len()).max().unwrap_or(0);
    for score in &best.scores {
        let (plugin, points) = (&score.plugin, score.score * score.weight);
        write!(out, "  {plugin:width$} {points:>5}")?;
        let other = second
            .and_then(|second| second.scores.iter().find(|other| other.plugin == score.plugin));
        match other {
            Some(other) => writeln!(out, " {:>5}", other.score * other.weight)?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn change(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Free { resource, amount, part } if *part > 1.0 => {
            format!("the node needs {amount} more {resource} than it has")
        }
        Obstacle::Free { resource, amount, .. } => format!("free {amount} {resource}"),
        Obstacle::Tolerate { key, value, effect } if value.is_empty() => {
            format!("tolerate {key}:{effect}")
        }
        Obstacle::Tolerate { key, value, effect } => format!("tolerate {key}={value}:{effect}"),
        Obstacle::Uncordon => "make the node schedulable".to_owned(),
        Obstacle::DropNodeName => "ask for another node".to_owned(),
        Obstacle::AllowNode => "select the node".to_owned(),
        Obstacle::FreePort { port, protocol } => format!("free port {port}/{protocol}"),
        Obstacle::Other { plugin, reasons } => format!("{plugin}: {}", reasons.join(", ")),
    }
}
