//! The host's book of devices, tickets and revocations, kept on the transactional store and told to the overlay.
//!
//! What is written here is durable before the call returns. After each change who may connect is published anew, so
//! that a revoked phone loses its connections and a stranger gets in only while an offer is open.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::{Refusal, TicketId, TicketSecret, Tombstone};
use farhelm_core::session::PairingSecret;
use farhelm_store::offer::{self, Offer};
use farhelm_store::{Device, Store};
use tokio::sync::watch;

/// Why the book could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] farhelm_store::Error),
    /// A ticket that doesn't serve.
    #[error(transparent)]
    Offer(#[from] offer::Error),
    /// No device, or several, go by this name.
    #[error("{0}")]
    Who(String),
}

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The book. Clones share it.
#[derive(Clone)]
pub struct Devices {
    identity: Arc<Identity>,
    store: Arc<Store>,
    admitted: Arc<watch::Sender<Admitted>>,
    /// One writer at a time, so that publications are in the order of the writes.
    writing: Arc<Mutex<()>>,
}

/// How long after a ticket's time somebody who scanned it is still told what became of it, instead of finding no host.
/// Also within its time the door stays open when it was used or declined: the answer travels through it.
pub const LATECOMERS: Duration = Duration::from_secs(60);
const LATECOMERS_MS: u64 = LATECOMERS.as_millis() as u64;

/// Who may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Paired devices.
    pub paired: Vec<NodeId>,
    /// Removed ones, who may fetch their tombstone.
    pub revoked: Vec<NodeId>,
    /// Whether strangers may try a ticket: while one is good, and [`LATECOMERS`] longer.
    pub offer_open: bool,
}

impl Devices {
    /// Opens the book. Offers of a former process can't be answered any more and are withdrawn.
    pub fn open(identity: Arc<Identity>, store: Arc<Store>) -> Result<Self, Error> {
        let devices = Self { identity, store, admitted: Arc::default(), writing: Arc::default() };
        devices.store.prune_offers(now_ms())?;
        for offer in devices.store.offers()?.iter().filter(|offer| is_open(offer)) {
            devices.store.withdraw_offer(offer.secret.ticket_id())?;
        }
        devices.announce()?;
        Ok(devices)
    }

    /// Who may connect, and every change of it.
    pub fn admitted(&self) -> watch::Receiver<Admitted> {
        self.admitted.subscribe()
    }

    /// The paired devices, the first one first.
    pub fn list(&self) -> Result<Vec<Device>, Error> {
        Ok(self.store.devices()?)
    }

    /// A paired device's secret.
    pub fn secret(&self, device: NodeId) -> Result<Option<PairingSecret>, Error> {
        Ok(self.store.device(device)?.map(|device| device.secret))
    }

    /// What a removed device is shown.
    pub fn tombstone(&self, device: NodeId) -> Result<Option<Tombstone>, Error> {
        Ok(self.store.tombstone(device)?)
    }

    /// Notes that a device has a session.
    pub fn saw(&self, device: NodeId) -> Result<(), Error> {
        self.store.saw_device(device, now_ms())?;
        Ok(())
    }

    /// The device a person means by `who`: its name, or the beginning or end of its id.
    pub fn find(&self, who: &str) -> Result<Device, Error> {
        let devices = self.list()?;
        let by_id = |d: &&Device| {
            let id = d.key.to_string();
            who.len() >= 6 && (id.starts_with(who) || id.ends_with(who))
        };
        let mut found: Vec<_> = devices.iter().filter(|d| d.name == who || by_id(d)).cloned().collect();
        match (found.pop(), found.len()) {
            (Some(device), 0) => Ok(device),
            (None, _) => Err(Error::Who(format!("no device is called {who:?}; see `farhelm devices`"))),
            _ => Err(Error::Who(format!("several devices are called {who:?}; name one by its id"))),
        }
    }

    /// Removes a device for good. On return it is stored; cutting its live session is the caller's.
    pub fn revoke(&self, device: NodeId) -> Result<Option<Device>, Error> {
        let tombstone = Tombstone::sign(&self.identity, device, now_ms());
        self.change(|store| Ok(store.revoke(device, &tombstone)?))
    }

    /// Makes an offer that may be shown once this returns.
    pub fn offer(&self, lifetime: Duration) -> Result<(TicketSecret, u64), Error> {
        let secret = TicketSecret::generate(&mut rand::rng());
        let expires_ms = now_ms() + lifetime.as_millis() as u64;
        self.change(|store| Ok(store.open_offer(&secret, expires_ms)?))?;
        Ok((secret, expires_ms))
    }

    /// The offer of a ticket, if it is remembered.
    pub fn offer_of(&self, ticket: TicketId) -> Result<Option<Offer>, Error> {
        Ok(self.store.offer(ticket)?)
    }

    /// Takes an offer for a phone that proved that it knows the ticket.
    pub fn take(&self, ticket: TicketId, phone: NodeId) -> Result<Result<offer::Take, offer::Refusal>, Error> {
        match self.store.take_offer(ticket, phone, now_ms()) {
            Ok(take) => Ok(Ok(take)),
            Err(offer::Error::Refused(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error.into()),
        }
    }

    /// The desk said yes: on return the device is stored.
    pub fn complete(&self, ticket: TicketId, phone: NodeId, name: &str, secret: PairingSecret) -> Result<(), Error> {
        let now = now_ms();
        let name = name.to_owned();
        let device = Device { key: phone, name, secret, paired_at_ms: now, last_seen_ms: Some(now) };
        self.change(|store| Ok(store.complete_pairing(ticket, &device)?))
    }

    /// The desk said no, or takes the ticket back.
    pub fn end_offer(&self, ticket: TicketId, why: Refusal) -> Result<(), Error> {
        self.change(|store| match why {
            Refusal::Declined => Ok(store.decline_offer(ticket)?),
            _ => Ok(store.withdraw_offer(ticket)?),
        })
    }

    /// Publishes again who may connect, for example after an offer expired.
    pub fn announce(&self) -> Result<(), Error> {
        self.change(|_| Ok(()))
    }

    fn change<T>(&self, write: impl FnOnce(&Store) -> Result<T, Error>) -> Result<T, Error> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let result = write(&self.store);
        let now = now_ms();
        let admitted = Admitted {
            paired: self.store.devices()?.iter().map(|d| d.key).collect(),
            revoked: self.store.tombstones()?,
            offer_open: self.store.offers()?.iter().any(|offer| offer.expires_ms + LATECOMERS_MS > now),
        };
        self.admitted.send_if_modified(|current| std::mem::replace(current, admitted.clone()) != admitted);
        result
    }
}

const fn is_open(offer: &Offer) -> bool {
    matches!(offer.state, offer::State::Open | offer::State::Taken { .. })
}
