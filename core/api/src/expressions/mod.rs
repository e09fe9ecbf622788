//! Expressions in CEL: whether they can be compiled, and what they yield.
//!
//! The parser is that of the `cel` crate. [`compile`] refuses an expression for its syntax, for names
//! that are not declared, for functions that don't take what they are given, and for a result of
//! another type than what is asked for; what is not known before ([`Ty::Dyn`]) shows when it is
//! evaluated. [`load`] takes one that was accepted before, as definitions and policies in the store
//! have been.
//!
//! Evaluation is done here ([`Expression::evaluate`]): it looks at objects where they are, through
//! their schemas, in a set order, and within a [`Budget`], none of which the crate's own does.

mod check;
mod estimate;
mod evaluate;
mod fault;
mod functions;
mod nesting;
mod program;
mod records;
mod types;
mod value;

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::Parser;

pub use check::{Fields, Ty};
pub(crate) use estimate::elements;
pub use evaluate::Variables;
pub use fault::{Budget, Fault, Outcome};
pub(crate) use program::unescaped;
pub use records::{
    names_of_request, objects_of_mutations, variables_of_claims, variables_of_device,
    variables_of_request, variables_of_user,
};
pub use types::Yields;
pub use value::{MapKey, Opaque, Text, Val};

/// An amount with a unit as expressions know it; `None` for a text that is none.
pub fn quantity<'a>(text: &str) -> Option<Val<'a>> {
    functions::quantity_of(text)
}

/// A version as expressions know it; `None` for a text that is none.
pub fn semver<'a>(text: &str) -> Option<Val<'a>> {
    functions::semver_of(text)
}

/// Most characters of an expression.
const MAX: usize = 100_000;
/// Stack for parsing, in bytes, of which only what is used is taken. The parser needs up to 256 KiB
/// for a level of brackets where nothing is optimised, more than threads have for ten.
const STACK: usize = 64 << 20;
/// Stack that evaluation finds left when it does not take more.
const RED_ZONE: usize = 256 << 10;
/// Most complaints about one expression.
const COMPLAINTS_MAX: usize = 100;
/// What stands before complaints.
const FAILED: &str = "compilation failed: ";
/// The variable that has what stands before.
const COMPOSED: &str = "variables";
/// Words that name nothing in CEL.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A variable and its type.
#[derive(Clone, Debug)]
pub struct Declared<'s, 'a> {
    /// Its name.
    pub name: &'s str,
    /// What it is.
    pub ty: Ty<'a>,
}

impl<'s> Declared<'s, '_> {
    /// A variable of which nothing more is known.
    pub const fn open(name: &'s str) -> Self {
        Self { name, ty: Ty::Dyn }
    }
}

/// The types of objects that an expression may make, by their names.
pub type Objects<'a> = dyn Fn(&str) -> Option<Ty<'a>>;

/// What an expression may refer to.
#[derive(Clone, Copy, Default)]
#[expect(missing_debug_implementations, reason = "it has a function")]
pub struct Scope<'s, 'a> {
    /// Its variables.
    pub variables: &'s [Declared<'s, 'a>],
    /// What stands behind `variables.`; `None` where there is no such variable.
    pub composed: Option<&'s [Declared<'s, 'a>]>,
    /// Objects that it may make; `None` for none.
    pub objects: Option<&'s Objects<'a>>,
}

/// An expression that compiles.
#[derive(Debug)]
pub struct Expression {
    step: program::Step,
    /// The variables that it refers to.
    uses: Box<[Box<str>]>,
    /// Fields of these, as `variable.field`.
    selects: Box<[Box<str>]>,
}

impl Expression {
    /// Whether it refers to a field of a variable, as `variable.field`.
    pub fn selects(&self, field: &str) -> bool {
        self.selects.iter().any(|selected| **selected == *field)
    }

    /// Whether it refers to a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.uses.iter().any(|used| **used == *variable)
    }

    /// What it may cost at most, with values of a schema as its variables.
    pub(crate) fn most(&self, node: &crate::structural::Node) -> u64 {
        stacker::maybe_grow(RED_ZONE, STACK, || estimate::most(&self.step, node))
    }

    /// What it yields, with the variables of its scope in their order.
    ///
    /// # Errors
    /// What is wrong with a value, or that it costs too much.
    pub fn evaluate<'a>(&self, variables: &dyn Variables<'a>, budget: &Budget) -> Outcome<'a> {
        let mut machine = evaluate::Machine { variables, budget, locals: Vec::new() };
        stacker::maybe_grow(RED_ZONE, STACK, || machine.take(&self.step))
    }
}

/// Compiles an expression; what it yields is its type.
///
/// # Errors
/// What is wrong with it, as upstream words it, with the place in the text.
pub fn compile<'a>(
    text: &str,
    scope: Scope<'_, 'a>,
    yields: Yields,
) -> Result<(Expression, Ty<'a>), String> {
    let names = |all: &[Declared<'_, 'a>]| -> Vec<String> {
        all.iter().map(|one| one.name.to_owned()).collect()
    };
    let (variables, composed) = (names(scope.variables), names(scope.composed.unwrap_or_default()));
    parsed(text, &|parsed| {
        let ty = check::check(&parsed.root, scope).map_err(|all| parsed.failed(all))?;
        yields.check(&ty)?;
        Ok((parsed.build(&variables, &composed)?, ty))
    })
}

/// The type of an expression, whatever it is.
///
/// # Errors
/// The parts that are wrong, without more words.
pub fn type_of<'a>(text: &str, scope: Scope<'_, 'a>) -> Result<Ty<'a>, String> {
    let found =
        parsed(text, &|parsed| check::check(&parsed.root, scope).map_err(|all| parsed.failed(all)));
    found.map_err(|why| why.strip_prefix(FAILED).map_or(why.clone(), ToOwned::to_owned))
}

/// An expression that has been compiled before: its types are not checked again.
///
/// # Errors
/// Why nothing can be made of it.
pub fn load<S: AsRef<str>>(
    text: &str,
    variables: &[S],
    composed: &[S],
) -> Result<Expression, String> {
    parsed(text, &|parsed| parsed.build(variables, composed))
}

/// An expression that has been read.
struct Parsed<'t> {
    text: &'t str,
    root: IdedExpr,
    source: SourceInfo,
}

/// Reads an expression and has something made of it, on a stack that is large enough for both.
fn parsed<T>(text: &str, then: &dyn Fn(&Parsed<'_>) -> Result<T, String>) -> Result<T, String> {
    let length = text.chars().count();
    if length > MAX {
        let why = format!("expression code point size exceeds limit: size: {length}, limit {MAX}");
        return Err(failed(&located(text, (1, 0), &why)));
    }
    if nesting::is_too_deep(text) {
        let why = format!("expression recursion limit exceeded: {}", nesting::BRACKETS_MAX);
        return Err(failed(&located(text, (1, 0), &why)));
    }
    stacker::grow(STACK, || {
        let parser = Parser::new().enable_optional_syntax(true).enable_ident_escape_syntax(true);
        let (root, source) = parser.parse_with_source_info(text).map_err(|errors| {
            let each = errors.errors.iter().map(|error| located(text, error.pos, &error.msg));
            failed(&each.collect::<Vec<_>>().join("\n"))
        })?;
        then(&Parsed { text, root, source })
    })
}

impl Parsed<'_> {
    fn build<S: AsRef<str>>(&self, variables: &[S], composed: &[S]) -> Result<Expression, String> {
        let used = self.root.references();
        let uses = used.variables().into_iter().map(Into::into).collect();
        let variables: Vec<&str> = variables.iter().map(AsRef::as_ref).collect();
        let composed: Vec<&str> = composed.iter().map(AsRef::as_ref).collect();
        let built = program::build(&self.root, &variables, &composed);
        let (step, selects) = built.map_err(|one| self.failed(vec![one]))?;
        Ok(Expression { step, uses, selects: selects.into() })
    }

    /// Complaints about parts, in the order of the text.
    fn failed(&self, complaints: Vec<(u64, String)>) -> String {
        let start = |id: u64| self.source.offset_for(id).map_or(0, |(start, _)| start);
        let mut all = complaints;
        all.sort_by_key(|(id, _)| start(*id));
        let left_out = all.len().saturating_sub(COMPLAINTS_MAX);
        let shown = all.iter().take(COMPLAINTS_MAX);
        let mut each: Vec<_> = shown
            .map(|(id, why)| located(self.text, place(self.text, &self.source, *id), why))
            .collect();
        if left_out > 0 {
            each.push(format!("{left_out} more errors were truncated"));
        }
        failed(&each.join("\n"))
    }
}

/// The name of a property as expressions write it.
pub(crate) fn escaped(name: &str) -> String {
    if is_reserved(name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

/// Whether a word names nothing in CEL.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Whether a name may be a variable.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        && !is_reserved(name)
}

fn failed(why: &str) -> String {
    format!("{FAILED}{why}")
}

/// Line and column of a part of an expression, both from 1.
fn place(text: &str, source: &SourceInfo, id: u64) -> (isize, isize) {
    let start = source.offset_for(id).map_or(0, |(start, _)| start as usize);
    let (mut line, mut column) = (1, 1);
    for one in text.chars().take(start) {
        (line, column) = if one == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    (line, column)
}

/// A complaint with the line it is about and a mark below.
fn located(text: &str, (line, column): (isize, isize), why: &str) -> String {
    let snippet = usize::try_from(line - 1).ok().and_then(|line| text.lines().nth(line));
    let mark = ".".repeat(usize::try_from(column - 1).unwrap_or(0));
    let shown = snippet.map(|line| format!("\n | {line}\n | {mark}^")).unwrap_or_default();
    format!("ERROR: <input>:{line}:{column}: {why}{shown}")
}

#[cfg(test)]
mod tests;
