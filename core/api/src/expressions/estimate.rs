//! What an expression may cost at most, by the bounds that a schema sets, before there is any
//! value.

use super::program::{Binary, Each, Fold, Macro, Step};
use super::value::Val;
use crate::structural::Node;

/// The largest request, in bytes: without other bounds nothing is larger.
const REQUEST_MAX: u64 = 3 << 20;

/// What is known of a value before it is there.
#[derive(Clone, Copy, Debug)]
struct Shape<'a> {
    /// Most characters or elements.
    size: u64,
    node: Option<&'a Node>,
    /// Most characters or elements of each element.
    inner: u64,
}

impl<'a> Shape<'a> {
    const SMALL: Self = Self { size: 1, node: None, inner: 1 };
    const OPEN: Self = Self { size: REQUEST_MAX, node: None, inner: REQUEST_MAX };

    fn text(size: u64) -> Self {
        Self { size, node: None, inner: 1 }
    }

    fn of(node: &'a Node) -> Self {
        let inner = node.items.as_deref().or(node.values.as_deref());
        Self { size: size_of(node), node: Some(node), inner: inner.map_or(1, size_of) }
    }

    fn child(self, name: &str) -> Self {
        let Some(node) = self.node else { return Self { size: self.inner, ..Self::OPEN } };
        let child = node.field(name).or(node.values.as_deref());
        child.map_or(if node.field_count() > 0 { Self::SMALL } else { Self::OPEN }, Self::of)
    }

    fn element(self) -> Self {
        match self.node {
            Some(node) => node.items.as_deref().map_or(Self::text(self.inner), Self::of),
            None => Self { size: self.inner, node: None, inner: self.inner },
        }
    }

    fn larger(self, other: Self) -> Self {
        if self.size >= other.size { self } else { other }
    }
}

/// Most characters of a text, elements of a list or entries of a map.
fn size_of(node: &Node) -> u64 {
    if node.int_or_string {
        return node.max_length().unwrap_or(REQUEST_MAX);
    }
    match &*node.kind {
        "string" => node.max_length().unwrap_or_else(|| match node.format() {
            "date" => 10,
            "date-time" => 37,
            "duration" => 32,
            _ => node.longest_choice().unwrap_or(REQUEST_MAX - 2),
        }),
        "array" => {
            let each = node.items.as_deref().map_or(2, least);
            node.max_items().unwrap_or(REQUEST_MAX / (each + 1))
        }
        "object" => match (&node.values, node.field_count()) {
            (Some(values), _) => node.max_properties().unwrap_or(REQUEST_MAX / (least(values) + 5)),
            (None, count) => count.max(1),
        },
        "" => REQUEST_MAX,
        _ => 1,
    }
}

/// Fewest bytes that a value takes in a request.
fn least(node: &Node) -> u64 {
    match &*node.kind {
        "string" | "array" | "object" => 2,
        "boolean" => 4,
        _ => 1,
    }
}

/// How often a value may stand in an object, where its schema stands.
pub(crate) fn elements(node: &Node) -> u64 {
    size_of(node)
}

/// What an expression may cost with a value of a schema as its first variable, and one that was
/// such as its second.
pub(super) fn most(step: &Step, node: &Node) -> u64 {
    let mut estimate = Estimate { this: Shape::of(node), locals: Vec::new() };
    estimate.step(step).0
}

struct Estimate<'a> {
    this: Shape<'a>,
    locals: Vec<Shape<'a>>,
}

fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

impl<'a> Estimate<'a> {
    /// Most that a step costs, and what it yields.
    fn step(&mut self, step: &Step) -> (u64, Shape<'a>) {
        match step {
            Step::Value(value) => (0, Shape { size: value.size(), ..Shape::SMALL }),
            Step::Variable(_) => (1, self.this),
            Step::Local(at) => (1, self.locals.get(*at).copied().unwrap_or(Shape::OPEN)),
            Step::Field(field) => {
                let (cost, of) = self.step(&field.of);
                (cost.saturating_add(1), of.child(&field.property))
            }
            Step::Index(both, _) => {
                let (cost, of) = self.step(&both.0);
                let at = self.step(&both.1).0;
                let found = match (&both.1, of.node) {
                    (Step::Value(Val::Text(name)), Some(_)) => of.child(name),
                    _ => of.element().larger(of.child("")),
                };
                (sum(&[cost, at, 1]), found)
            }
            Step::And(both) | Step::Or(both) => {
                (sum(&[self.step(&both.0).0, self.step(&both.1).0]), Shape::SMALL)
            }
            Step::Not(one) | Step::Negate(one) => {
                let (cost, of) = self.step(one);
                (sum(&[cost, 1]), of)
            }
            Step::Holds(one) => self.step(one),
            Step::Choose(parts) => {
                let condition = self.step(&parts.0).0;
                let (yes, of_yes) = self.step(&parts.1);
                let (no, of_no) = self.step(&parts.2);
                (sum(&[condition, yes.max(no)]), of_yes.larger(of_no))
            }
            Step::Binary(operator, both) => self.binary(*operator, both),
            Step::Call(call) => {
                let arguments: Vec<_> = call.arguments.iter().map(|one| self.step(one)).collect();
                let before = arguments.iter().fold(0, |sum: u64, one| sum.saturating_add(one.0));
                let shapes: Vec<_> = arguments.into_iter().map(|one| one.1).collect();
                let (cost, shape) = of_call(&call.name, &shapes);
                (sum(&[before, cost]), shape)
            }
            Step::Method(_, arguments) => {
                let costs: Vec<_> = arguments.iter().map(|one| self.step(one).0).collect();
                (sum(&costs).saturating_add(1), Shape::text(64))
            }
            Step::List(items) => {
                let all: Vec<_> = items.iter().map(|(item, _)| self.step(item)).collect();
                let costs: Vec<_> = all.iter().map(|(cost, _)| *cost).collect();
                let inner = all.iter().map(|(_, shape)| shape.size).max().unwrap_or(1);
                let size = u64::try_from(items.len()).unwrap_or(u64::MAX);
                (sum(&costs).saturating_add(10), Shape { size, node: None, inner })
            }
            Step::Map(entries) => {
                let mut costs = vec![30];
                for (key, value, _) in entries {
                    costs.push(self.step(key).0);
                    costs.push(self.step(value).0);
                }
                let size = u64::try_from(entries.len()).unwrap_or(u64::MAX);
                (sum(&costs), Shape { size, ..Shape::OPEN })
            }
            Step::Fold(fold) => self.fold(fold),
            Step::Each(each) => self.each(each),
        }
    }

    fn binary(&mut self, operator: Binary, both: &(Step, Step)) -> (u64, Shape<'a>) {
        let ((left_cost, left), (right_cost, right)) = (self.step(&both.0), self.step(&both.1));
        let (cost, shape) = match operator {
            Binary::Equal
            | Binary::NotEqual
            | Binary::Less
            | Binary::LessEqual
            | Binary::Greater
            | Binary::GreaterEqual => (tenth(left.size.min(right.size)), Shape::SMALL),
            Binary::In => {
                (if right.node.is_some_and(is_map) { 1 } else { right.size }, Shape::SMALL)
            }
            Binary::Add => {
                let size = left.size.saturating_add(right.size);
                (tenth(size), Shape { size, ..left.larger(right) })
            }
            _ => (1, Shape::SMALL),
        };
        (sum(&[left_cost, right_cost, cost.max(1)]), shape)
    }

    fn within(&mut self, locals: &[Shape<'a>], step: &Step) -> (u64, Shape<'a>) {
        let before = self.locals.len();
        self.locals.extend(locals);
        let found = self.step(step);
        self.locals.truncate(before);
        found
    }

    fn fold(&mut self, fold: &Fold) -> (u64, Shape<'a>) {
        let ((range_cost, range), (init_cost, init)) =
            (self.step(&fold.range), self.step(&fold.init));
        let element = element_of(range);
        let locals = [init, element];
        let condition = self.within(&locals, &fold.condition).0;
        let (step, made) = self.within(&locals, &fold.step);
        let (result, of_result) = self.within(&locals[..1], &fold.result);
        let each = sum(&[condition, step, 1]);
        // What a list becomes is as long as it at most, or one number or truth.
        let shape = match &fold.init {
            Step::List(_) => {
                Shape { size: range.size, node: None, inner: made.inner.max(element.size) }
            }
            _ => of_result,
        };
        (sum(&[range_cost, init_cost, range.size.saturating_mul(each), result]), shape)
    }

    fn each(&mut self, each: &Each) -> (u64, Shape<'a>) {
        let (range_cost, range) = self.step(&each.range);
        let optional = matches!(each.sort, Macro::OptionalMap | Macro::OptionalFlatMap);
        let (element, times) = if optional { (range, 1) } else { (element_of(range), range.size) };
        let locals = if each.pairs { vec![Shape::text(64), element] } else { vec![element] };
        let filter = each.filter.as_ref().map_or(0, |filter| self.within(&locals, filter).0);
        let (body, made) = self.within(&locals, &each.body);
        let cost = times.saturating_mul(sum(&[filter, body, 1]));
        let shape = match each.sort {
            Macro::All | Macro::Exists | Macro::ExistsOne => Shape::SMALL,
            Macro::OptionalMap | Macro::OptionalFlatMap => made,
            Macro::SortBy => range,
            _ => Shape { size: range.size, node: None, inner: made.size },
        };
        (sum(&[range_cost, cost]), shape)
    }
}

fn is_map(node: &Node) -> bool {
    &*node.kind == "object"
}

/// What a macro goes through: the elements of a list, or the keys of a map.
fn element_of(range: Shape<'_>) -> Shape<'_> {
    match range.node {
        Some(node) if is_map(node) => Shape::text(REQUEST_MAX / range.size.max(1)),
        _ => range.element(),
    }
}

fn sum(all: &[u64]) -> u64 {
    all.iter().fold(0, |sum, one| sum.saturating_add(*one))
}

/// What a function costs with such arguments, and what it yields.
fn of_call<'a>(name: &str, arguments: &[Shape<'a>]) -> (u64, Shape<'a>) {
    let at = |place: usize| arguments.get(place).copied().unwrap_or(Shape::SMALL);
    let (first, second) = (at(0), at(1));
    match name {
        "contains" => (tenth(first.size).saturating_mul(tenth(second.size)), Shape::SMALL),
        "startsWith" | "endsWith" => (tenth(second.size), Shape::SMALL),
        "matches" => {
            let cost = tenth(first.size + 1).saturating_mul(second.size.div_ceil(4));
            (cost, Shape::SMALL)
        }
        "find" => (tenth(first.size + 1).saturating_mul(second.size.div_ceil(4)), first),
        "findAll" | "split" => {
            (tenth(first.size), Shape { size: first.size, node: None, inner: first.size })
        }
        "indexOf" | "lastIndexOf" => {
            (tenth(first.size).saturating_mul(tenth(second.size)).max(first.size), Shape::SMALL)
        }
        "replace" => {
            let third = at(2);
            let size = first.size.saturating_mul(third.size.max(1));
            (tenth(first.size).saturating_add(tenth(size)), Shape::text(size))
        }
        "join" => {
            let size = first.size.saturating_mul(first.inner.saturating_add(second.size));
            (tenth(size), Shape::text(size))
        }
        "sum" | "min" | "max" => (first.size, Shape { size: first.inner, ..Shape::SMALL }),
        "isSorted" => (first.size, Shape::SMALL),
        "sort" | "reverse" | "slice" | "flatten" => (first.size, first),
        "distinct" => (first.size.saturating_mul(first.size), first),
        "sets.contains" | "sets.equivalent" | "sets.intersects" => {
            (first.size.saturating_mul(second.size), Shape::SMALL)
        }
        "lowerAscii" | "upperAscii" | "trim" | "substring" | "strings.quote" | "string"
        | "format" | "bytes" => (tenth(first.size), first),
        "url" | "isURL" | "ip" | "isIP" | "cidr" | "isCIDR" | "quantity" | "isQuantity"
        | "semver" | "isSemver" => (tenth(first.size), Shape::text(64)),
        "value" | "orValue" | "or" | "dyn" | "optional.of" => (1, first),
        _ => (1, Shape::SMALL),
    }
}
