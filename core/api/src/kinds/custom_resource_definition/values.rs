//! What schemas may say of values.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrBool,
};

const FORMATS: [&str; 31] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "int32",
    "int64",
    "float",
    "double",
    "binary",
    "k8sshortname",
    "k8slongname",
];

/// Whether a format means something; an absent one needs to mean nothing.
pub(super) fn is_known_format(format: &str) -> bool {
    format.is_empty() || FORMATS.contains(&format.replace('-', "").as_str())
}

/// Whether a map may have keys that its schema does not name.
pub(super) fn takes_any_key(schema: &JSONSchemaProps) -> bool {
    matches!(
        schema.additional_properties,
        Some(JSONSchemaPropsOrBool::Bool(true) | JSONSchemaPropsOrBool::Schema(_))
    )
}
