//! The main job, in real containers: a Deployment of three web servers is applied, heals when one
//! is killed behind its back, is scaled to five, and rolls to a new version while a client keeps
//! asking. At the end nothing is left.
//!
//! `PINNACE_RUNTIME` names the runtime (`auto` if not set; `containerd:///path/to/socket` for a
//! containerd elsewhere), `PINNACE_IMAGES` an OCI archive with the images to import first.

use std::env;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use pinnace::k8s_openapi::api::core::v1::Pod;
use pinnace::{DeleteOptions, Engine, ListOptions, Patch, PropagationPolicy, Runtime};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const MINUTE: Duration = Duration::from_secs(60);
const REPLICAS: usize = 5;
const MAX_UNAVAILABLE: usize = 1;

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "the story tells how long things really take")]
async fn main() -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let runtime = env::var("PINNACE_RUNTIME").unwrap_or_else(|_| "auto".to_owned());
    let engine = Engine::builder().runtime(Runtime::named(&runtime)?).start().await?;
    let found = engine.runtime();
    println!("engine started in {:?}: runtime {} ({})", begun.elapsed(), found.name, found.why);
    let told = tell(&engine).await;
    engine.shutdown().await?;
    told?;
    println!("the engine has ended; nothing is left of it");
    Ok(())
}

async fn tell(engine: &Engine) -> Result<(), Box<dyn Error>> {
    if let Ok(archive) = env::var("PINNACE_IMAGES") {
        println!("imported {}", engine.import_image(archive).await?.join(", "));
    }
    engine.apply(include_str!("../../../manifests/web.yaml")).await?;
    engine.wait("deployments/web", "Available", MINUTE).await?;
    all_available(engine, 3).await?;
    println!("three replicas are available: {}", versions(engine).await?.join(" "));

    let victim = ready_pods(engine).await?.swap_remove(0);
    kill_container_of(&victim.0)?;
    engine.wait(&format!("pods/{}", victim.0), RESTARTED, MINUTE).await?;
    all_available(engine, 3).await?;
    println!("a container of {} was killed behind the engine's back, and is back", victim.0);

    engine.scale("deployments/web", 5).await?;
    all_available(engine, 5).await?;
    println!("scaled to five: {}", versions(engine).await?.join(" "));

    let least = roll(engine).await?;
    println!("rolled to version 2; at least {least} of {REPLICAS} answered at every moment");
    if least < REPLICAS - MAX_UNAVAILABLE {
        return Err(format!("only {least} answered").into());
    }

    let foreground = DeleteOptions {
        propagation: Some(PropagationPolicy::Foreground),
        ..DeleteOptions::default()
    };
    engine.delete("deployments/web", foreground).await?;
    engine.wait("deployments/web", "delete", MINUTE).await?;
    let left = engine.list("pods", ListOptions::default()).await?.items.len();
    println!("deleted; {left} pods are left");
    if left > 0 { Err(format!("{left} pods are left").into()) } else { Ok(()) }
}

const RESTARTED: &str = "jsonpath={.status.containerStatuses.0.restartCount}=1";

async fn all_available(engine: &Engine, replicas: usize) -> Result<(), pinnace::Error> {
    let goal = format!("jsonpath={{.status.availableReplicas}}={replicas}");
    engine.wait("deployments/web", &goal, MINUTE).await
}

/// Names and addresses of the pods that are ready and not going.
async fn ready_pods(engine: &Engine) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let pods = engine.list("pods", ListOptions::default().labels("app=web")?).await?;
    let mut ready = Vec::new();
    for object in pods.items {
        let status = object.get::<Pod>()?.status.clone().unwrap_or_default();
        let is_ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if let (true, false, Some(ip)) = (is_ready, object.is_deleting(), status.pod_ip) {
            ready.push((object.name().to_owned(), ip));
        }
    }
    Ok(ready)
}

/// What the ready pods answer.
async fn versions(engine: &Engine) -> Result<Vec<String>, Box<dyn Error>> {
    let asked = ready_pods(engine).await?.into_iter().map(|(_, ip)| tokio::spawn(ask(ip)));
    let mut versions = Vec::new();
    for answer in asked.collect::<Vec<_>>() {
        versions.extend(answer.await?);
    }
    versions.sort();
    Ok(versions)
}

/// The body of the answer to an HTTP request, `None` when there is none within a second.
async fn ask(ip: String) -> Option<String> {
    let asked = async {
        let mut stream = TcpStream::connect((ip.as_str(), 8080)).await.ok()?;
        let request = format!("GET / HTTP/1.1\r\nHost: {ip}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    };
    timeout(Duration::from_secs(1), asked).await.ok()?
}

/// Rolls to version 2 and keeps asking all the while. Gives the least number of answers.
async fn roll(engine: &Engine) -> Result<usize, Box<dyn Error>> {
    let patch = Patch::StrategicMerge(json!({"spec": {"template": {"spec": {"containers": [{
        "name": "web", "env": [{"name": "VERSION", "value": "2"}],
    }]}}}}));
    engine.patch("deployments/web", patch).await?;
    let mut least = usize::MAX;
    loop {
        let answers = versions(engine).await?;
        least = least.min(answers.len());
        if engine.rollout_status("deployments/web").await?.done {
            let new = versions(engine).await?;
            println!("now they answer: {}", new.join(" "));
            return if new.iter().all(|v| v == "2") && new.len() == REPLICAS {
                Ok(least)
            } else {
                Err(format!("not all are new: {new:?}").into())
            };
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Kills the processes of a pod, found by the name that their environment carries.
fn kill_container_of(pod: &str) -> Result<(), Box<dyn Error>> {
    let mark = format!("POD_NAME={pod}");
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()) {
            std::process::Command::new("kill").args(["-9", &pid.to_string()]).status()?;
        }
    }
    Ok(())
}
