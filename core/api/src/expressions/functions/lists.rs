//! Lists, and texts where they are like lists of characters.

use std::cmp::Ordering;

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::Val;
use super::{strings, text, whole};

/// Most elements that a function makes.
const MADE_MAX: i64 = 1_000_000;

fn list<'v, 'a>(arguments: &'v [Val<'a>], budget: &Budget) -> Result<&'v Val<'a>, Fault> {
    match arguments {
        [list] if list.is_list() => {
            budget.take(list.size().max(1))?;
            Ok(list)
        }
        _ => Err(Fault::no_such_overload()),
    }
}

pub(super) fn index_of<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    place(arguments, budget, false)
}

pub(super) fn last_index_of<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    place(arguments, budget, true)
}

fn place<'a>(arguments: &[Val<'a>], budget: &Budget, last: bool) -> Outcome<'a> {
    match arguments {
        [list, one] if list.is_list() => {
            budget.take(list.size().max(1))?;
            let mut found = None;
            for (at, item) in list.items().enumerate() {
                if item.equals(one) {
                    found = Some(at);
                    if !last {
                        break;
                    }
                }
            }
            Ok(found.map_or(Val::Int(-1), whole))
        }
        [within, part, rest @ ..] => {
            let from = match rest {
                [] => None,
                [Val::Int(from)] => Some(*from),
                _ => return Err(Fault::no_such_overload()),
            };
            let steps = |value: &Val<'_>| value.size().div_ceil(10).max(1);
            budget.take(steps(within).saturating_mul(steps(part)))?;
            strings::index_of(text(within)?, text(part)?, from, last)
        }
        _ => Err(Fault::no_such_overload()),
    }
}

pub(super) fn reverse<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    if let [Val::Text(one)] = arguments {
        budget.traverse(u64::try_from(one.len()).unwrap_or(u64::MAX))?;
        return Ok(Val::text(one.chars().rev().collect::<String>()));
    }
    let mut items: Vec<_> = list(arguments, budget)?.items().collect();
    items.reverse();
    Ok(Val::list(items))
}

fn order(left: &Val<'_>, right: &Val<'_>) -> Result<Ordering, Fault> {
    Ok(left.order(right)?.unwrap_or(Ordering::Equal))
}

pub(super) fn is_sorted<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let items: Vec<_> = list(arguments, budget)?.items().collect();
    for pair in items.windows(2) {
        if let [left, right] = pair
            && order(left, right)?.is_gt()
        {
            return Ok(Val::Bool(false));
        }
    }
    Ok(Val::Bool(true))
}

pub(super) fn sum<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let mut items = list(arguments, budget)?.items();
    let Some(mut sum) = items.next() else { return Ok(Val::Int(0)) };
    for item in items {
        sum = super::operators::binary(super::super::program::Binary::Add, &sum, &item, budget)?;
    }
    Ok(sum)
}

pub(super) fn min<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    extreme(arguments, budget, Ordering::Less, "min")
}

pub(super) fn max<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    extreme(arguments, budget, Ordering::Greater, "max")
}

fn extreme<'a>(
    arguments: &[Val<'a>],
    budget: &Budget,
    wanted: Ordering,
    name: &str,
) -> Outcome<'a> {
    let mut items = list(arguments, budget)?.items();
    let first = items.next();
    let mut found = first.ok_or_else(|| Fault::new(format!("{name} called on empty list")))?;
    for item in items {
        if order(&item, &found)? == wanted {
            found = item;
        }
    }
    Ok(found)
}

pub(super) fn slice<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let [list, Val::Int(start), Val::Int(end)] = arguments else {
        return Err(Fault::no_such_overload());
    };
    budget.take(list.size().max(1))?;
    let count = list.count().filter(|_| list.is_list()).ok_or_else(Fault::no_such_overload)?;
    let wrong = |why: &str| Fault::new(format!("cannot slice({start}, {end}), {why}"));
    let (Ok(from), Ok(to)) = (usize::try_from(*start), usize::try_from(*end)) else {
        return Err(wrong("negative indexes not supported"));
    };
    if from > to {
        return Err(wrong("start index must be less than or equal to end index"));
    }
    if to > count {
        return Err(wrong(&format!("list is length {count}")));
    }
    Ok(Val::list((from..to).filter_map(|at| list.item(at)).collect()))
}

pub(super) fn flatten<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    fn into<'a>(
        list: &Val<'a>,
        depth: i64,
        budget: &Budget,
        out: &mut Vec<Val<'a>>,
    ) -> Result<(), Fault> {
        for item in list.items() {
            budget.take(1)?;
            match item.is_list() && depth > 0 {
                true => into(&item, depth - 1, budget, out)?,
                false => out.push(item),
            }
        }
        Ok(())
    }
    let (list, depth) = match arguments {
        [list] => (list, 1),
        [list, Val::Int(depth)] if *depth >= 0 => (list, *depth),
        [_, Val::Int(_)] => return Err(Fault::new("level must be non-negative")),
        _ => return Err(Fault::no_such_overload()),
    };
    if !list.is_list() {
        return Err(Fault::no_such_overload());
    }
    let mut out = Vec::new();
    // Objects are not nested deeper.
    into(list, depth.min(256), budget, &mut out)?;
    Ok(Val::list(out))
}

pub(super) fn distinct<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let mut found: Vec<Val<'a>> = Vec::new();
    for item in list(arguments, budget)?.items() {
        budget.take(u64::try_from(found.len()).unwrap_or(u64::MAX))?;
        if !found.iter().any(|one| one.equals(&item)) {
            found.push(item);
        }
    }
    Ok(Val::list(found))
}

pub(super) fn sort<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let mut items: Vec<_> = list(arguments, budget)?.items().collect();
    let mut fault = None;
    items.sort_by(|left, right| match order(left, right) {
        Ok(order) => order,
        Err(why) => {
            fault = Some(why);
            Ordering::Equal
        }
    });
    fault.map_or(Ok(Val::list(items)), Err)
}

pub(super) fn range<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    match arguments {
        [Val::Int(count)] if *count <= MADE_MAX => {
            budget.take(u64::try_from(*count).unwrap_or(0).max(1))?;
            Ok(Val::list((0..*count).map(Val::Int).collect()))
        }
        [Val::Int(count)] => {
            Err(Fault::new(format!("range({count}), size limit exceeded. max size: {MADE_MAX}")))
        }
        _ => Err(Fault::no_such_overload()),
    }
}

fn sets<'v, 'a>(
    arguments: &'v [Val<'a>],
    budget: &Budget,
) -> Result<(&'v Val<'a>, &'v Val<'a>), Fault> {
    match arguments {
        [one, other] if one.is_list() && other.is_list() => {
            budget.take(one.size().saturating_mul(other.size()).max(1))?;
            Ok((one, other))
        }
        _ => Err(Fault::no_such_overload()),
    }
}

fn has_all(one: &Val<'_>, other: &Val<'_>) -> bool {
    other.items().all(|wanted| one.items().any(|item| item.equals(&wanted)))
}

pub(super) fn sets_contains<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (one, other) = sets(arguments, budget)?;
    Ok(Val::Bool(has_all(one, other)))
}

pub(super) fn sets_equivalent<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (one, other) = sets(arguments, budget)?;
    Ok(Val::Bool(has_all(one, other) && has_all(other, one)))
}

pub(super) fn sets_intersects<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let (one, other) = sets(arguments, budget)?;
    Ok(Val::Bool(one.items().any(|item| other.items().any(|other| item.equals(&other)))))
}
