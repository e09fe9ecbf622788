//! How deep an expression is nested, found without following it.
//!
//! The parser calls itself for every level, and so does all that walks over what it gives, dropping
//! included; its own limit comes too late. What is nested deeper than the stack has room for would
//! end the host's process, so it is refused before it is parsed.

/// Deepest that expressions may be nested: levels of brackets, and links of a chain of operators
/// or fields within each.
pub(super) const BRACKETS_MAX: usize = 48;
const LINKS_MAX: usize = 96;

/// Whether an expression is nested too deep.
pub(super) fn is_too_deep(text: &str) -> bool {
    let mut outer: Vec<usize> = Vec::new();
    let mut links = 0;
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'"' | b'\'' => rest = after_text(*first, tail),
            b'/' if tail.first() == Some(&b'/') => {
                let end = tail.iter().position(|byte| *byte == b'\n').unwrap_or(tail.len());
                rest = &tail[end..];
            }
            b'(' | b'[' | b'{' => {
                outer.push(links);
                if outer.len() > BRACKETS_MAX {
                    return true;
                }
            }
            b')' | b']' | b'}' => {
                // What was within hangs below the link that it belongs to, and what follows above.
                links = outer.pop().unwrap_or(0) + 1;
            }
            // Parts that stand beside one another and not below.
            b',' | b'&' | b'|' => links = outer.last().copied().unwrap_or(0),
            b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' | b'?' => {
                links += 1
            }
            b'i' if tail.first() == Some(&b'n') => links += 1,
            _ => {}
        }
        if links > LINKS_MAX {
            return true;
        }
    }
    false
}

/// What follows a text in quotes. A text that does not end is for the parser to complain of.
fn after_text(quote: u8, text: &[u8]) -> &[u8] {
    let triple = [quote; 3];
    if text.starts_with(&triple[..2]) {
        let inner = &text[2..];
        let end = inner.windows(3).position(|three| three == triple).map(|end| end + 3);
        return &inner[end.unwrap_or(inner.len())..];
    }
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if *byte == quote => return &text[index + 1..],
            _ => {}
        }
    }
    &[]
}
