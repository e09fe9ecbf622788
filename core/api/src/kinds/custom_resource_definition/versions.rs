use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinitionVersion, CustomResourceSubresources,
    JSONSchemaProps, SelectableField,
};

use super::{json_path, schema};
use crate::field::{ErrorList, Path};
use crate::kinds::check::{complain, complain_once, text};
use crate::kinds::names::rules;

/// Longest warning of a version that is deprecated, in bytes.
const WARNING_MAX: usize = 256;
/// Most fields of a kind that selectors may name.
const SELECTABLE_MAX: usize = 8;
const COLUMN_TYPES: &str = "must be one of boolean,date,integer,number,string";
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// The schema of a version.
pub(super) fn schema(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// What all versions have in common, which is checked once.
pub(super) struct Shared {
    schema: bool,
    subresources: bool,
    columns: bool,
    fields: bool,
}

impl Shared {
    /// What these versions have in common.
    pub(super) fn of(versions: &[CustomResourceDefinitionVersion]) -> Self {
        let Some(first) = versions.first() else {
            return Self { schema: false, subresources: false, columns: false, fields: false };
        };
        let all =
            |same: &dyn Fn(&CustomResourceDefinitionVersion) -> bool| versions.iter().all(same);
        let schema = first.schema.is_some() && all(&|one| one.schema == first.schema);
        Self {
            schema,
            subresources: first.subresources.is_some()
                && all(&|one| one.subresources == first.subresources),
            columns: !list(&first.additional_printer_columns).is_empty()
                && all(&|one| one.additional_printer_columns == first.additional_printer_columns),
            fields: schema
                && !list(&first.selectable_fields).is_empty()
                && all(&|one| one.selectable_fields == first.selectable_fields),
        }
    }

    /// Checks it.
    pub(super) fn validate(
        &self,
        versions: &[CustomResourceDefinitionVersion],
        path: &Path<'_>,
        errors: &mut ErrorList,
    ) {
        let Some(first) = versions.first() else { return };
        if self.schema
            && let Some(schema) = schema(first)
        {
            let has_status = versions.iter().any(has_status);
            schema::validate(schema, has_status, &path.child("validation"), errors);
        }
        if self.subresources {
            validate_subresources(first.subresources.as_ref(), &path.child("subresources"), errors);
        }
        if self.columns {
            validate_columns(first, &path.child("additionalPrinterColumns"), errors);
        }
        if self.fields {
            validate_fields(first, &path.child("selectableFields"), errors);
        }
    }
}

/// Checks what a version has for itself.
pub(super) fn validate(
    version: &CustomResourceDefinitionVersion,
    shared: &Shared,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    complain_once(
        errors,
        &path.child("name"),
        &version.name,
        &rules::dns_label_1035(&version.name),
    );
    if let Some(warning) = &version.deprecation_warning {
        let complaints = of_warning(version.deprecated == Some(true), warning);
        complain(errors, &path.child("deprecationWarning"), warning, complaints);
    }
    if !shared.schema
        && let Some(schema) = schema(version)
    {
        schema::validate(schema, has_status(version), &path.child("schema"), errors);
    }
    if !shared.subresources {
        validate_subresources(version.subresources.as_ref(), &path.child("subresources"), errors);
    }
    if !shared.columns {
        validate_columns(version, &path.child("additionalPrinterColumns"), errors);
    }
    if !shared.fields {
        validate_fields(version, &path.child("selectableFields"), errors);
    }
}

fn has_status(version: &CustomResourceDefinitionVersion) -> bool {
    version.subresources.as_ref().is_some_and(|all| all.status.is_some())
}

fn of_warning(deprecated: bool, warning: &str) -> Vec<String> {
    if !deprecated {
        return vec!["can only be set for deprecated versions".to_owned()];
    }
    let mut complaints = Vec::new();
    if warning.len() > WARNING_MAX {
        complaints.push(format!("must be <= {WARNING_MAX} characters long"));
    }
    if warning.is_empty() {
        complaints.push("must not be an empty string".to_owned());
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, one)| one.is_control()) {
        complaints.push(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index \
             {index}"
        ));
    }
    complaints
}

fn validate_subresources(
    parts: Option<&CustomResourceSubresources>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let Some(scale) = parts.and_then(|parts| parts.scale.as_ref()) else { return };
    let paths = [
        ("scale.specReplicasPath", &scale.spec_replicas_path, ".spec."),
        ("scale.statusReplicasPath", &scale.status_replicas_path, ".status."),
    ];
    for (field, text, root) in paths {
        let at = path.child(field);
        if text.is_empty() {
            errors.required(&at, "");
        } else if is_simple(text, &at, errors) && !text.starts_with(root) {
            let root = root.trim_end_matches('.');
            errors.invalid(&at, text, &format!("should be a json path under {root}"));
        }
    }
    let at = path.child("scale.labelSelectorPath");
    let selector = text(&scale.label_selector_path);
    let rooted = [".spec.", ".status."].iter().any(|root| selector.starts_with(root));
    if !selector.is_empty() && is_simple(selector, &at, errors) && !rooted {
        errors.invalid(&at, selector, "should be a json path under either .spec or .status");
    }
}

fn is_simple(text: &str, path: &Path<'_>, errors: &mut ErrorList) -> bool {
    let simple = text.starts_with('.');
    if !simple {
        errors.invalid(path, text, "must be a simple json path starting with .");
    }
    simple
}

fn validate_columns(
    version: &CustomResourceDefinitionVersion,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (index, column) in list(&version.additional_printer_columns).iter().enumerate() {
        validate_column(column, &path.index(index), errors);
    }
}

fn validate_column(
    column: &CustomResourceColumnDefinition,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if column.name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    let at = path.child("type");
    match column.type_.as_str() {
        "" => errors.required(&at, COLUMN_TYPES),
        "boolean" | "date" | "integer" | "number" | "string" => {}
        other => errors.invalid(&at, other, COLUMN_TYPES),
    }
    let format = text(&column.format);
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.invalid(&path.child("format"), format, &why);
    }
    let at = path.child("JSONPath");
    if column.json_path.is_empty() {
        errors.required(&at, "");
    } else {
        is_simple(&column.json_path, &at, errors);
    }
}

fn validate_fields(
    version: &CustomResourceDefinitionVersion,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let fields = list(&version.selectable_fields);
    if fields.is_empty() {
        return;
    }
    let Some(schema) = schema(version) else {
        let why = "selectableFields may only be set when version.schema.openAPIV3Schema is not \
                   included";
        return errors.invalid(path, "", why);
    };
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let at = path.index(index);
        validate_field(field, schema, &mut seen, &at.child("jsonPath"), errors);
    }
    if seen.len() > SELECTABLE_MAX {
        errors.too_many(path, seen.len(), SELECTABLE_MAX);
    }
}

fn validate_field<'a>(
    field: &'a SelectableField,
    schema: &JSONSchemaProps,
    seen: &mut Vec<&'a str>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let text = field.json_path.as_str();
    if text.is_empty() {
        return errors.required(path, "");
    }
    let (first, found) = match json_path::resolve(text, schema, false) {
        Ok(found) => found,
        Err(why) => return errors.invalid(path, text, &format!("is an invalid path: {why}")),
    };
    if first == "metadata" {
        errors.invalid(path, text, "must not point to fields in metadata");
    }
    let type_ = found.and_then(|schema| schema.type_.as_deref());
    if !matches!(type_, Some("string" | "boolean" | "integer")) {
        let why = "must point to a field of type string, boolean or integer. Enum string fields \
                   and strings with formats are allowed.";
        errors.invalid(path, text, why);
    }
    if seen.contains(&text) {
        errors.duplicate(path, text);
    } else {
        seen.push(text);
    }
}

/// What is in a list that may be absent.
pub(super) fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}
