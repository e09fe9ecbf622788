use std::time::Duration;

use bytes::BytesMut;
use http::{Response, StatusCode};
use pinnace_api::selector::FieldSelector;
use pinnace_api::{ApiError, Result};
use pinnace_client::{ListOptions, Transport as _};

use super::Call;
use crate::Body;
use crate::encoding::{self, Accepted, Can, WatchBody, WatchFrames};
use crate::limits::MIN_WATCH;
use crate::request::options;
use crate::response::reply;

impl Call<'_> {
    pub(super) async fn get(&self) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let object = self.api.get(self.target()?).await?;
        encoding::object(StatusCode::OK, &object, accepted)
    }

    pub(super) async fn list(&self) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let options = options::list_options(self.query, false)?;
        let list = self.api.list(self.resource.clone(), self.scope(), options).await?;
        let response = encoding::list(&self.resource, &list, accepted)?;
        Ok(encoding::compress(self.headers, response))
    }

    pub(super) async fn watch(&self) -> Result<Response<Body>> {
        let can = Can { shapes: true, stream: true };
        let accepted = Accepted::negotiate(self.headers, self.query, can)?;
        let mut options = options::list_options(self.query, true)?;
        self.narrow(&mut options)?;
        let timeout = self.timeout()?;
        let frames = WatchFrames::new(self.resource.clone(), accepted);
        let watch = self.api.watch(self.resource.clone(), self.scope(), options).await;
        let body = match watch {
            Ok(events) => Body::stream(WatchBody::new(events, frames, timeout, &self.peer.stop)),
            // As upstream: the answer to a version that is too old is an event.
            Err(error) if error.is_expired() => {
                let mut out = BytesMut::new();
                WatchFrames::write_error(&error, &mut out);
                Body::from(out.freeze())
            }
            Err(error) => return Err(error),
        };
        Ok(reply(StatusCode::OK, accepted.media_type(), body))
    }

    /// A path of the old form may name one object.
    fn narrow(&self, options: &mut ListOptions) -> Result<()> {
        if self.info.legacy_watch && !self.info.name.is_empty() && options.fields.is_none() {
            let selector = format!("metadata.name={}", self.info.name);
            options.fields = Some(FieldSelector::parse(&selector)?);
        }
        Ok(())
    }

    /// How long a watch lasts: what it says, or at random between half an hour and an hour, so
    /// that clients do not come back all at once.
    fn timeout(&self) -> Result<Duration> {
        let seconds = self.query.number("timeoutSeconds")?.unwrap_or(0);
        match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
            Ok(_) => Ok(self.server.env().random().jitter(MIN_WATCH, 1.0)),
            Err(_) => Err(ApiError::bad_request("timeoutSeconds must not be negative")),
        }
    }
}
