use std::collections::HashMap;

use containerd_client::services::v1::{CreateRequest, DeleteRequest};
use jiff::{SignedDuration, Timestamp};
use pinnace_env::Env;

use super::super::connection::{Connection, gone_is_fine};
use crate::Result;

/// What a crashed process leaves under a lease is collected after this time.
const LEASE_HOURS: i64 = 24;
const EXPIRE_LABEL: &str = "containerd.io/gc.expire";

/// Keeps content and snapshots from being collected while an image is put together.
pub(super) struct Lease<'a> {
    connection: &'a Connection,
    id: String,
}

impl<'a> Lease<'a> {
    pub(super) async fn take(connection: &'a Connection, env: &Env) -> Result<Self> {
        let id = format!("pinnace-{}", env.random().uid());
        let expires = env
            .now()
            .checked_add(SignedDuration::from_hours(LEASE_HOURS))
            .unwrap_or(Timestamp::MAX);
        let labels = HashMap::from([(EXPIRE_LABEL.to_owned(), seconds(expires))]);
        let request = connection.request(CreateRequest { id: id.clone(), labels });
        let made = connection.leases().create(request).await;
        made.map_err(|status| connection.error("take a lease", &status))?;
        Ok(Self { connection, id })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Ends the lease: from now on only labels keep what was made under it.
    pub(super) async fn release(self) -> Result<()> {
        let request = DeleteRequest { id: self.id, sync: false };
        let result = self.connection.leases().delete(self.connection.request(request)).await;
        gone_is_fine(result).map_err(|status| self.connection.error("release a lease", &status))
    }
}

/// RFC 3339 in whole seconds, as containerd's labels want it.
pub(super) fn seconds(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second()).unwrap_or(Timestamp::MIN).to_string()
}
