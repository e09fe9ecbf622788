use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::policy::{self, Policy};
use crate::{ApiError, Result, manifest};

const KIND: &str = "PodSecurityConfiguration";
const VERSIONS: [&str; 3] = [
    "pod-security.admission.config.k8s.io/v1",
    "pod-security.admission.config.k8s.io/v1beta1",
    "pod-security.admission.config.k8s.io/v1alpha1",
];
const MODES: [&str; 3] = ["enforce", "audit", "warn"];

/// What is asked of pods where their namespaces do not say, and of whom nothing is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSecurityConfiguration {
    /// What holds where a namespace's labels say nothing.
    pub defaults: Policy,
    /// Of whom nothing is asked.
    pub exemptions: Exemptions,
}

/// Of whom nothing is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Exemptions {
    /// Users who write pods. Controllers write pods for others: exempt those with care.
    pub usernames: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Runtime classes of pods.
    pub runtime_classes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    #[serde(default)]
    defaults: BTreeMap<String, String>,
    #[serde(default)]
    exemptions: Exemptions,
}

impl PodSecurityConfiguration {
    /// A configuration in YAML or JSON, as upstream's admission configuration takes it.
    ///
    /// # Errors
    /// `BadRequest`, with what is wrong with it.
    pub fn read(text: &str) -> Result<Self> {
        let value = manifest::read_one(text.as_bytes());
        Self::from_value(value.map_err(|error| ApiError::bad_request(error.to_string()))?)
    }

    /// As [`PodSecurityConfiguration::read`], of a document that has been read.
    ///
    /// # Errors
    /// As there.
    pub fn from_value(value: Value) -> Result<Self> {
        let read: Document = serde_json::from_value(value)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        if read.kind != KIND || !VERSIONS.contains(&read.api_version.as_str()) {
            let (version, kind) = (&read.api_version, &read.kind);
            let why = format!("expected {KIND} of {}, not {kind} of {version}", VERSIONS[0]);
            return Err(ApiError::bad_request(why));
        }
        let Document { defaults, exemptions, .. } = read;
        let known = |key: &str| MODES.contains(&key.strip_suffix("-version").unwrap_or(key));
        if let Some(unknown) = defaults.keys().find(|key| !known(key)) {
            return Err(ApiError::bad_request(format!("defaults: unknown field {unknown:?}")));
        }
        let of = |mode: &str| {
            let level = defaults.get(mode).map(String::as_str);
            let version = defaults.get(&format!("{mode}-version")).map(String::as_str);
            policy::read(mode, level, version).map_err(ApiError::bad_request)
        };
        let [enforce, audit, warn] = MODES.map(of);
        let defaults = Policy { enforce: enforce?, audit: audit?, warn: warn? };
        let lists = [
            ("usernames", &exemptions.usernames),
            ("namespaces", &exemptions.namespaces),
            ("runtimeClasses", &exemptions.runtime_classes),
        ];
        for (list, names) in lists {
            for (index, name) in names.iter().enumerate() {
                let at = format!("exemptions.{list}[{index}]");
                if name.is_empty() {
                    let why = format!("{at}: Invalid value: \"\": must not be empty");
                    return Err(ApiError::bad_request(why));
                }
                if names[..index].contains(name) {
                    let why = format!("{at}: Duplicate value: {name:?}");
                    return Err(ApiError::bad_request(why));
                }
            }
        }
        Ok(Self { defaults, exemptions })
    }
}
