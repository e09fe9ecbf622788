//! A function of the host as an authorizer: what an authorization webhook is to strangers.

use std::fmt;

use k8s_openapi::api::authorization::v1::{
    FieldSelectorAttributes, LabelSelectorAttributes, NonResourceAttributes, ResourceAttributes,
    SubjectAccessReviewSpec,
};
use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{Attributes, Authorizer, Decision};

type Function = dyn Fn(Value) -> Result<Decision, String> + Send + Sync;

/// A function of the host that is asked who may do what. It is given the `spec` of a
/// `SubjectAccessReview` (`authorization.k8s.io/v1`), as webhooks are. When it fails, nothing is
/// allowed. The caller waits for it, on a thread of its own or of the engine.
pub struct AuthorizationHook {
    name: String,
    function: Box<Function>,
}

impl AuthorizationHook {
    /// One with a name for messages.
    pub fn new(
        name: &str,
        function: impl Fn(Value) -> Result<Decision, String> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.to_owned(), function: Box::new(function) }
    }

    fn ask(&self, request: &Attributes<'_>) -> Result<Decision, String> {
        let spec = serde_json::to_value(spec(request)).map_err(|error| error.to_string())?;
        // Other requests go on meanwhile where there are threads for them.
        let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
        match flavor {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| (self.function)(spec)),
            _ => (self.function)(spec),
        }
    }
}

impl Authorizer for AuthorizationHook {
    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        self.ask(request).unwrap_or_else(|why| {
            let name = &self.name;
            tracing::warn!(name, why, "an authorizer of the host failed");
            Decision::Deny(format!("failed calling authorizer {name:?}: {why}"))
        })
    }
}

impl fmt::Debug for AuthorizationHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorizationHook({:?})", self.name)
    }
}

fn spec(request: &Attributes<'_>) -> SubjectAccessReviewSpec {
    let Attributes { user, .. } = request;
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let is_path = !request.path.is_empty();
    SubjectAccessReviewSpec {
        user: text(&user.name),
        groups: Some(user.groups.to_vec()),
        uid: user.uid.as_deref().and_then(text),
        extra: Some(&*user.extra).filter(|extra| !extra.is_empty()).cloned(),
        non_resource_attributes: is_path
            .then(|| NonResourceAttributes { path: text(request.path), verb: text(request.verb) }),
        resource_attributes: (!is_path).then(|| ResourceAttributes {
            verb: text(request.verb),
            group: text(request.group),
            version: None,
            resource: text(request.resource),
            subresource: text(request.subresource),
            namespace: text(request.namespace),
            name: text(request.name),
            field_selector: request.selectors.fields.map(|fields| FieldSelectorAttributes {
                raw_selector: Some(fields.to_string()),
                requirements: None,
            }),
            label_selector: request.selectors.labels.map(|labels| LabelSelectorAttributes {
                raw_selector: Some(labels.to_string()),
                requirements: None,
            }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use pinnace_api::selector::FieldSelector;
    use serde_json::json;

    use super::*;
    use crate::{Selectors, User};

    #[test]
    fn a_function_sees_what_a_webhook_would_and_allows_nothing_when_it_fails() {
        let hook = AuthorizationHook::new("test", |spec| Err(spec.to_string()));
        let user = User::new("ann", ["a".to_owned()]);
        let fields = FieldSelector::equals("spec.nodeName", "n");
        let asked = Attributes {
            verb: "list",
            resource: "pods",
            namespace: "default",
            path: "",
            selectors: Selectors { fields: Some(&fields), labels: None },
            ..Attributes::path(&user, "", "")
        };
        let said = |asked: &Attributes<'_>| match hook.authorize(asked) {
            Decision::Deny(why) => {
                let why = why.strip_prefix("failed calling authorizer \"test\": ").unwrap();
                serde_json::from_str::<Value>(why).unwrap()
            }
            Decision::Allow => panic!("it has failed"),
        };
        let objects = json!({"verb": "list", "resource": "pods", "namespace": "default",
            "fieldSelector": {"rawSelector": "spec.nodeName=n"}});
        let expected = json!({"user": "ann", "groups": ["a"], "resourceAttributes": objects});
        assert_eq!(said(&asked), expected);
        let path = json!({"path": "/metrics", "verb": "get"});
        let expected = json!({"user": "ann", "groups": ["a"], "nonResourceAttributes": path});
        assert_eq!(said(&Attributes::path(&user, "get", "/metrics")), expected);
    }
}
