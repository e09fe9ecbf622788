use std::collections::HashMap;

use async_trait::async_trait;

use super::TokenAuthenticator;
use crate::User;

/// Most lines of a file of tokens.
const MAX_TOKENS: usize = 10_000;

/// Tokens that are given with the configuration and do not end.
#[derive(Clone, Default)]
pub struct StaticTokens(HashMap<String, User>);

/// What is wrong with a file of tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the tokens: {message}")]
pub struct TokenFileError {
    line: u64,
    message: String,
}

impl StaticTokens {
    /// The same, with a token more.
    pub fn with(mut self, token: impl Into<String>, user: User) -> Self {
        self.0.insert(token.into(), user);
        self
    }

    /// The tokens of a file as upstream's `--token-auth-file` takes it: token, user, uid and, in
    /// quotes, groups, separated by commas.
    ///
    /// # Errors
    /// The first line that cannot be.
    pub fn read(text: &str) -> Result<Self, TokenFileError> {
        let mut tokens = Self::default();
        let mut reader = csv::ReaderBuilder::new();
        reader.has_headers(false).flexible(true).trim(csv::Trim::Fields).comment(None);
        let mut reader = reader.from_reader(text.as_bytes());
        for record in reader.records() {
            let failed =
                |line: u64, message: &str| TokenFileError { line, message: message.to_owned() };
            let record = record.map_err(|error| {
                failed(error.position().map_or(0, csv::Position::line), &error.to_string())
            })?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.iter().all(str::is_empty) {
                continue;
            }
            if record.len() < 3 {
                return Err(failed(line, "a token needs at least 3 columns: token, user, uid"));
            }
            if record[0].is_empty() || record[1].is_empty() {
                return Err(failed(line, "token and user must not be empty"));
            }
            if tokens.0.len() == MAX_TOKENS {
                return Err(failed(line, "there are too many"));
            }
            let groups = record.get(3).unwrap_or_default().split(',').map(str::trim);
            let groups = groups.filter(|group| !group.is_empty()).map(str::to_owned);
            let mut user = User::new(&record[1], groups);
            user.uid = Some(&record[2]).filter(|uid| !uid.is_empty()).map(Into::into);
            tokens.0.insert(record[0].to_owned(), user);
        }
        Ok(tokens)
    }
}

#[async_trait]
impl TokenAuthenticator for StaticTokens {
    async fn authenticate(&self, token: &str) -> Result<Option<User>, String> {
        Ok(self.0.get(token).cloned())
    }
}

impl std::fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StaticTokens({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tokens_is_read_as_upstream_reads_it() {
        let text = "abc,ann,u1,\"dev, ops\"\n\ndef,bob,,\n";
        let tokens = StaticTokens::read(text).unwrap().0;
        assert_eq!(tokens["abc"].groups[..], ["dev".to_owned(), "ops".to_owned()]);
        assert_eq!((&*tokens["abc"].name, tokens["abc"].uid.as_deref()), ("ann", Some("u1")));
        assert_eq!((&*tokens["def"].name, tokens["def"].groups.len()), ("bob", 0));
        let check = |text: &str, expected: &str| {
            assert_eq!(StaticTokens::read(text).unwrap_err().to_string(), expected);
        };
        let few = "line 2 of the tokens: a token needs at least 3 columns: token, user, uid";
        check("a,b,c\na,b\n", few);
        check(",b,c\n", "line 1 of the tokens: token and user must not be empty");
    }
}
