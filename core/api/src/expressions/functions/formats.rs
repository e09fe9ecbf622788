//! Named formats, each of which says what is wrong with a text.

use std::sync::Arc;

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::{Opaque, Val};
use super::{opaque, text};
use crate::kinds::names::rules;
use crate::structural::formats;

#[derive(Debug)]
struct Format {
    name: &'static str,
    check: fn(&str) -> Vec<String>,
}

impl Opaque for Format {
    fn type_name(&self) -> &'static str {
        "kubernetes.NamedFormat"
    }

    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
        let ("validate", [one]) = (function, arguments) else { return None };
        let text = match text(one) {
            Ok(text) => text,
            Err(fault) => return Some(Err(fault)),
        };
        let wrong = (self.check)(text);
        if wrong.is_empty() {
            return Some(Ok(Val::Optional(None)));
        }
        let wrong = Val::list(wrong.into_iter().map(Val::text).collect());
        Some(Ok(Val::Optional(Some(Arc::new(wrong)))))
    }

    fn key(&self) -> String {
        self.name.to_owned()
    }
}

/// What a name stands for where it may be the beginning of a longer one.
fn prefix(text: &str, check: fn(&str) -> Vec<String>) -> Vec<String> {
    match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => check(&format!("{rest}a")),
        _ => check(text),
    }
}

fn fits(format: &str, text: &str) -> Vec<String> {
    if formats::fits(format, text) { Vec::new() } else { vec![format!("invalid {format}")] }
}

const ALL: [Format; 13] = [
    Format { name: "dns1123Label", check: rules::dns_label },
    Format { name: "dns1123Subdomain", check: rules::dns_subdomain },
    Format { name: "dns1035Label", check: rules::dns_label_1035 },
    Format { name: "qualifiedName", check: rules::qualified_name },
    Format { name: "dns1123LabelPrefix", check: |text| prefix(text, rules::dns_label) },
    Format { name: "dns1123SubdomainPrefix", check: |text| prefix(text, rules::dns_subdomain) },
    Format { name: "dns1035LabelPrefix", check: |text| prefix(text, rules::dns_label_1035) },
    Format { name: "labelValue", check: rules::label_value },
    Format { name: "uri", check: |text| fits("uri", text) },
    Format { name: "uuid", check: |text| fits("uuid", text) },
    Format { name: "byte", check: |text| fits("byte", text) },
    Format { name: "date", check: |text| fits("date", text) },
    Format { name: "datetime", check: |text| fits("datetime", text) },
];

fn find<'a>(name: &str) -> Option<Val<'a>> {
    ALL.into_iter().find(|format| format.name == name).map(opaque)
}

pub(super) fn named<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    match arguments {
        [one] => Ok(Val::Optional(find(text(one)?).map(Arc::new))),
        _ => Err(Fault::no_such_overload()),
    }
}

macro_rules! formats {
    ($($function:ident = $name:literal),* $(,)?) => {$(
        pub(super) fn $function<'a>(_: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
            budget.take(1)?;
            find($name).ok_or_else(Fault::no_such_overload)
        }
    )*};
}

formats! {
    dns1123_label = "dns1123Label",
    dns1123_subdomain = "dns1123Subdomain",
    dns1035_label = "dns1035Label",
    qualified_name = "qualifiedName",
    dns1123_label_prefix = "dns1123LabelPrefix",
    dns1123_subdomain_prefix = "dns1123SubdomainPrefix",
    dns1035_label_prefix = "dns1035LabelPrefix",
    label_value = "labelValue",
    uri = "uri",
    uuid = "uuid",
    byte = "byte",
    date = "date",
    datetime = "datetime",
}
