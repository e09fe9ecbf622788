use pinnace_api::{ApiError, Result};

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// The first value of a parameter, where it is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Whether a parameter is there and not `false` or `0`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(&*value.to_ascii_lowercase(), "false" | "0"))
    }

    /// As [`Query::flag`], `None` where it is not there.
    pub(crate) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|_| self.flag(name))
    }

    /// A whole number.
    ///
    /// # Errors
    /// `BadRequest`, in the words of Go's parser.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>> {
        self.get(name).map(parse_number).transpose()
    }
}

fn parse_number(text: &str) -> Result<i64> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let what = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: {what}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_upstream_reads_them() {
        let query = Query::parse("a=1&a=2&b=false&c=&d=x%2Cy+z&n=99999999999999999999");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("d"), Some("x,y z"));
        assert!(query.flag("a") && !query.flag("b") && query.flag("c") && !query.flag("e"));
        assert_eq!(query.number("a").unwrap(), Some(1));
        let text = |name| query.number(name).unwrap_err().message().to_owned();
        assert_eq!(text("b"), "strconv.ParseInt: parsing \"false\": invalid syntax");
        assert!(text("n").ends_with("value out of range"));
    }
}
