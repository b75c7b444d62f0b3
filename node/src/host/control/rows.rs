//! Devices, grants and relays as people and scripts read them, and why something is refused.

use farhelm_core::policy::{Folders, Grant, Right};
use farhelm_store::{Frozen, FrozenBy, offer};
use serde::{Deserialize, Serialize};

use crate::host::folders::Opened;
use crate::host::{Error, devices, settings};

/// A peer id as text.
pub type NodeIdText = String;

/// A device, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Its key.
    pub id: NodeIdText,
    /// Its name, not sanitized.
    pub name: String,
    /// Unix milliseconds.
    pub paired_at_ms: u64,
    /// Unix milliseconds; `None` if it never came back.
    pub last_seen_ms: Option<u64>,
    /// When two programs were last seen to take its place from each other, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contested_ms: Option<u64>,
    /// What it may do.
    #[serde(flatten)]
    pub grant: GrantRow,
}

impl DeviceRow {
    /// A device as it stands at this time, in Unix milliseconds.
    pub fn at(device: &farhelm_store::Device, now_ms: u64) -> Self {
        Self {
            id: device.key.to_string(),
            name: device.name.clone(),
            paired_at_ms: device.paired_at_ms,
            last_seen_ms: device.last_seen_ms,
            contested_ms: None,
            grant: GrantRow::at(&device.grant, now_ms),
        }
    }
}

/// How a host is frozen, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenRow {
    /// Since when, in Unix milliseconds.
    pub at_ms: u64,
    /// Why.
    pub by: FrozenWhy,
}

/// Who froze a host, or what did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenWhy {
    /// A person at the desk.
    Desk,
    /// An owner's phone.
    Device {
        /// Its key.
        id: NodeIdText,
        /// Its name, not sanitized; `None` if it isn't paired any more.
        name: Option<String>,
    },
    /// The host itself, as an older state was put in its place.
    Restored,
}

impl FrozenRow {
    /// How it is frozen, with the name of the device among these.
    pub fn of(frozen: &Frozen, devices: &[DeviceRow]) -> Self {
        let by = match frozen.by {
            FrozenBy::Desk => FrozenWhy::Desk,
            FrozenBy::Restored => FrozenWhy::Restored,
            FrozenBy::Device(key) => {
                let id = key.to_string();
                let name = devices.iter().find(|device| device.id == id).map(|device| device.name.clone());
                FrozenWhy::Device { id, name }
            }
        };
        Self { at_ms: frozen.at_ms, by }
    }
}

/// A grant, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRow {
    /// What the device may do.
    pub right: Right,
    /// Where, not sanitized; `None` for the host's own folders.
    pub folders: Option<Vec<String>>,
    /// Unix milliseconds; `None` for as long as it is paired.
    pub until_ms: Option<u64>,
    /// Whether that time is over.
    pub expired: bool,
}

impl GrantRow {
    /// A grant as it stands at this time, in Unix milliseconds.
    pub fn at(grant: &Grant, now_ms: u64) -> Self {
        let folders = match &grant.folders {
            Folders::Host => None,
            Folders::Only(folders) => Some(folders.clone()),
        };
        let expired = grant.resolve(&[]).expired(now_ms);
        Self { right: grant.right, folders, until_ms: grant.until_ms, expired }
    }
}

/// A folder that was opened for a device to start threads in, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedRow {
    /// The folder, not sanitized.
    pub folder: String,
    /// Whether phones can start threads in it.
    pub startable: bool,
    /// What became of it, not sanitized.
    pub text: String,
}

impl From<Opened> for OpenedRow {
    fn from(opened: Opened) -> Self {
        Self { startable: opened.opening.is_startable(), text: opened.to_string(), folder: opened.folder }
    }
}

/// A relay, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRow {
    /// As remembered.
    pub address: String,
    /// Whether it holds a reservation now; `None` when the host doesn't run.
    pub reserved: Option<bool>,
}

/// Why the host refuses, as far as a program needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// There is nothing of that name.
    NotFound,
    /// What was asked for isn't possible as it was said.
    Unfit,
    /// The host has no address.
    Unreachable,
    /// What it keeps can't be read or written.
    State,
    /// Its settings file has a fault.
    Config,
    /// Its owner has switched that off.
    SwitchedOff,
    /// The host is frozen.
    Frozen,
    /// Anything else.
    Failed,
}

impl From<&Error> for Why {
    fn from(error: &Error) -> Self {
        match error {
            Error::Devices(devices::Error::Who(_)) => Self::NotFound,
            Error::Devices(devices::Error::Store(_) | devices::Error::Offer(offer::Error::Store(_)))
            | Error::Store(_)
            | Error::Unrecorded(_) => Self::State,
            Error::Devices(devices::Error::Name(_)) | Error::Terms(_) | Error::RelayAddress(_) => Self::Unfit,
            Error::Unreachable => Self::Unreachable,
            Error::SwitchedOff => Self::SwitchedOff,
            Error::Frozen => Self::Frozen,
            Error::Settings(error) => match error {
                settings::Error::File { .. } | settings::Error::Read { .. } => Self::Config,
                settings::Error::Unknown { .. } => Self::Unfit,
                settings::Error::Write(_) | settings::Error::Create { .. } => Self::State,
            },
            Error::Devices(devices::Error::Offer(_)) | Error::Overlay(_) => Self::Failed,
        }
    }
}
