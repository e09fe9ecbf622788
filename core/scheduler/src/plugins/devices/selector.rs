use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, DeviceSelector};
use parking_lot::Mutex;
use pinnace_api::expressions::{
    Budget, Expression, Fault, MapKey, Scope, Val, Yields, compile, quantity, semver,
    variables_of_device,
};

/// How many expressions are kept compiled.
const MAX_COMPILED: usize = 1024;

type Compiled = Arc<Result<Expression, String>>;

/// The expressions by which classes and requests select devices, compiled once.
#[derive(Debug, Default)]
pub(super) struct Selectors(Mutex<HashMap<String, Compiled>>);

impl Selectors {
    /// Whether all selectors select a device. One that asks for what a device does not have, does not.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(super) fn select(
        &self,
        selectors: Option<&Vec<DeviceSelector>>,
        driver: &str,
        device: &Device,
    ) -> Result<bool, String> {
        let texts = selectors.into_iter().flatten().filter_map(|one| one.cel.as_ref());
        for text in texts {
            if !self.selects(&text.expression, driver, device)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn selects(&self, text: &str, driver: &str, device: &Device) -> Result<bool, String> {
        let compiled = self.compiled(text);
        let expression = compiled.as_ref().as_ref().map_err(Clone::clone)?;
        let budget = Budget::new(Budget::OF_ONE);
        match expression.evaluate(&[value(driver, device)], &budget) {
            Ok(Val::Bool(selected)) => Ok(selected),
            Ok(other) => Err(format!("the expression gives {}, not bool", other.type_name())),
            Err(Fault::Cost) => Err(Fault::Cost.to_string()),
            Err(Fault::Value(_)) => Ok(false),
        }
    }

    fn compiled(&self, text: &str) -> Compiled {
        let mut known = self.0.lock();
        if let Some(compiled) = known.get(text) {
            return compiled.clone();
        }
        if known.len() >= MAX_COMPILED {
            known.clear();
        }
        let scope = Scope { variables: &variables_of_device(), ..Scope::default() };
        let compiled = compile(text, scope, Yields::BoolOrUnknown);
        let compiled = Arc::new(compiled.map(|(expression, _)| expression));
        known.insert(text.to_owned(), compiled.clone());
        compiled
    }
}

/// A device as expressions see it: attributes and capacities by their domains.
fn value<'a>(driver: &'a str, device: &'a Device) -> Val<'a> {
    let attributes = device.attributes.iter().flatten();
    let attributes = attributes.filter_map(|(name, one)| Some((name.as_str(), attribute(one)?)));
    let capacities = device.capacity.iter().flatten();
    let capacities =
        capacities.filter_map(|(name, one)| Some((name.as_str(), quantity(&one.value.0)?)));
    Val::object([
        ("driver", Val::text(driver)),
        ("attributes", by_domain(driver, attributes)),
        ("capacity", by_domain(driver, capacities)),
        ("allowMultipleAllocations", Val::Bool(device.allow_multiple_allocations.unwrap_or(false))),
    ])
}

/// Names without a domain are of the driver's.
fn by_domain<'a>(driver: &'a str, all: impl Iterator<Item = (&'a str, Val<'a>)>) -> Val<'a> {
    let mut domains: BTreeMap<&str, Vec<(&str, Val<'a>)>> = BTreeMap::new();
    for (name, value) in all {
        let (domain, name) = name.split_once('/').unwrap_or((driver, name));
        domains.entry(domain).or_default().push((name, value));
    }
    domains.entry(driver).or_default();
    let domains = domains
        .into_iter()
        .map(|(domain, values)| (MapKey::Text(domain.into()), Val::object(values)));
    Val::Map(Arc::new(domains.collect()))
}

fn attribute<'a>(attribute: &'a DeviceAttribute) -> Option<Val<'a>> {
    let DeviceAttribute { bool, int, string, version, .. } = attribute;
    let single = None
        .or_else(|| bool.map(Val::Bool))
        .or_else(|| int.map(Val::Int))
        .or_else(|| string.as_deref().map(Val::text))
        .or_else(|| version.as_deref().and_then(semver));
    single.or_else(|| {
        let DeviceAttribute { bools, ints, strings, versions, .. } = attribute;
        let many = None
            .or_else(|| bools.as_ref().map(|all| all.iter().copied().map(Val::Bool).collect()))
            .or_else(|| ints.as_ref().map(|all| all.iter().copied().map(Val::Int).collect()))
            .or_else(|| {
                strings.as_ref().map(|all| all.iter().map(|one| Val::text(one.as_str())).collect())
            })
            .or_else(|| {
                versions.as_ref().map(|all| all.iter().filter_map(|one| semver(one)).collect())
            });
        many.map(Val::list)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_are_selected_by_what_they_are() {
        let device: Device = serde_json::from_value(json!({
            "name": "gpu-0",
            "attributes": {"model": {"string": "big"}, "other.example/fast": {"bool": true},
                           "version": {"version": "1.2.3"}, "cores": {"int": 8}},
            "capacity": {"memory": {"value": "16Gi"}},
        }))
        .unwrap();
        let selectors = Selectors::default();
        for (text, expected) in [
            ("device.driver == 'gpu.example'", Ok(true)),
            ("device.attributes['gpu.example'].model == 'big'", Ok(true)),
            ("device.attributes['other.example'].fast", Ok(true)),
            ("device.attributes['gpu.example'].cores > 8", Ok(false)),
            ("device.attributes['nobody.example'].x == 1", Ok(false)),
            ("device.attributes['gpu.example'].missing == 1", Ok(false)),
            ("'missing' in device.attributes['gpu.example']", Ok(false)),
            ("device.capacity['gpu.example'].memory.compareTo(quantity('8Gi')) >= 0", Ok(true)),
            ("device.attributes['gpu.example'].version.isGreaterThan(semver('1.0.0'))", Ok(true)),
        ] {
            assert_eq!(selectors.selects(text, "gpu.example", &device), expected, "{text}");
        }
        assert!(selectors.selects("device.", "gpu.example", &device).is_err());
    }
}
