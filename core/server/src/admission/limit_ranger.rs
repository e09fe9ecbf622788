use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use pinnace_api::quantity::Quantity;
use pinnace_api::{ApiError, Result};

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
        if request.operation != Operation::Create || request.subresource.is_some() {
            return Ok(());
        }
        let ranges: Vec<&LimitRangeItem> = request
            .snapshot
            .iter_namespace("limitranges", request.key.namespace())
            .filter_map(|range| range.get::<LimitRange>().ok()?.spec.as_ref())
            .flat_map(|spec| &spec.limits)
            .collect();
        let Some(new) = request.new.as_mut().filter(|_| !ranges.is_empty()) else { return Ok(()) };
        let mut problems = Vec::new();
        if let Some(pod) = new.get_mut::<Pod>() {
            ranges.iter().for_each(|range| fill(pod, range));
            let none = PodSpec::default();
            let spec = pod.spec.as_ref().unwrap_or(&none);
            ranges.iter().for_each(|range| check_pod(spec, range, &mut problems));
        } else if let Some(claim) = new.get_mut::<PersistentVolumeClaim>() {
            let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
            let requests = resources.and_then(|resources| resources.requests.clone());
            let requests = requests.unwrap_or_default();
            let claims = ranges.iter().filter(|range| range.type_ == "PersistentVolumeClaim");
            claims.for_each(|range| check_claim(&requests, range, &mut problems));
        }
        let why = match &problems[..] {
            [] => return Ok(()),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        Err(ApiError::forbidden(request.resource, request.key.name(), &why))
    }
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

fn check_pod(spec: &PodSpec, range: &LimitRangeItem, problems: &mut Vec<String>) {
    let of = |container: &Container| {
        let resources = container.resources.clone().unwrap_or_default();
        (resources.requests.unwrap_or_default(), resources.limits.unwrap_or_default())
    };
    let init = spec.init_containers.as_deref().unwrap_or_default();
    match range.type_.as_str() {
        "Container" => {
            for container in spec.containers.iter().chain(init) {
                let (requests, limits) = of(container);
                check(&requests, &limits, range, problems);
            }
        }
        "Pod" => {
            let main: Vec<_> = spec.containers.iter().map(of).collect();
            let init: Vec<_> = init.iter().map(of).collect();
            let sum = |pick: fn(&(List, List)) -> &List| {
                let mut sum = total(main.iter().map(pick), |a, b| a.checked_add(b));
                // Those that run before the others need what the largest of them needs.
                for (name, most) in total(init.iter().map(pick), |a, b| Some(a.max(b))) {
                    let have = sum.entry(name).or_insert(most);
                    *have = (*have).max(most);
                }
                let texts = sum.into_iter();
                texts.map(|(name, sum)| (name, Text(sum.to_string()))).collect::<List>()
            };
            check(&sum(|lists| &lists.0), &sum(|lists| &lists.1), range, problems);
        }
        _ => {}
    }
}

fn total<'a>(
    lists: impl Iterator<Item = &'a List>,
    join: impl Fn(Quantity, Quantity) -> Option<Quantity>,
) -> BTreeMap<String, Quantity> {
    let mut total = BTreeMap::new();
    for (name, value) in lists.flatten() {
        let Ok(value) = Quantity::try_from(value) else { continue };
        let sum = total.get(name).map_or(Some(value), |before| join(*before, value));
        total.insert(name.clone(), sum.unwrap_or(value));
    }
    total
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
