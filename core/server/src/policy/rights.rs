//! Who writes a policy reads what it is evaluated with, so must be allowed to.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ParamKind, ParamRef,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::{ApiError, Catalog, Draft, Key, Kind, Object, Result};
use pinnace_store::Snapshot;

use crate::admission::{Admission, AdmissionRequest, Operation};
use crate::authorization::MASTERS;
use crate::{Attributes, Authorizer, Decision, Selectors};

const GROUP: &str = "admissionregistration.k8s.io";

/// The rule.
pub(crate) struct RightsOfParams {
    authorizer: Arc<dyn Authorizer>,
    catalog: Catalog,
}

/// What an object says of params.
#[derive(PartialEq)]
enum Said {
    /// A policy: of which kind they are.
    Kind(ParamKind),
    /// A binding: of the policy, which they are.
    Which { policies: &'static str, policy: String, param: ParamRef },
}

/// What is to be read, as an authorizer is asked; `*` for what can't be told.
struct Readable {
    group: String,
    resource: String,
}

impl Admission for RightsOfParams {
    fn name(&self) -> &'static str {
        "ParamRights"
    }

    fn admit(&self, _: &mut AdmissionRequest<'_>) -> Result<()> {
        Ok(())
    }

    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update)
            && request.subresource.is_none();
        let masters = || request.user.groups.iter().any(|group| group == MASTERS);
        if !writes || request.resource.group != GROUP || masters() {
            return Ok(());
        }
        let Some(said) = request.new.as_deref().and_then(Said::of) else { return Ok(()) };
        if request.old.and_then(Said::before).as_ref() == Some(&said) {
            return Ok(());
        }
        let mut errors = ErrorList::default();
        self.check(request, &said, &mut errors);
        match errors.is_empty() {
            true => Ok(()),
            false => Err(ApiError::invalid(request.resource, request.key.name(), &errors)),
        }
    }
}

impl RightsOfParams {
    pub(crate) fn new(authorizer: Arc<dyn Authorizer>, catalog: Catalog) -> Self {
        Self { authorizer, catalog }
    }

    fn check(&self, request: &AdmissionRequest<'_>, said: &Said, errors: &mut ErrorList) {
        let (root, user) = (Path::root("spec"), &*request.user.name);
        match said {
            Said::Kind(kind) => {
                let (readable, _) = self.readable(kind);
                if self.may(request, "get", &readable, "*", "*") {
                    return;
                }
                let (kind, version) = (text(&kind.kind), text(&kind.api_version));
                let why = format!(
                    "user {user} must have \"get\" permission on all objects of the referenced \
                     paramKind (kind={kind}, apiVersion={version})"
                );
                errors.forbidden(&root.child("paramKind"), &why);
            }
            Said::Which { policies, policy, param } => {
                let found = kind_of(policies, policy, request.snapshot);
                let (readable, problem) = match &found {
                    None => (Readable::anything(), format!("unable to get policy {policy}")),
                    Some(None) => (Readable::anything(), String::new()),
                    Some(Some(kind)) => self.readable(kind),
                };
                let (name, namespace) = (text(&param.name), text(&param.namespace));
                let verb = if name.is_empty() { "list" } else { "get" };
                if self.may(request, verb, &readable, namespace, name) {
                    return;
                }
                let why = match &*problem {
                    "" => format!(
                        "user {user} does not have {verb:?} permission on the object referenced \
                         by paramRef"
                    ),
                    problem => format!(
                        "{problem} to determine minimum required permissions and user {user} does \
                         not have {verb:?} permission for all groups, versions and resources"
                    ),
                };
                errors.forbidden(&root.child("paramRef"), &why);
            }
        }
    }

    /// What a kind is read as, and why that can't be told.
    fn readable(&self, kind: &ParamKind) -> (Readable, String) {
        let (version, name) = (text(&kind.api_version), text(&kind.kind));
        match self.catalog.by_kind(version, name) {
            Ok(found) => {
                let (group, resource) = (found.group.to_string(), found.plural.to_string());
                (Readable { group, resource }, String::new())
            }
            Err(_) => {
                let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
                let problem = format!("unable to resolve paramKind {version}, Kind={name}");
                (Readable { group, resource: "*".to_owned() }, problem)
            }
        }
    }

    fn may(
        &self,
        request: &AdmissionRequest<'_>,
        verb: &str,
        what: &Readable,
        namespace: &str,
        name: &str,
    ) -> bool {
        let asked = Attributes {
            user: request.user,
            verb,
            group: &what.group,
            resource: &what.resource,
            subresource: "",
            namespace,
            name,
            path: "",
            selectors: Selectors::default(),
        };
        self.authorizer.authorize(&asked) == Decision::Allow
    }
}

impl Readable {
    fn anything() -> Self {
        Self { group: "*".to_owned(), resource: "*".to_owned() }
    }
}

impl Said {
    fn of(draft: &Draft) -> Option<Self> {
        Self::policy(draft.get(), draft.get()).or_else(|| Self::binding(draft.get(), draft.get()))
    }

    fn before(object: &Object) -> Option<Self> {
        fn get<K: Kind>(object: &Object) -> Option<&K> {
            object.get().ok()
        }
        Self::policy(get(object), get(object)).or_else(|| Self::binding(get(object), get(object)))
    }

    fn policy(
        validating: Option<&ValidatingAdmissionPolicy>,
        mutating: Option<&MutatingAdmissionPolicy>,
    ) -> Option<Self> {
        let kind = match (validating, mutating) {
            (Some(policy), _) => policy.spec.as_ref()?.param_kind.clone()?,
            (_, Some(policy)) => policy.spec.as_ref()?.param_kind.clone()?,
            (None, None) => return None,
        };
        Some(Self::Kind(kind))
    }

    fn binding(
        validating: Option<&ValidatingAdmissionPolicyBinding>,
        mutating: Option<&MutatingAdmissionPolicyBinding>,
    ) -> Option<Self> {
        let (policies, policy, param) = match (validating, mutating) {
            (Some(binding), _) => {
                let spec = &binding.spec;
                (VALIDATING, spec.policy_name.clone(), spec.param_ref.clone()?)
            }
            (_, Some(binding)) => {
                let spec = binding.spec.as_ref()?;
                (MUTATING, spec.policy_name.clone().unwrap_or_default(), spec.param_ref.clone()?)
            }
            (None, None) => return None,
        };
        Some(Self::Which { policies, policy, param })
    }
}

const VALIDATING: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const MUTATING: &str = "mutatingadmissionpolicies.admissionregistration.k8s.io";

/// The kind of a policy's params; `None` where there is no such policy.
fn kind_of(policies: &str, policy: &str, snapshot: &Snapshot) -> Option<Option<ParamKind>> {
    let found = snapshot.get(policies, &Key::cluster(policy))?;
    match Said::before(found) {
        Some(Said::Kind(kind)) => Some(Some(kind)),
        _ => Some(None),
    }
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
