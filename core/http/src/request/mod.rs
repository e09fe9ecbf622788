//! What a request says: path, verb, parameters, body.

pub(crate) mod content;
pub(crate) mod options;
pub(crate) mod path;
pub(crate) mod query;

pub(crate) use path::RequestInfo;
pub(crate) use query::Query;
