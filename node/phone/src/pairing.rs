//! Pairing: from the text of a QR to a host that knows this phone.
//!
//! ```text
//!  ticket ─ begin ─▶ Pairing (host proven, words shown) ─ finish ─▶ PairedHost
//!                                        │ stored as pending, then said who we are
//!                                        └─ link lost ─▶ the next connection finishes it
//! ```

use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::pairing::{Refusal, Ticket, ticket};
use farhelm_core::session::{PairingSecret, handshake};
use farhelm_overlay::channel;
use tokio::time::timeout;

use crate::attach::Attached;
use crate::client::Client;
use crate::host::Host;
use crate::network::{Duplex, PATHS, Reached};
use crate::records::{self, Record};

/// Dialling every address of the ticket; the overlay's own limits are 20 s and 10 s.
const REACH: Duration = Duration::from_secs(35);
/// The hellos: each step has its own limit in the channel.
const HELLOS: Duration = Duration::from_secs(25);

/// Why a pairing failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The text is no ticket.
    #[error(transparent)]
    BadTicket(#[from] ticket::Error),
    /// No address of the ticket leads to the host.
    #[error("the host can't be reached; see that it runs and that this phone is online (tried {})", .tried.join("; "))]
    Unreachable {
        /// What was tried and how it failed, a line each.
        tried: Vec<String>,
    },
    /// The desk said no; the ticket is void.
    #[error("declined at the desk; ask for a new code with `farhelm pair`")]
    Declined,
    /// Too late, by the host's clock.
    #[error("this code has expired by the host's clock; ask for a new one with `farhelm pair`")]
    Expired,
    /// Somebody used it before.
    #[error("this code has been used already; if that was not you, look at `farhelm devices` on the host")]
    Spent,
    /// The host can't take it now.
    #[error("the host does not take this phone now; look at the desk")]
    Unavailable,
    /// The host closed without a word: it doesn't know this ticket, or its offer has ended.
    #[error("the host does not know this code (any more); ask for a new one with `farhelm pair`")]
    NotAnswered,
    /// The link broke after this phone had said who it is. It is stored: a later connection finishes it.
    #[error(
        "the connection broke before the desk answered; if the desk said yes, the next connection finishes the pairing"
    )]
    LinkLost,
    /// The desk didn't answer in time. It is stored: a later connection finishes it.
    #[error("nobody answered at the desk; if somebody says yes later, the next connection finishes the pairing")]
    NoAnswerAtDesk,
    /// Whoever answered isn't the host of the ticket.
    #[error("another host answered in its place; do not trust this network, and ask for a new code at the desk")]
    OtherHost,
    /// The two programs don't understand each other.
    #[error("phone and host do not understand each other; update the older of the two")]
    Unsupported,
    /// What this phone remembers.
    #[error(transparent)]
    Records(#[from] records::Error),
}

/// A pairing with a host that has proven itself; nothing was said of this phone yet but its peer id.
pub struct Pairing {
    client: Client,
    record: Record,
    path: farhelm_overlay::Path,
    inner: channel::Pairing<Box<dyn Duplex>>,
}

/// A host that knows this phone, connected.
#[derive(Debug, Clone)]
pub struct PairedHost {
    /// The host.
    pub host: Host,
    /// The name it gave itself; not sanitized for a terminal.
    pub name: String,
}

impl std::fmt::Debug for Pairing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pairing({})", self.record.host)
    }
}

impl Pairing {
    pub(crate) async fn begin(client: Client, ticket: Ticket) -> Result<Self, PairError> {
        let record = Record::of_ticket(&ticket);
        client.admit(ticket.host).await?;
        let us = client.us();
        let mut tries = 0;
        let (path, inner) = loop {
            tries += 1;
            let reach = timeout(REACH, us.network.reach(ticket.host, ticket.addresses_of_host())).await;
            let late = |_| PairError::Unreachable { tried: vec!["no answer in time".into()] };
            let Reached { stream, path } =
                reach.map_err(late)?.map_err(|unreachable| PairError::Unreachable { tried: unreachable.tried })?;
            let hellos = channel::pair(stream, &us.identity, ticket.host, &ticket.secret, &us.device_name);
            match timeout(HELLOS, hellos).await.unwrap_or(Err(channel::Error::Silent)) {
                Ok(inner) => break (path, inner),
                // The host takes a few connections of a stranger; this one may be among those it closed.
                Err(channel::Error::Io(_)) if tries < PATHS => us.network.discard(path.connection).await,
                Err(error) => return Err(before_auth(error)),
            }
        };
        Ok(Self { client, record, path, inner })
    }

    /// The host's key.
    pub const fn host(&self) -> NodeId {
        self.record.host
    }

    /// The host's name as the ticket says; perhaps cut or empty, and not sanitized for a terminal.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// What the desk shows too: a person compares.
    pub fn words(&self) -> [&'static str; 4] {
        self.inner.words()
    }

    /// Says who we are, and waits for the desk for at most `patience`.
    pub async fn finish(self, patience: Duration) -> Result<PairedHost, PairError> {
        let Self { client, record, path, inner } = self;
        let secret = inner.pairing_secret();
        let host = record.host;
        let (record, before) = remember(&client, record, &secret).await?;
        #[cfg(feature = "faults")]
        farhelm_overlay::faults::reach(farhelm_overlay::faults::Point::PendingUnsent).await;
        match inner.finish(patience).await {
            Ok((channel, host_name)) => {
                #[cfg(feature = "faults")]
                farhelm_overlay::faults::reach(farhelm_overlay::faults::Point::PairedUnconfirmed).await;
                let mut record = record;
                record.confirm(&secret);
                record.rename(&host_name);
                let attached = Attached { channel, path, host_name: host_name.clone(), secret, told: None };
                Ok(PairedHost { host: client.adopt(record, attached).await?, name: host_name })
            }
            Err(error) => {
                let error = after_auth(error);
                if !matches!(error, PairError::LinkLost | PairError::NoAnswerAtDesk) {
                    take_back(&client, host, before).await?;
                }
                Err(error)
            }
        }
    }
}

/// Stores the pairing as pending beside a confirmed one, if there is one. Gives also what was known before.
async fn remember(
    client: &Client,
    new: Record,
    secret: &PairingSecret,
) -> Result<(Record, Option<Record>), records::Error> {
    let before = match client.records().get(new.host).await {
        Ok(known) => Some(known),
        Err(records::Error::Unknown(_) | records::Error::Damaged(_)) => None,
        Err(error) => return Err(error),
    };
    let confirmed = before.as_ref().and_then(|known| known.confirmed.clone());
    // A host that was set back is met with what it signed before, also by a phone that pairs again.
    let kept = before.as_ref().map(|known| known.kept.clone()).unwrap_or_default();
    let record = Record { confirmed, pending: Some(secret.clone()), kept, ..new };
    client.records().put(&record).await?;
    Ok((record, before))
}

/// The host said no: an older pairing stays as it was. Also one whose answer was lost: the host may have taken it, and
/// then says no to the ticket's second use only.
async fn take_back(client: &Client, host: NodeId, before: Option<Record>) -> Result<(), records::Error> {
    match before {
        Some(known) => client.records().put(&known).await,
        None => client.records().delete(host).await,
    }
}

fn before_auth(error: channel::Error) -> PairError {
    match error {
        channel::Error::Io(_) | channel::Error::Silent => PairError::NotAnswered,
        error => after_auth(error),
    }
}

fn after_auth(error: channel::Error) -> PairError {
    use handshake::Error as Handshake;
    match error {
        channel::Error::Handshake(Handshake::Refused(refusal)) => match refusal {
            Refusal::Declined => PairError::Declined,
            Refusal::Expired => PairError::Expired,
            Refusal::Spent => PairError::Spent,
            Refusal::Unavailable | Refusal::SwitchedOff | Refusal::Frozen => PairError::Unavailable,
        },
        channel::Error::Handshake(Handshake::OtherHost | Handshake::Unproven) => PairError::OtherHost,
        channel::Error::Silent => PairError::NoAnswerAtDesk,
        channel::Error::Io(_) => PairError::LinkLost,
        _ => PairError::Unsupported,
    }
}
