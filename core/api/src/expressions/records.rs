//! Types that the API itself declares for expressions: requests, namespaces, devices, and what is
//! applied and patched.

use super::check::library;
use super::{Declared, Fields, Ty};

/// A type and its fields, each with its type.
type Line = (&'static str, &'static [(&'static str, &'static str)]);

const ALL: [Line; 9] = [
    (
        "kubernetes.AdmissionRequest",
        &[
            ("dryRun", "bool"),
            ("kind", "kubernetes.GroupVersionKind"),
            ("name", "string"),
            ("namespace", "string"),
            ("operation", "string"),
            ("options", "dyn"),
            ("requestKind", "kubernetes.GroupVersionKind"),
            ("requestResource", "kubernetes.GroupVersionResource"),
            ("requestSubResource", "string"),
            ("resource", "kubernetes.GroupVersionResource"),
            ("subResource", "string"),
            ("userInfo", "kubernetes.UserInfo"),
        ],
    ),
    (
        "kubernetes.GroupVersionKind",
        &[("group", "string"), ("kind", "string"), ("version", "string")],
    ),
    (
        "kubernetes.GroupVersionResource",
        &[("group", "string"), ("resource", "string"), ("version", "string")],
    ),
    (
        "kubernetes.UserInfo",
        &[
            ("extra", "map(string, list(string))"),
            ("groups", "list(string)"),
            ("uid", "string"),
            ("username", "string"),
        ],
    ),
    (
        "kubernetes.Namespace",
        &[
            ("metadata", "kubernetes.NamespaceMetadata"),
            ("spec", "kubernetes.NamespaceSpec"),
            ("status", "kubernetes.NamespaceStatus"),
        ],
    ),
    (
        "kubernetes.NamespaceMetadata",
        &[
            ("annotations", "map(string, string)"),
            ("creationTimestamp", "timestamp"),
            ("deletionGracePeriodSeconds", "int"),
            ("deletionTimestamp", "timestamp"),
            ("generateName", "string"),
            ("generation", "int"),
            ("labels", "map(string, string)"),
            ("name", "string"),
            ("namespace", "string"),
            ("resourceVersion", "string"),
            ("UID", "string"),
        ],
    ),
    ("kubernetes.NamespaceSpec", &[("finalizers", "list(string)")]),
    ("kubernetes.NamespaceStatus", &[("phase", "string")]),
    ("JSONPatch", &[("from", "string"), ("op", "string"), ("path", "string"), ("value", "dyn")]),
];

const DEVICE: Line = (
    "kubernetes.DRADevice",
    &[
        ("allowMultipleAllocations", "bool"),
        ("attributes", "map(string, map(string, dyn))"),
        ("capacity", "map(string, map(string, kubernetes.Quantity))"),
        ("driver", "string"),
    ],
);

#[derive(Debug)]
struct Record(&'static Line);

impl<'a> Fields<'a> for Record {
    fn name(&self) -> &str {
        self.0.0
    }

    fn field(&self, name: &str) -> Option<Ty<'a>> {
        let (_, ty) = self.0.1.iter().find(|(field, _)| *field == name)?;
        Some(record(ty).unwrap_or_else(|| library::read(ty).instance(0)))
    }
}

fn record<'a>(name: &str) -> Option<Ty<'a>> {
    ALL.iter().find(|line| line.0 == name).map(|line| Ty::object(Record(line)))
}

/// What an object to apply, or a part of it, is made of: any fields.
#[derive(Debug)]
struct Applied(String);

impl<'a> Fields<'a> for Applied {
    fn name(&self) -> &str {
        &self.0
    }

    fn field(&self, _: &str) -> Option<Ty<'a>> {
        Some(Ty::Dyn)
    }
}

/// The types of objects that mutations make.
pub fn objects_of_mutations<'a>(name: &str) -> Option<Ty<'a>> {
    match name {
        "JSONPatch" => record(name),
        _ if name == "Object" || name.starts_with("Object.") => {
            Some(Ty::object(Applied(name.to_owned())))
        }
        _ => None,
    }
}

/// What an expression about a request may refer to, in its order.
pub fn variables_of_request<'a>(params: bool, authorizer: bool) -> Vec<Declared<'static, 'a>> {
    let of = |name, ty: Option<Ty<'a>>| Declared { name, ty: ty.unwrap_or(Ty::Dyn) };
    let mut all = vec![
        of("object", None),
        of("oldObject", None),
        of("request", record("kubernetes.AdmissionRequest")),
        of("namespaceObject", record("kubernetes.Namespace")),
    ];
    if params {
        all.push(of("params", None));
    }
    if authorizer {
        all.push(of("authorizer", Some(Ty::Own("kubernetes.authorization.Authorizer"))));
    }
    all
}

/// The names of [`variables_of_request`].
pub fn names_of_request(params: bool, authorizer: bool) -> Vec<&'static str> {
    variables_of_request(params, authorizer).into_iter().map(|one| one.name).collect()
}

/// What an expression about the claims of a token may refer to.
pub fn variables_of_claims<'a>() -> [Declared<'static, 'a>; 1] {
    [Declared { name: "claims", ty: library::read("map(string, dyn)").instance(0) }]
}

/// What an expression about a user may refer to.
pub fn variables_of_user<'a>() -> [Declared<'static, 'a>; 1] {
    [Declared { name: "user", ty: record("kubernetes.UserInfo").unwrap_or(Ty::Dyn) }]
}

/// What an expression about a device may refer to.
pub fn variables_of_device<'a>() -> [Declared<'static, 'a>; 1] {
    [Declared { name: "device", ty: Ty::object(Record(&DEVICE)) }]
}
