//! An owner's phone looks after the host's devices. What takes the desk (to make an owner, to lower or remove one, to thaw)
//! is refused with [`CallError::Policy`].

use farhelm_phone as phone;

use crate::error::CallError;
use crate::host::Host;
use crate::records::Right;

/// A device that is paired with a host.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct PairedDevice {
    /// Its id, which is also its peer id.
    pub id: String,
    /// Its name, as somebody else chose it: show it as text.
    pub name: String,
    /// What it may do, in the host's word: `viewer`, `approver`, `operator` or `owner`.
    pub right: String,
    /// Where; none for the host's own folders.
    pub folders: Option<Vec<String>>,
    /// Until when, in Unix milliseconds by the host's clock; none for as long as it is paired.
    pub until_ms: Option<u64>,
    /// Whether that time is over.
    pub expired: bool,
    /// When it was paired, in Unix milliseconds by the host's clock.
    pub paired_at_ms: u64,
    /// When it last had a session there; none if it never came back.
    pub last_seen_ms: Option<u64>,
    /// Whether it is this phone.
    pub is_this: bool,
}

/// What changes of what a device may do. What is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, uniffi::Record)]
pub struct GrantChange {
    /// What it may do; not owner.
    #[uniffi(default = None)]
    pub right: Option<Right>,
    /// Where.
    #[uniffi(default = None)]
    pub place: Option<GrantPlace>,
    /// Until when.
    #[uniffi(default = None)]
    pub until: Option<GrantEnd>,
}

/// Where a device may look and work.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum GrantPlace {
    /// In the host's own folders.
    HostFolders,
    /// In these, as they are called at the host, and in what lies in them.
    Folders {
        /// Each from the root.
        folders: Vec<String>,
    },
}

/// When a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum GrantEnd {
    /// Not before the device is removed.
    ForGood,
    /// At this time.
    At {
        /// Unix milliseconds by the host's clock.
        ms: u64,
    },
}

#[uniffi::export]
impl Host {
    /// The devices that are paired with the host. Needs owner.
    pub async fn devices(&self) -> Result<Vec<PairedDevice>, CallError> {
        self.call(async move |host| Ok(host.devices().await?.into_iter().map(Into::into).collect())).await
    }

    /// Calls a device by another name; gives it as it is then. Needs owner; not of owners' devices.
    pub async fn rename_device(&self, device: String, name: String) -> Result<PairedDevice, CallError> {
        self.call(async move |host| Ok(host.rename_device(&device, &name).await?.into())).await
    }

    /// Changes what a device may do; gives it as it is then. Needs owner; not of owners' devices, and no folders or time
    /// beyond this phone's own.
    pub async fn grant_device(&self, device: String, change: GrantChange) -> Result<PairedDevice, CallError> {
        let terms = change.into();
        self.call(async move |host| Ok(host.grant_device(&device, &terms).await?.into())).await
    }

    /// Removes a device for good: on return its sessions are cut. Needs owner; not of owners' devices. Ask the person
    /// first.
    pub async fn revoke_device(&self, device: String) -> Result<PairedDevice, CallError> {
        self.call(async move |host| Ok(host.revoke_device(&device).await?.into())).await
    }

    /// Freezes the host: no phone does anything there, this one included, until a person at its desk thaws it. Needs
    /// owner. Ask the person first.
    pub async fn freeze(&self) -> Result<(), CallError> {
        self.call(async move |host| Ok(host.freeze().await?)).await
    }
}

impl From<phone::Device> for PairedDevice {
    fn from(device: phone::Device) -> Self {
        let phone::Device { id, name, right, folders, until_ms, expired, paired_at_ms, last_seen_ms, is_this } = device;
        Self { id, name, right, folders, until_ms, expired, paired_at_ms, last_seen_ms, is_this }
    }
}

impl From<GrantChange> for phone::Terms {
    fn from(GrantChange { right, place, until }: GrantChange) -> Self {
        Self {
            right: right.map(Into::into),
            folders: place.map(|place| match place {
                GrantPlace::HostFolders => phone::Folders::Host,
                GrantPlace::Folders { folders } => phone::Folders::Only(folders),
            }),
            until: until.map(|until| match until {
                GrantEnd::ForGood => phone::Until::ForGood,
                GrantEnd::At { ms } => phone::Until::Ms(ms),
            }),
        }
    }
}
