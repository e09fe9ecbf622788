//! Servers outside that have a say.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pinnace_scheduler::{Extender, ExtenderConfig, ExtenderTransport, SchedulerConfig};
use serde_json::{Value, json};

use crate::harness::{Cluster, start_with};

type Seen = Arc<Mutex<Vec<(String, Value)>>>;
type Answers = fn(&str, &Value) -> Option<Value>;

/// Answers from a function; `None` is no answer at all.
struct Outside {
    seen: Seen,
    answers: Answers,
}

#[async_trait]
impl ExtenderTransport for Outside {
    async fn post(&self, verb: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let sent: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let answer = (self.answers)(verb, &sent);
        self.seen.lock().push((verb.to_owned(), sent));
        match answer {
            Some(answer) => Ok(answer.to_string().into_bytes()),
            None => std::future::pending().await,
        }
    }
}

fn extender(config: Value, answers: Answers) -> (Extender, Seen) {
    let mut config: ExtenderConfig = serde_json::from_value(config).unwrap();
    config.url_prefix = "http://outside".to_owned();
    let seen = Seen::default();
    (Extender::with_transport(config, Outside { seen: seen.clone(), answers }), seen)
}

async fn cluster(extenders: Vec<Extender>) -> Cluster {
    let cluster = start_with(SchedulerConfig { extenders, ..Default::default() }).await;
    for name in ["a", "b", "c"] {
        cluster.node(name, "cpu: 4, memory: 8Gi, pods: 10, example.com/gpu: 2").await;
    }
    cluster
}

const PLAIN: &str = "containers: [{name: c, image: i}]";
const GPU: &str = "containers: [{name: c, image: i, resources: {limits: {example.com/gpu: 1}}}]";

#[tokio::test(start_paused = true)]
async fn an_extender_excludes_and_ranks_nodes() {
    let (asked, seen) = extender(
        json!({"filterVerb": "filter", "prioritizeVerb": "rank", "weight": 5,
               "nodeCacheCapable": true}),
        |verb, sent| match verb {
            "filter" => Some(json!({"nodenames": ["b", "c"], "failedNodes": {"a": "no"}})),
            _ => {
                assert_eq!(sent["NodeNames"], json!(["b", "c"]));
                Some(json!([{"host": "b", "score": 1}, {"Host": "c", "Score": 10}]))
            }
        },
    );
    let cluster = cluster(vec![asked]).await;
    for index in 0..3 {
        let name = format!("web-{index}");
        cluster.pod(&name, PLAIN).await;
        assert_eq!(cluster.bound(&name).await, "c");
    }
    let seen = seen.lock().clone();
    assert_eq!(seen[0].1["NodeNames"], json!(["a", "b", "c"]));
    assert_eq!(seen[0].1["Nodes"], Value::Null);
    assert_eq!(seen[0].1["Pod"]["metadata"]["name"], "web-0");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whole_nodes_go_to_who_keeps_none_and_only_pods_of_its_own_are_told() {
    let (asked, seen) = extender(
        json!({"filterVerb": "filter",
               "managedResources": [{"name": "example.com/gpu", "ignoredByScheduler": true}]}),
        |_, sent| {
            let items = sent["Nodes"]["items"].as_array().unwrap();
            let items: Vec<_> =
                items.iter().filter(|node| node["metadata"]["name"] == "b").collect();
            Some(json!({"Nodes": {"items": items}}))
        },
    );
    let cluster = cluster(vec![asked]).await;
    cluster.pod("plain", PLAIN).await;
    cluster.bound("plain").await;
    assert!(seen.lock().is_empty());
    // Nodes have two; who counts is the extender alone.
    for index in 0..4 {
        let name = format!("gpu-{index}");
        cluster.pod(&name, GPU).await;
        assert_eq!(cluster.bound(&name).await, "b");
    }
    assert_eq!(seen.lock().len(), 4);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_extender_has_against_all_nodes_is_said_and_any_change_has_it_asked_again() {
    let (asked, _) =
        extender(json!({"filterVerb": "filter", "nodeCacheCapable": true}), |_, sent| {
            let names = sent["NodeNames"].as_array().unwrap();
            Some(match names.iter().any(|name| name == "d") {
                true => json!({"NodeNames": ["d"]}),
                false => json!({"NodeNames": [], "FailedNodes": {"a": "a is full"},
                                "FailedAndUnresolvableNodes": {"b": "b is odd"}}),
            })
        });
    let cluster = cluster(vec![asked]).await;
    cluster.pod("web", PLAIN).await;
    let condition = cluster.condition("web", |one| one.status == "False").await;
    let why = condition.message.unwrap();
    assert!(
        why.starts_with(
            "0/3 nodes are available: 1 a is full, 1 b is odd, 1 node(s) were rejected by \
             extender \"http://outside\"."
        ),
        "{why}"
    );
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    cluster.node("d", "cpu: 4, memory: 8Gi, pods: 10").await;
    assert_eq!(cluster.bound("web").await, "d");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_extender_that_fails_is_named_unless_it_may_be_ignored() {
    let silent: Answers = |_, _| None;
    let broken: Answers = |_, _| Some(json!({"Error": "out of order"}));
    let unknown: Answers = |_, _| Some(json!({"NodeNames": ["x"]}));
    let nonsense: Answers = |_, _| Some(json!([1, 2]));
    for (answers, expected) in [
        (silent, "extender \"http://outside\": filter: no answer within 2s"),
        (broken, "extender \"http://outside\": filter: out of order"),
        (
            unknown,
            "extender \"http://outside\" claims a filtered node \"x\" which is not found in the \
             input node list",
        ),
        (
            nonsense,
            "extender \"http://outside\": filter: invalid type: sequence, expected a map at \
                    line 1 column 0",
        ),
    ] {
        for ignorable in [false, true] {
            let config = json!({"filterVerb": "filter", "nodeCacheCapable": true,
                                "httpTimeout": "2s", "ignorable": ignorable});
            let cluster = cluster(vec![extender(config, answers).0]).await;
            cluster.pod("web", PLAIN).await;
            if ignorable {
                cluster.bound("web").await;
            } else {
                let condition = cluster.condition("web", |one| one.status == "False").await;
                assert_eq!(condition.message.as_deref(), Some(expected));
                assert_eq!(condition.reason.as_deref(), Some("SchedulerError"));
            }
            cluster.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ranks_of_unknown_nodes_and_beyond_bounds_count_for_nothing() {
    let answers: [Answers; 2] = [
        |_, _| Some(json!([{"Host": "x", "Score": 3}])),
        |_, _| Some(json!([{"Host": "a", "Score": 11}])),
    ];
    for answers in answers {
        let (asked, seen) = extender(json!({"prioritizeVerb": "rank", "weight": 1}), answers);
        let cluster = cluster(vec![asked]).await;
        cluster.pod("web", PLAIN).await;
        cluster.bound("web").await;
        assert_eq!(seen.lock().len(), 1);
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_extender_binds_pods_or_says_why_not() {
    let (asked, seen) = extender(json!({"bindVerb": "bind"}), |_, sent| {
        let first = sent["PodName"] == "web-0";
        Some(json!({"Error": if first { "not yet" } else { "" }}))
    });
    let cluster = cluster(vec![asked]).await;
    cluster.pod("web-0", PLAIN).await;
    let condition = cluster.condition("web-0", |one| one.status == "False").await;
    assert_eq!(condition.message.as_deref(), Some("extender \"http://outside\": bind: not yet"));
    cluster.delete("web-0").await;
    cluster.pod("web-1", PLAIN).await;
    // It says so, and does not: the pod is taken to be there, and nobody else binds it.
    cluster.event("Scheduled").await;
    let sent = seen.lock().iter().find(|(_, sent)| sent["PodName"] == "web-1").cloned().unwrap().1;
    assert_eq!(sent["PodNamespace"], "default");
    assert!(["a", "b", "c"].iter().any(|node| sent["Node"] == *node));
    assert_eq!(cluster.node_of("web-1").await, None);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_extender_says_who_may_be_evicted() {
    let (asked, seen) =
        extender(json!({"preemptVerb": "preempt", "nodeCacheCapable": true}), |_, sent| {
            let all = &sent["NodeNameToMetaVictims"];
            assert_eq!(sent["NodeNameToVictims"], Value::Null);
            assert_eq!(all.as_object().unwrap().len(), 3);
            Some(json!({"NodeNameToMetaVictims": {"b": all["b"]}}))
        });
    let cluster = cluster(vec![asked]).await;
    cluster.priority("high", 1000, "PreemptLowerPriority").await;
    let asks = "containers: [{name: c, image: i, resources: {requests: {cpu: 3}}}]";
    for index in 0..3 {
        let name = format!("low-{index}");
        cluster.pod(&name, asks).await;
        cluster.bound(&name).await;
    }
    cluster.pod("high", &format!("priorityClassName: high\n{asks}")).await;
    assert_eq!(cluster.nominated("high").await, "b");
    let victims = seen.lock()[0].1["NodeNameToMetaVictims"]["b"]["Pods"].as_array().unwrap().len();
    assert_eq!(victims, 1);
    cluster.stop().await;
}

/// Reads a request to its end, and answers with a document.
async fn answer(stream: &mut tokio::net::TcpStream, document: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut request = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part).await.unwrap();
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() >= length.parse().unwrap() {
            let length = document.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{document}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            return text;
        }
    }
}

#[tokio::test]
async fn an_extender_is_asked_over_http() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = SchedulerConfig::from_kube(&json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "extenders": [{"urlPrefix": format!("http://{address}/outside/"), "filterVerb": "filter",
                       "nodeCacheCapable": true, "httpTimeout": "30s"}],
    }));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, r#"{"NodeNames": ["b"]}"#).await
    });
    let cluster = start_with(config.unwrap()).await;
    for name in ["a", "b"] {
        cluster.node(name, "cpu: 4, memory: 8Gi, pods: 10").await;
    }
    cluster.pod("web", PLAIN).await;
    assert_eq!(cluster.bound("web").await, "b");
    let request = server.await.unwrap();
    assert!(request.starts_with("POST /outside/filter HTTP/1.1"), "{request}");
    tokio::time::timeout(Duration::from_secs(30), cluster.stop()).await.unwrap();
}
