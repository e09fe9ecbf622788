use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pinnace_server::ExtensionAddress;
use tokio::time::Instant;

use super::Sender;

/// Most connections that are kept for a place, and most places for which some are.
const MAX_KEPT: usize = 8;
const MAX_PLACES: usize = 200;
/// How long a connection is kept, as Go's client does.
const MAX_IDLE: Duration = Duration::from_secs(90);

/// A connection that can be used.
pub(super) struct Open {
    pub(super) sender: Sender,
    /// Who is at the other end.
    pub(super) peer: SocketAddr,
}

/// Connections that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<Place, Vec<Kept>>>);

/// What connections have to have in common for one to do for another.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    authority: String,
    ca_bundle: Option<Arc<[u8]>>,
}

struct Kept {
    open: Open,
    since: Instant,
}

impl Place {
    fn of(address: &ExtensionAddress) -> Self {
        Self { authority: address.authority.clone(), ca_bundle: address.ca_bundle.clone() }
    }
}

impl Pool {
    /// The youngest connection that leads where one would be made to now.
    pub(super) fn take(&self, address: &ExtensionAddress) -> Option<Open> {
        let mut places = self.0.lock();
        let kept = places.get_mut(&Place::of(address))?;
        let leads_there = |peer| address.addresses.is_empty() || address.addresses.contains(&peer);
        kept.retain(|one| {
            one.since.elapsed() < MAX_IDLE
                && leads_there(one.open.peer)
                && !one.open.sender.is_closed()
        });
        kept.pop().map(|one| one.open)
    }

    /// Keeps a connection, or lets it go.
    pub(super) fn keep(&self, address: &ExtensionAddress, open: Open) {
        if open.sender.is_closed() {
            return;
        }
        let place = Place::of(address);
        let mut places = self.0.lock();
        places.retain(|_, kept| {
            kept.retain(|one| one.since.elapsed() < MAX_IDLE && !one.open.sender.is_closed());
            !kept.is_empty()
        });
        if places.len() >= MAX_PLACES && !places.contains_key(&place) {
            return;
        }
        let kept = places.entry(place).or_default();
        if kept.len() < MAX_KEPT {
            kept.push(Kept { open, since: Instant::now() });
        }
    }
}
