//! The host's revocation epoch: how often it has taken something away from a device. See
//! `farhelm_core::pairing::RevocationEpoch`.

use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use crate::row::Kind;
use crate::{Error, Store, frozen};

/// One row, under [`KEY`], from the first time that something was taken away.
pub(crate) const EPOCH: Kind<EpochRow> = Kind::new("epoch");
const KEY: &[u8] = b"epoch";

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct EpochRow {
    number: u64,
    /// The highest one that a device has shown, if that is higher.
    met: u64,
}

impl Store {
    /// The epoch now.
    pub fn epoch(&self) -> Result<u64, Error> {
        self.held.read(|transaction| Ok(EPOCH.read(transaction)?.get(KEY)?.unwrap_or_default().number))
    }

    /// A device has shown an epoch that this host once signed. If it is higher than its own, this is an older store put
    /// back in place: it is frozen in the same step. Says whether it is higher.
    pub fn meet_epoch(&self, shown: u64, now_ms: u64) -> Result<bool, Error> {
        self.held.write(|transaction| {
            let mut rows = EPOCH.write(transaction)?;
            let row = rows.get(KEY)?.unwrap_or_default();
            if shown <= row.number {
                return Ok(false);
            }
            rows.put(KEY, EpochRow { met: row.met.max(shown), ..row })?;
            frozen::set_back(transaction, now_ms)?;
            Ok(true)
        })
    }
}

/// Something was taken away: counts up, beyond whatever was met.
pub(crate) fn raise(transaction: &WriteTransaction) -> Result<(), Error> {
    let mut rows = EPOCH.write(transaction)?;
    let EpochRow { number, met } = rows.get(KEY)?.unwrap_or_default();
    rows.put(KEY, EpochRow { number: number.max(met).saturating_add(1), met: 0 })
}
