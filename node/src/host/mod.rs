//! The host: the program beside Codex that a paired phone steers.
//!
//! | room | holds |
//! |---|---|
//! | [`acts`] | what devices asked to be done, each carried out once |
//! | [`app_server`] | finding Codex and talking to it |
//! | [`audit`] | records what devices asked to be done, and what came of it |
//! | [`bridge`] | what is open, followed and attached; between Codex and the phones |
//! | [`ledger`] | open approvals and who decided them |
//! | [`sessions`] | incoming streams: handshake, pairing, session |
//! | [`logs`] | what waits for each device, and what each asked to be done |
//! | [`listen`] | where it listens when it isn't told |
//! | [`folders`] | where devices are at home, canonical |
//! | [`devices`] | paired phones and their grants, tickets, revocations, on the store |
//! | [`terms`] | what a person names of a grant, judged |
//! | [`settings`] | what holds here for every phone: the floor and the switches |
//! | `door` | who may come in: offers, grants, revocations |
//! | [`remote`] | an owner's phone looks after the devices |
//! | `relays` | through which relays it is found |
//! | `mapping` | has the router lead ports to it |
//! | `about` | what phones are told of it |
//! | [`awake`] | keeps the machine awake while a turn runs |
//! | [`vouched`] | what it signs for phones to keep |
//! | [`desk`] | who is asked at a pairing |
//! | [`control`] | the socket through which other commands reach a running host |
//!
//! [`Host`] puts them together; the terminal's face of it is in `cli`.

mod about;
pub mod acts;
pub mod app_server;
pub mod audit;
pub mod awake;
mod backoff;
pub mod bridge;
mod callback;
pub mod control;
pub mod desk;
pub mod devices;
mod door;
mod error;
pub mod folders;
pub mod invitation;
pub mod ledger;
pub mod listen;
pub mod logs;
mod mapping;
mod relays;
pub mod remote;
pub mod sessions;
pub mod settings;
pub mod terms;
pub mod vouched;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::wire::envelope::HostState;
use farhelm_overlay::{Endpoint, Multiaddr};
use farhelm_store::{Audit, Journal, Store};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use acts::Acts;
use app_server::{AppServer, Source, State};
use audit::Recorder;
use awake::Awake;
use bridge::{Access, Bridge};
use callback::Callback;
use desk::Desks;
use devices::Devices;
use door::Door;
use folders::{HostFolders, Keeper, Opened};
use logs::Logs;
use remote::Remote;
use sessions::Sessions;
use settings::{Setting, Settings};
use vouched::Vouched;

use crate::nearby;

pub use error::Error;
pub use relays::relay_address;

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

/// A running host. Clones share it.
#[derive(Clone)]
pub struct Host {
    identity: Arc<Identity>,
    name: String,
    store: Arc<Store>,
    devices: Devices,
    desks: Desks,
    settings: Settings,
    awake: watch::Receiver<Awake>,
    endpoint: Endpoint,
    app_server: AppServer,
    bridge: Bridge,
    recorder: Recorder,
    door: Door,
    remote: Remote,
    logs: Logs,
    folders: Keeper,
    about: watch::Receiver<HostState>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Host {
    /// Starts everything: the node with reservations on the remembered relays, the connection to Codex, the bridge.
    /// Returns at once; [`about`](Self::about) says how far it is.
    pub async fn start(config: Config, store: Store, journal: Journal) -> Result<Self, Error> {
        Self::start_with(config, store, journal, None).await
    }

    /// The same, with a chain in which it is recorded what devices ask to be done.
    pub async fn start_recorded(config: Config, store: Store, journal: Journal, audit: Audit) -> Result<Self, Error> {
        Self::start_with(config, store, journal, Some(audit)).await
    }

    async fn start_with(config: Config, store: Store, journal: Journal, audit: Option<Audit>) -> Result<Self, Error> {
        let identity = Arc::new(config.overlay.identity.clone());
        // Before any phone can come. Once there is a connection, it is sure where Codex's home is.
        if let Some(home) = app_server::codex_home(config.codex.codex_home.as_deref()) {
            config.settings.read_codex(&home);
        }
        let store = Arc::new(store);
        let devices = Devices::open(identity.clone(), store.clone())?;
        // Closed from the first moment to whoever isn't in the book.
        let overlay = farhelm_overlay::Config { admission: Some(door::admission(&devices)), ..config.overlay };
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
            codex: about::codex_state(&app_server.state().borrow()),
            relays: Vec::new(),
            direct: Vec::new(),
        };
        let (publish, about) = watch::channel(state);
        let folders = Keeper::start(app_server.clone(), &folder, stop.clone());
        let access = Access {
            grants: devices.grants(),
            folders: folders.folders(),
            rules: config.settings.rules(),
            frozen: devices.frozen(),
            standard: config.settings.standard(),
            conditions: config.settings.conditions(),
            names: devices.names(),
            keeper: Some(folders.clone()),
        };
        let paired = |device| matches!(devices.grant_of(device), Ok(Some(_)));
        let (logs, work) = Logs::start(Arc::new(journal), paired, stop.clone())?;
        let (id, seen) = (identity.node_id(), about.clone());
        let bridge = Bridge::start(id, app_server.clone(), events, seen, access.clone(), logs.clone(), stop.clone());
        let recorder = audit.map(|audit| Recorder::new(audit, store.clone())).unwrap_or_default();
        let vouched = Vouched::new(devices.epoch(), recorder.head());
        let door =
            Door { devices: devices.clone(), bridge: bridge.clone(), logs: logs.clone(), endpoint: endpoint.clone() };
        let remote = Remote::new(bridge.clone(), door.clone());
        let (to_remote, to_bridge, to_logs) = (Some(remote.clone()), bridge.clone(), logs.clone());
        let to_recorder = recorder.clone();
        let acts = Acts { bridge: to_bridge, remote: to_remote, logs: to_logs, recorder: to_recorder };
        tasks.spawn(stop.clone().run_until_cancelled_owned(acts.run(work)));
        let desks = Desks::default();
        let (name, settings) = (config.name, config.settings);
        let (say_awake, awake) = watch::channel(Awake::Idle);
        let awake_task = awake::run(settings.rules(), bridge.working(), say_awake);
        tasks.spawn(stop.clone().run_until_cancelled_owned(awake_task));
        let host = Self {
            identity,
            name,
            store,
            devices,
            desks,
            settings,
            awake,
            endpoint,
            app_server,
            bridge,
            recorder,
            door,
            remote,
            logs,
            folders,
            about,
            stop,
            tasks,
        };
        host.run(incoming, publish, access, vouched);
        host.apply_relays().await?;
        Ok(host)
    }

    fn run(
        &self,
        incoming: mpsc::Receiver<farhelm_overlay::Incoming>,
        publish: watch::Sender<HostState>,
        access: Access,
        vouched: Vouched,
    ) {
        let sessions = Sessions {
            identity: self.identity.clone(),
            name: self.name.clone(),
            devices: self.devices.clone(),
            desks: self.desks.clone(),
            bridge: self.bridge.clone(),
            remote: self.remote.clone(),
            recorder: self.recorder.clone(),
            logs: self.logs.clone(),
            access,
            vouched,
            endpoint: self.endpoint.clone(),
            callback: Callback::default(),
        };
        self.tasks.spawn(sessions.run(incoming, self.stop.clone()));
        let (devices, endpoint) = (self.devices.clone(), self.endpoint.clone());
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(door::admit(devices, endpoint)));
        let (app_server, endpoint) = (self.app_server.state(), self.endpoint.clone());
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(about::describe(publish, app_server, endpoint)));
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(self.settings.clone().follow()));
        let (working, endpoint) = (self.bridge.working(), self.endpoint.clone());
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(follow_work(working, endpoint)));
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

    /// Every setting as it stands, for people.
    pub fn setting_rows(&self) -> Vec<settings::Row> {
        let mut rows = self.settings.rows();
        if let Awake::Unavailable(why) = &*self.awake.borrow()
            && let Some(row) = rows.iter_mut().find(|row| row.name == Setting::MobileKeepAwake.name())
        {
            row.note = Some(format!("this machine could not be kept awake: {why}"));
        }
        rows
    }

    /// Who is paired.
    pub const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Devices of which two programs seem to have the key, and changes of that.
    pub fn contested(&self) -> watch::Receiver<logs::Contested> {
        self.logs.contested()
    }

    /// What owners' phones do to devices from now on.
    pub fn remote(&self) -> broadcast::Receiver<remote::Done> {
        self.remote.done()
    }

    /// The threads with a turn under way.
    pub async fn running(&self) -> Vec<(String, String)> {
        self.bridge.running().await
    }

    /// Has the router lead ports to this host, from now on until it is shut down.
    pub fn map_ports(&self) {
        self.tasks.spawn(mapping::keep(self.endpoint.clone(), self.stop.clone()));
    }

    /// Announces this host in its network, from now on until it is shut down.
    pub fn announce(&self) {
        self.tasks.spawn(nearby::keep(self.endpoint.clone(), self.stop.clone()));
    }

    /// The ports of the router that lead here.
    pub fn forwarded(&self) -> Vec<Multiaddr> {
        self.endpoint.status().forwarded
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

/// While a turn is under way, somebody waits for it or is waited for: dead connections are to be noticed at once.
async fn follow_work(mut working: watch::Receiver<bool>, endpoint: Endpoint) {
    loop {
        let is_working = *working.borrow_and_update();
        if endpoint.set_active(is_working).await.is_err() || working.changed().await.is_err() {
            return;
        }
    }
}

/// Reads the settings anew whenever there is a connection to Codex, whose home then is certain.
async fn follow_codex(settings: Settings, mut codex: watch::Receiver<State>) {
    loop {
        if let State::Ready { codex_home, .. } = &*codex.borrow_and_update() {
            settings.read_codex(codex_home);
            // A fault is kept, to be said at the desk.
            let _ = settings.reload();
        }
        if codex.changed().await.is_err() {
            return;
        }
    }
}
