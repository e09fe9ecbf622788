//! Expressions in CEL: whether they can be compiled, and what they yield.
//!
//! The parser is that of the `cel` crate. An expression is refused for its syntax, for names that
//! are not declared, and for a result that is plainly of another type than what is asked for; what
//! only a type checker finds shows when it is evaluated.
//!
//! Evaluation is done here ([`Expression::evaluate`]): it looks at objects where they are, through
//! their schemas, in a set order, and within a [`Budget`], none of which the crate's own does.

mod estimate;
mod evaluate;
mod fault;
mod functions;
mod names;
mod nesting;
mod program;
mod types;
mod value;

use cel::common::ast::SourceInfo;
use cel::parser::Parser;

pub(crate) use estimate::elements;
pub use evaluate::Variables;
pub use fault::{Budget, Fault, Outcome};
pub use types::Yields;
pub use value::{MapKey, Opaque, Text, Val};

/// Most characters of an expression.
const MAX: usize = 100_000;
/// Stack for parsing, in bytes, of which only what is used is taken. The parser needs up to 256 KiB
/// for a level of brackets where nothing is optimised, more than threads have for ten.
const STACK: usize = 64 << 20;
/// Stack that evaluation finds left when it does not take more.
const RED_ZONE: usize = 256 << 10;
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

/// Whether there is a field at the end of a way from a variable.
pub type HasField<'a> = dyn Fn(&[&str]) -> bool + 'a;

/// What an expression may refer to.
#[derive(Clone, Copy, Default)]
#[expect(missing_debug_implementations, reason = "it has a function")]
pub struct Scope<'a> {
    /// Its variables.
    pub variables: &'a [&'a str],
    /// What stands behind `variables.`; `None` where there is no such variable.
    pub composed: Option<&'a [&'a str]>,
    /// Whether variables have a field, named by the way to it; `None` where that is not known
    /// before an expression is evaluated.
    pub has: Option<&'a HasField<'a>>,
}

/// An expression that compiles.
#[derive(Debug)]
pub struct Expression {
    step: program::Step,
    /// The variables that it refers to.
    uses: Box<[Box<str>]>,
}

impl Expression {
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

/// Compiles an expression.
///
/// # Errors
/// What is wrong with it, as upstream words it, with the place in the text.
pub fn compile(text: &str, scope: Scope<'_>, yields: Yields) -> Result<Expression, String> {
    let length = text.chars().count();
    if length > MAX {
        let why = format!("expression code point size exceeds limit: size: {length}, limit {MAX}");
        return Err(failed(&located(text, (1, 0), &why)));
    }
    if nesting::is_too_deep(text) {
        let why = format!("expression recursion limit exceeded: {}", nesting::BRACKETS_MAX);
        return Err(failed(&located(text, (1, 0), &why)));
    }
    let parsed = stacker::grow(STACK, || {
        Parser::new()
            .enable_optional_syntax(true)
            .enable_ident_escape_syntax(true)
            .parse_with_source_info(text)
    });
    let (root, source) = parsed.map_err(|errors| {
        let each = errors.errors.iter().map(|error| located(text, error.pos, &error.msg));
        failed(&each.collect::<Vec<_>>().join("\n"))
    })?;
    let unknown = names::unknown(&root, scope);
    if !unknown.is_empty() {
        let each = unknown.iter().map(|(id, why)| located(text, place(text, &source, *id), why));
        return Err(failed(&each.collect::<Vec<_>>().join("\n")));
    }
    yields.check(&root)?;
    let used = root.references();
    let uses = used.variables().into_iter().map(Into::into).collect();
    let built = stacker::grow(STACK, || program::build(&root, scope));
    let step = built.map_err(|(id, why)| failed(&located(text, place(text, &source, id), &why)))?;
    Ok(Expression { step, uses })
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

/// What an expression about a request may refer to, in its order.
pub fn variables_of_request(params: bool, authorizer: bool) -> Vec<&'static str> {
    let mut all = vec!["object", "oldObject", "request", "namespaceObject"];
    if params {
        all.push("params");
    }
    if authorizer {
        all.push("authorizer");
    }
    all
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
    format!("compilation failed: {why}")
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
