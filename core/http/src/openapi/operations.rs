use pinnace_api::Resource;

use super::parameters::{self, NAME, NAMESPACE, PRETTY, Parameter, REST};
use crate::discovery::groups::{Group, Version};
use crate::discovery::resources::{Part, connections, parts};

/// What can be asked by a method at a path, in no version of OpenAPI yet.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) path: String,
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: String,
    /// `x-kubernetes-action`, empty for none.
    pub(super) action: &'static str,
    /// Group, version and kind.
    pub(super) kind: Option<[String; 3]>,
    pub(super) body: Option<TypeName>,
    pub(super) consumes: &'static [&'static str],
    pub(super) produces: &'static [&'static str],
    pub(super) answers: &'static [u16],
    pub(super) answer: TypeName,
    /// Those of all methods at the path.
    pub(super) shared: Vec<Parameter>,
    pub(super) own: &'static [Parameter],
    pub(super) description: String,
}

/// A type as it is named in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TypeName {
    /// A text, whatever it says.
    Text,
    /// One of the types that every kind needs.
    Meta(&'static str),
    /// A type in `io.k8s.api`.
    Api(&'static str),
    /// The type of this kind's objects: group, version, kind.
    Kind([String; 3]),
    /// The type of lists of this kind.
    List([String; 3]),
}

const ANY: &[&str] = &["*/*"];
const OBJECTS: &[&str] =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const LOGS: &[&str] = &["text/plain"];
/// What custom kinds have instead: they know no protobuf and no strategic merge, and clients choose
/// by what is declared here.
const CUSTOM: [(&[&str], &[&str]); 3] = [
    (OBJECTS, &["application/json", "application/yaml"]),
    (STREAMS, &["application/json", "application/yaml", "application/json;stream=watch"]),
    (
        PATCHES,
        &[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ],
    ),
];

/// Kinds whose deletion answers with the object, as upstream declares it; others with a status.
const DELETED_OBJECTS: [&str; 14] = [
    "persistentvolumeclaims",
    "pods",
    "podtemplates",
    "resourcequotas",
    "serviceaccounts",
    "services",
    "persistentvolumes",
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "storageclasses.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "volumeattributesclasses.storage.k8s.io",
    "devicetaintrules.resource.k8s.io",
    "resourcepoolstatusrequests.resource.k8s.io",
];

/// All operations of a version of a group.
pub(super) fn of_version(group: &str, version: &Version) -> Vec<Operation> {
    let mut operations = Vec::new();
    let names = Names::new(group, &version.name);
    operations.push(names.document(
        format!("{}/", names.base),
        format!("get{}APIResources", names.prefix),
        "APIResourceList",
        format!("{}_{}", names.tag, version.name),
    ));
    for resource in &version.resources {
        Builder::new(&names, resource).all(&mut operations);
    }
    operations
}

/// What a group answers by itself.
pub(super) fn of_group(group: &Group) -> Operation {
    let names = Names::new(&group.name, "");
    let (path, id, answer) = match &*group.name {
        "" => ("/api/".to_owned(), "getCoreAPIVersions".to_owned(), "APIVersions"),
        name => (format!("/apis/{name}/"), format!("get{}APIGroup", names.camel), "APIGroup"),
    };
    names.document(path, id, answer, names.tag.clone())
}

/// The list of groups.
pub(super) fn groups() -> Operation {
    let names = Names::new("apis", "");
    let id = "getAPIVersions".to_owned();
    names.document("/apis/".to_owned(), id, "APIGroupList", "apis".to_owned())
}

/// The version of the server.
pub(super) fn version() -> Operation {
    let names = Names::new("", "");
    let id = "getCodeVersion".to_owned();
    let mut operation =
        names.document("/version/".to_owned(), id, "version.Info", "version".to_owned());
    operation.consumes = &["application/json"];
    operation.produces = operation.consumes;
    operation
}

/// How a group and version are written in paths and identifiers.
struct Names {
    base: String,
    tag: String,
    camel: String,
    /// Group and version, as in `listAppsV1NamespacedDeployment`.
    prefix: String,
}

impl Names {
    fn new(group: &str, version: &str) -> Self {
        let base = match group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let short = match group {
            "" => "core",
            group => group.strip_suffix(".k8s.io").unwrap_or(group),
        };
        let camel: String = short.split(['.', '-']).map(capitalized).collect();
        let mut tag = camel.clone();
        if let Some(first) = tag.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        Self { base, tag, prefix: format!("{camel}{}", capitalized(version)), camel }
    }

    fn document(&self, path: String, id: String, answer: &'static str, tag: String) -> Operation {
        Operation {
            path,
            method: "get",
            id,
            tag,
            action: "",
            kind: None,
            body: None,
            consumes: OBJECTS,
            produces: OBJECTS,
            answers: &[200],
            answer: TypeName::Meta(answer),
            shared: Vec::new(),
            own: &[],
            description: "Says what is served here.".to_owned(),
        }
    }
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// Makes the operations of a kind.
struct Builder<'a> {
    names: &'a Names,
    resource: &'a Resource,
    kind: [String; 3],
    /// `Namespaced` or nothing, as in identifiers.
    scope: &'static str,
    /// Path of the objects, in one namespace where there are namespaces.
    collection: String,
    /// Path of an object.
    item: String,
}

impl<'a> Builder<'a> {
    fn new(names: &'a Names, resource: &'a Resource) -> Self {
        let Names { base, .. } = names;
        let plural = &resource.plural;
        let (scope, collection) = if resource.is_namespaced() {
            ("Namespaced", format!("{base}/namespaces/{{namespace}}/{plural}"))
        } else {
            ("", format!("{base}/{plural}"))
        };
        let kind = [&resource.group, &resource.version, &resource.kind].map(ToString::to_string);
        Self { names, resource, kind, scope, item: format!("{collection}/{{name}}"), collection }
    }

    fn all(&self, into: &mut Vec<Operation>) {
        let first = into.len();
        let mut verbs = self.resource.verbs.0.to_vec();
        verbs.sort_unstable();
        for verb in verbs {
            self.verb(verb, into);
        }
        for part in parts(self.resource) {
            self.part(part, into);
        }
        if self.resource.is_custom() {
            for operation in into.iter_mut().skip(first) {
                for (built_in, custom) in CUSTOM {
                    if operation.consumes == built_in {
                        operation.consumes = custom;
                    }
                    if operation.produces == built_in {
                        operation.produces = custom;
                    }
                }
            }
        }
    }

    fn verb(&self, verb: &str, into: &mut Vec<Operation>) {
        let Self { kind: [_, _, kind], scope, .. } = self;
        let prefix = &self.names.prefix;
        let own = || TypeName::Kind(self.kind.clone());
        let status = TypeName::Meta("Status");
        let options = || Some(TypeName::Meta("DeleteOptions"));
        let id = |verb: &str| format!("{verb}{prefix}{scope}{kind}");
        match verb {
            "create" => into.push(Operation {
                body: Some(own()),
                answers: &[200, 201, 202],
                own: parameters::WRITE,
                ..self.at(&self.collection, "post", id("create"), own(), "post")
            }),
            "deletecollection" => into.push(Operation {
                body: options(),
                own: parameters::DELETE_COLLECTION,
                ..self.at(
                    &self.collection,
                    "delete",
                    format!("delete{prefix}Collection{scope}{kind}"),
                    status,
                    "deletecollection",
                )
            }),
            "list" => self.list(into),
            "watch" => self.watch(into),
            "get" => into.push(self.at(&self.item, "get", id("read"), own(), "get")),
            "update" => into.push(self.replace(&self.item, id("replace"), own())),
            "patch" => into.push(self.patch(&self.item, id("patch"), own())),
            "delete" => {
                let name = self.resource.name();
                let whole = DELETED_OBJECTS.contains(&&**name)
                    || (self.resource.group == "resource.k8s.io");
                into.push(Operation {
                    body: options(),
                    answers: &[200, 202],
                    own: parameters::DELETE,
                    ..self.at(
                        &self.item,
                        "delete",
                        id("delete"),
                        if whole { own() } else { status },
                        "delete",
                    )
                });
            }
            _ => {}
        }
    }

    fn list(&self, into: &mut Vec<Operation>) {
        let Self { kind: [_, _, kind], scope, .. } = self;
        let prefix = &self.names.prefix;
        let mut list = |path: &str, id: String| {
            let answer = TypeName::List(self.kind.clone());
            into.push(Operation {
                own: parameters::LIST,
                produces: STREAMS,
                ..self.at(path, "get", id, answer, "list")
            });
        };
        list(&self.collection, format!("list{prefix}{scope}{kind}"));
        if self.resource.is_namespaced() {
            let path = format!("{}/{}", self.names.base, self.resource.plural);
            list(&path, format!("list{prefix}{kind}ForAllNamespaces"));
        }
    }

    /// Watches by a path of their own: deprecated, and served.
    fn watch(&self, into: &mut Vec<Operation>) {
        let Self { kind: [_, _, kind], scope, .. } = self;
        let Names { prefix, base, .. } = self.names;
        let mut watch = |path: String, id: String, action: &'static str| {
            into.push(Operation {
                own: parameters::LIST,
                produces: STREAMS,
                ..self.at(&path, "get", id, TypeName::Meta("WatchEvent"), action)
            });
        };
        let behind = |path: &str| path.replacen(base, &format!("{base}/watch"), 1);
        let list = format!("watch{prefix}{scope}{kind}List");
        watch(behind(&self.collection), list, "watchlist");
        watch(behind(&self.item), format!("watch{prefix}{scope}{kind}"), "watch");
        if self.resource.is_namespaced() {
            let path = format!("{base}/watch/{}", self.resource.plural);
            watch(path, format!("watch{prefix}{kind}ListForAllNamespaces"), "watchlist");
        }
    }

    fn part(&self, part: Part, into: &mut Vec<Operation>) {
        if connections(self.resource).iter().any(|one| one.name == part.name) {
            return self.connection(part, into);
        }
        let prefix = &self.names.prefix;
        let path = format!("{}/{}", self.item, part.name);
        let suffix = format!("{}{}{}", self.scope, self.kind[2], capitalized(part.name));
        let (ty, kind) = match part.kind.kind {
            "" => (TypeName::Kind(self.kind.clone()), self.kind.clone()),
            kind => (TypeName::Api(api_name(kind)), self.kind_of(part)),
        };
        for verb in part.verbs {
            let id = |verb: &str| format!("{verb}{prefix}{suffix}");
            let mut operation = match *verb {
                "get" => self.at(&path, "get", id("read"), ty.clone(), "get"),
                "patch" => self.patch(&path, id("patch"), ty.clone()),
                "update" => self.replace(&path, id("replace"), ty.clone()),
                _ => Operation {
                    body: Some(ty.clone()),
                    answers: &[200, 201, 202],
                    own: parameters::WRITE,
                    ..self.at(&path, "post", id("create"), ty.clone(), "post")
                },
            };
            operation.kind = Some(kind.clone());
            into.push(operation);
        }
    }

    fn kind_of(&self, part: Part) -> [String; 3] {
        let [group, version, _] = &self.kind;
        let or = |own: &'static str, other: &String| match own {
            "" => other.clone(),
            own => own.to_owned(),
        };
        // Group and version are given together or not at all.
        let group =
            if part.kind.version.is_empty() { group.clone() } else { part.kind.group.into() };
        [group, or(part.kind.version, version), part.kind.kind.to_owned()]
    }

    fn connection(&self, part: Part, into: &mut Vec<Operation>) {
        let prefix = &self.names.prefix;
        let suffix = format!("{}{}{}", self.scope, self.kind[2], capitalized(part.name));
        let path = format!("{}/{}", self.item, part.name);
        let own = parameters::of_connection(part.name);
        if part.name == "log" {
            let id = format!("read{prefix}{suffix}");
            let read = self.at(&path, "get", id, TypeName::Text, "get");
            into.push(Operation { own, produces: LOGS, ..read });
            return;
        }
        let mut connect = |path: &str, method: &'static str, end: &str| {
            let id = format!("connect{prefix}{}{suffix}{end}", capitalized(method));
            let mut operation = Operation {
                own,
                produces: ANY,
                ..self.at(path, method, id, TypeName::Text, "connect")
            };
            operation.kind = Some(self.kind_of(part));
            operation.shared.retain(|parameter| *parameter != PRETTY);
            into.push(operation);
        };
        if part.name != "proxy" {
            connect(&path, "get", "");
            connect(&path, "post", "");
            return;
        }
        for method in ["delete", "get", "head", "options", "patch", "post", "put"] {
            connect(&path, method, "");
            connect(&format!("{path}/{{path}}"), method, "WithPath");
        }
    }

    fn replace(&self, path: &str, id: String, ty: TypeName) -> Operation {
        Operation {
            body: Some(ty.clone()),
            answers: &[200, 201],
            own: parameters::WRITE,
            ..self.at(path, "put", id, ty, "put")
        }
    }

    fn patch(&self, path: &str, id: String, ty: TypeName) -> Operation {
        Operation {
            body: Some(TypeName::Meta("Patch")),
            consumes: PATCHES,
            answers: &[200, 201],
            own: parameters::PATCH,
            ..self.at(path, "patch", id, ty, "patch")
        }
    }

    /// An operation on objects of this kind that takes no body.
    fn at(
        &self,
        path: &str,
        method: &'static str,
        id: String,
        answer: TypeName,
        action: &'static str,
    ) -> Operation {
        let in_path = [(NAME, "{name}"), (NAMESPACE, "{namespace}"), (REST, "{path}")];
        let named = in_path.into_iter().filter(|(_, part)| path.contains(part));
        Operation {
            path: path.to_owned(),
            method,
            id,
            tag: format!("{}_{}", self.names.tag, self.kind[1]),
            action,
            kind: Some(self.kind.clone()),
            body: None,
            consumes: ANY,
            produces: OBJECTS,
            answers: &[200],
            answer,
            shared: named.map(|(parameter, _)| parameter).chain([PRETTY]).collect(),
            own: &[],
            description: format!("{} {}", sentence(action), self.kind[2]),
        }
    }
}

fn api_name(kind: &str) -> &'static str {
    match kind {
        "Scale" => "autoscaling.v1.Scale",
        "Eviction" => "policy.v1.Eviction",
        "TokenRequest" => "authentication.v1.TokenRequest",
        _ => "core.v1.Binding",
    }
}

fn sentence(action: &str) -> &'static str {
    match action {
        "get" => "Reads an object of kind",
        "list" => "Lists or watches objects of kind",
        "post" => "Creates an object of kind",
        "put" => "Replaces an object of kind",
        "patch" => "Changes some of an object of kind",
        "delete" => "Deletes an object of kind",
        "deletecollection" => "Deletes the objects that a list would show, of kind",
        "watch" => "Deprecated: use the watch parameter with a list. Watches an object of kind",
        "watchlist" => "Deprecated: use the watch parameter with a list. Watches objects of kind",
        _ => "Connects to an object of kind",
    }
}
