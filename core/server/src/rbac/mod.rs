//! Role-based access control: who may do what is said by roles and by the bindings that give them
//! to users, groups and service accounts.
//!
//! [`Rbac`] decides, [`RbacEscalation`] keeps people from giving away what they have not, and
//! [`bootstrap`] makes the roles and bindings that every cluster has.
//! See <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>.

mod authorizer;
mod bootstrap;
mod covers;
mod escalation;
mod index;
mod nodes;
mod rule;

pub use authorizer::Rbac;
pub use bootstrap::bootstrap;
pub use escalation::RbacEscalation;
pub(crate) use nodes::NodeRules;

/// The API group of roles and bindings.
const GROUP: &str = "rbac.authorization.k8s.io";
