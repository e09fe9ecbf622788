use futures::StreamExt as _;
use http::{Response, StatusCode};
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::{ApiError, Result};
use pinnace_client::nodes::LogOptions;

use super::Connect;
use super::containers::container_of;
use crate::request::Query;
use crate::request::options::invalid_named;
use crate::response::reply;
use crate::{Body, BoxError};

const TEXT: &str = "text/plain";

impl Connect<'_> {
    pub(super) async fn log(&self) -> Result<Response<Body>> {
        let options = log_options(self.query, &self.info.name, self.server.env().now())?;
        let place = self.place()?;
        let container = container_of(&place.pod, self.query.text("container"))?;
        // As upstream: what has not been placed has said nothing yet.
        let Some(node) = self.node(&place.pod)? else {
            return Ok(reply(StatusCode::OK, TEXT, Body::empty()));
        };
        let lines = node.logs(&place.reference, &container, options).await?;
        let stop = self.peer.stop.clone().cancelled_owned();
        let body = lines.map(|bytes| bytes.map_err(BoxError::from)).take_until(stop);
        Ok(reply(StatusCode::OK, TEXT, Body::stream(body)))
    }
}

/// `PodLogOptions`, from the parameters of a request.
fn log_options(query: &Query, pod: &str, now: jiff::Timestamp) -> Result<LogOptions> {
    let mut errors = ErrorList::default();
    let number = |name: &'static str, least: i64, why: &str, errors: &mut ErrorList| {
        let value = query.number(name)?;
        if value.is_some_and(|value| value < least) {
            errors.invalid(&Path::root(name), value.unwrap_or(0), why);
        }
        Ok::<_, ApiError>(value.and_then(|value| u64::try_from(value).ok()))
    };
    let tail_lines = number("tailLines", 0, "must be greater than or equal to 0", &mut errors)?;
    let limit_bytes = number("limitBytes", 1, "must be greater than 0", &mut errors)?;
    let seconds = number("sinceSeconds", 1, "must be greater than 0", &mut errors)?;
    let time = query.text("sinceTime");
    if seconds.is_some() && time.is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.forbidden(&Path::root("sinceSeconds"), why);
    }
    let stream = query.text("stream").filter(|stream| *stream != "All");
    if let Some(other) = stream.filter(|stream| !matches!(*stream, "Stdout" | "Stderr")) {
        let path = Path::root("stream");
        errors.not_supported(&path, other, &["All", "Stderr", "Stdout"]);
    }
    if stream.is_some() && tail_lines.is_some() {
        let why = "`tailLines` and specific `stream` are mutually exclusive for now";
        errors.forbidden(&Path::root("tailLines"), why);
    }
    if !errors.is_empty() {
        return Err(invalid_named("PodLogOptions", "", pod, &errors));
    }
    let since = match (seconds, time) {
        (Some(seconds), _) => {
            let span = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(now.checked_sub(span).unwrap_or(jiff::Timestamp::MIN))
        }
        (None, Some(time)) => Some(time.parse().map_err(|_| {
            ApiError::bad_request(format!("sinceTime: {time:?} is not a time of RFC 3339"))
        })?),
        (None, None) => None,
    };
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        since,
        timestamps: query.flag("timestamps"),
        tail_lines,
        limit_bytes,
        stream: stream.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let now = jiff::Timestamp::constant(1_000_000, 0);
        let read = |query: &str| log_options(&Query::parse(query), "web", now);
        let options = read("follow=true&tailLines=3&sinceSeconds=10").unwrap();
        assert!(options.follow && options.tail_lines == Some(3));
        assert_eq!(options.since, Some(jiff::Timestamp::constant(999_990, 0)));
        assert_eq!(
            read("limitBytes=0").unwrap_err().message(),
            "PodLogOptions \"web\" is invalid: limitBytes: Invalid value: 0: must be greater than 0"
        );
        assert!(read("sinceTime=yesterday").is_err());
        assert!(read("stream=Stdin").is_err());
    }
}
