//! Texts.

use regex::RegexBuilder;

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::{Text, Val};
use super::{text, whole};

/// Most bytes that a compiled pattern may take.
const PATTERN_MAX: usize = 1 << 20;
/// Most bytes that a function may make.
const MADE_MAX: usize = 8 << 20;

fn both<'v>(arguments: &'v [Val<'_>]) -> Result<(&'v str, &'v str), Fault> {
    match arguments {
        [one, other] => Ok((text(one)?, text(other)?)),
        _ => Err(Fault::no_such_overload()),
    }
}

fn size(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

pub(super) fn contains<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (within, part) = both(arguments)?;
    budget.take(size(within).div_ceil(10).max(1).saturating_mul(size(part).div_ceil(10).max(1)))?;
    Ok(Val::Bool(within.contains(part)))
}

pub(super) fn starts_with<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (within, part) = both(arguments)?;
    budget.traverse(size(part))?;
    Ok(Val::Bool(within.starts_with(part)))
}

pub(super) fn ends_with<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (within, part) = both(arguments)?;
    budget.traverse(size(part))?;
    Ok(Val::Bool(within.ends_with(part)))
}

fn compiled(pattern: &str) -> Result<regex::Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_MAX).build()
}

/// Whether a text is a pattern.
pub(in super::super) fn is_pattern(text: &str) -> bool {
    compiled(text).is_ok()
}

fn pattern(within: &str, pattern: &str, budget: &Budget) -> Result<regex::Regex, Fault> {
    budget
        .take((size(within) + 1).div_ceil(10).saturating_mul(size(pattern).div_ceil(4).max(1)))?;
    budget.pattern(pattern, |pattern| {
        compiled(pattern).map_err(|error| Fault::new(format!("error parsing regexp: {error}")))
    })
}

pub(super) fn matches<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (within, asked) = both(arguments)?;
    Ok(Val::Bool(pattern(within, asked, budget)?.is_match(within)))
}

pub(super) fn find<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (within, asked) = both(arguments)?;
    let found = pattern(within, asked, budget)?;
    Ok(Val::text(found.find(within).map_or("", |found| found.as_str())))
}

pub(super) fn find_all<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (both_texts, most) = match arguments {
        [one, other] => ([one, other], None),
        [one, other, Val::Int(most)] => ([one, other], usize::try_from(*most).ok()),
        _ => return Err(Fault::no_such_overload()),
    };
    let (within, asked) = (text(both_texts[0])?, text(both_texts[1])?);
    let found = pattern(within, asked, budget)?;
    let found = found.find_iter(within).take(most.unwrap_or(usize::MAX));
    Ok(Val::list(found.map(|found| Val::text(found.as_str())).collect()))
}

fn out_of_range(at: i64) -> Fault {
    Fault::new(format!("index out of range: {at}"))
}

pub(super) fn char_at<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let [within, Val::Int(at)] = arguments else { return Err(Fault::no_such_overload()) };
    let within = text(within)?;
    budget.take(1)?;
    let place = usize::try_from(*at).map_err(|_| out_of_range(*at))?;
    let mut chars = within.chars().skip(place);
    match chars.next() {
        Some(found) => Ok(Val::text(found.to_string())),
        None if within.chars().count() == place => Ok(Val::text("")),
        None => Err(out_of_range(*at)),
    }
}

pub(super) fn lower<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    mapped(arguments, budget, |text| text.to_ascii_lowercase())
}

pub(super) fn upper<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    mapped(arguments, budget, |text| text.to_ascii_uppercase())
}

pub(super) fn trim<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    mapped(arguments, budget, |text| text.trim().to_owned())
}

pub(super) fn quote<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    mapped(arguments, budget, |text| format!("{text:?}"))
}

/// A key as a JSON pointer writes it.
pub(super) fn escape_key<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    mapped(arguments, budget, |text| text.replace('~', "~0").replace('/', "~1"))
}

fn mapped<'a>(arguments: &[Val<'a>], budget: &Budget, map: fn(&str) -> String) -> Outcome<'a> {
    let [one] = arguments else { return Err(Fault::no_such_overload()) };
    budget.traverse(one.size())?;
    Ok(Val::text(map(text(one)?)))
}

pub(super) fn replace<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (within, old, new, most) = match arguments {
        [within, old, new] => (within, old, new, None),
        [within, old, new, Val::Int(most)] => (within, old, new, usize::try_from(*most).ok()),
        _ => return Err(Fault::no_such_overload()),
    };
    let (within, old, new) = (text(within)?, text(old)?, text(new)?);
    budget.traverse(size(within))?;
    let most = most.unwrap_or(usize::MAX);
    let times = within.matches(old).take(most).count();
    let more = times.saturating_mul(new.len());
    if within.len().saturating_add(more) > MADE_MAX {
        return Err(Fault::Cost);
    }
    budget.take(u64::try_from(more / 10).unwrap_or(u64::MAX))?;
    Ok(Val::text(within.replacen(old, new, most)))
}

pub(super) fn split<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (within, by, most) = match arguments {
        [within, by] => (text(within)?, text(by)?, -1),
        [within, by, Val::Int(most)] => (text(within)?, text(by)?, *most),
        _ => return Err(Fault::no_such_overload()),
    };
    budget.traverse(size(within))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let parts: Vec<&str> = match (by.is_empty(), most) {
        (_, 0) => Vec::new(),
        (true, most) => {
            let mut parts: Vec<&str> = within.split("").filter(|part| !part.is_empty()).collect();
            if parts.len() > most {
                let kept: usize = parts.iter().take(most - 1).map(|part| part.len()).sum();
                parts.truncate(most - 1);
                parts.push(&within[kept..]);
            }
            parts
        }
        (false, most) => within.splitn(most, by).collect(),
    };
    Ok(Val::list(parts.into_iter().map(Val::text).collect()))
}

pub(super) fn join<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (list, by) = match arguments {
        [list] if list.is_list() => (list, ""),
        [list, by] if list.is_list() => (list, text(by)?),
        _ => return Err(Fault::no_such_overload()),
    };
    let mut out = String::new();
    for (at, item) in list.items().enumerate() {
        budget.traverse(item.size())?;
        if at > 0 {
            out.push_str(by);
        }
        out.push_str(text(&item)?);
        if out.len() > MADE_MAX {
            return Err(Fault::Cost);
        }
    }
    Ok(Val::text(out))
}

pub(super) fn substring<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (within, start, end) = match arguments {
        [Val::Text(within), Val::Int(start)] => (within, *start, None),
        [Val::Text(within), Val::Int(start), Val::Int(end)] => (within, *start, Some(*end)),
        _ => return Err(Fault::no_such_overload()),
    };
    budget.traverse(size(within))?;
    let place = |at: i64| {
        let at_char = usize::try_from(at).map_err(|_| out_of_range(at))?;
        let mut places = within.char_indices().map(|(place, _)| place);
        match places.nth(at_char) {
            Some(place) => Ok(place),
            None if within.chars().count() == at_char => Ok(within.len()),
            None => Err(out_of_range(at)),
        }
    };
    let (from, to) = (place(start)?, end.map_or(Ok(within.len()), place)?);
    if from > to {
        let end = end.unwrap_or(start);
        return Err(Fault::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    Ok(match within {
        Text::Borrowed(within) => Val::Text(Text::Borrowed(within.get(from..to).unwrap_or(""))),
        Text::Shared(within) => Val::text(within.get(from..to).unwrap_or("")),
    })
}

/// Where a part of a text begins, in characters.
pub(super) fn index_of<'a>(within: &str, part: &str, from: Option<i64>, last: bool) -> Outcome<'a> {
    let places: Vec<usize> =
        within.char_indices().map(|(place, _)| place).chain([within.len()]).collect();
    let bound = match from {
        None => None,
        Some(from) => {
            let at = usize::try_from(from).ok().and_then(|from| places.get(from));
            Some(*at.ok_or_else(|| out_of_range(from))?)
        }
    };
    let found = match (last, bound) {
        (false, bound) => {
            let bound = bound.unwrap_or(0);
            within.get(bound..).and_then(|rest| rest.find(part)).map(|place| place + bound)
        }
        (true, None) => within.rfind(part),
        (true, Some(bound)) => {
            let end = bound.saturating_add(part.len()).min(within.len());
            let end = (end..=within.len()).find(|end| within.is_char_boundary(*end));
            end.and_then(|end| within.get(..end)).and_then(|rest| rest.rfind(part))
        }
    };
    Ok(match found.and_then(|place| places.binary_search(&place).ok()) {
        Some(at) => whole(at),
        None => Val::Int(-1),
    })
}
