use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceSpec, APIServiceStatus,
};

use super::check::{complain, text};
use super::metadata::keep_for_status;
use super::names::{self, rules};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// The port of a service that names none.
const PORT: i32 = 443;
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// Who serves a version of an API group.
pub(super) struct ApiServiceStrategy;

impl Strategy for ApiServiceStrategy {
    type Kind = APIService;

    fn default(&self, service: &mut APIService) {
        if let Some(target) = service.spec.as_mut().and_then(|spec| spec.service.as_mut()) {
            target.port.get_or_insert(PORT);
        }
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::path_segment(name)
    }

    /// What is served here is there at once. When the condition came is for who looks after it.
    fn prepare_for_create(&self, service: &mut APIService) {
        let is_local = service.spec.as_ref().is_none_or(|spec| spec.service.is_none());
        let available = APIServiceCondition {
            type_: "Available".to_owned(),
            status: "True".to_owned(),
            reason: Some("Local".to_owned()),
            message: Some("Local APIServices are always available".to_owned()),
            last_transition_time: service.metadata.creation_timestamp.clone(),
        };
        let conditions = is_local.then(|| vec![available]);
        service.status = Some(APIServiceStatus { conditions });
    }

    fn validate(&self, service: &APIService, errors: &mut ErrorList) {
        let none = APIServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&none);
        let name = text(&service.metadata.name);
        let wanted = format!("{}.{}", text(&spec.version), text(&spec.group));
        if names::path_segment(name).is_ok() && name != wanted {
            let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.invalid(&Path::root("metadata").child("name"), name, &why);
        }
        validate_spec(spec, &Path::root("spec"), errors);
    }

    fn prepare_for_update(&self, new: &mut APIService, old: &APIService) {
        new.status.clone_from(&old.status);
    }

    fn prepare_for_status_update(&self, new: &mut APIService, old: &APIService) {
        new.spec.clone_from(&old.spec);
        keep_for_status(&mut new.metadata, &old.metadata);
    }

    fn validate_status_update(&self, new: &APIService, _: &APIService, errors: &mut ErrorList) {
        let root = Path::root("status");
        let path = root.child("conditions");
        let conditions = new.status.as_ref().and_then(|status| status.conditions.as_ref());
        for (index, condition) in conditions.into_iter().flatten().enumerate() {
            if !STATUSES.contains(&condition.status.as_str()) {
                let at = path.index(index);
                errors.not_supported(&at.child("status"), &condition.status, &STATUSES);
            }
        }
    }
}

fn validate_spec(spec: &APIServiceSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let (group, version) = (text(&spec.group), text(&spec.version));
    let at = path.child("group");
    if !group.is_empty() {
        complain(errors, &at, group, rules::dns_subdomain(group));
    } else if version != "v1" {
        errors.required(&at, "only v1 may have an empty group and it better be legacy kube");
    }
    complain(errors, &path.child("version"), version, rules::dns_label_1035(version));
    let priorities = [
        ("groupPriorityMinimum", spec.group_priority_minimum, 20_000),
        ("versionPriority", spec.version_priority, 1_000),
    ];
    for (field, priority, max) in priorities {
        if !(1..=max).contains(&priority) {
            let why = format!("must be positive and less than {max}");
            errors.invalid(&path.child(field), priority, &why);
        }
    }
    let bundle = spec.ca_bundle.as_ref().map_or(0, |bundle| bundle.0.len());
    let insecure = spec.insecure_skip_tls_verify == Some(true);
    let at = path.child("insecureSkipTLSVerify");
    let Some(service) = &spec.service else {
        if bundle > 0 {
            let why = "local APIServices may not have a caBundle";
            errors.invalid(&path.child("caBundle"), format!("{bundle} bytes"), why);
        }
        if insecure {
            errors.invalid(&at, true, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    };
    let target = path.child("service");
    for (field, value) in [("namespace", &service.namespace), ("name", &service.name)] {
        if text(value).is_empty() {
            errors.required(&target.child(field), "");
        }
    }
    if insecure && bundle > 0 {
        errors.invalid(&at, true, "may not be true if caBundle is present");
    }
}
