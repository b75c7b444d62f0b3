//! The relays through which phones find the host: remembered, and asked for reservations.

use farhelm_core::identity::NodeId;
use farhelm_overlay::{Multiaddr, Protocol};

use super::{Error, Host};

impl Host {
    /// The remembered relays.
    pub fn relays(&self) -> Result<Vec<String>, Error> {
        Ok(self.store.relays()?)
    }

    /// Remembers a relay and asks it for a reservation. `false` if it is remembered already.
    pub async fn add_relay(&self, address: &str) -> Result<bool, Error> {
        let relay = relay_address(address)?;
        let new = self.store.add_relay(&relay.to_string())?;
        self.apply_relays().await?;
        Ok(new)
    }

    /// Remembers these and asks them for reservations. A relay with several addresses is to be given with all of them: it
    /// is approached at once, and only over the transports that are known then can a hole be punched.
    pub async fn add_relays(&self, addresses: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), Error> {
        for address in addresses {
            self.store.add_relay(&relay_address(address.as_ref())?.to_string())?;
        }
        self.apply_relays().await
    }

    /// Forgets a relay and lets its reservation go. `false` if it isn't remembered.
    pub async fn remove_relay(&self, address: &str) -> Result<bool, Error> {
        let known = self.store.remove_relay(address)?;
        self.apply_relays().await?;
        Ok(known)
    }

    pub(super) async fn apply_relays(&self) -> Result<(), Error> {
        let relays = self.store.relays()?.iter().map(|a| relay_address(a)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.endpoint.set_relays(relays).await?)
    }
}

/// Checks a relay's address as a person gives it.
pub fn relay_address(text: &str) -> Result<Multiaddr, Error> {
    let wrong = || Error::RelayAddress(text.to_owned());
    let address: Multiaddr = text.trim().parse().map_err(|_| wrong())?;
    let parts: Vec<_> = address.iter().collect();
    let whole = parts.len() >= 2 && !parts.contains(&Protocol::P2pCircuit);
    match parts.last() {
        Some(Protocol::P2p(peer)) if whole && NodeId::from_peer_id(peer).is_ok() => Ok(address),
        _ => Err(wrong()),
    }
}
