//! Entries of `extenders` of a `KubeSchedulerConfiguration`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use pinnace_api::pod_resources::is_extended;
use serde::Deserialize;

/// How long an extender may take to answer unless its entry says otherwise, as upstream.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take at most.
const MAX_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What an extender is asked for, and where: an entry of `extenders`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtenderConfig {
    /// Where it answers: verbs are appended to it.
    pub url_prefix: String,
    /// The verb that excludes nodes; empty when it does not.
    pub filter_verb: String,
    /// The verb that ranks nodes; empty when it does not.
    pub prioritize_verb: String,
    /// The verb that has a say in evictions; empty when it has none.
    pub preempt_verb: String,
    /// The verb that binds pods; empty when it does not.
    pub bind_verb: String,
    /// By how much its ranks count.
    pub weight: i64,
    /// Whether it is asked over HTTPS without an authority being named.
    #[serde(rename = "enableHTTPS")]
    pub enable_https: bool,
    /// How it is known, and who asks.
    pub tls_config: Option<ExtenderTls>,
    /// How long it may take; [`None`] for 5 seconds.
    #[serde(rename = "httpTimeout")]
    pub http_timeout: Option<GoDuration>,
    /// Whether names of nodes are enough for it.
    pub node_cache_capable: bool,
    /// The resources that it is about; it is about all pods when there are none.
    pub managed_resources: Vec<ManagedResource>,
    /// Whether pods are scheduled without it when it fails.
    pub ignorable: bool,
}

/// A resource that an extender is about.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ManagedResource {
    /// Its name.
    pub name: String,
    /// Whether `NodeResourcesFit` takes no notice of it.
    pub ignored_by_scheduler: bool,
}

/// How an extender is known over HTTPS, and who asks it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtenderTls {
    /// Whether anybody is believed.
    pub insecure: bool,
    /// The name that its certificate has, when it is not that of the URL.
    pub server_name: String,
    /// This side's certificate.
    pub cert_file: PathBuf,
    /// This side's key.
    pub key_file: PathBuf,
    /// The certificates of who is believed.
    pub ca_file: PathBuf,
    /// As `cert_file`, in base64; goes first.
    pub cert_data: String,
    /// As `key_file`, in base64; goes first.
    pub key_data: String,
    /// As `ca_file`, in base64; goes first.
    pub ca_data: String,
}

/// A span of time as Go writes it: `1.5s`, `200ms`, `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct GoDuration(pub Duration);

impl TryFrom<String> for GoDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse(&text).map(Self).ok_or_else(|| format!("time: invalid duration {text:?}"))
    }
}

fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|one: char| !one.is_ascii_digit() && one != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|one: char| one.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[end..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

impl ExtenderConfig {
    pub(super) fn timeout(&self) -> Duration {
        let asked = self.http_timeout.map(|timeout| timeout.0).filter(|time| !time.is_zero());
        asked.unwrap_or(DEFAULT_TIMEOUT).min(MAX_TIMEOUT)
    }

    /// The resources that `NodeResourcesFit` takes no notice of because of it.
    pub(crate) fn ignored(&self) -> impl Iterator<Item = &str> {
        let ignored = self.managed_resources.iter().filter(|one| one.ignored_by_scheduler);
        ignored.map(|one| &one.name[..])
    }
}

/// All that is wrong with extenders, in upstream's words.
pub(crate) fn validate(extenders: &[ExtenderConfig]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut managed = HashSet::new();
    for (index, one) in extenders.iter().enumerate() {
        let path = format!("extenders[{index}]");
        if !one.prioritize_verb.is_empty() && one.weight <= 0 {
            let why = "must have a positive weight applied to it";
            problems.push(format!("{path}.weight: Invalid value: {}: {why}", one.weight));
        }
        for (place, resource) in one.managed_resources.iter().enumerate() {
            let (path, name) = (format!("{path}.managedResources[{place}].name"), &resource.name);
            if !is_extended(name) {
                let why = "is an invalid extended resource name";
                problems.push(format!("{path}: Invalid value: {name:?}: {why}"));
            }
            if !managed.insert(name) {
                let why = "duplicate extender managed resource name";
                problems.push(format!("{path}: Invalid value: {name:?}: {why}"));
            }
        }
    }
    let binders = extenders.iter().filter(|one| !one.bind_verb.is_empty()).count();
    if binders > 1 {
        let why = "only one extender can implement bind";
        problems.push(format!(
            "extenders: Invalid value: \"found {binders} extenders implementing \
                               bind\": {why}"
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let read = |text: &str| GoDuration::try_from(text.to_owned()).map(|one| one.0.as_millis());
        for (text, expected) in
            [("1.5s", 1500), ("200ms", 200), ("1m30s", 90_000), ("0", 0), ("1h", 3_600_000)]
        {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1d", "1..5s"] {
            assert_eq!(read(text), Err(format!("time: invalid duration {text:?}")));
        }
    }
}
