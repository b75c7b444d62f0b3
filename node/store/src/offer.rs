//! Offers to pair: what became of each ticket that was shown.
//!
//! ```text
//!            take              complete
//!   Open ───────────▶ Taken ─────────────▶ Used      (the device is stored in the same step)
//!     │                 │
//!     ├─────────────────┴──▶ Declined    the desk said no
//!     └─────────────────┴──▶ Withdrawn   the desk shows another one
//! ```
//!
//! No arrow leads back: a ticket that was taken is never open again, whatever crashes. The phone that took it may take
//! it again (its path broke before the desk had answered), nobody else may. An offer expires by the `now` that the
//! caller passes; what was taken in time may be completed after that, as a person may be slow.
//!
//! Ended offers stay for a day after they expire, so that a second scanner is told the truth, then
//! [`Store::prune_offers`] drops them.

use farhelm_core::identity::NodeId;
use farhelm_core::pairing::{self, TicketId, TicketSecret};
use farhelm_core::policy::{Grant, Right, Terms};
use redb::WriteTransaction;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::held::Failure;
use crate::row::Kind;
use crate::{Device, Newcomer, Store, device, frozen};

/// By ticket id, 8 bytes.
pub(crate) const OFFERS: Kind<OfferRow> = Kind::new("offers");

/// How long after its expiry an offer is remembered.
pub const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

/// Offers remembered at the most. A fresh one each five minutes for a day is 288; beyond this, the first to expire go.
pub const REMEMBERED: usize = 512;

/// An offer to pair, made when its ticket was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What the ticket carries; kept after use, to tell a second scanner from a stranger.
    pub secret: TicketSecret,
    /// Until when it may be taken, in Unix milliseconds.
    pub expires_ms: u64,
    /// What was named of the grant that it gives; the rest comes by the rule when the phone is stored.
    pub terms: Terms,
    /// How far it has come.
    pub state: State,
}

/// How far an offer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nobody has used the ticket.
    Open,
    /// A phone proved that it has the ticket; the desk hasn't answered. This is a pending pairing.
    Taken {
        /// The phone's key.
        by: NodeId,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// That phone is paired.
    Used {
        /// The phone's key.
        by: NodeId,
        /// When it was, in Unix milliseconds.
        at_ms: u64,
    },
    /// The desk said no.
    Declined,
    /// The desk took it back.
    Withdrawn,
}

/// How a ticket was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// For the first time.
    First,
    /// Again, by the phone that had it.
    Again,
}

/// Why a ticket doesn't serve. For the desk; the phone is told [`Refusal::coarse`] only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such offer, or one that was forgotten.
    #[error("no offer has this ticket; show a fresh one with `farhelm pair`")]
    Unknown,
    /// Too late.
    #[error("the offer has expired; show a fresh one with `farhelm pair`")]
    Expired,
    /// A phone took it before.
    #[error("the ticket was used by {by}; if that was not your phone, run: farhelm devices revoke {by}")]
    Spent {
        /// The phone's key.
        by: NodeId,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// The desk said no.
    #[error("the offer was declined at the desk; show a fresh one with `farhelm pair`")]
    Declined,
    /// The desk took it back.
    #[error("the offer was withdrawn; show a fresh one with `farhelm pair`")]
    Withdrawn,
    /// To be completed, it must have been taken.
    #[error("the ticket was not taken by this phone; show a fresh one with `farhelm pair`")]
    NotTaken,
    /// The host is frozen.
    #[error("the host is frozen; thaw it with `farhelm thaw`")]
    Frozen,
    /// An offer with this secret was made before.
    #[error("this ticket's secret was used before; show a fresh one with `farhelm pair`")]
    Repeated,
}

impl Refusal {
    /// What the phone is told.
    pub const fn coarse(&self) -> pairing::Refusal {
        match self {
            Self::Declined => pairing::Refusal::Declined,
            Self::Expired | Self::Withdrawn => pairing::Refusal::Expired,
            Self::Frozen => pairing::Refusal::Frozen,
            Self::Spent { .. } => pairing::Refusal::Spent,
            Self::Unknown | Self::NotTaken | Self::Repeated => pairing::Refusal::Unavailable,
        }
    }
}

/// Why an offer didn't move on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ticket doesn't serve; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

impl Failure for Error {
    fn of_store(&mut self) -> Option<&mut crate::Error> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct OfferRow {
    secret: ByteArray<16>,
    expires_ms: u64,
    terms: Terms,
    state: State,
}

impl Store {
    /// Makes an offer on these terms. Its ticket may be shown once this returns.
    pub fn open_offer(&self, secret: &TicketSecret, expires_ms: u64, terms: &Terms) -> Result<TicketId, Error> {
        let ticket = secret.ticket_id();
        self.held.write(|transaction| {
            if frozen::is_frozen(transaction)? {
                return Err(Error::from(Refusal::Frozen));
            }
            let mut offers = OFFERS.write(transaction)?;
            if offers.get(&*ticket)?.is_some() {
                return Err(Error::from(Refusal::Repeated));
            }
            let mut known = offers.all()?;
            known.sort_by_key(|(_, row)| row.expires_ms);
            let too_many = (known.len() + 1).saturating_sub(REMEMBERED);
            for (forgotten, _) in known.iter().take(too_many) {
                offers.remove(forgotten)?;
            }
            let (secret, terms) = (ByteArray::new(*secret.as_bytes()), terms.clone());
            offers.put(&*ticket, OfferRow { secret, expires_ms, terms, state: State::Open })?;
            Ok(ticket)
        })
    }

    /// The offer with this ticket, if it is remembered.
    pub fn offer(&self, ticket: TicketId) -> Result<Option<Offer>, crate::Error> {
        self.held.read(|transaction| Ok(OFFERS.read(transaction)?.get(&*ticket)?.map(offer)))
    }

    /// Every offer that is remembered, the first to expire first.
    pub fn offers(&self) -> Result<Vec<Offer>, crate::Error> {
        let rows = self.held.read(|transaction| OFFERS.read(transaction)?.all())?;
        let mut offers: Vec<_> = rows.into_iter().map(|(_, row)| offer(row)).collect();
        offers.sort_by_key(|offer| offer.expires_ms);
        Ok(offers)
    }

    /// A phone that proved to have the ticket takes the offer. The first one wins; it alone may take it again.
    pub fn take_offer(&self, ticket: TicketId, by: NodeId, now_ms: u64) -> Result<Take, Error> {
        self.advance(ticket, |_, row| match row.state {
            State::Open | State::Taken { .. } if row.expires_ms <= now_ms => Err(Refusal::Expired.into()),
            State::Open => Ok((State::Taken { by, at_ms: now_ms }, Take::First)),
            State::Taken { by: first, .. } if first == by => Ok((row.state, Take::Again)),
            state => Err(ended(state).into()),
        })
    }

    /// What a phone would get of this offer as things are: to be shown before the desk says yes. Its right is
    /// `otherwise` if it isn't paired, others are, and nothing was named.
    pub fn grant_of_offer(&self, ticket: TicketId, phone: NodeId, otherwise: Right) -> Result<Grant, Error> {
        self.held.read(|transaction| {
            let row = OFFERS.read(transaction)?.get(&*ticket)?.ok_or(Refusal::Unknown)?;
            Ok(row.terms.on(device::grant_by_rule(&device::DEVICES.read(transaction)?, phone, otherwise)?))
        })
    }

    /// The desk accepted: decides what the device gets, stores it, ends the offer and drops an earlier tombstone, in
    /// one step, so that of two first phones only one is owner. The device must be the one that took the offer. A
    /// second time is refused, or a late repetition would undo a revocation.
    pub fn complete_pairing(&self, ticket: TicketId, newcomer: &Newcomer) -> Result<Device, Error> {
        self.advance(ticket, |transaction, row| match row.state {
            State::Taken { by, .. } if by == newcomer.key => {
                let devices = device::DEVICES.write(transaction)?;
                let grant = row.terms.on(device::grant_by_rule(&devices, by, newcomer.otherwise)?);
                drop(devices);
                // Things may have changed while the desk thought; it said yes to no more than this.
                let grant = if grant.right > newcomer.shown.right { newcomer.shown.clone() } else { grant };
                let device = device::insert(transaction, newcomer, grant)?;
                Ok((State::Used { by, at_ms: newcomer.now_ms }, device))
            }
            state => Err(ended(state).into()),
        })
    }

    /// The desk said no: the ticket is void.
    pub fn decline_offer(&self, ticket: TicketId) -> Result<(), Error> {
        self.end_offer(ticket, State::Declined)
    }

    /// The desk takes the ticket back, as it shows another one or stops pairing.
    pub fn withdraw_offer(&self, ticket: TicketId) -> Result<(), Error> {
        self.end_offer(ticket, State::Withdrawn)
    }

    /// Forgets offers that expired more than [`REMEMBERED_MS`] ago. Says how many.
    pub fn prune_offers(&self, now_ms: u64) -> Result<usize, crate::Error> {
        self.held.write(|transaction| {
            let mut offers = OFFERS.write(transaction)?;
            let old = |row: &OfferRow| row.expires_ms.saturating_add(REMEMBERED_MS) < now_ms;
            let forgotten: Vec<_> = offers.all()?.into_iter().filter(|(_, row)| old(row)).collect();
            for (ticket, _) in &forgotten {
                offers.remove(ticket)?;
            }
            Ok(forgotten.len())
        })
    }

    fn end_offer(&self, ticket: TicketId, end: State) -> Result<(), Error> {
        self.advance(ticket, |_, row| match row.state {
            State::Open | State::Taken { .. } => Ok((end, ())),
            state if state == end => Ok((end, ())),
            state => Err(ended(state).into()),
        })
    }

    /// Reads an offer and moves it on, in one transaction: of two that race, the second sees what the first did.
    fn advance<T>(
        &self,
        ticket: TicketId,
        step: impl FnOnce(&WriteTransaction, &OfferRow) -> Result<(State, T), Error>,
    ) -> Result<T, Error> {
        self.held.write(|transaction| {
            let mut offers = OFFERS.write(transaction)?;
            let row = offers.get(&*ticket)?.ok_or(Refusal::Unknown)?;
            let (state, done) = step(transaction, &row)?;
            offers.put(&*ticket, OfferRow { state, ..row })?;
            Ok(done)
        })
    }
}

/// Takes back every offer that could still be answered.
pub(crate) fn withdraw_all(transaction: &WriteTransaction) -> Result<(), crate::Error> {
    let mut offers = OFFERS.write(transaction)?;
    for (ticket, row) in offers.all()? {
        if matches!(row.state, State::Open | State::Taken { .. }) {
            offers.put(&ticket, OfferRow { state: State::Withdrawn, ..row })?;
        }
    }
    Ok(())
}

/// Why an offer in this state doesn't serve.
const fn ended(state: State) -> Refusal {
    match state {
        State::Taken { by, at_ms } | State::Used { by, at_ms } => Refusal::Spent { by, at_ms },
        State::Declined => Refusal::Declined,
        State::Withdrawn => Refusal::Withdrawn,
        State::Open => Refusal::NotTaken,
    }
}

fn offer(row: OfferRow) -> Offer {
    let secret = TicketSecret::from_bytes(row.secret.into_array());
    Offer { secret, expires_ms: row.expires_ms, terms: row.terms, state: row.state }
}
