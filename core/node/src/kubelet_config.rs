//! `KubeletConfiguration` of `kubelet.config.k8s.io/v1beta1`, as far as it is about what a node
//! agent of this kind can do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pinnace_api::quantity::Quantity;
use pinnace_runtime::logs::LogLimits;
use serde::Deserialize;

use crate::config::{NodeSettings, PodPids, Reserved};
use crate::eviction::{Amount, Eviction, Signal, Threshold};
use crate::images::ImageCollection;
use crate::static_pods::StaticPods;

const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";

/// The fields that say something here; others are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    api_version: String,
    kind: String,
    eviction_hard: Option<BTreeMap<String, String>>,
    eviction_soft: BTreeMap<String, String>,
    eviction_soft_grace_period: BTreeMap<String, String>,
    eviction_minimum_reclaim: BTreeMap<String, String>,
    eviction_pressure_transition_period: Option<String>,
    eviction_max_pod_grace_period: u64,
    system_reserved: BTreeMap<String, String>,
    kube_reserved: BTreeMap<String, String>,
    #[serde(rename = "imageGCHighThresholdPercent")]
    image_gc_high: Option<u8>,
    #[serde(rename = "imageGCLowThresholdPercent")]
    image_gc_low: Option<u8>,
    #[serde(rename = "imageMinimumGCAge")]
    image_min_age: Option<String>,
    #[serde(rename = "imageMaximumGCAge")]
    image_max_age: Option<String>,
    static_pod_path: String,
    file_check_frequency: Option<String>,
    container_log_max_size: Option<String>,
    container_log_max_files: Option<u32>,
    pod_pids_limit: Option<i64>,
}

impl NodeSettings {
    /// Reads a `KubeletConfiguration`, in YAML or JSON. What it does not say is as upstream has it,
    /// but for [`PodPids`].
    ///
    /// # Errors
    /// Says which field is wrong, and why.
    pub fn read(document: &[u8]) -> Result<Self, String> {
        let value = pinnace_api::manifest::read_one(document)
            .map_err(|error| error.message().to_owned())?;
        let document: Document =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        if document.kind != KIND || document.api_version != API_VERSION {
            return Err(format!("this is no {KIND} of {API_VERSION}"));
        }
        Ok(Self {
            reserved: reserved("systemReserved", &document.system_reserved)?
                .plus(reserved("kubeReserved", &document.kube_reserved)?),
            eviction: Some(eviction(&document)?),
            images: Some(images(&document)?),
            static_pods: static_pods(&document)?,
            logs: logs(&document)?,
            pod_pids: pod_pids(&document)?,
        })
    }
}

impl Reserved {
    fn plus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            storage_bytes: self.storage_bytes.saturating_add(other.storage_bytes),
        }
    }
}

fn reserved(field: &str, amounts: &BTreeMap<String, String>) -> Result<Reserved, String> {
    let mut reserved = Reserved::default();
    for (name, text) in amounts {
        let wrong = |why: &dyn std::fmt::Display| format!("{field}[{name}]: {why}");
        let amount = Quantity::parse(text).map_err(|error| wrong(&error))?;
        if amount.is_negative() {
            return Err(wrong(&"cannot be negative"));
        }
        match name.as_str() {
            "cpu" => reserved.cpu_millis = amount.millis(),
            "memory" => reserved.memory_bytes = amount.value(),
            "ephemeral-storage" => reserved.storage_bytes = amount.value(),
            // It limits processes of all pods together, which is not done here.
            "pid" => {}
            _ => return Err(wrong(&"cannot reserve this resource")),
        }
    }
    Ok(reserved)
}

fn eviction(document: &Document) -> Result<Eviction, String> {
    let mut eviction = Eviction::default();
    if let Some(hard) = &document.eviction_hard {
        eviction.thresholds = thresholds("evictionHard", hard)?;
    }
    for mut soft in thresholds("evictionSoft", &document.eviction_soft)? {
        let name = soft.signal.name();
        let grace = document.eviction_soft_grace_period.get(name);
        let grace = grace.ok_or_else(|| {
            format!("grace period must be specified for the soft eviction threshold {name}")
        })?;
        soft.grace = duration("evictionSoftGracePeriod", grace)?;
        eviction.thresholds.push(soft);
    }
    for (name, text) in &document.eviction_minimum_reclaim {
        let signal = Signal::parse(name)?;
        let amount =
            Amount::parse(text).map_err(|why| format!("evictionMinimumReclaim[{name}]: {why}"))?;
        let about = eviction.thresholds.iter_mut().filter(|one| one.signal == signal);
        about.for_each(|one| one.reclaim = Some(amount));
    }
    if let Some(text) = &document.eviction_pressure_transition_period {
        eviction.transition_period = duration("evictionPressureTransitionPeriod", text)?;
    }
    eviction.max_pod_grace = Duration::from_secs(document.eviction_max_pod_grace_period);
    Ok(eviction)
}

fn thresholds(field: &str, given: &BTreeMap<String, String>) -> Result<Vec<Threshold>, String> {
    let mut all = Vec::new();
    for (name, text) in given {
        let signal = Signal::parse(name)?;
        // As upstream: these say that there is no threshold.
        if matches!(text.as_str(), "0%" | "100%") {
            continue;
        }
        let amount = Amount::parse(text).map_err(|why| format!("{field}[{name}]: {why}"))?;
        all.push(Threshold::hard(signal, amount));
    }
    Ok(all)
}

fn images(document: &Document) -> Result<ImageCollection, String> {
    let usual = ImageCollection::default();
    let high_percent = document.image_gc_high.unwrap_or(usual.high_percent);
    let low_percent = document.image_gc_low.unwrap_or(usual.low_percent);
    if high_percent > 100 || low_percent >= high_percent {
        return Err(format!(
            "imageGCLowThresholdPercent {low_percent} must be less than \
             imageGCHighThresholdPercent {high_percent}, and that at most 100"
        ));
    }
    let age = |field: &str, text: &Option<String>, usual: Duration| {
        text.as_ref().map_or(Ok(usual), |text| duration(field, text))
    };
    Ok(ImageCollection {
        high_percent,
        low_percent,
        min_age: age("imageMinimumGCAge", &document.image_min_age, usual.min_age)?,
        max_age: age("imageMaximumGCAge", &document.image_max_age, usual.max_age)?,
        ..usual
    })
}

fn static_pods(document: &Document) -> Result<Option<StaticPods>, String> {
    if document.static_pod_path.is_empty() {
        return Ok(None);
    }
    let mut pods = StaticPods::new(PathBuf::from(&document.static_pod_path));
    if let Some(text) = &document.file_check_frequency {
        pods.every = duration("fileCheckFrequency", text)?;
    }
    Ok(Some(pods))
}

fn logs(document: &Document) -> Result<LogLimits, String> {
    let usual = LogLimits::default();
    let max_files = document.container_log_max_files.unwrap_or(usual.max_files);
    if max_files < 2 {
        return Err("containerLogMaxFiles must be greater than 1".to_owned());
    }
    let Some(text) = &document.container_log_max_size else {
        return Ok(LogLimits { max_files, ..usual });
    };
    let wrong = |why: &dyn std::fmt::Display| format!("containerLogMaxSize: {why}");
    match Quantity::parse(text).map_err(|error| wrong(&error))?.value() {
        // As upstream: logs grow for ever.
        ..0 => Ok(LogLimits::NONE),
        0 => Err(wrong(&"cannot be 0")),
        size => Ok(LogLimits { max_bytes: size.unsigned_abs(), max_files }),
    }
}

fn pod_pids(document: &Document) -> Result<PodPids, String> {
    match document.pod_pids_limit {
        None => Ok(PodPids::default()),
        Some(-1) => Ok(PodPids::Unlimited),
        Some(most @ 1..) => Ok(PodPids::Limited(most.unsigned_abs())),
        Some(_) => Err("podPidsLimit must be -1 or greater than 0".to_owned()),
    }
}

/// A duration of Go: `1h30m`, `500ms`.
fn duration(field: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("{field}: {text:?} is no duration");
    let span = text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NodeSettings, String> {
        let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
        NodeSettings::read(format!("{head}{text}").as_bytes())
    }

    #[test]
    fn what_is_said_counts_and_the_rest_is_as_usual() {
        let settings = read("maxPods: 5\n").unwrap();
        assert_eq!(settings.eviction, Some(Eviction::default()));
        assert_eq!(settings.images, Some(ImageCollection::default()));
        assert_eq!((settings.reserved, settings.static_pods), (Reserved::default(), None));
        assert_eq!((settings.logs, settings.pod_pids), Default::default());
        let settings = read(
            "containerLogMaxSize: 1Mi\n\
             containerLogMaxFiles: 3\n\
             podPidsLimit: 100\n\
             evictionHard: {memory.available: 200Mi, nodefs.available: 0%}\n\
             evictionSoft: {memory.available: 10%}\n\
             evictionSoftGracePeriod: {memory.available: 1m30s}\n\
             evictionMinimumReclaim: {memory.available: 50Mi}\n\
             evictionMaxPodGracePeriod: 7\n\
             evictionPressureTransitionPeriod: 30s\n\
             systemReserved: {cpu: 500m, memory: 1Gi}\n\
             kubeReserved: {cpu: '1', ephemeral-storage: 1Gi}\n\
             imageGCHighThresholdPercent: 70\n\
             imageGCLowThresholdPercent: 60\n\
             imageMaximumGCAge: 24h\n\
             staticPodPath: /etc/manifests\n",
        )
        .unwrap();
        assert_eq!(settings.logs, LogLimits { max_bytes: 1 << 20, max_files: 3 });
        assert_eq!(settings.pod_pids, PodPids::Limited(100));
        let without = read("containerLogMaxSize: '-1'\npodPidsLimit: -1\n").unwrap();
        assert_eq!((without.logs, without.pod_pids), (LogLimits::NONE, PodPids::Unlimited));
        let eviction = settings.eviction.unwrap();
        let hard = Threshold {
            reclaim: Some(Amount::Absolute(50 << 20)),
            ..Threshold::hard(Signal::MemoryAvailable, Amount::Absolute(200 << 20))
        };
        let soft =
            Threshold { amount: Amount::Percent(10.0), grace: Duration::from_secs(90), ..hard };
        assert_eq!(eviction.thresholds, [hard, soft]);
        let times = (eviction.max_pod_grace.as_secs(), eviction.transition_period.as_secs());
        assert_eq!(times, (7, 30));
        let reserved = Reserved { cpu_millis: 1500, memory_bytes: 1 << 30, storage_bytes: 1 << 30 };
        assert_eq!(settings.reserved, reserved);
        let images = settings.images.unwrap();
        assert_eq!((images.high_percent, images.max_age.as_secs()), (70, 86_400));
        assert_eq!(settings.static_pods.unwrap().directory, PathBuf::from("/etc/manifests"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("evictionHard: {luck: 1%}", "unsupported eviction signal luck"),
            ("evictionHard: {memory.available: much}", "evictionHard[memory.available]"),
            ("evictionSoft: {memory.available: 1%}", "grace period must be specified"),
            ("imageGCLowThresholdPercent: 90", "must be less than"),
            ("imageMinimumGCAge: soon", "imageMinimumGCAge: \"soon\" is no duration"),
            ("containerLogMaxSize: big", "containerLogMaxSize: "),
            ("containerLogMaxFiles: 1", "containerLogMaxFiles must be greater than 1"),
            ("podPidsLimit: 0", "podPidsLimit must be"),
            ("systemReserved: {luck: '1'}", "systemReserved[luck]: cannot reserve this resource"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(NodeSettings::read(b"kind: Pod").unwrap_err().contains("this is no"));
    }
}
