//! Who may come in: offers, what devices may do, revocations, and the overlay's door kept as the book of devices says.

use std::collections::HashSet;
use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::policy::{Folders, Grant, Right, Terms, is_within};
use farhelm_overlay::{Admission, Endpoint};
use farhelm_store::{Device, Frozen, FrozenBy};

use super::audit::{of_the_desk, of_the_desk_to};
use super::bridge::Bridge;
use super::desk::Desk;
use super::devices::{self, Devices};
use super::folders::{self, Opened};
use super::invitation::{self, Invitation};
use super::logs::Logs;
use super::settings::{Setting, Value};
use super::{Error, Host, terms};

impl Host {
    /// Makes an offer and its ticket: of two phones that come by such ones, the first is owner, the second operator. It
    /// belongs to `desk`, which is asked and told. Waits a moment for a relay, so that the ticket can name it.
    pub async fn offer(&self, lifetime: Duration, desk: Desk) -> Result<Invitation, Error> {
        self.offer_on(Terms::default(), lifetime, desk).await
    }

    /// Makes an offer on these terms. They don't stand in the ticket.
    pub async fn offer_on(&self, terms: Terms, lifetime: Duration, desk: Desk) -> Result<Invitation, Error> {
        let terms = terms::settle(terms, devices::now_ms())?;
        self.settings.reload()?;
        if !self.settings.rules().borrow().remote_connections {
            return Err(Error::SwitchedOff);
        }
        if self.devices.frozen().borrow().is_some() {
            return Err(Error::Frozen);
        }
        invitation::wait_for_address(&self.endpoint).await;
        let addresses = invitation::Addresses::of(&self.endpoint.status());
        if addresses.is_empty() {
            return Err(Error::Unreachable);
        }
        let (secret, expires_ms) = self.devices.offer(lifetime, &terms)?;
        let ticket = secret.ticket_id();
        self.desks.put(ticket, desk);
        self.end_at_expiry(ticket, lifetime);
        // Before the ticket is shown: its phone may be quicker than the task that follows the book.
        self.endpoint.set_admission(Some(admission(&self.devices))).await?;
        Ok(Invitation::new(addresses.ticket(self.node_id(), secret, expires_ms, &self.name)))
    }

    /// Takes an offer back.
    pub fn withdraw(&self, invitation: &Invitation) -> Result<(), Error> {
        let ticket = invitation.ticket().secret.ticket_id();
        match self.devices.end_offer(ticket, farhelm_core::pairing::Refusal::Expired) {
            Ok(()) | Err(devices::Error::Offer(farhelm_store::offer::Error::Refused(_))) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn end_at_expiry(&self, ticket: farhelm_core::pairing::TicketId, lifetime: Duration) {
        let (devices, stop) = (self.devices.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            // A little later, so that the clock has passed it when it is looked at.
            let expired = tokio::time::sleep(lifetime + devices::LATECOMERS + Duration::from_millis(50));
            if stop.run_until_cancelled(expired).await.is_some()
                && let Err(error) = devices.announce()
            {
                tracing::error!(%error, ?ticket, "can't close the door behind an expired offer");
            }
        });
    }

    /// Changes what these terms name of a device's grant: stored and published, then returned. `None` if it isn't
    /// paired.
    pub async fn regrant(&self, device: NodeId, terms: Terms) -> Result<Option<Device>, Error> {
        let terms = terms::settle(terms, devices::now_ms())?;
        let Some(before) = self.devices.list()?.into_iter().find(|known| known.key == device) else { return Ok(None) };
        let (name, grant) = (before.name, terms.on(before.grant));
        let asked = self.recorder.gives(of_the_desk("grant", Some((device, &name, grant.right)))).await?;
        let changed = self.devices.regrant(device, &terms);
        self.recorder.gave(asked, matches!(changed, Ok(Some(_)))).await;
        Ok(changed?)
    }

    /// Calls the device that a person means by `who` by another name, and returns it as it is then.
    pub async fn rename(&self, who: &str, name: &str) -> Result<Device, Error> {
        let device = self.devices.rename(who, name)?;
        self.recorder.took(of_the_desk_to("rename", &device)).await;
        Ok(device)
    }

    /// Changes a setting, or takes it out of the file; whether that is new. The value must be of the setting's kind.
    pub async fn set(&self, setting: Setting, value: Option<&Value>) -> Result<bool, Error> {
        let to = value.map_or("unset".to_owned(), ToString::to_string);
        let asked = self.recorder.gives(of_the_desk(&format!("setting {} {to}", setting.name()), None)).await?;
        let changed = self.settings.set(setting, value);
        self.recorder.gave(asked, changed.is_ok()).await;
        Ok(changed?)
    }

    /// Opens the folders that a device was given to start threads in. One that holds the whole home folder isn't: to
    /// name it says where a device may look, not that Codex shall trust whatever lies there.
    pub async fn open_for(&self, grant: &Grant) -> Vec<Opened> {
        let Folders::Only(folders) = &grant.folders else { return Vec::new() };
        let home = folders::home();
        let is_wide = |folder: &str| folder == "/" || home.as_deref().is_some_and(|home| is_within(home, folder));
        let mut opened = Vec::new();
        if grant.right >= Right::Operator {
            for folder in folders.iter().filter(|folder| !is_wide(folder)) {
                opened.push(self.open_folder(folder).await);
            }
        }
        opened
    }

    /// Freezes the host: stored, every session told to end, then returned. Says whether it wasn't frozen before. What
    /// Codex runs goes on.
    pub async fn freeze(&self) -> Result<bool, Error> {
        let is_new = self.door.freeze(FrozenBy::Desk).await?;
        self.recorder.took(of_the_desk("freeze", None)).await;
        Ok(is_new)
    }

    /// Thaws it, because a person at the desk wants it. What it was, if it was frozen.
    pub async fn thaw(&self) -> Result<Option<Frozen>, Error> {
        let asked = self.recorder.gives(of_the_desk("thaw", None)).await?;
        let was = self.devices.thaw();
        self.recorder.gave(asked, was.is_ok()).await;
        Ok(was?)
    }

    /// Removes a device: stored, its sessions and connections cut, then returned. `None` if it wasn't paired.
    pub async fn revoke(&self, device: NodeId) -> Result<Option<Device>, Error> {
        let removed = self.door.revoke(device).await?;
        if let Some(device) = &removed {
            self.recorder.took(of_the_desk_to("revoke", device)).await;
        }
        Ok(removed)
    }
}

/// What ends with a word of an owner, at the desk or from afar. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) devices: Devices,
    pub(super) bridge: Bridge,
    pub(super) logs: Logs,
    pub(super) endpoint: Endpoint,
}

impl Door {
    pub(super) const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// See [`Host::freeze`].
    pub(super) async fn freeze(&self, by: FrozenBy) -> Result<bool, Error> {
        let is_new = self.devices.freeze(by)?;
        self.bridge.enforced().await;
        self.endpoint.set_admission(Some(admission(&self.devices))).await?;
        Ok(is_new)
    }

    /// See [`Host::revoke`].
    pub(super) async fn revoke(&self, device: NodeId) -> Result<Option<Device>, Error> {
        let removed = self.devices.revoke(device)?;
        if removed.is_some() {
            self.bridge.cut(device).await;
            // What it asked and wasn't done yet dies with it, and what waited for it.
            self.logs.forget(device).await;
            self.endpoint.set_admission(Some(admission(&self.devices))).await?;
        }
        Ok(removed)
    }
}

/// Whom the overlay lets in, by the book.
pub(super) fn admission(devices: &Devices) -> Admission {
    let admitted = devices.admitted().borrow().clone();
    Admission {
        relays: HashSet::new(),
        paired: admitted.paired.into_iter().collect(),
        revoked: admitted.revoked.into_iter().collect(),
        offer_open: admitted.offer_open,
    }
}

/// Keeps the overlay's door as the book of devices says.
pub(super) async fn admit(devices: Devices, endpoint: Endpoint) {
    let mut admitted = devices.admitted();
    while admitted.changed().await.is_ok() {
        if endpoint.set_admission(Some(admission(&devices))).await.is_err() {
            return;
        }
    }
}
