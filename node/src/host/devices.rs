//! The host's book of devices, their grants, tickets and revocations, kept on the transactional store and told to the overlay.
//!
//! What is written here is durable before the call returns. After each change who may connect is published anew, so
//! that a revoked phone loses its connections and a stranger gets in only while an offer is open; and so is what each
//! phone may do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::{Refusal, RevocationEpoch, TicketId, TicketSecret, Tombstone};
use farhelm_core::policy::{Grant, Right, Terms};
use farhelm_core::session::PairingSecret;
use farhelm_core::wire::limits;
use farhelm_store::offer::{self, Offer};
use farhelm_store::{Device, Frozen, FrozenBy, Newcomer, Store};
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
    /// No device can be called so.
    #[error("{0}")]
    Name(String),
}

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The book. Clones share it.
#[derive(Debug, Clone)]
pub struct Devices {
    identity: Arc<Identity>,
    store: Arc<Store>,
    admitted: Arc<watch::Sender<Admitted>>,
    grants: Arc<watch::Sender<Grants>>,
    names: Arc<watch::Sender<Names>>,
    frozen: Arc<watch::Sender<Option<Frozen>>>,
    epoch: Arc<watch::Sender<RevocationEpoch>>,
    /// One writer at a time, so that publications are in the order of the writes.
    writing: Arc<Mutex<()>>,
}

/// What each paired device was given.
pub type Grants = Arc<BTreeMap<NodeId, Grant>>;
/// What every paired device is called.
pub type Names = Arc<BTreeMap<NodeId, String>>;

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
        let (admitted, grants, names) = (Arc::default(), Arc::default(), Arc::default());
        let epoch = RevocationEpoch::sign(&identity, store.epoch()?, now_ms());
        let (frozen, epoch, writing) = (Arc::default(), Arc::new(watch::Sender::new(epoch)), Arc::default());
        let devices = Self { identity, store, admitted, grants, names, frozen, epoch, writing };
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

    /// What each paired device was given, and every change of it. A change is published before the call that made it
    /// returns.
    pub fn grants(&self) -> watch::Receiver<Grants> {
        self.grants.subscribe()
    }

    /// What every paired device is called, and every change of it.
    pub fn names(&self) -> watch::Receiver<Names> {
        self.names.subscribe()
    }

    /// Whether the host is frozen, and its changes, published before the call that made one returns.
    pub fn frozen(&self) -> watch::Receiver<Option<Frozen>> {
        self.frozen.subscribe()
    }

    /// The host's epoch, signed, and its changes.
    pub fn epoch(&self) -> watch::Receiver<RevocationEpoch> {
        self.epoch.subscribe()
    }

    /// Whether this host signed an epoch that is higher than its own: then it was set back.
    pub fn is_behind(&self, shown: &RevocationEpoch) -> bool {
        shown.number > self.epoch.borrow().number && shown.verify(self.identity.node_id()).is_ok()
    }

    /// A device has shown an epoch. If this host [is behind](Self::is_behind) it, it is frozen when this returns. Says
    /// whether that is so.
    pub fn meet(&self, shown: &RevocationEpoch) -> Result<bool, Error> {
        if !self.is_behind(shown) {
            return Ok(false);
        }
        self.change(|store| Ok(store.meet_epoch(shown.number, now_ms())?))
    }

    /// Freezes the host: no phone does anything until it is thawed. On return it is stored, and offers are void; cutting
    /// live sessions is the caller's. Says whether it wasn't frozen before.
    pub fn freeze(&self, by: FrozenBy) -> Result<bool, Error> {
        self.change(|store| Ok(store.freeze(Frozen { at_ms: now_ms(), by })?))
    }

    /// Thaws it, because a person at the desk wants it. What it was, if it was frozen.
    pub fn thaw(&self) -> Result<Option<Frozen>, Error> {
        self.change(|store| Ok(store.thaw()?))
    }

    /// What a device was given; `None` if it isn't paired.
    pub fn grant_of(&self, device: NodeId) -> Result<Option<Grant>, Error> {
        Ok(self.store.device(device)?.map(|device| device.grant))
    }

    /// Gives a device this, in place of what it had. Says whether it is paired.
    pub fn set_grant(&self, device: NodeId, grant: Grant) -> Result<bool, Error> {
        Ok(self.regrant(device, &grant.into())?.is_some())
    }

    /// Changes what these terms name of a device's grant, and returns the device as it is then; `None` if it isn't
    /// paired. The terms are stored as they are: see [`terms::settle`](super::terms::settle).
    pub fn regrant(&self, device: NodeId, terms: &Terms) -> Result<Option<Device>, Error> {
        self.change(|store| {
            let Some(before) = store.device(device)? else { return Ok(None) };
            let grant = terms.on(before.grant.clone());
            let is_paired = store.set_grant(device, &grant)?;
            Ok(is_paired.then_some(Device { grant, ..before }))
        })
    }

    /// Calls the device that a person means by `who` by another name, and returns it as it is then.
    pub fn rename(&self, who: &str, name: &str) -> Result<Device, Error> {
        let name = name.trim();
        if name.is_empty() || name.len() > limits::NAME || name.chars().any(char::is_control) {
            let most = limits::NAME;
            return Err(Error::Name(format!("a name is 1 to {most} bytes, without control characters")));
        }
        self.change(|store| {
            let device = self.find(who)?;
            if store.devices()?.iter().any(|other| other.key != device.key && other.name == name) {
                return Err(Error::Name(format!("another device is called {name:?}; choose a name of its own")));
            }
            // Nobody else writes meanwhile, so it is still paired.
            store.rename_device(device.key, name)?;
            Ok(Device { name: name.to_owned(), ..device })
        })
    }

    /// Whether devices are paired and none of them is owner now. The desk may have it so; it should know, as the next
    /// device that is paired becomes owner by itself only where none is paired.
    pub fn is_ownerless(&self) -> Result<bool, Error> {
        let (devices, now) = (self.list()?, now_ms());
        let is_owner = |device: &Device| device.grant.resolve(&[]).may(Right::Owner, now);
        Ok(!devices.is_empty() && !devices.iter().any(is_owner))
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
            (None, _) => Err(self.unknown(who)),
            _ => Err(Error::Who(format!("several devices are called {who:?}; name one by its id"))),
        }
    }

    /// Nobody goes by this name.
    pub fn unknown(&self, who: &str) -> Error {
        Error::Who(format!("no device is called {who:?}; see `farhelm devices`"))
    }

    /// Removes a device for good. On return it is stored; cutting its live session is the caller's.
    pub fn revoke(&self, device: NodeId) -> Result<Option<Device>, Error> {
        let tombstone = Tombstone::sign(&self.identity, device, now_ms());
        self.change(|store| Ok(store.revoke(device, &tombstone)?))
    }

    /// Makes an offer on these terms that may be shown once this returns.
    pub fn offer(&self, lifetime: Duration, terms: &Terms) -> Result<(TicketSecret, u64), Error> {
        let secret = TicketSecret::generate(&mut rand::rng());
        let expires_ms = now_ms() + lifetime.as_millis() as u64;
        self.change(|store| {
            // A host that runs for months forgets old ones, too.
            store.prune_offers(now_ms())?;
            Ok(store.open_offer(&secret, expires_ms, terms)?)
        })?;
        Ok((secret, expires_ms))
    }

    /// The offer of a ticket, if it is remembered.
    pub fn offer_of(&self, ticket: TicketId) -> Result<Option<Offer>, Error> {
        Ok(self.store.offer(ticket)?)
    }

    /// What a phone would get of an offer as things are; the right `otherwise`, where no rule and nobody says another.
    pub fn grant_of_offer(&self, ticket: TicketId, phone: NodeId, otherwise: Right) -> Result<Grant, Error> {
        Ok(self.store.grant_of_offer(ticket, phone, otherwise)?)
    }

    /// Takes an offer for a phone that proved that it knows the ticket.
    pub fn take(&self, ticket: TicketId, phone: NodeId) -> Result<Result<offer::Take, offer::Refusal>, Error> {
        match self.store.take_offer(ticket, phone, now_ms()) {
            Ok(take) => Ok(Ok(take)),
            Err(offer::Error::Refused(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error.into()),
        }
    }

    /// The desk said yes to a phone that would get `shown`: on return the device is stored, with that or with less.
    pub fn complete(
        &self,
        ticket: TicketId,
        phone: NodeId,
        name: &str,
        secret: PairingSecret,
        (shown, otherwise): (Grant, Right),
    ) -> Result<Device, Error> {
        let newcomer = Newcomer { key: phone, name: name.to_owned(), secret, now_ms: now_ms(), shown, otherwise };
        self.change(|store| Ok(store.complete_pairing(ticket, &newcomer)?))
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
        self.publish()?;
        result
    }

    fn publish(&self) -> Result<(), Error> {
        let (devices, now) = (self.store.devices()?, now_ms());
        let admitted = Admitted {
            paired: devices.iter().map(|device| device.key).collect(),
            revoked: self.store.tombstones()?,
            offer_open: self.store.offers()?.iter().any(|offer| offer.expires_ms + LATECOMERS_MS > now),
        };
        let names = devices.iter().map(|device| (device.key, device.name.clone())).collect();
        replace(&self.names, Arc::new(names));
        let grants: Grants = Arc::new(devices.into_iter().map(|device| (device.key, device.grant)).collect());
        replace(&self.frozen, self.store.frozen()?);
        let number = self.store.epoch()?;
        if self.epoch.borrow().number != number {
            self.epoch.send_replace(RevocationEpoch::sign(&self.identity, number, now));
        }
        // First what it may do, then that it may come.
        replace(&self.grants, grants);
        replace(&self.admitted, admitted);
        Ok(())
    }
}

/// Publishes a value that isn't the current one.
fn replace<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|current| {
        let is_new = *current != new;
        if is_new {
            *current = new;
        }
        is_new
    });
}

const fn is_open(offer: &Offer) -> bool {
    matches!(offer.state, offer::State::Open | offer::State::Taken { .. })
}

#[cfg(test)]
mod tests {
    use farhelm_core::policy::Until;

    use super::*;

    struct World {
        _dir: tempfile::TempDir,
        devices: Devices,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(&dir.path().join("store")).unwrap();
            let devices = Devices::open(Arc::new(Identity::from_seed(&[200; 32])), Arc::new(store)).unwrap();
            Self { _dir: dir, devices }
        }

        fn pair(&self, seed: u8, terms: &Terms) -> Device {
            let (ticket, _) = self.devices.offer(Duration::from_secs(60), terms).unwrap();
            let (ticket, phone) = (ticket.ticket_id(), key(seed));
            self.devices.take(ticket, phone).unwrap().unwrap();
            let shown = self.devices.grant_of_offer(ticket, phone, Right::Operator).unwrap();
            let secret = PairingSecret::from_bytes([seed; 32]);
            self.devices.complete(ticket, phone, "phone", secret, (shown, Right::Operator)).unwrap()
        }
    }

    fn key(seed: u8) -> NodeId {
        Identity::from_seed(&[seed; 32]).node_id()
    }

    #[test]
    fn every_change_of_a_grant_is_published_when_it_is_stored() {
        let world = World::new();
        let mut grants = world.devices.grants();
        let first = world.pair(1, &Terms::default());
        assert!(grants.has_changed().unwrap());
        assert_eq!(grants.borrow_and_update().get(&key(1)), Some(&Grant::of(Right::Owner)));

        assert!(world.devices.set_grant(first.key, Grant::of(Right::Viewer)).unwrap());
        assert!(grants.has_changed().unwrap());
        assert_eq!(grants.borrow_and_update().get(&key(1)), Some(&Grant::of(Right::Viewer)));
        assert_eq!(world.devices.grant_of(key(1)).unwrap(), Some(Grant::of(Right::Viewer)));

        // Nothing new is no news.
        assert!(world.devices.set_grant(first.key, Grant::of(Right::Viewer)).unwrap());
        world.devices.saw(first.key).unwrap();
        assert!(!grants.has_changed().unwrap());

        world.devices.revoke(first.key).unwrap();
        assert!(grants.borrow_and_update().is_empty());
        assert!(!world.devices.set_grant(first.key, Grant::of(Right::Owner)).unwrap());
        assert!(!grants.has_changed().unwrap() && world.devices.grant_of(key(1)).unwrap().is_none());
    }

    #[test]
    fn a_device_has_a_name_of_its_own_once_the_desk_gives_it_one() {
        let world = World::new();
        let (first, second) = (world.pair(1, &Terms::default()), world.pair(2, &Terms::default()));
        assert!(matches!(world.devices.find("phone"), Err(Error::Who(_))), "both call themselves so");
        let renamed = world.devices.rename(&second.key.to_string(), " tablet ").unwrap();
        assert_eq!(renamed, Device { name: "tablet".into(), ..second });
        assert_eq!(world.devices.find("tablet").unwrap().key, renamed.key);
        assert_eq!(world.devices.rename("tablet", "tablet").unwrap(), renamed, "its own name is free for it");
        let long = "x".repeat(limits::NAME + 1);
        for bad in ["", "  ", "a\u{1b}b", &long, "phone"] {
            assert!(matches!(world.devices.rename("tablet", bad), Err(Error::Name(_))), "{bad:?}");
        }
        assert!(matches!(world.devices.rename("nobody", "x"), Err(Error::Who(_))));
        assert_eq!(world.devices.find("phone").unwrap(), first);
    }

    #[test]
    fn only_what_the_terms_name_changes() {
        let world = World::new();
        let viewer = Grant { until_ms: Some(u64::MAX), ..Grant::of(Right::Viewer) };
        let device = world.pair(1, &viewer.clone().into());
        let for_good = Terms { until: Some(Until::ForGood), ..Terms::default() };
        let changed = world.devices.regrant(device.key, &for_good).unwrap();
        assert_eq!(changed, Some(Device { grant: Grant::of(Right::Viewer), ..device }));
        assert_eq!(world.devices.regrant(key(2), &for_good).unwrap(), None);
    }

    #[test]
    fn an_owner_whose_time_is_over_is_none() {
        let world = World::new();
        assert!(!world.devices.is_ownerless().unwrap(), "nobody is paired: the next one becomes owner");
        let first = world.pair(1, &Terms::default());
        world.pair(2, &Terms::default());
        assert!(!world.devices.is_ownerless().unwrap());
        let over = Grant { until_ms: Some(1), ..Grant::of(Right::Owner) };
        world.devices.set_grant(first.key, over).unwrap();
        assert!(world.devices.is_ownerless().unwrap());
    }
}
