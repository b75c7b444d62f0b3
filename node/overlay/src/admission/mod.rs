//! Who may connect, and what a stranger gets to see (`node/PROTOCOL.md` §8).
//!
//! | who | lets in | gets |
//! |---|---|---|
//! | relay, paired node, whoever we dialled ourselves | always | everything |
//! | unpaired, while an offer is open | three connections (circuit, TCP, QUIC, dialled at once), closed after [`Limits::stranger`] unless vouched for | the session protocol |
//! | unpaired and vouched for (its gate verified) | six connections, till the offer ends | the session protocol |
//! | revoked, while no offer is open (else as unpaired, to pair again) | one visit a minute (a few connections, as a phone dials its paths at once), closed after [`Limits::stranger`] | the session protocol, to fetch its tombstone |
//! | anybody else | never | a finished Noise or TLS handshake, then nothing |
//!
//! "The session protocol" means: no identify (addresses, versions, protocols), no DCUtR, no relay client. Ping stays,
//! as it says no more than the connection itself and notices dead ones. Who becomes paired while connected gets the
//! rest on the same connection, so that hole punching starts without a new one.
//!
//! `gate` decides, without I/O or clock; `door` is its hand on the swarm.

mod door;
mod gate;

use std::collections::HashSet;
use std::time::Duration;

use farhelm_core::identity::NodeId;

pub(crate) use door::{Details, DetailsEvent, Door};

/// The peers a node knows, given from above; whoever isn't in here is a stranger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// Relays, beside those given to `Endpoint::set_relays`.
    pub relays: HashSet<NodeId>,
    /// A host's phones, or a phone's hosts.
    pub paired: HashSet<NodeId>,
    /// Devices that were removed and may fetch their tombstone. Counts before `paired`.
    pub revoked: HashSet<NodeId>,
    /// Whether a ticket is out, so that strangers may try to pair.
    pub offer_open: bool,
}

/// How much room strangers get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a stranger stays without being vouched for, and a revoked device to fetch its tombstone.
    pub stranger: Duration,
    /// Strangers at a time in all.
    pub strangers: usize,
    /// Strangers at a time from one IPv4 address, IPv6 /64, or relay.
    pub strangers_per_source: usize,
    /// How long until a revoked device may come again.
    pub tombstone_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stranger: Duration::from_secs(10),
            strangers: 8,
            strangers_per_source: 4,
            tombstone_interval: Duration::from_secs(60),
        }
    }
}

/// Why a connection was refused. The peer sees it close, nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its key isn't Ed25519, so it is no Farhelm node.
    #[error("the peer's key is not Ed25519")]
    ForeignKey,
    /// Neither known nor is an offer open.
    #[error("the peer is unknown and no offer is open")]
    Unknown,
    /// It has its share of connections already.
    #[error("the peer is not paired and has its share of connections already")]
    Share,
    /// Too many strangers are connected.
    #[error("too many strangers at a time")]
    Strangers,
    /// Too many strangers are connected from there.
    #[error("too many strangers at a time from one place")]
    Source,
    /// A peer wants to be dialled where nobody is to be.
    #[error("the peer names an address that is not to be dialled from here")]
    Address,
    /// A revoked device within a minute of its last visit.
    #[error("the device was revoked and has been here a moment ago")]
    Revoked,
}
