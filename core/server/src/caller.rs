use pinnace_api::{Caller, Resource};

use crate::{Attributes, Selectors, Server, User};

/// Who writes an object, for its strategy.
pub(crate) struct Writing<'a> {
    pub(crate) server: &'a Server,
    pub(crate) user: &'a User,
    pub(crate) verb: &'a str,
    pub(crate) resource: &'a Resource,
}

impl Caller for Writing<'_> {
    fn verb(&self) -> &str {
        self.verb
    }

    fn node(&self) -> Option<&str> {
        self.user.node_of_account()
    }

    fn may(&self, verb: &str, part: &str, namespace: &str, name: &str) -> Result<(), String> {
        let asked = self.server.check(&Attributes {
            user: self.user,
            verb,
            group: &self.resource.group,
            resource: &self.resource.plural,
            subresource: part,
            namespace,
            name,
            path: "",
            selectors: Selectors::default(),
        });
        asked.map_err(|refused| refused.message().to_owned())
    }
}
