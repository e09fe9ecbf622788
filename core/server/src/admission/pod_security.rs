use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    Container, Pod, PodSpec, PodTemplate, PodTemplateSpec, ReplicationController,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::field::ErrorList;
use pinnace_api::pod_security::{
    self as standards, Level, LevelVersion, PREFIX, PodSecurityConfiguration, Policy, Violation,
};
use pinnace_api::{ApiError, Draft, Key, Object, Resource, Result};
use pinnace_client::Subresource;

use super::{Admission, AdmissionRequest, Operation};

/// How many pods of a namespace are looked at when more is asked of them.
const MOST_PODS: usize = 3000;
/// How profiles of seccomp were given before there were fields.
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Holds pods to what their namespaces ask of them, and says so of what makes pods.
pub(super) struct PodSecurity {
    config: PodSecurityConfiguration,
}

/// A namespace's policy, and what is wrong with its labels.
struct Asked {
    policy: Policy,
    wrong: Option<String>,
}

impl PodSecurity {
    pub(super) fn new(config: PodSecurityConfiguration) -> Self {
        Self { config }
    }
}

impl Admission for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn admit(&self, _: &mut AdmissionRequest<'_>) -> Result<()> {
        Ok(())
    }

    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let is_write = matches!(request.operation, Operation::Create | Operation::Update);
        let Some(new) = request.new.as_deref().filter(|_| is_write) else { return Ok(()) };
        match (&**request.resource.name(), request.subresource) {
            ("namespaces", None) => self.review_namespace(request, new),
            ("pods", None | Some(Subresource::Resize | Subresource::EphemeralContainers)) => {
                self.review_pod(request, new)
            }
            ("pods", _) => Ok(()),
            (_, None) if makes_pods(request.resource) => self.review_template(request, new),
            _ => Ok(()),
        }
    }
}

impl PodSecurity {
    fn policy(&self, labels: Option<&BTreeMap<String, String>>) -> (Policy, ErrorList) {
        let mut errors = ErrorList::default();
        let policy = Policy::of(labels, self.config.defaults, &mut errors);
        (policy, errors)
    }

    fn review_namespace(&self, request: &AdmissionRequest<'_>, new: &Draft) -> Result<()> {
        let name = request.key.name();
        let (policy, errors) = self.policy(new.meta().labels.as_ref());
        let before = request.old.map(|old| self.policy(old.meta().labels.as_ref()));
        let texts = |errors: &ErrorList| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let known = before.as_ref().is_some_and(|(_, before)| texts(before) == texts(&errors));
        if !errors.is_empty() && !known {
            return Err(ApiError::invalid(request.resource, name, &errors));
        }
        if self.config.exemptions.namespaces.iter().any(|exempt| exempt == name) {
            if !policy.is_privileged() && policy != self.config.defaults {
                request.warnings.add(format!(
                    "namespace {name:?} is exempt from Pod Security, and the policy ({policy}) \
                     will be ignored"
                ));
            }
            return Ok(());
        }
        let Some((before, _)) = before else { return Ok(()) };
        let (asked, was) = (policy.enforce, before.enforce);
        let is_relaxed = asked.version == was.version && asked.level <= was.level;
        if asked.level != Level::Privileged && !is_relaxed && request.warnings.are_kept() {
            self.warn_of_pods(request, asked);
        }
        Ok(())
    }

    /// Warns of the pods that are there and would be refused now.
    fn warn_of_pods(&self, request: &AdmissionRequest<'_>, asked: LevelVersion) {
        let name = request.key.name();
        let pods = self.by_urgency(request.snapshot.iter_namespace("pods", name));
        let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for pod in pods.iter().take(MOST_PODS) {
            let Ok(typed) = pod.get::<Pod>() else { continue };
            let Some(spec) = &typed.spec else { continue };
            let violations = standards::violations(asked, &typed.metadata, spec);
            if !violations.is_empty() {
                found.entry(standards::reasons(&violations)).or_default().push(pod.name());
            }
        }
        if pods.len() > MOST_PODS {
            request.warnings.add(format!(
                "new PodSecurity enforce level only checked against the first {MOST_PODS} of {} \
                 existing pods",
                pods.len()
            ));
        }
        if !found.is_empty() {
            request.warnings.add(format!(
                "existing pods in namespace {name:?} violate the new PodSecurity enforce level \
                 \"{asked}\""
            ));
        }
        let mut lines: Vec<String> =
            found.into_iter().map(|(why, pods)| line(&why, pods)).collect();
        lines.sort();
        lines.into_iter().for_each(|line| request.warnings.add(line));
    }

    /// The pods that are not exempt, the first of each owner before its others.
    fn by_urgency<'a>(&self, pods: impl Iterator<Item = &'a Object>) -> Vec<&'a Object> {
        let exempt = &self.config.exemptions.runtime_classes;
        let mut owners = HashSet::new();
        let (mut first, mut others) = (Vec::new(), Vec::new());
        for pod in pods {
            let spec = pod.get::<Pod>().ok().and_then(|pod| pod.spec.as_ref());
            let class = spec.and_then(|spec| spec.runtime_class_name.as_ref());
            if class.is_some_and(|class| exempt.contains(class)) {
                continue;
            }
            match pod.controller() {
                Some(owner) if !owners.insert(owner.uid.as_str()) => others.push(pod),
                _ => first.push(pod),
            }
        }
        first.extend(others);
        first
    }

    fn review_pod(&self, request: &AdmissionRequest<'_>, new: &Draft) -> Result<()> {
        let Some(pod) = new.get::<Pod>() else { return Ok(()) };
        let Some(asked) = self.asked(request) else { return Ok(()) };
        if asked.wrong.is_none() && asked.policy.is_privileged() {
            annotate(request, "enforce-policy", || LevelVersion::default().to_string());
            return Ok(());
        }
        if let Some(old) = request.old
            && !is_significant(pod, old.get::<Pod>()?)
        {
            return Ok(());
        }
        let none = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&none);
        self.evaluate(request, &asked, (&pod.metadata, spec), true)
    }

    fn review_template(&self, request: &AdmissionRequest<'_>, new: &Draft) -> Result<()> {
        let Some(asked) = self.asked(request) else { return Ok(()) };
        let policy = asked.policy;
        let is_silent =
            [policy.audit, policy.warn].iter().all(|one| one.level == Level::Privileged);
        if asked.wrong.is_none() && is_silent {
            return Ok(());
        }
        let Some(template) = template_of(new) else { return Ok(()) };
        let (no_meta, no_spec) = (ObjectMeta::default(), PodSpec::default());
        let meta = template.metadata.as_ref().unwrap_or(&no_meta);
        let spec = template.spec.as_ref().unwrap_or(&no_spec);
        self.evaluate(request, &asked, (meta, spec), false)
    }

    /// What is asked of a pod or a template; `None` when nothing is, whatever it is.
    fn asked(&self, request: &AdmissionRequest<'_>) -> Option<Asked> {
        let namespace = request.key.namespace();
        let exemptions = &self.config.exemptions;
        let is_in = |list: &[String], name: &str| list.iter().any(|one| one == name);
        if is_in(&exemptions.namespaces, namespace) {
            annotate(request, "exempt", || "namespace".to_owned());
            return None;
        }
        if is_in(&exemptions.usernames, &request.user.name) {
            annotate(request, "exempt", || "user".to_owned());
            return None;
        }
        let found = request.snapshot.get("namespaces", &Key::cluster(namespace));
        let labels = found.and_then(|found| found.meta().labels.as_ref());
        let (policy, errors) = self.policy(labels);
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let wrong = match &texts[..] {
            [] => None,
            [one] => Some(one.clone()),
            many => Some(format!("[{}]", many.join(", "))),
        };
        Some(Asked { policy, wrong })
    }

    fn evaluate(
        &self,
        request: &AdmissionRequest<'_>,
        asked: &Asked,
        (meta, spec): (&ObjectMeta, &PodSpec),
        enforce: bool,
    ) -> Result<()> {
        let class = spec.runtime_class_name.as_ref();
        if class.is_some_and(|class| self.config.exemptions.runtime_classes.contains(class)) {
            annotate(request, "exempt", || "runtimeClass".to_owned());
            return Ok(());
        }
        if let Some(wrong) = &asked.wrong {
            annotate(request, "error", || format!("Failed to parse policy: {wrong}"));
        }
        let Policy { enforce: enforced, audit, warn } = asked.policy;
        let find = |wanted| standards::violations(wanted, meta, spec);
        let said = |wanted: LevelVersion, found: &[Violation]| {
            format!("violate PodSecurity \"{wanted}\": {}", standards::details(found))
        };
        if request.annotations.are_kept() {
            if enforce {
                annotate(request, "enforce-policy", || enforced.to_string());
            }
            let found = find(audit);
            if !found.is_empty() {
                annotate(request, "audit-violations", || format!("would {}", said(audit, &found)));
            }
        }
        let found = if enforce { find(enforced) } else { Vec::new() };
        if !found.is_empty() {
            let details = standards::details(&found);
            let why = format!("violates PodSecurity \"{enforced}\": {details}");
            return Err(ApiError::forbidden(request.resource, request.key.name(), &why));
        }
        // What is enforced has been found to be held to.
        if request.warnings.are_kept() && !(enforce && warn == enforced) {
            let found = find(warn);
            if !found.is_empty() {
                request.warnings.add(format!("would {}", said(warn, &found)));
            }
        }
        Ok(())
    }
}

fn annotate(request: &AdmissionRequest<'_>, key: &str, value: impl FnOnce() -> String) {
    if request.annotations.are_kept() {
        request.annotations.add(format!("{PREFIX}{key}"), value());
    }
}

fn line(why: &str, pods: Vec<&str>) -> String {
    let first = pods.iter().min().copied().unwrap_or_default();
    match pods.len() {
        0 | 1 => format!("{first}: {why}"),
        2 => format!("{first} (and 1 other pod): {why}"),
        count => format!("{first} (and {} other pods): {why}", count - 1),
    }
}

fn makes_pods(resource: &Resource) -> bool {
    matches!(
        &**resource.name(),
        "replicationcontrollers"
            | "podtemplates"
            | "replicasets.apps"
            | "deployments.apps"
            | "statefulsets.apps"
            | "daemonsets.apps"
            | "jobs.batch"
            | "cronjobs.batch"
    )
}

/// The pods that an object makes.
fn template_of(draft: &Draft) -> Option<&PodTemplateSpec> {
    let of_apps = || {
        None.or_else(|| draft.get::<Deployment>().map(|one| Some(&one.spec.as_ref()?.template)))
            .or_else(|| draft.get::<StatefulSet>().map(|one| Some(&one.spec.as_ref()?.template)))
            .or_else(|| draft.get::<DaemonSet>().map(|one| Some(&one.spec.as_ref()?.template)))
            .or_else(|| draft.get::<ReplicaSet>().map(|one| one.spec.as_ref()?.template.as_ref()))
    };
    let of_batch = || {
        None.or_else(|| draft.get::<Job>().map(|one| Some(&one.spec.as_ref()?.template))).or_else(
            || {
                let cron = draft.get::<CronJob>();
                cron.map(|one| Some(&one.spec.job_template.spec.as_ref()?.template))
            },
        )
    };
    let of_core = || {
        None.or_else(|| draft.get::<PodTemplate>().map(|one| one.template.as_ref())).or_else(|| {
            draft.get::<ReplicationController>().map(|one| one.spec.as_ref()?.template.as_ref())
        })
    };
    of_apps().or_else(of_batch).or_else(of_core).flatten()
}

/// Whether a change of a pod may change what it may: other changes are let be, so that a pod that
/// was there before a policy is not held up by it.
fn is_significant(new: &Pod, old: &Pod) -> bool {
    let annotation = |pod: &Pod, key: &str| -> Option<String> {
        pod.metadata.annotations.as_ref()?.get(key).cloned()
    };
    if annotation(new, SECCOMP_POD) != annotation(old, SECCOMP_POD) {
        return true;
    }
    let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return true };
    let differs = |name: &str, new_image: Option<&String>, old_image: Option<&String>| {
        let key = format!("{SECCOMP_CONTAINER}{name}");
        new_image != old_image || annotation(new, &key) != annotation(old, &key)
    };
    let lists_differ = |new: &[Container], old: &[Container]| {
        new.len() != old.len()
            || new
                .iter()
                .zip(old)
                .any(|(new, old)| differs(&new.name, new.image.as_ref(), old.image.as_ref()))
    };
    let init = new_spec.init_containers.as_deref().unwrap_or_default();
    let old_init = old_spec.init_containers.as_deref().unwrap_or_default();
    if lists_differ(&new_spec.containers, &old_spec.containers) || lists_differ(init, old_init) {
        return true;
    }
    new_spec.ephemeral_containers.iter().flatten().any(|new| {
        let mut before = old_spec.ephemeral_containers.iter().flatten();
        let old = before.find(|old| old.name == new.name);
        old.is_none_or(|old| differs(&new.name, new.image.as_ref(), old.image.as_ref()))
    })
}
