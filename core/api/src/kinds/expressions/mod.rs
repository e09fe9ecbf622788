//! Expressions in CEL: whether they can be compiled.
//!
//! The parser is that of the `cel` crate, which has no type checker. So an expression is refused
//! for its syntax, for names that are not declared, and for a result that is plainly of another
//! type than what is asked for; what only a type checker finds shows when it is evaluated.

mod names;
mod nesting;
mod types;

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::Parser;

pub(super) use types::Yields;

/// Most characters of an expression.
const MAX: usize = 100_000;
/// Stack for parsing, in bytes, of which only what is used is taken. The parser needs up to 256 KiB
/// for a level of brackets where nothing is optimised, more than threads have for ten.
const STACK: usize = 64 << 20;
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
pub(super) type HasField<'a> = dyn Fn(&[&str]) -> bool + 'a;

/// What an expression may refer to.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Its variables.
    pub(super) variables: &'a [&'a str],
    /// What stands behind `variables.`; `None` where there is no such variable.
    pub(super) composed: Option<&'a [&'a str]>,
    /// Whether variables have a field, named by the way to it; `None` where that is not known
    /// before an expression is evaluated.
    pub(super) has: Option<&'a HasField<'a>>,
}

/// An expression that compiles.
pub(super) struct Compiled(IdedExpr);

impl Compiled {
    /// Whether it refers to a variable.
    pub(super) fn uses(&self, variable: &str) -> bool {
        self.0.references().has_variable(variable)
    }
}

/// Compiles an expression.
///
/// # Errors
/// What is wrong with it, as upstream words it, with the place in the text.
pub(super) fn compile(text: &str, scope: Scope<'_>, yields: Yields) -> Result<Compiled, String> {
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
    Ok(Compiled(root))
}

/// Whether a word names nothing in CEL.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// Whether a name may be a variable.
pub(super) fn is_identifier(name: &str) -> bool {
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
