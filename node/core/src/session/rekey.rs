//! Rekeying: new keys for a living session, from a fresh X25519 exchange inside it, while data flows both ways.
//!
//! ```text
//!            phone                                  host
//!   [Settled]              ◀── Ask ────────  [Settled]              the host may ask; the phone counts for itself
//!   [AwaitRekeyed]         ─── Rekey ─────▶                         fresh key of the phone
//!                          ◀── Rekeyed ────  [AwaitSwitch]          fresh key of the host; both have the new keys
//!                          ◀── Switch ─────                         the host's last frame under its old key
//!   [AwaitSwitch]          ─── Switch ────▶  [Settled]              the phone's last frame under its old key
//!   [Settled]
//! ```
//! Only the phone starts, so two never cross, and a direction switches by itself, so nothing waits: what is on its way
//! under the old keys arrives before the marker. The old root is gone as soon as the new one is made; whoever learns the
//! new keys can't go back, and whoever knew the old ones can't go on without one of the two fresh secrets.
//!
//! This machine says what to send and when to switch; it holds neither [`Sealer`](super::record::Sealer) nor
//! [`Opener`](super::record::Opener). Pure: the clock's `now` and random bytes come in. A message out of place ends it,
//! and with it the path. Specification: `node/PROTOCOL.md` §4.2.

mod message;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::handshake::{agree, ephemeral};
use super::key_schedule::Rekeyed;
use super::record::{Keys, Limits};
use super::transcript::Transcript;
use crate::identity::NodeId;
pub use message::{Epoch, Message, Share};

/// Why a rekey failed. Final for the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message that nobody waits for: replayed, of another epoch, the other role's, or a second start. Peer's fault.
    #[error("a rekey message out of place")]
    Misplaced,
    /// The peer's X25519 key contributes nothing (all-zero result).
    #[error("the peer's rekey is degenerate")]
    Degenerate,
    /// The keys are older than they may be, and no rekey came to an end. Peer's fault, or a path that hardly moves.
    #[error("these keys are too old; resume the session")]
    Overdue,
}

/// Which side this is: the phone starts, the host may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The phone.
    Phone,
    /// The host.
    Host,
}

/// The secret from which the next epoch's keys are made, with one fresh exchange; and who shares it.
pub struct Root {
    role: Role,
    phone: NodeId,
    host: NodeId,
    secret: Zeroizing<[u8; 32]>,
    limits: Limits,
}

impl Root {
    pub(super) const fn new(role: Role, phone: NodeId, host: NodeId, secret: Zeroizing<[u8; 32]>) -> Self {
        Self { role, phone, host, secret, limits: Limits::PROTOCOL }
    }

    pub(super) const fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The next epoch's keys. The root becomes the next one; what it was is gone.
    fn ratchet(&mut self, exchange: &[u8; 32], epoch: u32, shares: &Shares<'_>) -> Rekeyed {
        let hash = Transcript::new("farhelm/1 rekey")
            .number(epoch.into())
            .bytes(&self.phone.to_peer_id().to_bytes())
            .bytes(&self.host.to_peer_id().to_bytes())
            .bytes(shares.phone)
            .bytes(shares.host)
            .finish();
        let next = Rekeyed::new(&self.secret, exchange, &hash);
        self.secret = next.root();
        next
    }
}

/// Both fresh public keys.
struct Shares<'a> {
    phone: &'a [u8; 32],
    host: &'a [u8; 32],
}

/// What goes to the peer.
#[derive(Debug)]
pub enum Outgoing {
    /// A frame like any other.
    Message(Message),
    /// The marker, and the keys behind it, for [`Sealer::seal_last`](super::record::Sealer::seal_last).
    Last(Message, Keys),
}

/// Where a rekey stands; named for what it waits for.
enum State {
    /// Nothing: both directions have the keys of this epoch, as soon as what is in the outbox is sent.
    Settled {
        /// A rekey is due, or the host has asked for one.
        due: bool,
    },
    /// Phone: the host's share.
    AwaitRekeyed(StaticSecret),
    /// The peer's marker, behind which these keys serve; made at this time.
    AwaitSwitch(Keys, Instant),
    /// A message was out of place.
    Failed,
}

/// One side's rekeying, from the handshake to the end of the path.
pub struct Rekey {
    root: Root,
    /// The epoch that the root belongs to.
    epoch: u32,
    /// When the oldest keys in use were made.
    since: Instant,
    state: State,
    /// At most a share and a marker.
    outbox: VecDeque<Outgoing>,
    /// Host: it has asked in this epoch.
    asked: bool,
}

impl Rekey {
    /// Begins at epoch 0, with a session's root.
    pub const fn new(root: Root, now: Instant) -> Self {
        let state = State::Settled { due: false };
        Self { root, epoch: 0, since: now, state, outbox: VecDeque::new(), asked: false }
    }

    /// The epoch of the newest keys.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What is to be sent before anything else, if anything. To be called before each frame, when a message of the peer
    /// was received, and every so often on a silent path. `worn`: so are the sealer's keys.
    pub fn next(&mut self, worn: bool, now: Instant, rng: &mut impl CryptoRng) -> Result<Option<Outgoing>, Error> {
        if let Some(next) = self.outbox.pop_front() {
            return Ok(Some(next));
        }
        let age = now.saturating_duration_since(self.since);
        if self.root.limits.outlived(age) {
            return Err(Error::Overdue);
        }
        if worn || age >= self.root.limits.age {
            self.wear();
        }
        Ok(self.begin(rng).map(Outgoing::Message))
    }

    /// The opener's keys are worn.
    pub const fn wear(&mut self) {
        if let State::Settled { due } = &mut self.state {
            *due = true;
        }
    }

    /// Whether [`next`](Self::next) has something to say.
    pub fn is_pending(&self) -> bool {
        !self.outbox.is_empty() || !self.asked && matches!(self.state, State::Settled { due: true })
    }

    /// What the peer says. Keys that come back are for the opener, at once: this message was the marker.
    pub fn receive(&mut self, message: Message, now: Instant, rng: &mut impl CryptoRng) -> Result<Option<Keys>, Error> {
        // A transition consumes its state; what goes wrong leaves `Failed`.
        let state = std::mem::replace(&mut self.state, State::Failed);
        let mut switch = None;
        self.state = match (message, state, self.root.role) {
            (Message::Ask(at), state, Role::Phone) => self.asked_for(at, state)?,
            (Message::Rekey(share), State::Settled { .. }, Role::Host) => self.answer(&share, now, rng)?,
            (Message::Rekeyed(share), State::AwaitRekeyed(secret), Role::Phone) => self.finish(&share, &secret, now)?,
            (Message::Switch(to), State::AwaitSwitch(keys, made), _) if to.epoch == self.epoch => {
                switch = Some(keys);
                self.settle(made)
            }
            _ => return Err(Error::Misplaced),
        };
        Ok(switch)
    }

    /// Starts, or asks.
    fn begin(&mut self, rng: &mut impl CryptoRng) -> Option<Message> {
        if self.asked || !matches!(self.state, State::Settled { due: true }) {
            return None;
        }
        match self.root.role {
            Role::Host => {
                self.asked = true;
                Some(Message::Ask(Epoch { epoch: self.epoch }))
            }
            Role::Phone => {
                // After 2^32 epochs there is none left; the keys come to their end, and the path with them.
                let epoch = self.epoch.checked_add(1)?;
                let secret = ephemeral(rng);
                let share = Share::new(epoch, &secret);
                self.state = State::AwaitRekeyed(secret);
                Some(Message::Rekey(share))
            }
        }
    }

    /// Phone: the host wants new keys. One that crossed our start has what it wants.
    fn asked_for(&self, at: Epoch, state: State) -> Result<State, Error> {
        match state {
            State::Settled { .. } if at.epoch == self.epoch => Ok(State::Settled { due: true }),
            State::AwaitRekeyed(_) if at.epoch == self.epoch => Ok(state),
            _ => Err(Error::Misplaced),
        }
    }

    /// Host: answers a start, and switches its own direction.
    fn answer(&mut self, share: &Share, now: Instant, rng: &mut impl CryptoRng) -> Result<State, Error> {
        // A marker that isn't sent yet means that the last rekey isn't over: the peer can't have seen it.
        if Some(share.epoch) != self.epoch.checked_add(1) || !self.outbox.is_empty() {
            return Err(Error::Misplaced);
        }
        let secret = ephemeral(rng);
        let ours = Share::new(share.epoch, &secret);
        self.outbox.push_back(Outgoing::Message(Message::Rekeyed(ours)));
        self.derive(&secret, &share.key, &Shares { phone: &share.key, host: &ours.key }, now)
    }

    /// Phone: the exchange is complete; switches its own direction.
    fn finish(&mut self, share: &Share, secret: &StaticSecret, now: Instant) -> Result<State, Error> {
        if Some(share.epoch) != self.epoch.checked_add(1) {
            return Err(Error::Misplaced);
        }
        let ours = PublicKey::from(secret);
        self.derive(secret, &share.key, &Shares { phone: ours.as_bytes(), host: &share.key }, now)
    }

    fn derive(
        &mut self,
        secret: &StaticSecret,
        theirs: &[u8; 32],
        shares: &Shares<'_>,
        now: Instant,
    ) -> Result<State, Error> {
        let exchange = agree(secret, *theirs).map_err(|_| Error::Degenerate)?;
        self.epoch += 1;
        let next = self.root.ratchet(exchange.as_bytes(), self.epoch, shares);
        let [up, down] = [next.phone_to_host(self.epoch), next.host_to_phone(self.epoch)];
        let (sealing, opening) = match self.root.role {
            Role::Phone => (up, down),
            Role::Host => (down, up),
        };
        self.outbox.push_back(Outgoing::Last(Message::Switch(Epoch { epoch: self.epoch }), sealing));
        Ok(State::AwaitSwitch(opening, now))
    }

    const fn settle(&mut self, made: Instant) -> State {
        self.since = made;
        self.asked = false;
        State::Settled { due: false }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({:?})", self.role)
    }
}

impl fmt::Debug for Rekey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rekey({:?}, epoch {})", self.root.role, self.epoch)
    }
}
