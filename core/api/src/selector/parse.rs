//! The grammar of label selectors. What is wrong is said as upstream says it, so that tools that
//! show or match those messages see what they know.

use std::collections::BTreeSet;

use super::label::{Operator, Requirement};
use super::label_text::key_problem;

/// Reads the requirements of a selector, in the order of the text.
pub(super) fn selector(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { tokens: tokens(text), next: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek(Context::Value) {
            (Token::Word | Token::Not, _) => {
                let requirement = parser
                    .requirement()
                    .map_err(|problem| format!("unable to parse requirement: {problem}"))?;
                requirements.push(requirement);
                match parser.take(Context::Value) {
                    (Token::End, _) => return Ok(requirements),
                    (Token::Comma, _) => match parser.peek(Context::Value) {
                        (Token::Word | Token::Not, _) => {}
                        (_, text) => {
                            return Err(format!("found '{text}', expected: identifier after ','"));
                        }
                    },
                    (_, text) => {
                        return Err(format!("found '{text}', expected: ',' or 'end of string'"));
                    }
                }
            }
            (Token::End, _) => return Ok(requirements),
            (_, text) => {
                return Err(format!("found '{text}', expected: !, identifier, or 'end of string'"));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Word,
    Operator(Operator),
    Not,
    Comma,
    Open,
    Close,
    End,
}

/// `in` and `notin` are operators after a key and words elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Operator,
    Value,
}

fn tokens(text: &str) -> Vec<(Token, &str)> {
    let special = |byte: u8| b"=!(),<>".contains(&byte);
    let space = |byte: u8| b" \t\r\n".contains(&byte);
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if space(byte) {
            at += 1;
            continue;
        }
        let start = at;
        let token = if special(byte) {
            let long = matches!(bytes.get(at..at + 2), Some(b"==" | b"!="));
            at += if long { 2 } else { 1 };
            match &text[start..at] {
                "=" => Token::Operator(Operator::Equals),
                "==" => Token::Operator(Operator::DoubleEquals),
                "!=" => Token::Operator(Operator::NotEquals),
                ">" => Token::Operator(Operator::GreaterThan),
                "<" => Token::Operator(Operator::LessThan),
                "!" => Token::Not,
                "," => Token::Comma,
                "(" => Token::Open,
                _ => Token::Close,
            }
        } else {
            while bytes.get(at).is_some_and(|&byte| !special(byte) && !space(byte)) {
                at += 1;
            }
            match &text[start..at] {
                "in" => Token::Operator(Operator::In),
                "notin" => Token::Operator(Operator::NotIn),
                _ => Token::Word,
            }
        };
        tokens.push((token, &text[start..at]));
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    next: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self, context: Context) -> (Token, &'a str) {
        match self.tokens.get(self.next).copied() {
            None => (Token::End, ""),
            Some((Token::Operator(Operator::In | Operator::NotIn), text))
                if context == Context::Value =>
            {
                (Token::Word, text)
            }
            Some(token) => token,
        }
    }

    fn take(&mut self, context: Context) -> (Token, &'a str) {
        let token = self.peek(context);
        self.next += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.take(Context::Value);
        let negated = token.0 == Token::Not;
        if negated {
            token = self.take(Context::Value);
        }
        let key = match token {
            (Token::Word, key) => key,
            (_, text) => return Err(format!("found '{text}', expected: identifier")),
        };
        if let Some(problem) = key_problem(key) {
            return Err(format!("<nil>: Invalid value: {key:?}: {problem}"));
        }
        if negated {
            return Requirement::try_new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(Context::Value).0, Token::End | Token::Comma) {
            return Requirement::try_new(key, Operator::Exists, Vec::new());
        }
        let operator = match self.take(Context::Operator) {
            (Token::Operator(operator), _) => operator,
            (_, text) => {
                return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt"));
            }
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::try_new(key, operator, values)
    }

    fn exact_value(&mut self) -> Result<String, String> {
        if matches!(self.peek(Context::Value).0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take(Context::Value) {
            (Token::Word, text) => Ok(text.to_owned()),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.take(Context::Value) {
            (Token::Open, _) => {}
            (_, text) => return Err(format!("found '{text}' expected: '('")),
        }
        let values = match self.peek(Context::Value) {
            (Token::Word | Token::Comma, _) => self.value_list()?,
            (Token::Close, _) => BTreeSet::from([""]),
            (_, text) => return Err(format!("found '{text}', expected: ',', ')' or identifier")),
        };
        self.next += 1;
        Ok(values.into_iter().map(str::to_owned).collect())
    }

    /// Up to the closing parenthesis, which is left. A place with nothing in it is an empty value.
    fn value_list(&mut self) -> Result<BTreeSet<&'a str>, String> {
        let mut values = BTreeSet::new();
        loop {
            match self.take(Context::Value) {
                (Token::Word, value) => {
                    values.insert(value);
                    match self.peek(Context::Value) {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    let next = self.peek(Context::Value).0;
                    if values.is_empty() || matches!(next, Token::Close | Token::Comma) {
                        values.insert("");
                    }
                    if next == Token::Close {
                        return Ok(values);
                    }
                }
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::selector::Selector;

    #[track_caller]
    fn canonical(text: &str, expected: &str) {
        assert_eq!(Selector::parse(text).unwrap().to_string(), expected);
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        let error = Selector::parse(text).unwrap_err();
        assert_eq!((error.code(), error.message()), (400, message));
    }

    #[test]
    fn a_selector_is_brought_to_canonical_form() {
        canonical("", "");
        canonical(" x = a , b ", "b,x=a");
        canonical("x in (foo,,baz),y,z notin ()", "x in (,baz,foo),y,z notin ()");
        canonical("x in (,)", "x in ()");
        canonical("x==a,! y,z!=c", "x==a,!y,z!=c");
        canonical("in in (in,notin)", "in in (in,notin)");
        canonical("x=", "x=");
        canonical("n>5,n<7", "n>5,n<7");
        canonical("k8s.io/app=web", "k8s.io/app=web");
    }

    #[test]
    fn what_is_no_selector_is_refused_in_upstream_words() {
        refused(",", "found ',', expected: !, identifier, or 'end of string'");
        refused("a,,b", "found ',', expected: identifier after ','");
        refused("a,", "found '', expected: identifier after ','");
        refused(
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        );
        refused("!", "unable to parse requirement: found '', expected: identifier");
        refused("!a=b", "found '=', expected: ',' or 'end of string'");
        refused("a=b=c", "found '=', expected: ',' or 'end of string'");
        refused("a in b", "unable to parse requirement: found 'b' expected: '('");
        refused("a in (b", "unable to parse requirement: found '', expected: ',' or ')'");
        refused(
            "a in (",
            "unable to parse requirement: found '', expected: ',', ')' or identifier",
        );
        refused("a in (,", "unable to parse requirement: found '', expected: ',', or identifier");
        refused("a==(", "unable to parse requirement: found '(', expected: identifier");
        refused(
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' \
             operators, the value must be an integer",
        );
    }

    #[test]
    fn keys_and_values_are_checked() {
        let rule = "must consist of alphanumeric characters, '-', '_' or '.', and must start and \
                    end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
                    '123-abc', regex used for validation is \
                    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
        refused(
            "-a=b",
            &format!("unable to parse requirement: <nil>: Invalid value: \"-a\": name part {rule}"),
        );
        let long = "a".repeat(64);
        refused(
            &format!("a={long}"),
            &format!(
                "unable to parse requirement: values[0][a]: Invalid value: {long:?}: must be no \
                 more than 63 bytes"
            ),
        );
        assert!(Selector::parse("a/b/c=d").is_err());
        assert!(Selector::parse("/b=d").is_err());
        assert!(Selector::parse("A/b=d").is_err());
    }
}
