use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;
use serde_json::Value;

use super::age::{age, human_duration};
use super::json_path::JsonPath;
use super::{AGE, Column, NAME, Printer, cells};
use crate::{ApiError, Object, Result};

/// Name and time of creation: kinds that say nothing about their columns.
pub struct DefaultPrinter;

impl Printer for DefaultPrinter {
    fn columns(&self) -> &[Column] {
        const COLUMNS: &[Column] =
            &[NAME, Column::new("Created At", "date", "", "When the object was created")];
        COLUMNS
    }

    fn cells(&self, object: &Object, _: Timestamp) -> Result<Vec<Value>> {
        let created = object.meta().creation_timestamp.as_ref().map(|time| time.0);
        let created = created.map_or_else(
            || "<unknown>".to_owned(),
            |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        );
        Ok(cells![object.name(), created])
    }
}

/// The columns that a custom resource definition asks for (`additionalPrinterColumns`), or name
/// and age when it asks for none.
pub struct CustomPrinter {
    columns: Vec<Column>,
    /// One less than there are columns: the first is the name. Empty for name and age.
    paths: Vec<JsonPath>,
}

impl CustomPrinter {
    /// A printer of these columns.
    ///
    /// # Errors
    /// `BadRequest` for a column whose path cannot be read.
    pub fn new(definitions: &[CustomResourceColumnDefinition]) -> Result<Self> {
        let mut columns = vec![NAME];
        let mut paths = Vec::with_capacity(definitions.len());
        for definition in definitions {
            let path = JsonPath::parse(&definition.json_path).ok_or_else(|| {
                let path = &definition.json_path;
                ApiError::bad_request(format!("unrecognized column definition {path:?}"))
            })?;
            paths.push(path);
            columns.push(column(definition));
        }
        if definitions.is_empty() {
            columns.push(Column { kind: Cow::Borrowed("date"), ..AGE });
        }
        Ok(Self { columns, paths })
    }
}

fn column(definition: &CustomResourceColumnDefinition) -> Column {
    let path = &definition.json_path;
    let described = definition.description.clone().filter(|text| !text.is_empty());
    Column {
        name: Cow::Owned(definition.name.clone()),
        kind: Cow::Owned(definition.type_.clone()),
        format: Cow::Owned(definition.format.clone().unwrap_or_default()),
        description: Cow::Owned(described.unwrap_or_else(|| {
            format!("Custom resource definition column (in JSONPath format): {path}")
        })),
        priority: definition.priority.unwrap_or(0),
    }
}

impl Printer for CustomPrinter {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Result<Vec<Value>> {
        let mut cells = cells![object.name()];
        if self.paths.is_empty() {
            cells.push(age(object.meta(), now).into());
            return Ok(cells);
        }
        let tree = object.to_value()?;
        for (path, column) in self.paths.iter().zip(&self.columns[1..]) {
            cells.push(path.first(&tree).map_or(Value::Null, |value| cell(column, value, now)));
        }
        Ok(cells)
    }
}

/// A value as its column's type wants it; nothing where it does not fit.
fn cell(column: &Column, value: &Value, now: Timestamp) -> Value {
    let fitting = match &*column.kind {
        "string" => Some(text(value).into()),
        "integer" => {
            value.as_i64().or_else(|| value.as_f64().map(|number| number as i64)).map(Value::from)
        }
        "number" => value.as_f64().map(Value::from),
        "boolean" => value.as_bool().map(Value::from),
        "date" => value.as_str().map(|time| date(time, now).into()),
        _ => None,
    };
    fitting.unwrap_or(Value::Null)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<no value>".to_owned(),
        other => other.to_string(),
    }
}

fn date(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => human_duration(now.duration_since(time)),
        Err(_) if text.is_empty() => "<unknown>".to_owned(),
        Err(_) => "<invalid>".to_owned(),
    }
}
