//! Takes the steps of an expression.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::{Budget, Fault, Outcome};
use super::functions::operators;
use super::program::{Each, Field, Fold, Macro, Select, Step};
use super::value::{MapKey, Text, Val};

/// Where variables come from that are only made when an expression asks for them.
pub trait Variables<'a> {
    /// The variable of a number.
    ///
    /// # Errors
    /// Why it has no value.
    fn get(&self, number: usize) -> Outcome<'a>;
}

impl<'a, const N: usize> Variables<'a> for [Val<'a>; N] {
    fn get(&self, number: usize) -> Outcome<'a> {
        self.as_slice().get(number).cloned().ok_or_else(|| Fault::new("no such attribute(s)"))
    }
}

/// What an evaluation knows.
pub(super) struct Machine<'m, 'a> {
    pub(super) variables: &'m (dyn Variables<'a> + 'm),
    pub(super) budget: &'m Budget,
    pub(super) locals: Vec<Val<'a>>,
}

impl<'a> Machine<'_, 'a> {
    pub(super) fn take(&mut self, step: &Step) -> Outcome<'a> {
        match step {
            Step::Value(value) => Ok(value.clone()),
            Step::Variable(number) => {
                self.budget.take(1)?;
                self.variables.get(*number)
            }
            Step::Local(at) => {
                self.budget.take(1)?;
                let found = self.locals.get(*at).cloned();
                found.ok_or_else(|| Fault::new("no such attribute(s)"))
            }
            Step::Field(field) => self.field(field),
            Step::Index(both, optional) => {
                self.budget.take(1)?;
                let (of, at) = (self.take(&both.0)?, self.take(&both.1)?);
                index(of, &at, *optional)
            }
            Step::And(both) => self.logical(both, false),
            Step::Or(both) => self.logical(both, true),
            Step::Not(one) => {
                self.budget.take(1)?;
                Ok(Val::Bool(!truth(self.take(one))?))
            }
            Step::Negate(one) => {
                self.budget.take(1)?;
                operators::negate(&self.take(one)?)
            }
            Step::Holds(one) => Ok(Val::Bool(match truth(self.take(one)) {
                Err(Fault::Cost) => return Err(Fault::Cost),
                Err(_) => true,
                Ok(held) => held,
            })),
            Step::Choose(parts) => {
                self.budget.take(1)?;
                match truth(self.take(&parts.0))? {
                    true => self.take(&parts.1),
                    false => self.take(&parts.2),
                }
            }
            Step::Binary(operator, both) => {
                let (left, right) = (self.take(&both.0)?, self.take(&both.1)?);
                operators::binary(*operator, &left, &right, self.budget)
            }
            Step::Call(call) => {
                let arguments = self.all(&call.arguments)?;
                (call.function)(&arguments, self.budget)
            }
            Step::Method(name, arguments) => {
                self.budget.take(1)?;
                let arguments = self.all(arguments)?;
                match arguments.split_first() {
                    Some((Val::Opaque(own), rest)) => own.call(name, rest),
                    _ => None,
                }
                .unwrap_or_else(|| Err(Fault::no_such_overload()))
            }
            Step::List(items) => self.list(items),
            Step::Map(entries) => self.map(entries),
            Step::Fold(fold) => self.fold(fold),
            Step::Each(each) => self.each(each),
        }
    }

    fn all(&mut self, steps: &[Step]) -> Result<Vec<Val<'a>>, Fault> {
        steps.iter().map(|step| self.take(step)).collect()
    }

    fn field(&mut self, field: &Field) -> Outcome<'a> {
        self.budget.take(1)?;
        let of = match self.take(&field.of)? {
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(of)) => {
                let found = of.field(&field.name, &field.property);
                return Ok(match field.sort {
                    Select::Has => Val::Bool(found.is_some()),
                    _ => Val::Optional(found.map(Arc::new)),
                });
            }
            of => of,
        };
        let found = of.field(&field.name, &field.property);
        match field.sort {
            Select::Has => match of {
                Val::Map(_) | Val::Json(..) => Ok(Val::Bool(found.is_some())),
                _ => Err(Fault::no_such_overload()),
            },
            Select::Optional => Ok(Val::Optional(found.map(Arc::new))),
            Select::Plain => found.ok_or_else(|| match of {
                Val::Map(_) | Val::Json(..) if !of.is_list() => Fault::no_such_key(&field.name),
                _ => Fault::no_such_overload(),
            }),
        }
    }

    /// `&&` and `||`: what decides on one side makes good what is wrong on the other.
    fn logical(&mut self, both: &(Step, Step), decides: bool) -> Outcome<'a> {
        let left = truth(self.take(&both.0));
        if left == Ok(decides) {
            return Ok(Val::Bool(decides));
        }
        if left == Err(Fault::Cost) {
            return Err(Fault::Cost);
        }
        match (left, truth(self.take(&both.1))) {
            (_, Ok(right)) if right == decides => Ok(Val::Bool(decides)),
            (_, Err(Fault::Cost)) => Err(Fault::Cost),
            (Err(fault), _) | (_, Err(fault)) => Err(fault),
            _ => Ok(Val::Bool(!decides)),
        }
    }

    fn list(&mut self, items: &[(Step, bool)]) -> Outcome<'a> {
        self.budget.take(10)?;
        let mut list = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match (self.take(item)?, optional) {
                (Val::Optional(None), true) => {}
                (Val::Optional(Some(item)), true) => list.push(Val::clone(&item)),
                (item, _) => list.push(item),
            }
        }
        Ok(Val::list(list))
    }

    fn map(&mut self, entries: &[(Step, Step, bool)]) -> Outcome<'a> {
        self.budget.take(30)?;
        let mut map = BTreeMap::new();
        for (key, value, optional) in entries {
            let key = self.take(key)?;
            let value = match (self.take(value)?, optional) {
                (Val::Optional(None), true) => continue,
                (Val::Optional(Some(value)), true) => Val::clone(&value),
                (value, _) => value,
            };
            insert(&mut map, &key, value)?;
        }
        Ok(Val::Map(Arc::new(map)))
    }

    fn fold(&mut self, fold: &Fold) -> Outcome<'a> {
        let range = self.take(&fold.range)?;
        let elements = elements(&range)?;
        let init = self.take(&fold.init)?;
        let base = self.locals.len();
        self.locals.push(init);
        let outcome = self.run(fold, &range, &elements, base);
        self.locals.truncate(base);
        outcome
    }

    fn run(
        &mut self,
        fold: &Fold,
        range: &Val<'a>,
        elements: &Elements<'a>,
        base: usize,
    ) -> Outcome<'a> {
        // What is wrong with an element is forgiven if another one decides.
        let mut fault = None;
        for at in 0..elements.count() {
            self.budget.take(1)?;
            self.locals.push(elements.get(range, at));
            let goes_on = truth(self.take(&fold.condition))?;
            let step = if goes_on { Some(self.step_of(&fold.step, base)) } else { None };
            self.locals.truncate(base + 1);
            match step {
                None => break,
                Some(Ok(value)) => self.put(base, value),
                Some(Err(Fault::Cost)) => return Err(Fault::Cost),
                Some(Err(other)) if forgives(&fold.step) => fault = fault.or(Some(other)),
                Some(Err(other)) => return Err(other),
            }
        }
        match (fault, self.take(&fold.result)) {
            (Some(fault), Ok(Val::Bool(result))) if undecided(&fold.step, result) => Err(fault),
            (Some(fault), Err(_)) => Err(fault),
            (_, result) => result,
        }
    }

    /// The next value of what accumulates. A list that nothing else has grows where it is.
    fn step_of(&mut self, step: &Step, base: usize) -> Outcome<'a> {
        if let Step::Binary(super::program::Binary::Add, both) = step
            && let (Step::Local(at), Step::List(items)) = (&both.0, &both.1)
            && *at == base
        {
            let more = self.list(items)?;
            let slot = self.locals.get_mut(base);
            if let (Some(slot), Val::List(more)) = (slot, more) {
                let mut before = std::mem::replace(slot, Val::Null);
                if let Val::List(list) = &mut before {
                    Arc::make_mut(list).extend(more.iter().cloned());
                }
                return Ok(before);
            }
            return Err(Fault::no_such_overload());
        }
        if let Step::Choose(parts) = step {
            return match truth(self.take(&parts.0))? {
                true => self.step_of(&parts.1, base),
                false => self.step_of(&parts.2, base),
            };
        }
        self.take(step)
    }

    fn put(&mut self, at: usize, value: Val<'a>) {
        if let Some(slot) = self.locals.get_mut(at) {
            *slot = value;
        }
    }

    fn each(&mut self, each: &Each) -> Outcome<'a> {
        let range = self.take(&each.range)?;
        if matches!(each.sort, Macro::OptionalMap | Macro::OptionalFlatMap) {
            let Val::Optional(found) = range else { return Err(Fault::no_such_overload()) };
            let Some(found) = found else { return Ok(Val::Optional(None)) };
            let made = self.with(&[Val::clone(&found)], &each.body)?;
            return Ok(match (each.sort, made) {
                (Macro::OptionalFlatMap, made @ Val::Optional(_)) => made,
                (Macro::OptionalFlatMap, _) => return Err(Fault::no_such_overload()),
                (_, made) => Val::Optional(Some(Arc::new(made))),
            });
        }
        let elements = elements(&range)?;
        let mut found = Gathered::default();
        for at in 0..elements.count() {
            self.budget.take(1)?;
            let key = elements.get(&range, at);
            let pair = match (&elements, each.pairs) {
                (_, false) => vec![key],
                (Elements::List(_), true) => {
                    vec![Val::Int(i64::try_from(at).unwrap_or(i64::MAX)), key]
                }
                (Elements::Keys(_), true) => {
                    let value = range.entry(&key).unwrap_or(Val::Null);
                    vec![key, value]
                }
            };
            let passes = match &each.filter {
                Some(filter) => truth(self.with(&pair, filter))?,
                None => true,
            };
            if !passes {
                continue;
            }
            let made = self.with(&pair, &each.body);
            if let Some(result) = found.add(each.sort, &pair, made)? {
                return Ok(result);
            }
        }
        found.end(each.sort)
    }

    /// A step with variables of its own.
    fn with(&mut self, variables: &[Val<'a>], step: &Step) -> Outcome<'a> {
        let base = self.locals.len();
        self.locals.extend(variables.iter().cloned());
        let outcome = self.take(step);
        self.locals.truncate(base);
        outcome
    }
}

/// What a macro has of the elements so far.
#[derive(Default)]
struct Gathered<'a> {
    list: Vec<(Val<'a>, Val<'a>)>,
    map: BTreeMap<MapKey, Val<'a>>,
    held: usize,
    fault: Option<Fault>,
}

impl<'a> Gathered<'a> {
    /// Takes what the body says of an element; the result if that decides.
    fn add(
        &mut self,
        sort: Macro,
        pair: &[Val<'a>],
        made: Outcome<'a>,
    ) -> Result<Option<Val<'a>>, Fault> {
        let key = pair.first().cloned().unwrap_or(Val::Null);
        match sort {
            Macro::All | Macro::Exists => match truth(made) {
                Err(Fault::Cost) => return Err(Fault::Cost),
                Err(fault) => self.fault = self.fault.take().or(Some(fault)),
                Ok(held) if held == (sort == Macro::Exists) => return Ok(Some(Val::Bool(held))),
                Ok(_) => {}
            },
            Macro::ExistsOne => self.held += usize::from(truth(made)?),
            Macro::TransformList => self.list.push((Val::Null, made?)),
            Macro::TransformMap => insert(&mut self.map, &key, made?)?,
            Macro::TransformMapEntry => {
                let made = made?;
                for key in made.keys() {
                    let value = made.entry(&key).unwrap_or(Val::Null);
                    insert(&mut self.map, &key, value)?;
                }
            }
            Macro::SortBy => self.list.push((made?, key)),
            Macro::OptionalMap | Macro::OptionalFlatMap => {}
        }
        Ok(None)
    }

    fn end(mut self, sort: Macro) -> Outcome<'a> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        Ok(match sort {
            Macro::All => Val::Bool(true),
            Macro::Exists => Val::Bool(false),
            Macro::ExistsOne => Val::Bool(self.held == 1),
            Macro::TransformMap | Macro::TransformMapEntry => Val::Map(Arc::new(self.map)),
            Macro::SortBy => {
                let mut fault = None;
                self.list.sort_by(|(left, _), (right, _)| match left.order(right) {
                    Ok(order) => order.unwrap_or(Ordering::Equal),
                    Err(why) => {
                        fault = Some(why);
                        Ordering::Equal
                    }
                });
                if let Some(fault) = fault {
                    return Err(fault);
                }
                Val::list(self.list.into_iter().map(|(_, item)| item).collect())
            }
            _ => Val::list(self.list.into_iter().map(|(_, item)| item).collect()),
        })
    }
}

/// What a macro goes through.
enum Elements<'a> {
    List(usize),
    Keys(Vec<Val<'a>>),
}

impl<'a> Elements<'a> {
    fn count(&self) -> usize {
        match self {
            Self::List(count) => *count,
            Self::Keys(keys) => keys.len(),
        }
    }

    fn get(&self, range: &Val<'a>, at: usize) -> Val<'a> {
        let found = match self {
            Self::List(_) => range.item(at),
            Self::Keys(keys) => keys.get(at).cloned(),
        };
        found.unwrap_or(Val::Null)
    }
}

fn elements<'a>(range: &Val<'a>) -> Result<Elements<'a>, Fault> {
    match range {
        _ if range.is_list() => Ok(Elements::List(range.count().unwrap_or(0))),
        Val::Map(_) | Val::Json(..) => Ok(Elements::Keys(range.keys())),
        _ => Err(Fault::no_such_overload()),
    }
}

/// Whether a step of a fold is that of `all` or `exists`.
fn forgives(step: &Step) -> bool {
    matches!(step, Step::And(_) | Step::Or(_))
}

/// Whether a fold ended with what it would also have without any element.
fn undecided(step: &Step, result: bool) -> bool {
    match step {
        Step::And(_) => result,
        Step::Or(_) => !result,
        _ => false,
    }
}

fn truth(outcome: Outcome<'_>) -> Result<bool, Fault> {
    match outcome? {
        Val::Bool(value) => Ok(value),
        _ => Err(Fault::no_such_overload()),
    }
}

fn insert<'a>(
    map: &mut BTreeMap<MapKey, Val<'a>>,
    key: &Val<'_>,
    value: Val<'a>,
) -> Result<(), Fault> {
    let Some(key) = MapKey::of(key) else {
        return Err(Fault::new(format!("unsupported key type: {}", key.type_name())));
    };
    map.insert(key, value);
    Ok(())
}

fn index<'a>(of: Val<'a>, at: &Val<'_>, optional: bool) -> Outcome<'a> {
    let (of, optional_of) = match of {
        Val::Optional(None) => return Ok(Val::Optional(None)),
        Val::Optional(Some(of)) => (Val::clone(&of), true),
        of => (of, false),
    };
    let found = if of.is_list() { item(&of, at)? } else { of.entry(at) };
    if optional || optional_of {
        return Ok(Val::Optional(found.map(Arc::new)));
    }
    found.ok_or_else(|| match (&of, at) {
        (Val::Map(_) | Val::Json(..), Val::Text(name)) if !of.is_list() => {
            Fault::no_such_key(&**name as &str)
        }
        (Val::Map(_) | Val::Json(..) | Val::List(_), at) => {
            let at = at.to_json().unwrap_or_default();
            match of.is_list() {
                true => Fault::new(format!("index out of bounds: {at}")),
                false => Fault::no_such_key(at),
            }
        }
        _ => Fault::no_such_overload(),
    })
}

fn item<'a>(of: &Val<'a>, at: &Val<'_>) -> Result<Option<Val<'a>>, Fault> {
    let at = match at {
        Val::Int(at) => usize::try_from(*at).ok(),
        Val::Uint(at) => usize::try_from(*at).ok(),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole")]
        Val::Double(at) if at.fract() == 0.0 && *at >= 0.0 => Some(*at as usize),
        Val::Text(Text::Borrowed(_) | Text::Shared(_)) => {
            return Err(Fault::new("unsupported index type 'string' in list"));
        }
        _ => return Err(Fault::no_such_overload()),
    };
    Ok(at.and_then(|at| of.item(at)))
}
