//! An expression as steps that can be taken: names are places by then, and functions are found.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};

use super::functions::{self, Function};
use super::value::Val;

/// A step.
#[derive(Debug)]
pub(super) enum Step {
    Value(Val<'static>),
    /// A variable that is given, by its number.
    Variable(usize),
    /// One that a macro declares, by how many stand before it.
    Local(usize),
    Field(Box<Field>),
    Index(Box<(Step, Step)>, bool),
    And(Box<(Step, Step)>),
    Or(Box<(Step, Step)>),
    Not(Box<Step>),
    Negate(Box<Step>),
    /// Whether something is not plainly false.
    Holds(Box<Step>),
    Choose(Box<(Step, Step, Step)>),
    Binary(Binary, Box<(Step, Step)>),
    Call(Box<Call>),
    /// A function of a value that has functions of its own.
    Method(Box<str>, Box<[Step]>),
    List(Box<[(Step, bool)]>),
    Map(Box<[(Step, Step, bool)]>),
    Fold(Box<Fold>),
    Each(Box<Each>),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) of: Step,
    pub(super) name: Box<str>,
    /// The name of the property that stands for.
    pub(super) property: Box<str>,
    pub(super) sort: Select,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: Box<str>,
    pub(super) function: Function,
    pub(super) arguments: Box<[Step]>,
}

impl Call {
    fn step(name: &str, function: Function, arguments: Box<[Step]>) -> Step {
        Step::Call(Box::new(Self { name: name.into(), function, arguments }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
    Plain,
    Has,
    Optional,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

/// What a macro over a list becomes: the first variable after those before is what accumulates,
/// the second is the element.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) range: Step,
    pub(super) init: Step,
    pub(super) condition: Step,
    pub(super) step: Step,
    pub(super) result: Step,
}

/// A macro that is taken as it is: with two variables, or about what may be there.
#[derive(Debug)]
pub(super) struct Each {
    pub(super) sort: Macro,
    pub(super) range: Step,
    pub(super) filter: Option<Step>,
    pub(super) body: Step,
    /// Whether the body has two variables.
    pub(super) pairs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    TransformList,
    TransformMap,
    TransformMapEntry,
    OptionalMap,
    OptionalFlatMap,
    SortBy,
}

/// The fields of variables that an expression refers to, as `variable.field`.
pub(super) type Selected = Vec<Box<str>>;

/// Makes steps of an expression that has been checked, and says which fields of its variables it
/// refers to, as `variable.field`.
///
/// # Errors
/// The part that nothing can be made of, and why.
pub(super) fn build(
    root: &IdedExpr,
    variables: &[&str],
    composed: &[&str],
) -> Result<(Step, Selected), (u64, String)> {
    let mut builder = Builder { variables, composed, locals: Vec::new(), selected: Vec::new() };
    let step = builder.step(root)?;
    Ok((step, builder.selected))
}

struct Builder<'a> {
    variables: &'a [&'a str],
    /// What stands behind `variables.`: further variables, numbered after the others.
    composed: &'a [&'a str],
    locals: Vec<String>,
    selected: Selected,
}

type Built = Result<Step, (u64, String)>;

impl Builder<'_> {
    fn step(&mut self, node: &IdedExpr) -> Built {
        Ok(match &node.expr {
            Expr::Literal(value) => Step::Value(literal(value)),
            Expr::Ident(name) => return self.name(node.id, name),
            Expr::Select(select) => {
                if !select.test
                    && let Some(of_type) = type_of(node)
                {
                    return Ok(Step::Value(Val::Type(of_type)));
                }
                if let Some(number) = self.composed(&select.operand, &select.field) {
                    return Ok(match select.test {
                        true => Step::Value(Val::Bool(true)),
                        false => Step::Variable(number),
                    });
                }
                let sort = if select.test { Select::Has } else { Select::Plain };
                self.field(&select.operand, &select.field, sort)?
            }
            Expr::Call(call) => return self.call(node.id, call),
            Expr::List(list) => {
                let optional = |at: usize| list.optional_indices.contains(&at);
                let mut items = Vec::with_capacity(list.elements.len());
                for (at, item) in list.elements.iter().enumerate() {
                    items.push((self.step(item)?, optional(at)));
                }
                Step::List(items.into())
            }
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        let (key, value) = (self.step(&entry.key)?, self.step(&entry.value)?);
                        entries.push((key, value, entry.optional));
                    }
                }
                Step::Map(entries.into())
            }
            // An object of a type is a map with its fields.
            Expr::Struct(one) => {
                let mut entries = Vec::with_capacity(one.entries.len());
                for entry in &one.entries {
                    if let EntryExpr::StructField(field) = &entry.expr {
                        let name = Step::Value(Val::text(field.field.as_str()));
                        entries.push((name, self.step(&field.value)?, field.optional));
                    }
                }
                Step::Map(entries.into())
            }
            Expr::Comprehension(one) => self.fold(one)?,
            Expr::Unspecified => return Err((node.id, "nothing is said".to_owned())),
        })
    }

    fn name(&self, id: u64, name: &str) -> Built {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(at) = self.locals.iter().rposition(|local| local == name) {
            return Ok(Step::Local(at));
        }
        if let Some(at) = self.variables.iter().position(|variable| *variable == name) {
            return Ok(Step::Variable(at));
        }
        match simple_type(name) {
            Some(name) => Ok(Step::Value(Val::Type(name))),
            None => Err((id, format!("undeclared reference to '{name}' (in container '')"))),
        }
    }

    fn composed(&self, of: &IdedExpr, name: &str) -> Option<usize> {
        let Expr::Ident(root) = &of.expr else { return None };
        if root != super::COMPOSED || self.locals.iter().any(|local| local == root) {
            return None;
        }
        let at = self.composed.iter().position(|composed| *composed == name)?;
        Some(self.variables.len() + at)
    }

    fn field(&mut self, of: &IdedExpr, name: &str, sort: Select) -> Built {
        if let Expr::Ident(variable) = &of.expr
            && !self.locals.contains(variable)
        {
            self.selected.push(format!("{variable}.{name}").into());
        }
        let of = self.step(of)?;
        Ok(Step::Field(Box::new(Field { of, name: name.into(), property: unescaped(name), sort })))
    }

    fn two(&mut self, call: &CallExpr) -> Result<Box<(Step, Step)>, (u64, String)> {
        match &call.args[..] {
            [left, right] => Ok(Box::new((self.step(left)?, self.step(right)?))),
            _ => Err((0, "two operands are needed".to_owned())),
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Built {
        let binary = match call.func_name.as_str() {
            operators::LOGICAL_AND => return Ok(Step::And(self.two(call)?)),
            operators::LOGICAL_OR => return Ok(Step::Or(self.two(call)?)),
            operators::INDEX => return Ok(Step::Index(self.two(call)?, false)),
            operators::OPT_INDEX => return Ok(Step::Index(self.two(call)?, true)),
            operators::OPT_SELECT => return self.optional_field(id, call),
            operators::CONDITIONAL => {
                let [condition, yes, no] = &call.args[..] else {
                    return Err((id, "three operands are needed".to_owned()));
                };
                let (yes, no) = (self.step(yes)?, self.step(no)?);
                return Ok(Step::Choose(Box::new((self.step(condition)?, yes, no))));
            }
            operators::ADD => Binary::Add,
            operators::SUBSTRACT => Binary::Subtract,
            operators::MULTIPLY => Binary::Multiply,
            operators::DIVIDE => Binary::Divide,
            operators::MODULO => Binary::Modulo,
            operators::EQUALS => Binary::Equal,
            operators::NOT_EQUALS => Binary::NotEqual,
            operators::LESS => Binary::Less,
            operators::LESS_EQUALS => Binary::LessEqual,
            operators::GREATER => Binary::Greater,
            operators::GREATER_EQUALS => Binary::GreaterEqual,
            operators::IN => Binary::In,
            name => return self.function(id, name, call),
        };
        Ok(Step::Binary(binary, self.two(call)?))
    }

    fn optional_field(&mut self, id: u64, call: &CallExpr) -> Built {
        match &call.args[..] {
            [of, name] => match &name.expr {
                Expr::Literal(LiteralValue::String(name)) => {
                    self.field(of, name.inner(), Select::Optional)
                }
                _ => Err((id, "a field is needed".to_owned())),
            },
            _ => Err((id, "a field is needed".to_owned())),
        }
    }

    fn function(&mut self, id: u64, name: &str, call: &CallExpr) -> Built {
        if let ([one], None) = (&call.args[..], &call.target) {
            match name {
                operators::LOGICAL_NOT => return Ok(Step::Not(Box::new(self.step(one)?))),
                operators::NEGATE => return Ok(Step::Negate(Box::new(self.step(one)?))),
                operators::NOT_STRICTLY_FALSE => {
                    return Ok(Step::Holds(Box::new(self.step(one)?)));
                }
                _ => {}
            }
        }
        let unknown = || (id, format!("undeclared reference to '{name}' (in container '')"));
        let Some(target) = &call.target else {
            let arguments = self.steps(call.args.iter())?;
            let found = functions::global(name).ok_or_else(unknown)?;
            return Ok(Call::step(name, found, arguments));
        };
        // The first part of the name of a function looks like what it is called on.
        if let Expr::Ident(space) = &target.expr
            && !self.knows(space)
        {
            let arguments = self.steps(call.args.iter())?;
            let name = format!("{space}.{name}");
            let found = functions::global(&name).ok_or_else(unknown)?;
            return Ok(Call::step(&name, found, arguments));
        }
        if let Some(each) = self.each(name, target, &call.args)? {
            return Ok(each);
        }
        let arguments = self.steps(std::iter::once(&**target).chain(&call.args))?;
        Ok(match functions::member(name) {
            Some(found) => Call::step(name, found, arguments),
            None if functions::of_opaque(name) => Step::Method(name.into(), arguments),
            None => return Err(unknown()),
        })
    }

    fn knows(&self, name: &str) -> bool {
        self.variables.contains(&name) || self.locals.iter().any(|local| local == name)
    }

    fn steps<'e>(
        &mut self,
        all: impl Iterator<Item = &'e IdedExpr>,
    ) -> Result<Box<[Step]>, (u64, String)> {
        all.map(|one| self.step(one)).collect()
    }

    fn within(&mut self, names: &[&str], node: &IdedExpr) -> Built {
        let before = self.locals.len();
        self.locals.extend(names.iter().map(|name| (*name).to_owned()));
        let built = self.step(node);
        self.locals.truncate(before);
        built
    }

    fn fold(&mut self, one: &ComprehensionExpr) -> Built {
        let (range, init) = (self.step(&one.iter_range)?, self.step(&one.accu_init)?);
        let names = [one.accu_var.as_str(), one.iter_var.as_str()];
        Ok(Step::Fold(Box::new(Fold {
            range,
            init,
            condition: self.within(&names, &one.loop_cond)?,
            step: self.within(&names, &one.loop_step)?,
            result: self.within(&names[..1], &one.result)?,
        })))
    }

    /// A macro that the parser leaves as a call.
    fn each(
        &mut self,
        name: &str,
        target: &IdedExpr,
        arguments: &[IdedExpr],
    ) -> Result<Option<Step>, (u64, String)> {
        let (sort, count) = match (name, arguments.len()) {
            ("all", 3) => (Macro::All, 2),
            ("exists", 3) => (Macro::Exists, 2),
            ("existsOne" | "exists_one", 3) => (Macro::ExistsOne, 2),
            ("existsOne", 2) => (Macro::ExistsOne, 1),
            ("transformList", 3 | 4) => (Macro::TransformList, 2),
            ("transformMap", 3 | 4) => (Macro::TransformMap, 2),
            ("transformMapEntry", 3 | 4) => (Macro::TransformMapEntry, 2),
            ("optMap", 2) => (Macro::OptionalMap, 1),
            ("optFlatMap", 2) => (Macro::OptionalFlatMap, 1),
            ("sortBy", 2) => (Macro::SortBy, 1),
            _ => return Ok(None),
        };
        let (declared, rest) = arguments.split_at(count);
        let mut names = Vec::with_capacity(count);
        for one in declared {
            match &one.expr {
                Expr::Ident(name) => names.push(name.as_str()),
                _ => return Err((one.id, "argument is not an identifier".to_owned())),
            }
        }
        let range = self.step(target)?;
        let (filter, body) = match rest {
            [filter, body] => (Some(self.within(&names, filter)?), body),
            [body] => (None, body),
            _ => return Ok(None),
        };
        let body = self.within(&names, body)?;
        Ok(Some(Step::Each(Box::new(Each { sort, range, filter, body, pairs: count == 2 }))))
    }
}

fn literal(value: &LiteralValue) -> Val<'static> {
    match value {
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Bytes(bytes) => Val::Bytes(bytes.inner().into()),
        LiteralValue::Double(number) => Val::Double(*number.inner()),
        LiteralValue::Int(number) => Val::Int(*number.inner()),
        LiteralValue::Null => Val::Null,
        LiteralValue::String(text) => Val::text(text.inner()),
        LiteralValue::UInt(number) => Val::Uint(*number.inner()),
    }
}

fn simple_type(name: &str) -> Option<&'static str> {
    const ALL: [&str; 12] = [
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
        "optional_type",
        "dyn",
    ];
    ALL.into_iter().find(|known| *known == name)
}

/// A type with dots in its name.
fn type_of(node: &IdedExpr) -> Option<&'static str> {
    fn spelled(node: &IdedExpr, out: &mut String) -> bool {
        match &node.expr {
            Expr::Ident(name) => out.push_str(name),
            Expr::Select(select) if !select.test => {
                if !spelled(&select.operand, out) {
                    return false;
                }
                out.push('.');
                out.push_str(&select.field);
            }
            _ => return false,
        }
        true
    }
    const ALL: [&str; 7] = [
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "kubernetes.Quantity",
        "kubernetes.URL",
        "kubernetes.Semver",
        "net.IP",
        "net.CIDR",
    ];
    let mut name = String::new();
    if !spelled(node, &mut name) {
        return None;
    }
    ALL.into_iter().find(|known| *known == name)
}

/// The name of the property that a field stands for.
pub(crate) fn unescaped(name: &str) -> Box<str> {
    let word = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = word
        && super::is_reserved(word)
    {
        return word.into();
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    'next: while let Some(first) = rest.chars().next() {
        for (written, meant) in
            [("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")]
        {
            if let Some(after) = rest.strip_prefix(written) {
                out.push_str(meant);
                rest = after;
                continue 'next;
            }
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out.into()
}
