use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use pinnace_api::pod_resources::{self, Summing};
use pinnace_api::quantity::Quantity;
use pinnace_api::{ApiError, Object, Result};
use pinnace_client::Subresource;

use super::{Admission, AdmissionRequest, Operation};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type List = BTreeMap<String, Text>;

/// Gives containers what the limit ranges of their namespace say they have, and refuses what is
/// beyond them.
pub(super) struct LimitRanger;

impl Admission for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        let ranges = ranges(request);
        if let Some(pod) = request.new.as_mut().and_then(|new| new.get_mut::<Pod>()) {
            ranges.into_iter().flatten().for_each(|range| fill(pod, range));
        }
        Ok(())
    }

    /// What webhooks have made of it counts.
    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let Some(new) = request.new.as_deref() else { return Ok(()) };
        for range in ranges(request) {
            let mut problems = Vec::new();
            if let Some(pod) = new.get::<Pod>() {
                range.iter().for_each(|item| check_pod(pod, item, &mut problems));
            } else if let Some(claim) = new.get::<PersistentVolumeClaim>() {
                let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
                let requests = resources.and_then(|resources| resources.requests.clone());
                let requests = requests.unwrap_or_default();
                let claims = range.iter().filter(|item| item.type_ == "PersistentVolumeClaim");
                claims.for_each(|item| check_claim(&requests, item, &mut problems));
            }
            let mut told = Vec::new();
            problems.retain(|problem| {
                let new = !told.contains(problem);
                told.extend(new.then(|| problem.clone()));
                new
            });
            let why = match &problems[..] {
                [] => continue,
                [one] => one.clone(),
                many => format!("[{}]", many.join(", ")),
            };
            return Err(ApiError::forbidden(request.resource, request.key.name(), &why));
        }
        Ok(())
    }
}

/// What the limit ranges of the namespace say of what is written, each by itself; nothing of what they
/// don't look at.
fn ranges<'a>(request: &AdmissionRequest<'a>) -> Vec<&'a [LimitRangeItem]> {
    let limited = matches!(
        (&**request.resource.name(), request.operation, request.subresource),
        ("pods" | "persistentvolumeclaims", Operation::Create, None)
            | ("persistentvolumeclaims", Operation::Update, None)
            | ("pods", Operation::Update, Some(Subresource::Resize))
    );
    if !limited || request.old.is_some_and(Object::is_deleting) {
        return Vec::new();
    }
    let all = request.snapshot.iter_namespace("limitranges", request.key.namespace());
    let specs = all.filter_map(|range| range.get::<LimitRange>().ok()?.spec.as_ref());
    specs.map(|spec| &spec.limits[..]).collect()
}

fn fill(pod: &mut Pod, range: &LimitRangeItem) {
    let Some(spec) = pod.spec.as_mut().filter(|_| range.type_ == "Container") else { return };
    let mut said = Vec::new();
    let lists = [
        ("init container", spec.init_containers.as_mut().map(|list| &mut list[..])),
        ("container", Some(&mut spec.containers[..])),
    ];
    for (what, list) in lists {
        for container in list.into_iter().flatten() {
            fill_container(container, what, range, &mut said);
        }
    }
    if said.is_empty() {
        return;
    }
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let text = format!("LimitRanger plugin set: {}", said.join("; "));
    annotations
        .entry(ANNOTATION.to_owned())
        .and_modify(|before| *before = format!("{before}; {}", said.join("; ")))
        .or_insert(text);
}

fn fill_container(
    container: &mut Container,
    what: &str,
    range: &LimitRangeItem,
    said: &mut Vec<String>,
) {
    let resources = container.resources.get_or_insert_default();
    let lists = [
        ("request", &mut resources.requests, &range.default_request),
        ("limit", &mut resources.limits, &range.default),
    ];
    for (part, list, defaults) in lists {
        let mut set = Vec::new();
        for (name, value) in defaults.iter().flatten() {
            let list = list.get_or_insert_default();
            if !list.contains_key(name) {
                list.insert(name.clone(), value.clone());
                set.push(name.as_str());
            }
        }
        if !set.is_empty() {
            said.push(format!("{} {part} for {what} {}", set.join(", "), container.name));
        }
    }
}

fn check_pod(pod: &Pod, range: &LimitRangeItem, problems: &mut Vec<String>) {
    let Some(spec) = &pod.spec else { return };
    match range.type_.as_str() {
        "Container" => {
            for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
                let resources = container.resources.clone().unwrap_or_default();
                let (requests, limits) = (resources.requests, resources.limits);
                check(&requests.unwrap_or_default(), &limits.unwrap_or_default(), range, problems);
            }
        }
        "Pod" => {
            // What it asks for, not what it has, nor what its runtime needs.
            let spec = PodSpec { overhead: None, ..spec.clone() };
            let alone = Pod { spec: Some(spec), ..Pod::default() };
            let list = |total: pod_resources::Requests<'_>| {
                let texts = total.into_iter();
                texts.map(|(name, sum)| (name.to_owned(), Text(sum.to_string()))).collect::<List>()
            };
            let requests = pod_resources::requests(&alone, Summing::default());
            check(&list(requests), &list(pod_resources::limits(&alone)), range, problems);
        }
        _ => {}
    }
}

fn quantity(list: &List, name: &str) -> Option<Quantity> {
    Quantity::try_from(list.get(name)?).ok()
}

fn check(requests: &List, limits: &List, range: &LimitRangeItem, problems: &mut Vec<String>) {
    let of = &range.type_;
    for (name, wanted) in range.min.iter().flatten() {
        let Ok(least) = Quantity::try_from(wanted) else { continue };
        let (request, limit) = (quantity(requests, name), quantity(limits, name));
        let says = format!("minimum {name} usage per {of} is {}", wanted.0);
        match (request, limit) {
            (None, _) => problems.push(format!("{says}.  No request is specified")),
            (Some(request), _) if request < least => {
                problems.push(format!("{says}, but request is {request}"));
            }
            (_, Some(limit)) if limit < least => {
                problems.push(format!("{says}, but limit is {limit}"));
            }
            _ => {}
        }
    }
    for (name, wanted) in range.max.iter().flatten() {
        let Ok(most) = Quantity::try_from(wanted) else { continue };
        let (request, limit) = (quantity(requests, name), quantity(limits, name));
        let says = format!("maximum {name} usage per {of} is {}", wanted.0);
        match (request, limit) {
            (_, None) => problems.push(format!("{says}.  No limit is specified")),
            (_, Some(limit)) if limit > most => {
                problems.push(format!("{says}, but limit is {limit}"));
            }
            (Some(request), _) if request > most => {
                problems.push(format!("{says}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (name, wanted) in range.max_limit_request_ratio.iter().flatten() {
        let Ok(most) = Quantity::try_from(wanted) else { continue };
        let says = format!("{name} max limit to request ratio per {of} is {}", wanted.0);
        let zero = |value: &Quantity| value.is_zero();
        let request = quantity(requests, name).filter(|value| !zero(value));
        let limit = quantity(limits, name).filter(|value| !zero(value));
        match (request, limit) {
            (Some(request), Some(limit)) => {
                let ratio = limit.to_f64() / request.to_f64();
                if ratio > most.to_f64() {
                    problems.push(format!("{says}, but provided ratio is {ratio:.6}"));
                }
            }
            (None, _) => {
                problems.push(format!("{says}, but no request is specified or request is 0"))
            }
            (_, None) => problems.push(format!("{says}, but no limit is specified or limit is 0")),
        }
    }
}

fn check_claim(requests: &List, range: &LimitRangeItem, problems: &mut Vec<String>) {
    let names: BTreeSet<&String> = range
        .min
        .iter()
        .flatten()
        .chain(range.max.iter().flatten())
        .map(|(name, _)| name)
        .collect();
    for name in names {
        let bound = |list: &Option<List>| list.as_ref().and_then(|list| quantity(list, name));
        let request = quantity(requests, name);
        let of = &range.type_;
        if let Some(least) = bound(&range.min) {
            let says = format!("minimum {name} usage per {of} is {least}");
            match request {
                None => problems.push(format!("{says}.  No request is specified")),
                Some(request) if request < least => {
                    problems.push(format!("{says}, but request is {request}"));
                }
                Some(_) => {}
            }
        }
        if let (Some(most), Some(request)) = (bound(&range.max), request)
            && request > most
        {
            let says = format!("maximum {name} usage per {of} is {most}");
            problems.push(format!("{says}, but request is {request}"));
        }
    }
}
