//! The end-to-end session between a phone and a host, inside libp2p's authenticated stream.
//!
//! libp2p proves both peer ids too; this session doesn't rely on it. It is what lets a session move between
//! connections, and keeps a faulty transport from becoming a faulty approval.
//!
//! ```text
//!            phone                                   host
//!   phone::pair / resume ── hello_p ──▶ host::Hello::read
//!   AwaitHello           ◀── hello_h ── Invited / Known ::reply        (or a tombstone)
//!   AwaitAnswer          ─── auth ────▶ AwaitAuth
//!   Session              ◀── answer ─── Authenticated ::accept / refuse
//! ```
//! Every state is consumed by its transition and [`Session`] exists only at the end: what isn't authenticated is a
//! type that can't carry a command. Specification: `node/PROTOCOL.md` §3 and §4.

pub mod flow;
pub mod handshake;
mod key_schedule;
pub mod log;
pub mod record;
pub mod rekey;
pub mod transcript;

pub use handshake::{host, phone};
pub use key_schedule::PairingSecret;

use crate::identity::NodeId;

/// A finished handshake: records may flow, to and from exactly this peer.
#[derive(Debug)]
pub struct Session {
    /// Seals what goes to the peer.
    pub sealer: record::Sealer,
    /// Opens what comes from the peer.
    pub opener: record::Opener,
    /// What rekeys of this session start from.
    pub root: rekey::Root,
    /// The peer, proven.
    peer: NodeId,
}

impl Session {
    /// The peer whose key signed this handshake.
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// Sets other limits than the protocol's, on both sides alike: for tests that don't send a gigabyte.
    #[must_use]
    pub const fn with_limits(mut self, limits: record::Limits) -> Self {
        self.sealer.limit(limits);
        self.opener.limit(limits);
        self.root.limit(limits);
        self
    }
}
