use http::{Response, StatusCode};
use pinnace_api::Result;
use pinnace_client::Transport as _;

use super::Call;
use crate::Body;
use crate::encoding;
use crate::request::options;

impl Call<'_> {
    pub(super) async fn get(&self) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let object = self.api.get(self.target()?).await?;
        self.view(accepted).object(StatusCode::OK, &object)
    }

    pub(super) async fn list(&self) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let options = options::list_options(self.query, false)?;
        let list = self.api.list(self.resource.clone(), self.scope(), options).await?;
        let response = self.view(accepted).list(&self.resource, list)?;
        Ok(encoding::compress(self.headers, response))
    }
}
