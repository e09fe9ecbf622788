//! What expressions may ask about rights.

use std::sync::Arc;

use pinnace_api::expressions::{Fault, Opaque, Outcome, Val};
use pinnace_api::selector::{FieldSelector, Selector};

use crate::write::Write;
use crate::{Attributes, Decision, Selectors, Server, User};

/// The authorizer as an expression sees it.
pub(super) fn of<'a>(server: &Server, write: &Write<'_>) -> Val<'a> {
    let asked = Asked {
        group: write.resource.group.to_string(),
        resource: write.resource.plural.to_string(),
        subresource: write.part.to_owned(),
        namespace: write.key.namespace().to_owned(),
        name: write.key.name().to_owned(),
        path: String::new(),
        fields: String::new(),
        labels: String::new(),
    };
    let user = write.user.clone();
    own(Rights { server: server.clone(), user, request: asked, stage: Stage::Authorizer })
}

fn own<'a>(own: impl Opaque + 'static) -> Val<'a> {
    Val::Opaque(Arc::new(own))
}

/// What is asked about.
#[derive(Clone, Debug, Default)]
struct Asked {
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    path: String,
    fields: String,
    labels: String,
}

#[derive(Clone, Debug)]
enum Stage {
    Authorizer,
    Group(String),
    Check(Asked),
}

#[derive(Clone, Debug)]
struct Rights {
    server: Server,
    user: User,
    request: Asked,
    stage: Stage,
}

impl Rights {
    fn at<'a>(&self, stage: Stage) -> Val<'a> {
        own(Self { stage, ..self.clone() })
    }

    fn check(&self, asked: &Asked, verb: &str) -> Answer {
        // What can't be read narrows nothing down.
        let fields = Some(&asked.fields).filter(|text| !text.is_empty());
        let fields = fields.and_then(|text| FieldSelector::parse(text).ok());
        let labels = Some(&asked.labels).filter(|text| !text.is_empty());
        let labels = labels.and_then(|text| Selector::parse(text).ok());
        let authorizer = self.server.authorizer();
        let asked = Attributes {
            user: &self.user,
            verb,
            group: &asked.group,
            resource: &asked.resource,
            subresource: &asked.subresource,
            namespace: &asked.namespace,
            name: &asked.name,
            path: &asked.path,
            selectors: Selectors { fields: fields.as_ref(), labels: labels.as_ref() },
        };
        match authorizer.authorize(&asked) {
            Decision::Allow => Answer { allowed: true, why: authorizer.why_allowed(&asked) },
            Decision::Deny(why) => Answer { allowed: false, why },
        }
    }
}

impl Opaque for Rights {
    fn type_name(&self) -> &'static str {
        match &self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Group(_) => "kubernetes.authorization.GroupCheck",
            Stage::Check(asked) if !asked.path.is_empty() => "kubernetes.authorization.PathCheck",
            Stage::Check(_) => "kubernetes.authorization.ResourceCheck",
        }
    }

    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
        let mut texts = Vec::with_capacity(arguments.len());
        for argument in arguments {
            match argument {
                Val::Text(text) => texts.push(text.to_string()),
                _ => return None,
            }
        }
        let made = match (&self.stage, function, &texts[..]) {
            (Stage::Authorizer, "path", [path]) if path.is_empty() => {
                return Some(Err(Fault::new("path must not be empty")));
            }
            (Stage::Authorizer, "path", [path]) => {
                self.at(Stage::Check(Asked { path: path.clone(), ..Asked::default() }))
            }
            (Stage::Authorizer, "group", [group]) => self.at(Stage::Group(group.clone())),
            (Stage::Authorizer, "serviceAccount", [namespace, name]) => {
                let groups = [
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".to_owned(),
                ];
                let user = User::new(&format!("system:serviceaccount:{namespace}:{name}"), groups);
                own(Self { user, ..self.clone() })
            }
            (Stage::Group(group), "resource", [resource]) => {
                let (group, resource) = (group.clone(), resource.clone());
                self.at(Stage::Check(Asked { group, resource, ..Asked::default() }))
            }
            (Stage::Check(asked), "subresource", [subresource]) => {
                let subresource = subresource.clone();
                self.at(Stage::Check(Asked { subresource, ..asked.clone() }))
            }
            (Stage::Check(asked), "namespace", [namespace]) => {
                let namespace = namespace.clone();
                self.at(Stage::Check(Asked { namespace, ..asked.clone() }))
            }
            (Stage::Check(asked), "name", [name]) => {
                self.at(Stage::Check(Asked { name: name.clone(), ..asked.clone() }))
            }
            (Stage::Check(asked), "fieldSelector", [fields]) => {
                self.at(Stage::Check(Asked { fields: fields.clone(), ..asked.clone() }))
            }
            (Stage::Check(asked), "labelSelector", [labels]) => {
                self.at(Stage::Check(Asked { labels: labels.clone(), ..asked.clone() }))
            }
            (Stage::Check(asked), "check", [verb]) => own(self.check(asked, verb)),
            _ => return None,
        };
        Some(Ok(made))
    }

    fn field<'a>(&self, name: &str) -> Option<Val<'a>> {
        match (&self.stage, name) {
            (Stage::Authorizer, "requestResource") => {
                Some(self.at(Stage::Check(self.request.clone())))
            }
            _ => None,
        }
    }

    fn key(&self) -> String {
        format!("{:?}", self.stage)
    }
}

#[derive(Debug)]
struct Answer {
    allowed: bool,
    why: String,
}

impl Opaque for Answer {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.Decision"
    }

    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
        if !arguments.is_empty() {
            return None;
        }
        Some(Ok(match function {
            "allowed" => Val::Bool(self.allowed),
            "reason" => Val::text(self.why.as_str()),
            "error" => Val::text(""),
            "errored" => Val::Bool(false),
            _ => return None,
        }))
    }

    fn key(&self) -> String {
        format!("{self:?}")
    }
}
