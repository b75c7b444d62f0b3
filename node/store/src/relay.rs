//! The relays the host was given, in the order it was given them.

use serde::{Deserialize, Serialize};

use crate::row::Kind;
use crate::{Error, Store};

/// By place in the list, a big-endian number of 8 bytes.
pub(crate) const RELAYS: Kind<RelayRow> = Kind::new("relays");

#[derive(Serialize, Deserialize)]
pub(crate) struct RelayRow {
    address: String,
}

impl Store {
    /// The relays' multiaddrs, the first one first.
    pub fn relays(&self) -> Result<Vec<String>, Error> {
        let rows = self.held.read(|transaction| RELAYS.read(transaction)?.all())?;
        Ok(rows.into_iter().map(|(_, row)| row.address).collect())
    }

    /// Adds a relay at the end. Says whether it is new; the text is compared as it is.
    pub fn add_relay(&self, address: &str) -> Result<bool, Error> {
        self.held.write(|transaction| {
            let mut relays = RELAYS.write(transaction)?;
            let rows = relays.all()?;
            if rows.iter().any(|(_, row)| row.address == address) {
                return Ok(false);
            }
            let place = rows.last().map_or(0, |(key, _)| place(key) + 1);
            relays.put(&place.to_be_bytes(), RelayRow { address: address.to_owned() })?;
            Ok(true)
        })
    }

    /// Forgets a relay. Says whether it was known.
    pub fn remove_relay(&self, address: &str) -> Result<bool, Error> {
        self.held.write(|transaction| {
            let mut relays = RELAYS.write(transaction)?;
            let rows = relays.all()?;
            let Some((key, _)) = rows.iter().find(|(_, row)| row.address == address) else { return Ok(false) };
            relays.remove(key)
        })
    }
}

fn place(key: &[u8]) -> u64 {
    key.iter().fold(0, |place, byte| place << 8 | u64::from(*byte))
}
