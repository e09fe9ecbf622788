use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef,
};
use pinnace_api::{ApiError, Draft, Object, Reason, Result};

use super::authorizer::listed;
use super::covers::{describe, missing, quoted};
use super::{GROUP, Rbac};
use crate::admission::{Admission, AdmissionRequest, Operation};
use crate::authorization::MASTERS;
use crate::{Attributes, Authorizer, Decision, Selectors};

/// Nobody gives away more than they have: who writes a role must hold its rules or be allowed to
/// `escalate`, who writes a binding must hold the rules of its role or be allowed to `bind` it.
#[derive(Clone)]
pub struct RbacEscalation {
    rbac: Rbac,
    authorizer: Arc<dyn Authorizer>,
}

impl RbacEscalation {
    /// The rule, by what this authorizer knows.
    pub fn new(rbac: Rbac) -> Self {
        Self { authorizer: Arc::new(rbac.clone()), rbac }
    }

    /// Has somebody else say who may `escalate` and `bind`; what somebody holds is still for RBAC to
    /// say.
    pub fn allowed_by(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = authorizer;
        self
    }

    fn may(&self, request: &AdmissionRequest<'_>, verb: &str, resource: &str, name: &str) -> bool {
        let attributes = Attributes {
            user: request.user,
            verb,
            group: GROUP,
            resource,
            subresource: "",
            namespace: request.key.namespace(),
            name,
            path: "",
            selectors: Selectors::default(),
        };
        self.authorizer.authorize(&attributes) == Decision::Allow
    }

    fn check_held(&self, request: &AdmissionRequest<'_>, wanted: &[PolicyRule]) -> Result<()> {
        let user = request.user;
        let (held, problems) = self.rbac.rules_for(user, request.key.namespace());
        let missing = missing(&held, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let mut why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            &*user.name,
            quoted(&user.groups),
            describe(&missing)
        );
        if !problems.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", listed(problems)));
        }
        Err(ApiError::forbidden(request.resource, request.key.name(), &why))
    }

    fn check_role(&self, request: &AdmissionRequest<'_>, written: &Written) -> Result<()> {
        let Written::Role { rules, aggregates } = written else { return Ok(()) };
        // What is being made has no name yet, as upstream's authorizers see it.
        let name = request.old.map_or("", |_| request.key.name());
        if !self.may(request, "escalate", &request.resource.plural, name) {
            self.check_held(request, rules)?;
            // It can gather anything, so it takes everything to set it.
            if *aggregates && self.check_held(request, &everything()).is_err() {
                let why = "must have cluster-admin privileges to use the aggregationRule";
                return Err(ApiError::forbidden(request.resource, request.key.name(), why));
            }
        }
        Ok(())
    }

    fn check_binding(&self, request: &AdmissionRequest<'_>, role: &RoleRef) -> Result<()> {
        let resource = match &*role.kind {
            "ClusterRole" => "clusterroles",
            "Role" => "roles",
            _ => "",
        };
        if !resource.is_empty() && self.may(request, "bind", resource, &role.name) {
            return Ok(());
        }
        let namespace = request.key.namespace();
        let rules = self
            .rbac
            .rules_of(role, namespace)
            .map_err(|problem| ApiError::new(Reason::NotFound, problem))?;
        self.check_held(request, &rules)
    }
}

impl fmt::Debug for RbacEscalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RbacEscalation")
    }
}

/// What matters of an object that is written.
enum Written {
    Role { rules: Vec<PolicyRule>, aggregates: bool },
    Binding(RoleRef),
}

impl Written {
    fn of(draft: &Draft) -> Option<Self> {
        if let Some(role) = draft.get::<ClusterRole>() {
            let rules = role.rules.clone().unwrap_or_default();
            return Some(Self::Role { rules, aggregates: role.aggregation_rule.is_some() });
        }
        if let Some(role) = draft.get::<Role>() {
            let rules = role.rules.clone().unwrap_or_default();
            return Some(Self::Role { rules, aggregates: false });
        }
        if let Some(binding) = draft.get::<ClusterRoleBinding>() {
            return Some(Self::Binding(binding.role_ref.clone()));
        }
        draft.get::<RoleBinding>().map(|binding| Self::Binding(binding.role_ref.clone()))
    }
}

impl Admission for RbacEscalation {
    fn name(&self) -> &'static str {
        "RBAC"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        let masters = request.user.groups.iter().any(|group| group == MASTERS);
        if masters || request.resource.group != GROUP || request.operation == Operation::Delete {
            return Ok(());
        }
        let Some(new) = request.new.as_deref() else { return Ok(()) };
        let Some(mut written) = Written::of(new) else { return Ok(()) };
        if request.old.is_some_and(|old| only_collected(new, old)) {
            return Ok(());
        }
        if let Written::Role { aggregates, .. } = &mut written {
            let old = request.old.and_then(|old| old.get::<ClusterRole>().ok());
            *aggregates |= old.is_some_and(|old| old.aggregation_rule.is_some());
        }
        match &written {
            Written::Role { .. } => self.check_role(request, &written),
            Written::Binding(role) => self.check_binding(request, role),
        }
    }
}

/// Whether nothing changes but what the garbage collector changes.
fn only_collected(new: &Draft, old: &Object) -> bool {
    let (Ok(mut new), Ok(mut old)) = (new.to_value(), old.to_value()) else { return false };
    for side in [&mut new, &mut old] {
        if let Some(metadata) = side["metadata"].as_object_mut() {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                metadata.remove(field);
            }
        }
    }
    new == old
}

/// The rights of an administrator of the cluster.
fn everything() -> [PolicyRule; 2] {
    let all = || Some(vec!["*".to_owned()]);
    let verbs = vec!["*".to_owned()];
    [
        PolicyRule {
            verbs: verbs.clone(),
            api_groups: all(),
            resources: all(),
            ..Default::default()
        },
        PolicyRule { verbs, non_resource_urls: all(), ..Default::default() },
    ]
}
