use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};

use super::expansion::expand;
use super::fields::{self, Surroundings};
use crate::sources::{self, Sources};

/// The variables of a container, in the order in which they are set, each once.
///
/// # Errors
/// The message of a `CreateContainerConfigError`.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    found: &Sources,
    around: &Surroundings<'_>,
    services: &[(String, String)],
) -> Result<Environment, String> {
    let mut environment = Environment { services: services.to_vec(), ..Environment::default() };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            match found.config_map(&reference.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        environment.set(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", reference.name)),
            }
        } else if let Some(reference) = &from.secret_ref {
            match found.secret(&reference.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        environment.set(format!("{prefix}{key}"), text(&value.0));
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", reference.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) =
            value(pod, container, variable, namespace, found, around, &environment)?
        {
            environment.set(variable.name.clone(), value);
        }
    }
    // What the pod says itself goes before what is said of services.
    for (name, value) in std::mem::take(&mut environment.services) {
        if !environment.places.contains_key(&name) {
            environment.set(name, value);
        }
    }
    Ok(environment)
}

/// The value of one variable; `None` when what it refers to is optional and not there.
fn value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    namespace: &str,
    found: &Sources,
    around: &Surroundings<'_>,
    before: &Environment,
) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else {
        let raw = variable.value.as_deref().unwrap_or_default();
        return Ok(Some(expand(raw, |name| before.get(name)).into_owned()));
    };
    if let Some(reference) = &from.field_ref {
        return fields::field(pod, &reference.field_path, around).map(Some);
    }
    if let Some(reference) = &from.resource_field_ref {
        return fields::resource(pod, Some(container), reference, around.allocatable).map(Some);
    }
    from_key(from, namespace, found)
}

fn from_key(
    from: &EnvVarSource,
    namespace: &str,
    found: &Sources,
) -> Result<Option<String>, String> {
    let (kind, object, name, key, optional, value) = if let Some(reference) =
        &from.config_map_key_ref
    {
        let map = found.config_map(&reference.name);
        let value = map.and_then(|map| sources::config_map_value(map, &reference.key));
        let optional = reference.optional == Some(true);
        (
            ("configmap", "ConfigMap"),
            map.is_some(),
            &reference.name,
            &reference.key,
            optional,
            value,
        )
    } else if let Some(reference) = &from.secret_key_ref {
        let secret = found.secret(&reference.name);
        let value = secret.and_then(|secret| sources::secret_value(secret, &reference.key));
        let optional = reference.optional == Some(true);
        (("secret", "Secret"), secret.is_some(), &reference.name, &reference.key, optional, value)
    } else if from.file_key_ref.is_some() {
        return Err("fileKeyRef is not supported by this node agent".to_owned());
    } else {
        return Err("an environment variable has an empty valueFrom".to_owned());
    };
    match value {
        Some(value) => Ok(Some(text(value))),
        None if optional => Ok(None),
        None if !object => Err(format!("{} {name:?} not found", kind.0)),
        None => Err(format!("couldn't find key {key} in {} {namespace}/{name}", kind.1)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Variables in the order in which they were first set.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    variables: Vec<(String, String)>,
    places: BTreeMap<String, usize>,
    /// Those of services, which may be referred to and are set last.
    services: Vec<(String, String)>,
    /// Names that no process can be given.
    pub(crate) skipped: Vec<String>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            self.skipped.push(name);
            return;
        }
        match self.places.get(&name) {
            Some(place) => self.variables[*place].1 = value,
            None => {
                self.places.insert(name.clone(), self.variables.len());
                self.variables.push((name, value));
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let own = self.places.get(name).map(|place| self.variables[*place].1.as_str());
        let of_service = || self.services.iter().find(|(known, _)| known == name);
        own.or_else(|| of_service().map(|(_, value)| value.as_str()))
    }

    pub(crate) fn into_variables(self) -> Vec<(String, String)> {
        self.variables
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::json;

    use super::*;
    use crate::config::Capacity;

    fn check(container: serde_json::Value, expected: Result<&[(&str, &str)], &str>) {
        let container: Container = serde_json::from_value(container).unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"containers": []}
        }))
        .unwrap();
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": {"name": "map"}, "data": {"a": "1", "b": "$(X)"}
        }))
        .unwrap();
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "secret"}, "data": {"password": "aHVudGVyMg=="}
        }))
        .unwrap();
        let found = Sources::default().with_config_map(map).with_secret(secret);
        let allocatable = Capacity::default();
        let around = Surroundings { host_ips: &[], pod_ips: &[], allocatable: &allocatable };
        let services = [("DB_SERVICE_HOST".to_owned(), "10.0.0.11".to_owned())];
        let got = environment(&pod, &container, &found, &around, &services)
            .map(Environment::into_variables);
        let last = ("DB_SERVICE_HOST", "10.0.0.11");
        let own = |(name, _): &&(&str, &str)| *name == last.0;
        let expected = expected
            .map(|all| {
                let more = all.iter().find(own).map_or(Some(last), |_| None);
                let all = all.iter().copied().chain(more);
                all.map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>()
            })
            .map_err(str::to_owned);
        assert_eq!(got, expected);
    }

    fn env(variables: serde_json::Value) -> serde_json::Value {
        json!({"name": "c", "env": variables})
    }

    #[test]
    fn values_refer_to_those_before_them() {
        let variables = json!([
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(C)"},
            {"name": "C", "value": "3"},
            {"name": "A", "value": "$(A)$(A)"}
        ]);
        check(env(variables), Ok(&[("A", "11"), ("B", "1-$(C)"), ("C", "3")]));
    }

    #[test]
    fn services_are_known_to_values_and_give_way_to_them() {
        let variables = json!([{"name": "URL", "value": "http://$(DB_SERVICE_HOST)"}]);
        check(env(variables), Ok(&[("URL", "http://10.0.0.11")]));
        let own = json!([{"name": "DB_SERVICE_HOST", "value": "mine"}]);
        check(env(own), Ok(&[("DB_SERVICE_HOST", "mine")]));
    }

    #[test]
    fn whole_config_maps_come_first_and_are_not_expanded() {
        let container = json!({
            "name": "c",
            "env": [{"name": "P_a", "value": "mine"}],
            "envFrom": [
                {"prefix": "P_", "configMapRef": {"name": "map"}},
                {"secretRef": {"name": "secret"}},
                {"configMapRef": {"name": "none", "optional": true}}
            ]
        });
        check(container, Ok(&[("P_a", "mine"), ("P_b", "$(X)"), ("password", "hunter2")]));
    }

    #[test]
    fn what_is_missing_and_not_optional_is_named() {
        let key = |kind: &str, name: &str, key: &str, optional: bool| {
            env(
                json!([{"name": "V", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}]),
            )
        };
        check(key("configMapKeyRef", "map", "a", false), Ok(&[("V", "1")]));
        check(key("configMapKeyRef", "map", "z", true), Ok(&[]));
        check(
            key("configMapKeyRef", "map", "z", false),
            Err("couldn't find key z in ConfigMap shop/map"),
        );
        check(key("configMapKeyRef", "none", "a", false), Err("configmap \"none\" not found"));
        check(key("secretKeyRef", "none", "a", false), Err("secret \"none\" not found"));
        check(
            json!({"name": "c", "envFrom": [{"secretRef": {"name": "none"}}]}),
            Err("secret \"none\" not found"),
        );
    }
}
