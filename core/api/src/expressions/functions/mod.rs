//! The functions that expressions may call: those of CEL itself and those that Kubernetes adds.

mod conversions;
mod formats;
mod lists;
mod network;
pub(super) mod operators;
mod optional;
mod quantities;
pub(super) mod strings;
mod template;
pub(super) mod times;

pub(super) use quantities::{quantity_of, semver_of};
use std::sync::Arc;

use super::fault::{Budget, Fault, Outcome};
use super::value::{Opaque, Text, Val};

/// A function of its arguments, the first of which is what it is called on, if it is.
pub(super) type Function = for<'a> fn(&[Val<'a>], &Budget) -> Outcome<'a>;

/// A function that is called by its name alone.
pub(super) fn global(name: &str) -> Option<Function> {
    Some(match name {
        "size" => size,
        "type" => conversions::type_of,
        "dyn" => conversions::same,
        "bool" => conversions::bool,
        "bytes" => conversions::bytes,
        "double" => conversions::double,
        "int" => conversions::int,
        "uint" => conversions::uint,
        "string" => conversions::string,
        "duration" => times::duration,
        "timestamp" => times::timestamp,
        "matches" => strings::matches,
        "optional.of" => optional::of,
        "optional.none" => optional::none,
        "optional.ofNonZeroValue" => optional::of_non_zero,
        "optional.unwrap" => optional::unwrap,
        "sets.contains" => lists::sets_contains,
        "sets.equivalent" => lists::sets_equivalent,
        "sets.intersects" => lists::sets_intersects,
        "lists.range" => lists::range,
        "strings.quote" => strings::quote,
        "url" => network::url,
        "isURL" => network::is_url,
        "ip" => network::ip,
        "isIP" => network::is_ip,
        "ip.isCanonical" => network::is_canonical,
        "cidr" => network::cidr,
        "isCIDR" => network::is_cidr,
        "quantity" => quantities::quantity,
        "isQuantity" => quantities::is_quantity,
        "semver" => quantities::semver,
        "isSemver" => quantities::is_semver,
        "jsonpatch.escapeKey" => strings::escape_key,
        "format.named" => formats::named,
        "format.dns1123Label" => formats::dns1123_label,
        "format.dns1123Subdomain" => formats::dns1123_subdomain,
        "format.dns1035Label" => formats::dns1035_label,
        "format.qualifiedName" => formats::qualified_name,
        "format.dns1123LabelPrefix" => formats::dns1123_label_prefix,
        "format.dns1123SubdomainPrefix" => formats::dns1123_subdomain_prefix,
        "format.dns1035LabelPrefix" => formats::dns1035_label_prefix,
        "format.labelValue" => formats::label_value,
        "format.uri" => formats::uri,
        "format.uuid" => formats::uuid,
        "format.byte" => formats::byte,
        "format.date" => formats::date,
        "format.datetime" => formats::datetime,
        _ => return None,
    })
}

/// A function that is called on a value.
pub(super) fn member(name: &str) -> Option<Function> {
    Some(match name {
        "size" => size,
        "contains" => strings::contains,
        "startsWith" => strings::starts_with,
        "endsWith" => strings::ends_with,
        "matches" => strings::matches,
        "find" => strings::find,
        "findAll" => strings::find_all,
        "charAt" => strings::char_at,
        "lowerAscii" => strings::lower,
        "upperAscii" => strings::upper,
        "replace" => strings::replace,
        "split" => strings::split,
        "join" => strings::join,
        "substring" => strings::substring,
        "trim" => strings::trim,
        "format" => template::format,
        "indexOf" => lists::index_of,
        "lastIndexOf" => lists::last_index_of,
        "reverse" => lists::reverse,
        "isSorted" => lists::is_sorted,
        "sum" => lists::sum,
        "min" => lists::min,
        "max" => lists::max,
        "slice" => lists::slice,
        "flatten" => lists::flatten,
        "distinct" => lists::distinct,
        "sort" => lists::sort,
        "hasValue" => optional::has_value,
        "value" => optional::value,
        "or" => optional::or,
        "orValue" => optional::or_value,
        "unwrapOpt" => optional::unwrap,
        "getFullYear" => times::full_year,
        "getMonth" => times::month,
        "getDate" => times::date,
        "getDayOfMonth" => times::day_of_month,
        "getDayOfWeek" => times::day_of_week,
        "getDayOfYear" => times::day_of_year,
        "getHours" => times::hours,
        "getMinutes" => times::minutes,
        "getSeconds" => times::seconds,
        "getMilliseconds" => times::milliseconds,
        _ => return None,
    })
}

/// Whether a value with functions of its own may have one of that name.
pub(super) fn of_opaque(name: &str) -> bool {
    const ALL: [&str; 42] = [
        "add",
        "allowed",
        "asApproximateFloat",
        "asInteger",
        "check",
        "compareTo",
        "containsCIDR",
        "containsIP",
        "error",
        "errored",
        "family",
        "fieldSelector",
        "getEscapedPath",
        "getHost",
        "getHostname",
        "getPort",
        "getQuery",
        "getScheme",
        "group",
        "ip",
        "isCanonical",
        "isGlobalUnicast",
        "isGreaterThan",
        "isInteger",
        "isLessThan",
        "isLinkLocalMulticast",
        "isLinkLocalUnicast",
        "isLoopback",
        "isUnspecified",
        "labelSelector",
        "major",
        "masked",
        "minor",
        "name",
        "namespace",
        "patch",
        "path",
        "prefixLength",
        "reason",
        "resource",
        "serviceAccount",
        "sign",
    ];
    ALL.contains(&name) || ["sub", "subresource", "validate"].contains(&name)
}

fn size<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    budget.take(1)?;
    let size = match arguments {
        [Val::Text(text)] => text.chars().count(),
        [Val::Bytes(bytes)] => bytes.len(),
        [one] => one.count().ok_or_else(Fault::no_such_overload)?,
        _ => return Err(Fault::no_such_overload()),
    };
    Ok(whole(size))
}

/// A count as a value.
pub(super) fn whole<'a>(count: usize) -> Val<'a> {
    Val::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn opaque<'a>(own: impl Opaque + 'static) -> Val<'a> {
    Val::Opaque(Arc::new(own))
}

/// The text of an argument.
fn text<'v>(value: &'v Val<'_>) -> Result<&'v str, Fault> {
    match value {
        Val::Text(Text::Borrowed(text)) => Ok(text),
        Val::Text(Text::Shared(text)) => Ok(text),
        _ => Err(Fault::no_such_overload()),
    }
}
