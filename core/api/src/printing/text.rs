//! How lists, labels, selectors and quantities look in a cell.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as QuantityText;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::quantity::Quantity;
use crate::selector::Selector;

pub(super) const NONE: &str = "<none>";
pub(super) const UNSET: &str = "<unset>";
/// Most items of a list that are shown.
const SHOWN_MAX: usize = 3;

/// The text, or `<none>` when it is absent or empty.
pub(super) fn or_none(text: Option<&str>) -> &str {
    or(text, NONE)
}

/// The text, or another when it is absent or empty.
pub(super) fn or<'a>(text: Option<&'a str>, other: &'a str) -> &'a str {
    text.filter(|text| !text.is_empty()).unwrap_or(other)
}

/// Labels as `a=1,b=2`.
pub(super) fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let all: Vec<_> =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(Some(&all.join(","))).to_owned()
}

/// A selector as it is written on a command line.
pub(super) fn selector(selector: Option<&LabelSelector>) -> String {
    match selector.map(selector_text) {
        None => NONE.to_owned(),
        Some(Some(text)) => or_none(Some(&text)).to_owned(),
        Some(None) => "<error>".to_owned(),
    }
}

/// The same, `None` when it is not valid.
pub(super) fn selector_text(selector: &LabelSelector) -> Option<String> {
    Selector::from_label_selector(selector).ok().map(|selector| selector.to_string())
}

/// The names and the images of a template's containers.
pub(super) fn template_containers(template: Option<&PodTemplateSpec>) -> (String, String) {
    let spec = template.and_then(|template| template.spec.as_ref());
    containers(spec.map(|spec| &spec.containers[..]).unwrap_or_default())
}

/// The names and the images of containers.
pub(super) fn containers(containers: &[Container]) -> (String, String) {
    let names: Vec<_> = containers.iter().map(|one| &one.name[..]).collect();
    let images: Vec<_> =
        containers.iter().map(|one| one.image.as_deref().unwrap_or_default()).collect();
    (names.join(","), images.join(","))
}

/// The first three of a list and how many there are beyond; `<unset>` for none.
pub(super) fn shortened<T: AsRef<str>>(all: impl IntoIterator<Item = T>) -> String {
    let mut all = all.into_iter();
    let shown: Vec<T> = all.by_ref().take(SHOWN_MAX).collect();
    let shown: Vec<&str> = shown.iter().map(AsRef::as_ref).collect();
    match (shown.join(","), all.count()) {
        (text, 0) => or(Some(&text), UNSET).to_owned(),
        (text, more) => format!("{text} + {more} more..."),
    }
}

/// A quantity in its canonical form; nothing is `0`.
pub(super) fn quantity(text: Option<&QuantityText>) -> String {
    match text.map(|text| (Quantity::parse(&text.0), text)) {
        None => "0".to_owned(),
        Some((Ok(quantity), _)) => quantity.to_string(),
        Some((Err(_), text)) => text.0.clone(),
    }
}

/// A number or a percentage.
pub(super) fn int_or_string(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

/// `True`, `False`, or `<unset>`.
pub(super) fn optional_bool(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    }
}

/// Addresses sorted and each once.
pub(super) fn sorted<'a>(addresses: impl IntoIterator<Item = &'a str>) -> String {
    let sorted: BTreeSet<_> = addresses.into_iter().collect();
    sorted.into_iter().collect::<Vec<_>>().join(",")
}

/// Whether a condition is `True`.
pub(super) fn is_true(conditions: Option<&Vec<Condition>>, kind: &str) -> bool {
    conditions.into_iter().flatten().any(|one| one.type_ == kind && one.status == "True")
}

/// The name, with a mark when one of these annotations makes it the default of its kind.
pub(super) fn with_default(meta: &ObjectMeta, annotations: &[&str]) -> String {
    let name = meta.name.as_deref().unwrap_or_default();
    let all = meta.annotations.as_ref();
    let is_set =
        |key: &&str| all.and_then(|all| all.get(*key)).is_some_and(|value| value == "true");
    if annotations.iter().any(is_set) { format!("{name} (default)") } else { name.to_owned() }
}
