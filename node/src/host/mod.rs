//! The host: the program beside Codex that a paired phone steers.
//!
//! | room | holds |
//! |---|---|
//! | [`app_server`] | finding Codex and talking to it |
//! | [`bridge`] | what is open, followed and attached; between Codex and the phones |
//! | [`ledger`] | open approvals and who decided them |
//! | [`sessions`] | incoming streams: handshake, pairing, session |
//! | [`listen`] | where it listens when it isn't told |
//! | [`folders`] | where devices are at home, canonical |
//! | [`devices`] | paired phones and their grants, tickets, revocations, on the store |
//! | [`terms`] | what a person names of a grant, judged |
//! | [`settings`] | what holds here for every phone: the floor and the switches |
//! | [`desk`] | who is asked at a pairing |
//! | [`control`] | the socket through which other commands reach a running host |
//!
//! [`Host`] puts them together; the terminal's face of it is in `cli`.

pub mod app_server;
pub mod bridge;
pub mod control;
pub mod desk;
pub mod devices;
pub mod folders;
pub mod invitation;
pub mod ledger;
pub mod listen;
pub mod sessions;
pub mod settings;
pub mod terms;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::policy::{Folders, Grant, Right, Terms, is_within};
use farhelm_core::wire::envelope::{CodexState, HostState};
use farhelm_overlay::{Admission, Endpoint, Multiaddr, Protocol};
use farhelm_store::{Device, Store};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use app_server::{AppServer, Source, State};
use bridge::{Access, Bridge};
use desk::{Desk, Desks};
use devices::Devices;
use folders::{HostFolders, Keeper, Opened};
use invitation::Invitation;
use sessions::Sessions;
use settings::Settings;

/// What a host is to be.
#[derive(Debug)]
pub struct Config {
    /// Its name, for phones.
    pub name: String,
    /// The folder in which phones start threads.
    pub folder: PathBuf,
    /// Which app-server.
    pub source: Source,
    /// Where Codex is.
    pub codex: app_server::Options,
    /// What holds for every phone.
    pub settings: Settings,
    /// The node: key, listen addresses, transports.
    pub overlay: farhelm_overlay::Config,
}

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

/// A running host. Clones share it.
#[derive(Clone)]
pub struct Host {
    identity: Arc<Identity>,
    name: String,
    store: Arc<Store>,
    devices: Devices,
    desks: Desks,
    settings: Settings,
    endpoint: Endpoint,
    app_server: AppServer,
    bridge: Bridge,
    folders: Keeper,
    about: watch::Receiver<HostState>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Host {
    /// Starts everything: the node with reservations on the remembered relays, the connection to Codex, the bridge.
    /// Returns at once; [`about`](Self::about) says how far it is.
    pub async fn start(config: Config, store: Store) -> Result<Self, Error> {
        let identity = Arc::new(config.overlay.identity.clone());
        let store = Arc::new(store);
        let devices = Devices::open(identity.clone(), store.clone())?;
        // Closed from the first moment to whoever isn't in the book.
        let overlay = farhelm_overlay::Config { admission: Some(admission(&devices)), ..config.overlay };
        let (endpoint, incoming) = Endpoint::start(overlay)?;
        let (app_server, events) = AppServer::start(config.source, config.codex);
        let folder = config.folder.display().to_string();
        let folder = folders::canonical(&folder).unwrap_or(folder);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let state = HostState {
            name: config.name.clone(),
            folder: folder.clone(),
            start_folders: Vec::new(),
            entitlement: Default::default(),
            rules: Default::default(),
            codex: codex_state(&app_server.state().borrow()),
            relays: Vec::new(),
            direct: Vec::new(),
        };
        let (publish, about) = watch::channel(state);
        let folders = Keeper::start(app_server.clone(), &folder, stop.clone());
        let access = Access {
            grants: devices.grants(),
            folders: folders.folders(),
            rules: config.settings.rules(),
            keeper: Some(folders.clone()),
        };
        let bridge = Bridge::start(identity.node_id(), app_server.clone(), events, about.clone(), access, stop.clone());
        let desks = Desks::default();
        let (name, settings) = (config.name, config.settings);
        let host = Self {
            identity,
            name,
            store,
            devices,
            desks,
            settings,
            endpoint,
            app_server,
            bridge,
            folders,
            about,
            stop,
            tasks,
        };
        host.run(incoming, publish);
        host.apply_relays().await?;
        Ok(host)
    }

    fn run(&self, incoming: mpsc::Receiver<farhelm_overlay::Incoming>, publish: watch::Sender<HostState>) {
        let sessions = Sessions {
            identity: self.identity.clone(),
            name: self.name.clone(),
            devices: self.devices.clone(),
            desks: self.desks.clone(),
            bridge: self.bridge.clone(),
            endpoint: self.endpoint.clone(),
        };
        self.tasks.spawn(sessions.run(incoming, self.stop.clone()));
        let (devices, endpoint) = (self.devices.clone(), self.endpoint.clone());
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(admit(devices, endpoint)));
        let (app_server, endpoint) = (self.app_server.state(), self.endpoint.clone());
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(describe(publish, app_server, endpoint)));
        let (settings, codex) = (self.settings.clone(), self.app_server.state());
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(follow_codex(settings, codex)));
    }

    /// The host's key.
    pub fn node_id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// What phones are told of this host, and its changes.
    pub fn about(&self) -> watch::Receiver<HostState> {
        self.about.clone()
    }

    /// How it stands with Codex, in full, and its changes.
    pub fn codex(&self) -> watch::Receiver<State> {
        self.app_server.state()
    }

    /// The folders in which devices are at home and threads can be started, and their changes.
    pub fn folders(&self) -> watch::Receiver<Arc<HostFolders>> {
        self.folders.folders()
    }

    /// What was opened for Codex to work in since the host started: its start folder first.
    pub fn opened(&self) -> watch::Receiver<Vec<Opened>> {
        self.folders.opened()
    }

    /// Opens a folder because a person at the desk wants phones to start threads there: Codex trusts it afterwards, in
    /// its config.toml, unless a person marked it as not to be trusted.
    pub async fn open_folder(&self, folder: &str) -> Opened {
        self.folders.open(folder).await
    }

    /// The node, to look at.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What holds for every phone.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who is paired.
    pub const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Makes an offer and its ticket: of two phones that come by such ones, the first is owner, the second operator. It
    /// belongs to `desk`, which is asked and told. Waits a moment for a relay, so that the ticket can name it.
    pub async fn offer(&self, lifetime: Duration, desk: Desk) -> Result<Invitation, Error> {
        self.offer_on(Terms::default(), lifetime, desk).await
    }

    /// Makes an offer on these terms. They don't stand in the ticket.
    pub async fn offer_on(&self, terms: Terms, lifetime: Duration, desk: Desk) -> Result<Invitation, Error> {
        let terms = terms::settle(terms, devices::now_ms())?;
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
    pub fn regrant(&self, device: NodeId, terms: Terms) -> Result<Option<Device>, Error> {
        let terms = terms::settle(terms, devices::now_ms())?;
        Ok(self.devices.regrant(device, &terms)?)
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

    /// Removes a device: stored, its sessions and connections cut, then returned. `None` if it wasn't paired.
    pub async fn revoke(&self, device: NodeId) -> Result<Option<Device>, Error> {
        let removed = self.devices.revoke(device)?;
        if removed.is_some() {
            self.bridge.cut(device).await;
            self.endpoint.set_admission(Some(admission(&self.devices))).await?;
        }
        Ok(removed)
    }

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

    /// Forgets a relay and lets its reservation go. `false` if it isn't remembered.
    pub async fn remove_relay(&self, address: &str) -> Result<bool, Error> {
        let known = self.store.remove_relay(address)?;
        self.apply_relays().await?;
        Ok(known)
    }

    async fn apply_relays(&self) -> Result<(), Error> {
        let relays = self.store.relays()?.iter().map(|a| relay_address(a)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.endpoint.set_relays(relays).await?)
    }

    /// The threads with a turn under way.
    pub async fn running(&self) -> Vec<(String, String)> {
        self.bridge.running().await
    }

    /// Tells the phones and ends everything that was started here.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await;
        self.endpoint.shutdown().await;
        self.app_server.shutdown().await;
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

fn admission(devices: &Devices) -> Admission {
    let admitted = devices.admitted().borrow().clone();
    Admission {
        relays: HashSet::new(),
        paired: admitted.paired.into_iter().collect(),
        revoked: admitted.revoked.into_iter().collect(),
        offer_open: admitted.offer_open,
    }
}

/// Keeps the overlay's door as the book of devices says.
async fn admit(devices: Devices, endpoint: Endpoint) {
    let mut admitted = devices.admitted();
    while admitted.changed().await.is_ok() {
        if endpoint.set_admission(Some(admission(&devices))).await.is_err() {
            return;
        }
    }
}

/// Keeps what phones are told of this host as it is.
async fn describe(publish: watch::Sender<HostState>, mut codex: watch::Receiver<State>, endpoint: Endpoint) {
    let mut events = endpoint.events();
    loop {
        let state = codex_state(&codex.borrow_and_update());
        let (relays, direct) = invitation::Addresses::of(&endpoint.status()).to_text();
        publish.send_if_modified(|about| {
            let before = about.clone();
            (about.codex, about.relays, about.direct) = (state, relays, direct);
            *about != before
        });
        tokio::select! {
            changed = codex.changed() => if changed.is_err() { return },
            event = events.recv() => if matches!(event, Err(broadcast::error::RecvError::Closed)) { return },
        }
    }
}

/// Reads the switches in Codex's own file whenever there is a connection to it.
async fn follow_codex(settings: Settings, mut codex: watch::Receiver<State>) {
    loop {
        if let State::Ready { codex_home, .. } = &*codex.borrow_and_update() {
            settings.read_codex(codex_home);
        }
        if codex.changed().await.is_err() {
            return;
        }
    }
}

fn codex_state(state: &State) -> CodexState {
    match state {
        State::Ready { version, .. } => CodexState::Ready(version.to_string()),
        State::Connecting { why: None, .. } => CodexState::Away("starting".into()),
        State::Connecting { why: Some(why), .. } | State::Away { why, .. } => CodexState::Away(why.clone()),
    }
}
