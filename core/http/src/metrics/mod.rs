//! `/metrics`: figures in Prometheus' text format, by upstream's names where they mean the same.

mod process;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use pinnace_server::Server;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, EncodeMetric as _, LabelSetEncoder,
    prometheus_text,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the durations of requests, in seconds: upstream's.
const DURATION_BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// Counters whose names do not end in `_total` upstream. The library knows none: to it they are gauges.
const COUNTERS: [&str; 2] =
    ["apiserver_admission_webhook_rejection_count", "apiserver_admission_webhook_fail_open_count"];

/// Figures about requests, and whatever others add. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    requests: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    in_flight: Family<Labels, Gauge>,
    long_running: Family<Labels, Gauge>,
}

/// What a request is about. All values come from the catalog or a fixed set, never from a client,
/// so there are only so many series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct About {
    /// `LIST`, `GET`, `POST`, …: upstream's verbs.
    pub verb: &'static str,
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural of the kind.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// `cluster`, `namespace`, `resource` or nothing.
    pub scope: &'static str,
    /// Whether nothing is kept.
    pub dry_run: bool,
}

/// Names and values of labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Labels(Vec<(&'static str, String)>);

impl Labels {
    pub(crate) fn of(all: &[(&'static str, &str)]) -> Self {
        Self(all.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    /// The same and one more.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let one = (name, value.to_owned());
        Self(self.0.iter().cloned().chain([one]).collect())
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.0
            .iter()
            .try_for_each(|(name, value)| (*name, value.as_str()).encode(encoder.encode_label()))
    }
}

/// A request that is being served; it is counted when this goes.
#[derive(Debug)]
pub struct Serving(Gauge);

impl Metrics {
    /// Figures of a server.
    pub fn new(server: &Server) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations: Family<Labels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        let (in_flight, long_running) = (Family::default(), Family::default());
        registry.register(
            "apiserver_request",
            "Counter of apiserver requests broken out for each verb, dry run value, group, \
             version, resource, scope, component, and HTTP response code",
            Family::clone(&requests),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds",
            durations.clone(),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are being served, by kind of request",
            Family::clone(&in_flight),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches and connections that last",
            Family::clone(&long_running),
        );
        server.admission_figures().register(&mut registry);
        registry.register_collector(Box::new(process::Process));
        registry.register_collector(Box::new(Objects(server.clone())));
        let registry = Mutex::new(registry);
        Self(Arc::new(Inner { registry, requests, durations, in_flight, long_running }))
    }

    /// Adds figures of others.
    pub fn register(&self, collector: Box<dyn Collector>) {
        self.0.registry.lock().register_collector(collector);
    }

    /// Adds figures that are kept elsewhere.
    pub(crate) fn add(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.0.registry.lock());
    }

    /// Counts a request for as long as it is served; `long` for those that last.
    pub fn begin(&self, about: &About, long: bool) -> Serving {
        let labels = if long {
            about.labels()
        } else {
            let reads = matches!(about.verb, "GET" | "LIST" | "HEAD");
            let kind = if reads { "readOnly" } else { "mutating" };
            Labels(vec![("request_kind", kind.to_owned())])
        };
        let Inner { in_flight, long_running, .. } = &*self.0;
        let family = if long { long_running } else { in_flight };
        let gauge = family.get_or_create_owned(&labels);
        gauge.inc();
        Serving(gauge)
    }

    /// Counts an answer: its status code and how long it took. Watches have no duration.
    pub fn end(&self, about: &About, status: StatusCode, took: Option<Duration>) {
        let labels = about.labels();
        if let Some(took) = took {
            self.0.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
        let mut labels = labels;
        labels.0.push(("code", status.as_str().to_owned()));
        self.0.requests.get_or_create(&labels).inc();
    }

    /// The answer to a GET of `/metrics`.
    pub fn respond(&self) -> Response<Bytes> {
        let mut text = String::new();
        let encoded = prometheus_text::encode(&mut text, &self.0.registry.lock());
        call_counters_so(&mut text);
        let mut response = Response::new(Bytes::from(text));
        if encoded.is_err() {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response
    }
}

fn call_counters_so(text: &mut String) {
    for name in COUNTERS {
        let ty = format!("# TYPE {name} ");
        *text = text.replacen(&format!("{ty}gauge\n"), &format!("{ty}counter\n"), 1);
    }
}

impl About {
    fn labels(&self) -> Labels {
        Labels(vec![
            ("component", "apiserver".to_owned()),
            ("dry_run", if self.dry_run { "All" } else { "" }.to_owned()),
            ("group", self.group.clone()),
            ("resource", self.resource.clone()),
            ("scope", self.scope.to_owned()),
            ("subresource", self.subresource.clone()),
            ("verb", self.verb.to_owned()),
            ("version", self.version.clone()),
        ])
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// How many objects of each kind there are, counted when it is asked for.
#[derive(Debug)]
struct Objects(Server);

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshot = self.0.store().snapshot();
        let name = "apiserver_storage_objects";
        let help = "Number of stored objects at the time of last check split by kind";
        let gauge = ConstGauge::<u64>::new(0);
        let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        for table in snapshot.tables() {
            let labels = Labels(vec![("resource", table.to_string())]);
            let count = u64::try_from(snapshot.len(table)).unwrap_or(u64::MAX);
            ConstGauge::<u64>::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pinnace_api::Catalog;
    use pinnace_env::Env;
    use pinnace_store::Store;

    use super::*;

    #[tokio::test]
    async fn what_policies_let_through_is_counted_by_upstreams_names() {
        let store = Store::memory();
        let server = Server::builder(store, Catalog::builtin(), Env::simulated(1)).build();
        let metrics = Metrics::new(&server);
        let client = server.client(pinnace_server::User::host());
        let create = async |kind: &str, mut object: serde_json::Value| {
            let api = client.named(kind).unwrap();
            object["apiVersion"] = api.resource().api_version().into();
            object["kind"] = (&*api.resource().kind).into();
            let draft = pinnace_api::Draft::from_value(api.resource().codec, object).unwrap();
            api.create(draft, Default::default()).await
        };
        let rule = serde_json::json!({"operations": ["*"], "apiGroups": [""],
            "apiVersions": ["v1"], "resources": ["namespaces"]});
        let policy = serde_json::json!({"metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "object.metadata.name != 'bad'"}]}});
        create("validatingadmissionpolicy", policy).await.unwrap();
        let binding = serde_json::json!({"metadata": {"name": "b"},
            "spec": {"policyName": "p", "validationActions": ["Deny", "Audit"]}});
        create("validatingadmissionpolicybinding", binding).await.unwrap();
        for (name, passes) in [("good", true), ("bad", false)] {
            let namespace = serde_json::json!({"metadata": {"name": name}});
            assert_eq!(create("namespace", namespace).await.is_ok(), passes, "{name}");
        }
        let text = String::from_utf8(metrics.respond().body().to_vec()).unwrap();
        let check = "apiserver_validating_admission_policy_check_total{policy=\"p\",\
             policy_binding=\"b\",error_type=\"no_error\",enforcement_action=";
        let step = "apiserver_admission_step_admission_duration_seconds_count";
        for expected in [
            format!("{check}\"allow\"}} 1"),
            format!("{check}\"deny\"}} 1"),
            format!("{check}\"audit\"}} 1"),
            format!("{step}{{type=\"validate\",operation=\"CREATE\",rejected=\"true\"}} 1"),
        ] {
            assert!(text.contains(&expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn counters_are_called_so_whatever_their_names_end_in() {
        let name = "apiserver_admission_webhook_rejection_count";
        let mut registry = Registry::default();
        let family = Family::<Labels, Gauge>::default();
        family.get_or_create(&Labels::of(&[("name", "a")])).inc();
        registry.register(name, "Rejections", family);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        call_counters_so(&mut text);
        assert!(
            text.contains(&format!("# TYPE {name} counter\n{name}{{name=\"a\"}} 1\n")),
            "{text}"
        );
    }

    #[tokio::test]
    async fn requests_are_counted_by_upstreams_names() {
        let store = Store::memory();
        let server = Server::builder(store, Catalog::builtin(), Env::simulated(1)).build();
        let metrics = Metrics::new(&server);
        let about = About {
            verb: "LIST",
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            scope: "namespace",
            ..About::default()
        };
        let serving = metrics.begin(&about, false);
        metrics.end(&about, StatusCode::OK, Some(Duration::from_millis(30)));
        let text = || String::from_utf8(metrics.respond().body().to_vec()).unwrap();
        let labels = "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"pods\",\
             scope=\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"";
        for expected in [
            "# TYPE apiserver_request_total counter".to_owned(),
            format!("apiserver_request_total{{{labels},code=\"200\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.05\"}} 1"),
            "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1".to_owned(),
        ] {
            assert!(text().contains(&expected), "{expected}\n{}", text());
        }
        drop(serving);
        assert!(
            text().contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 0")
        );
        assert!(!text().contains("# EOF"));
    }
}
