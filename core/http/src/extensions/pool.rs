use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use pinnace_server::ExtensionAddress;
use tokio::time::Instant;

/// Most connections that are kept for a place, and most places for which some are.
const MAX_KEPT: usize = 8;
const MAX_PLACES: usize = 200;
/// How long a connection is kept, as Go's client does.
const MAX_IDLE: Duration = Duration::from_secs(90);

/// A connection that can be used.
pub(crate) struct Open<B> {
    pub(crate) sender: SendRequest<B>,
    /// Who is at the other end.
    pub(crate) peer: SocketAddr,
}

/// Connections that nobody uses at the moment.
pub(crate) struct Pool<B>(Mutex<HashMap<Place, Vec<Kept<B>>>>);

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// What connections have to have in common for one to do for another.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    authority: String,
    ca_bundle: Option<Arc<[u8]>>,
}

struct Kept<B> {
    open: Open<B>,
    since: Instant,
}

impl Place {
    fn of(address: &ExtensionAddress) -> Self {
        Self { authority: address.authority.clone(), ca_bundle: address.ca_bundle.clone() }
    }
}

impl<B> Pool<B> {
    /// The youngest connection that leads where one would be made to now.
    pub(crate) fn take(&self, address: &ExtensionAddress) -> Option<Open<B>> {
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
    pub(crate) fn keep(&self, address: &ExtensionAddress, open: Open<B>) {
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

/// A connection that comes back when this is dropped: when the answer that comes over it has ended,
/// or nobody wants the rest, which closes it.
pub(crate) struct Returns<B: 'static>(Option<(Open<B>, ExtensionAddress, Back<B>)>);

type Back<B> = Box<dyn FnOnce(&ExtensionAddress, Open<B>) + Send>;

impl<B> Returns<B> {
    /// Gives `open` to `back` then.
    pub(crate) fn new(
        open: Open<B>,
        address: ExtensionAddress,
        back: impl FnOnce(&ExtensionAddress, Open<B>) + Send + 'static,
    ) -> Self {
        Self(Some((open, address, Box::new(back))))
    }
}

impl<B> Drop for Returns<B> {
    fn drop(&mut self) {
        if let Some((open, address, back)) = self.0.take() {
            back(&address, open);
        }
    }
}
