//! Paired phones, and the tombstones of those that were removed.

use farhelm_core::identity::{NodeId, Signature};
use farhelm_core::pairing::Tombstone;
use farhelm_core::policy::{Grant, Right};
use farhelm_core::session::PairingSecret;
use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::row::{Key, Kind, Rows, Value};
use crate::{Error, Store, epoch};

/// By the phone's key, 32 bytes.
pub(crate) const DEVICES: Kind<DeviceRow> = Kind::new("devices");
/// By the phone's key, 32 bytes.
pub(crate) const TOMBSTONES: Kind<TombstoneRow> = Kind::new("tombstones");

/// A paired phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its key.
    pub key: NodeId,
    /// What it called itself, as the desk saw it when it accepted, or what the desk has called it since.
    pub name: String,
    /// What both sides mix into every later handshake.
    pub secret: PairingSecret,
    /// When the desk accepted, in Unix milliseconds.
    pub paired_at_ms: u64,
    /// When it last had a session, in Unix milliseconds.
    pub last_seen_ms: Option<u64>,
    /// What it may do.
    pub grant: Grant,
}

/// A phone that the desk lets in. What it gets is decided where it is stored: see
/// [`complete_pairing`](Store::complete_pairing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// Its key.
    pub key: NodeId,
    /// What it calls itself, as the desk saw it.
    pub name: String,
    /// What both sides mix into every later handshake.
    pub secret: PairingSecret,
    /// Now, in Unix milliseconds.
    pub now_ms: u64,
    /// What the desk was told that it would get: its right is the most it gets.
    pub shown: Grant,
    /// Its right, if it isn't paired, others are, and nothing was named.
    pub otherwise: Right,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct DeviceRow {
    name: String,
    secret: ByteArray<32>,
    paired_at_ms: u64,
    last_seen_ms: Option<u64>,
    grant: Grant,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct TombstoneRow {
    revoked_at_ms: u64,
    signature: Signature,
}

impl Store {
    /// The paired phones, the first one first.
    pub fn devices(&self) -> Result<Vec<Device>, Error> {
        let mut devices = self.held.read(|transaction| {
            let rows = DEVICES.read(transaction)?.all()?;
            rows.into_iter().map(|(key, row)| device(&key, row)).collect::<Result<Vec<_>, Error>>()
        })?;
        devices.sort_by_key(|device| device.paired_at_ms);
        Ok(devices)
    }

    /// The phone with this key, if it is paired.
    pub fn device(&self, key: NodeId) -> Result<Option<Device>, Error> {
        self.held.read(|transaction| {
            let row = DEVICES.read(transaction)?.get(key.as_bytes())?;
            row.map(|row| device(key.as_bytes(), row)).transpose()
        })
    }

    /// Notes that a phone had a session now. Says whether it is paired.
    pub fn saw_device(&self, key: NodeId, now_ms: u64) -> Result<bool, Error> {
        self.held.write(|transaction| {
            let mut devices = DEVICES.write(transaction)?;
            let Some(row) = devices.get(key.as_bytes())? else { return Ok(false) };
            devices.put(key.as_bytes(), DeviceRow { last_seen_ms: Some(now_ms), ..row })?;
            Ok(true)
        })
    }

    /// Gives a phone another grant in place of what it had. Says whether it is paired.
    pub fn set_grant(&self, key: NodeId, grant: &Grant) -> Result<bool, Error> {
        self.held.write(|transaction| {
            let mut devices = DEVICES.write(transaction)?;
            let Some(row) = devices.get(key.as_bytes())? else { return Ok(false) };
            if row.grant == *grant {
                return Ok(true);
            }
            devices.put(key.as_bytes(), DeviceRow { grant: grant.clone(), ..row })?;
            epoch::raise(transaction)?;
            Ok(true)
        })
    }

    /// Calls a phone by another name. Says whether it is paired.
    pub fn rename_device(&self, key: NodeId, name: &str) -> Result<bool, Error> {
        self.held.write(|transaction| {
            let mut devices = DEVICES.write(transaction)?;
            let Some(row) = devices.get(key.as_bytes())? else { return Ok(false) };
            devices.put(key.as_bytes(), DeviceRow { name: name.to_owned(), ..row })?;
            Ok(true)
        })
    }

    /// Removes a phone and keeps its tombstone, in one step. `None`, and no tombstone, if it isn't paired.
    pub fn revoke(&self, key: NodeId, tombstone: &Tombstone) -> Result<Option<Device>, Error> {
        self.held.write(|transaction| {
            let mut devices = DEVICES.write(transaction)?;
            let Some(row) = devices.get(key.as_bytes())? else { return Ok(None) };
            devices.remove(key.as_bytes())?;
            let Tombstone { revoked_at_ms, signature } = *tombstone;
            TOMBSTONES.write(transaction)?.put(key.as_bytes(), TombstoneRow { revoked_at_ms, signature })?;
            epoch::raise(transaction)?;
            device(key.as_bytes(), row).map(Some)
        })
    }

    /// What a removed phone is shown, until it is paired again.
    pub fn tombstone(&self, key: NodeId) -> Result<Option<Tombstone>, Error> {
        let row = self.held.read(|transaction| TOMBSTONES.read(transaction)?.get(key.as_bytes()))?;
        Ok(row.map(|TombstoneRow { revoked_at_ms, signature }| Tombstone { revoked_at_ms, signature }))
    }

    /// The keys of all removed phones: they may still come for their tombstone.
    pub fn tombstones(&self) -> Result<Vec<NodeId>, Error> {
        self.held.read(|transaction| {
            TOMBSTONES.read(transaction)?.all()?.iter().map(|(bytes, _)| key(bytes, "tombstones")).collect()
        })
    }
}

/// Stores a phone that the desk has accepted; of what was known of its key before, only `grant` may be left.
pub(crate) fn insert(transaction: &WriteTransaction, newcomer: &Newcomer, grant: Grant) -> Result<Device, Error> {
    let Newcomer { key, ref name, ref secret, now_ms, .. } = *newcomer;
    let row = DeviceRow {
        name: name.clone(),
        secret: ByteArray::new(*secret.as_bytes()),
        paired_at_ms: now_ms,
        last_seen_ms: Some(now_ms),
        grant: grant.clone(),
    };
    DEVICES.write(transaction)?.put(key.as_bytes(), row)?;
    TOMBSTONES.write(transaction)?.remove(key.as_bytes())?;
    let (name, secret) = (name.clone(), secret.clone());
    Ok(Device { key, name, secret, paired_at_ms: now_ms, last_seen_ms: Some(now_ms), grant })
}

/// What a phone gets of which nothing was said: the first one is owner, later ones have the right `otherwise`, and one
/// that is paired keeps what it has. The first is one that comes when no phone is paired.
///
/// # Why keep
/// Pairing again mends a phone's connection. It shall neither take an owner's right nor hand a guest more.
pub(crate) fn grant_by_rule(
    devices: &Rows<impl ReadableTable<Key, Value>, DeviceRow>,
    key: NodeId,
    otherwise: Right,
) -> Result<Grant, Error> {
    if let Some(row) = devices.get(key.as_bytes())? {
        return Ok(row.grant);
    }
    Ok(Grant::of(if devices.is_empty()? { Right::Owner } else { otherwise }))
}

fn key(bytes: &[u8], table: &'static str) -> Result<NodeId, Error> {
    let key = bytes.try_into().ok().and_then(|bytes| NodeId::from_bytes(bytes).ok());
    key.ok_or(Error::unreadable(table))
}

fn device(bytes: &[u8], row: DeviceRow) -> Result<Device, Error> {
    let key = key(bytes, "devices")?;
    let secret = PairingSecret::from_bytes(row.secret.into_array());
    let DeviceRow { name, paired_at_ms, last_seen_ms, grant, .. } = row;
    Ok(Device { key, name, secret, paired_at_ms, last_seen_ms, grant })
}
