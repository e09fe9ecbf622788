//! What rules of admission are told: an `AdmissionConfiguration`, as upstream's server takes it from a
//! file, with the documents of the plug-ins that it is about.
//!
//! See <https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/>.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::pod_security::PodSecurityConfiguration;
use crate::quota::LimitedResource;
use crate::{ApiError, Result, manifest};

const KIND: &str = "AdmissionConfiguration";
const VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1"];
const POD_SECURITY: &str = "PodSecurity";
const QUOTA: &str = "ResourceQuota";
/// How a configuration of quotas may be named.
const QUOTA_KINDS: [(&str, &str); 4] = [
    ("apiserver.config.k8s.io/v1", "ResourceQuotaConfiguration"),
    ("resourcequota.admission.k8s.io/v1", "Configuration"),
    ("resourcequota.admission.k8s.io/v1beta1", "Configuration"),
    ("resourcequota.admission.k8s.io/v1alpha1", "Configuration"),
];

/// What rules of admission are told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdmissionConfiguration {
    /// What is asked of pods.
    pub pod_security: Option<PodSecurityConfiguration>,
    /// What nobody uses without a quota.
    pub limited: Option<Vec<LimitedResource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    configuration: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Quota {
    api_version: String,
    kind: String,
    #[serde(default)]
    limited_resources: Vec<LimitedResource>,
}

impl AdmissionConfiguration {
    /// Reads a configuration in YAML or JSON. `plugins` are the names of the rules that there are;
    /// `load` gives the documents that are in files of their own.
    ///
    /// # Errors
    /// `BadRequest`, with what is wrong and where.
    pub fn read(
        text: &str,
        plugins: &[&str],
        load: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self> {
        let document = parsed(text)?;
        if let (Some(kind), Some(version)) =
            (document["kind"].as_str(), document["apiVersion"].as_str())
            && (kind != KIND || !VERSIONS.contains(&version))
        {
            let why = format!("expected {KIND} of {}, not {kind} of {version}", VERSIONS[0]);
            return Err(ApiError::bad_request(why));
        }
        let document: Document = taken(document).map_err(ApiError::bad_request)?;
        let mut read = Self::default();
        for (index, plugin) in document.plugins.iter().enumerate() {
            let name = &plugin.name;
            let wrong = |why: String| ApiError::bad_request(format!("plugins[{index}]: {why}"));
            if !plugins.contains(&name.as_str()) {
                return Err(wrong(format!("unknown admission plugin: {name:?}")));
            }
            if document.plugins[..index].iter().any(|other| other.name == *name) {
                return Err(wrong(format!("name: Duplicate value: {name:?}")));
            }
            let told = match (&plugin.configuration, plugin.path.as_str()) {
                (Value::Null, "") => continue,
                (Value::Null, path) => {
                    let text = load(path).map_err(|why| wrong(format!("path: {path}: {why}")))?;
                    parsed(&text).map_err(|error| wrong(format!("{path}: {error}")))?
                }
                (told, _) => told.clone(),
            };
            let at = |why: &str| wrong(format!("configuration: {why}"));
            match name.as_str() {
                POD_SECURITY => {
                    let config = PodSecurityConfiguration::from_value(told);
                    read.pod_security = Some(config.map_err(|error| at(error.message()))?);
                }
                QUOTA => read.limited = Some(limited(told).map_err(|why| at(&why))?),
                _ => return Err(wrong(format!("{name} takes no configuration"))),
            }
        }
        Ok(read)
    }
}

fn parsed(text: &str) -> Result<Value> {
    let value = manifest::read_one(text.as_bytes());
    value.map_err(|error| ApiError::bad_request(error.to_string()))
}

fn taken<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn limited(told: Value) -> Result<Vec<LimitedResource>, String> {
    let quota: Quota = taken(told)?;
    let (version, kind) = (quota.api_version.as_str(), quota.kind.as_str());
    if !QUOTA_KINDS.contains(&(version, kind)) {
        let (wanted, name) = QUOTA_KINDS[0];
        return Err(format!("expected {name} of {wanted}, not {kind} of {version}"));
    }
    for (index, limited) in quota.limited_resources.iter().enumerate() {
        if limited.resource.is_empty() {
            return Err(format!("limitedResources[{index}].resource: Required value"));
        }
    }
    Ok(quota.limited_resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGINS: [&str; 3] = ["PodSecurity", "ResourceQuota", "Priority"];

    fn read(plugins: &str) -> Result<AdmissionConfiguration, String> {
        let text = format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{plugins}]}}"
        );
        let load = |path: &str| match path {
            "quota.yaml" => {
                Ok("{apiVersion: resourcequota.admission.k8s.io/v1beta1, kind: Configuration, \
                                limitedResources: [{resource: pods}]}"
                    .to_owned())
            }
            _ => Err("no such file".to_owned()),
        };
        AdmissionConfiguration::read(&text, &PLUGINS, load)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn plug_ins_are_told_what_is_for_them_here_or_in_files_of_their_own() {
        let told = read(
            "{name: PodSecurity, configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, \
              kind: PodSecurityConfiguration, defaults: {enforce: baseline}}}, \
             {name: ResourceQuota, path: quota.yaml}, {name: Priority}",
        );
        let told = told.unwrap();
        assert_eq!(told.pod_security.unwrap().defaults.enforce.level.to_string(), "baseline");
        assert_eq!(told.limited.unwrap()[0].resource, "pods");
        assert_eq!(read("").unwrap(), AdmissionConfiguration::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let check =
            |plugins: &str, expected: &str| assert_eq!(read(plugins).unwrap_err(), expected);
        check("{name: EventRateLimit}", "plugins[0]: unknown admission plugin: \"EventRateLimit\"");
        check(
            "{name: Priority}, {name: Priority}",
            "plugins[1]: name: Duplicate value: \"Priority\"",
        );
        check("{name: Priority, configuration: {}}", "plugins[0]: Priority takes no configuration");
        check("{name: PodSecurity, path: x.yaml}", "plugins[0]: path: x.yaml: no such file");
        check(
            "{name: PodSecurity, configuration: {apiVersion: v1, kind: Pod}}",
            "plugins[0]: configuration: expected PodSecurityConfiguration of \
             pod-security.admission.config.k8s.io/v1, not Pod of v1",
        );
        check(
            "{name: ResourceQuota, configuration: {apiVersion: v1, kind: Pod}}",
            "plugins[0]: configuration: expected ResourceQuotaConfiguration of \
             apiserver.config.k8s.io/v1, not Pod of v1",
        );
        check(
            "{name: ResourceQuota, configuration: {apiVersion: apiserver.config.k8s.io/v1, \
              kind: ResourceQuotaConfiguration, limitedResources: [{resource: ''}]}}",
            "plugins[0]: configuration: limitedResources[0].resource: Required value",
        );
        let other = AdmissionConfiguration::read("{apiVersion: v1, kind: Pod}", &PLUGINS, |_| {
            Err(String::new())
        });
        assert_eq!(
            other.unwrap_err().message(),
            "expected AdmissionConfiguration of apiserver.config.k8s.io/v1, not Pod of v1"
        );
    }
}
