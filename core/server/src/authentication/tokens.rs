use async_trait::async_trait;

use super::ISSUER;
use super::check::Authenticated;
use crate::{Server, User};

/// Knows bearer tokens of people, or of programs outside of the cluster.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync + 'static {
    /// Whose token this is; `None` when this authenticator cannot tell.
    ///
    /// # Errors
    /// What is wrong with a token of its own: it has ended or is forged. Callers are only told that
    /// they are not known.
    async fn authenticate(&self, token: &str) -> Result<Option<User>, String>;
}

impl Server {
    /// Whose token this is, for one of `audiences` (this API, where none are given): service
    /// accounts, bootstrap tokens and those of the server's authenticators are asked in order.
    /// `None` when nobody can tell.
    ///
    /// # Errors
    /// What those say whose token it seems to be, when nobody accepts it.
    pub async fn authenticate_bearer(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, String> {
        let mut problems = Vec::new();
        match self.authenticate_token(token, audiences) {
            Ok(None) => {}
            Ok(proven) => return Ok(proven),
            Err(why) => problems.push(why),
        }
        // The others know no audiences: their tokens are for this API.
        let own = audiences.is_empty() || audiences.iter().any(|audience| audience == ISSUER);
        if own {
            let proven = |user| Authenticated { user, audiences: vec![ISSUER.to_owned()] };
            match self.authenticate_bootstrap(token) {
                Ok(None) => {}
                Ok(Some(user)) => return Ok(Some(proven(user))),
                Err(why) => problems.push(why),
            }
            for authenticator in self.token_authenticators() {
                match authenticator.authenticate(token).await {
                    Ok(None) => {}
                    Ok(Some(user)) => return Ok(Some(proven(user))),
                    Err(why) => problems.push(why),
                }
            }
        }
        match &problems[..] {
            [] => Ok(None),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}
