//! What can go wrong with a host.

use super::audit::Unrecorded;
use super::{devices, settings, terms};

/// Why a host can't start or do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The overlay.
    #[error(transparent)]
    Overlay(#[from] farhelm_overlay::Error),
    /// The book of devices.
    #[error(transparent)]
    Devices(#[from] devices::Error),
    /// Terms that can't be given.
    #[error(transparent)]
    Terms(#[from] terms::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] farhelm_store::Error),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// No phone may connect.
    #[error(
        "remote connections are switched off on this host; switch them on with `farhelm host settings set remote_connections on`"
    )]
    SwitchedOff,
    /// The host is frozen.
    #[error("the host is frozen, so no phone can be paired; thaw it with `farhelm thaw`")]
    Frozen,
    /// What the desk gives can't be recorded.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    /// A relay's address that isn't one.
    #[error(
        "{0:?} is no relay's address; it looks like /ip4/203.0.113.7/tcp/4001/p2p/12D3KooW…, as `farhelm relay` prints it"
    )]
    RelayAddress(String),
    /// No address to put into a ticket.
    #[error(
        "there is no address at which a phone could reach this host; connect it to a network, or give it a relay with `farhelm host relays add`"
    )]
    Unreachable,
}
