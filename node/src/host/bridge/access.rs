//! What each device may do here and now: its grant, the host's folders and the host's rules, each as it is at the time.

use std::sync::Arc;

use farhelm_core::identity::NodeId;
use farhelm_core::pairing::Refusal;
use farhelm_core::policy::{Conditions, Defaults, Entitlement, Right, Rules, Standard};
use farhelm_core::wire::envelope::{CloseReason, HostState};
use farhelm_store::Frozen;
use tokio::sync::watch;

use crate::host::devices::{Grants, Names};
use crate::host::folders::{HostFolders, Keeper};

/// Everything that decides what a device may do. Clones share it; what changes counts from then on.
#[derive(Debug, Clone)]
pub struct Access {
    /// What was given to each paired device.
    pub grants: watch::Receiver<Grants>,
    /// The host's folders.
    pub folders: watch::Receiver<Arc<HostFolders>>,
    /// What holds for every phone.
    pub rules: watch::Receiver<Rules>,
    /// Whether nothing is done for phones until a person at the desk says so.
    pub frozen: watch::Receiver<Option<Frozen>>,
    /// Where devices are at home that have no folders of their own.
    pub standard: watch::Receiver<Standard>,
    /// What is asked beyond a right.
    pub conditions: watch::Receiver<Conditions>,
    /// What the devices are called.
    pub names: watch::Receiver<Names>,
    /// Who publishes the folders and can be asked for them anew; without it they are what was published last.
    pub keeper: Option<Keeper>,
}

/// Why no phone may do anything, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// The host's owner has switched remote connections off.
    SwitchedOff,
    /// The host is frozen.
    Frozen,
}

impl From<Shut> for CloseReason {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::SwitchedOff => Self::SwitchedOff,
            Shut::Frozen => Self::Frozen,
        }
    }
}

impl From<Shut> for Refusal {
    fn from(shut: Shut) -> Self {
        match shut {
            Shut::SwitchedOff => Self::SwitchedOff,
            Shut::Frozen => Self::Frozen,
        }
    }
}

impl Access {
    /// What a device may do now, or why its session ends.
    pub(super) fn entitlement(&self, device: NodeId, now_ms: u64) -> Result<Entitlement, CloseReason> {
        let grant = self.grants.borrow().get(&device).cloned().ok_or(CloseReason::Revoked)?;
        let entitlement = grant.resolve(&self.home());
        if let Some(shut) = self.shut() {
            return Err(shut.into());
        }
        if entitlement.expired(now_ms) { Err(CloseReason::Expired) } else { Ok(entitlement) }
    }

    /// Why no phone may do anything now.
    pub fn shut(&self) -> Option<Shut> {
        let is_off = !self.rules.borrow().remote_connections;
        self.frozen.borrow().map(|_| Shut::Frozen).or(is_off.then_some(Shut::SwitchedOff))
    }

    /// Where a device without folders of its own is at home.
    fn home(&self) -> Vec<String> {
        self.standard.borrow().folders.clone().unwrap_or_else(|| self.folders.borrow().own.clone())
    }

    /// What a device is called; nothing, if it isn't known (any more).
    pub(super) fn name(&self, device: NodeId) -> String {
        self.names.borrow().get(&device).cloned().unwrap_or_default()
    }

    /// The devices that may do what takes this right with what lies in a canonical folder, attached or not.
    pub(super) fn devices_at(&self, place: &str, right: Right, now_ms: u64) -> Vec<NodeId> {
        let devices: Vec<_> = self.grants.borrow().keys().copied().collect();
        let may = |device: &NodeId| {
            self.entitlement(*device, now_ms).is_ok_and(|its| its.may(right, now_ms) && its.covers(place))
        };
        devices.into_iter().filter(may).collect()
    }

    /// Has the host's folders looked at again: what Codex trusts may have been changed at the desk a moment ago, and a
    /// thread must not start where that would be written anew.
    pub(super) async fn look_again(&self) {
        if let Some(keeper) = &self.keeper {
            // Without an answer there is no Codex to start a thread either.
            let _ = keeper.current().await;
        }
    }

    /// Has them looked at again soon: Codex may have marked a folder by itself, as it does at a first start there.
    pub(super) fn hint(&self) {
        self.keeper.iter().for_each(Keeper::hint);
    }

    /// The folders in which it may start threads, the one it gets if it names none first.
    pub(super) fn start_folders(&self, entitlement: &Entitlement) -> Vec<String> {
        if entitlement.right < Right::Operator {
            return Vec::new();
        }
        let startable = &self.folders.borrow().startable;
        startable.iter().filter(|folder| entitlement.covers(folder)).cloned().collect()
    }

    /// What the host puts into its requests. Without a folder to start in, that is empty.
    pub(super) fn defaults(&self, entitlement: &Entitlement) -> Defaults {
        let folder = self.start_folders(entitlement).into_iter().next().unwrap_or_default();
        Defaults::of(&self.rules.borrow(), folder)
    }

    /// The same for what the host does on its own account, which starts nothing.
    pub(super) fn defaults_of_host(&self) -> Defaults {
        Defaults::of(&self.rules.borrow(), String::new())
    }

    /// The host as this device is told of it. The start folder of the host is named only if it may look into it.
    pub(super) fn about(&self, host: &HostState, entitlement: Entitlement) -> HostState {
        let start_folders = self.start_folders(&entitlement);
        let first = start_folders.first().cloned();
        let own = || Some(host.folder.clone()).filter(|folder| entitlement.covers(folder));
        let folder = first.or_else(own).unwrap_or_default();
        HostState { folder, start_folders, rules: self.rules.borrow().clone(), entitlement, ..host.clone() }
    }

    /// Waits for a change. It stays one until [`heed`](Self::heed).
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = changed(&mut self.grants) => self.grants.mark_changed(),
            () = changed(&mut self.folders) => self.folders.mark_changed(),
            () = changed(&mut self.rules) => self.rules.mark_changed(),
            () = changed(&mut self.frozen) => self.frozen.mark_changed(),
            () = changed(&mut self.standard) => self.standard.mark_changed(),
            () = changed(&mut self.conditions) => self.conditions.mark_changed(),
        }
    }

    /// Whether the conditions changed since the last call.
    pub(super) fn heed_conditions(&mut self) -> bool {
        heed(&mut self.conditions)
    }

    /// Whether something else changed since the last call.
    pub(super) fn heed(&mut self) -> bool {
        let Self { grants, folders, rules, frozen, standard, .. } = self;
        heed(grants) | heed(folders) | heed(rules) | heed(frozen) | heed(standard)
    }
}

/// Waits for a new value; for ever, if there will be none.
async fn changed<T>(of: &mut watch::Receiver<T>) {
    if of.changed().await.is_err() {
        std::future::pending().await
    }
}

fn heed<T>(of: &mut watch::Receiver<T>) -> bool {
    let has_changed = of.has_changed().unwrap_or(false);
    if has_changed {
        of.mark_unchanged();
    }
    has_changed
}
