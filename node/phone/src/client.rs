//! The client: this phone's identity, the hosts it is paired with, and the network under them.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use farhelm_core::audit::Head;
use farhelm_core::identity::NodeId;
use farhelm_core::pairing::Ticket;
use farhelm_core::policy::Entitlement;
use farhelm_overlay::surroundings::PER_PEER;
use farhelm_overlay::{Endpoint, Multiaddr, Policy, Transports};
use farhelm_store::Journal;
use farhelm_store::journal::Change;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::attach::{Attached, Us};
use crate::connection::Connection;
use crate::host::Host;
use crate::kept::{Broken, Kept};
use crate::key_store::KeyStore;
use crate::network::{Network, admission};
use crate::pairing::{PairError, Pairing};
use crate::records::{self, Record, Records, clipped};
use crate::supervisor::{Supervisor, outlets};

/// Commands that may wait for a host's task; a caller beyond waits for room.
const COMMANDS: usize = 32;
/// How long a host's task may take to say goodbye and to store what it learnt.
const GOODBYE: Duration = Duration::from_secs(10);

/// How a client is to be started.
#[derive(Debug, Clone)]
pub struct Config {
    /// What hosts show for this phone; at most 64 bytes are kept.
    pub device_name: String,
    /// Where to listen, so that hole punching works; empty for the usual (every interface, ports of the system's choice).
    pub listen: Vec<Multiaddr>,
    /// Sockets or memory.
    pub transports: Transports,
    /// Which paths may carry sessions.
    pub paths: Policy,
    /// The file in which is kept what is on its way to hosts and from them, so that it survives the end of the program;
    /// without one it survives the end of connections only. Its folder is to be private to this program. While another
    /// process has the file open, this one goes on without.
    pub journal: Option<PathBuf>,
}

impl Config {
    /// TCP and QUIC, the usual addresses.
    pub fn new(device_name: impl Into<String>) -> Self {
        let (listen, transports, paths) = (Vec::new(), Transports::Network, Policy::default());
        Self { device_name: device_name.into(), listen, transports, paths, journal: None }
    }
}

/// Why the client can't do something.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What this phone remembers.
    #[error(transparent)]
    Records(#[from] records::Error),
    /// What is on its way.
    #[error(transparent)]
    Journal(#[from] farhelm_store::OpenError),
    /// The same.
    #[error(transparent)]
    Store(#[from] farhelm_store::Error),
    /// The network can't be used.
    #[error(transparent)]
    Network(#[from] farhelm_overlay::Error),
    /// The client was shut down.
    #[error("the client was shut down; open it again")]
    Stopped,
}

/// A host in the phone's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHost {
    /// Its key.
    pub id: NodeId,
    /// Its name; empty if what is remembered is damaged.
    pub name: String,
    /// How it stands with the pairing.
    pub standing: Standing,
    /// What it said last that this phone may do there; `None` before the first session.
    pub entitlement: Option<Entitlement>,
    /// How far its record of what phones had done went when it last said so.
    pub head: Option<Head>,
    /// That the record isn't what it was, until [`Client::accept_record`].
    pub broken: Option<Broken>,
}

/// How it stands with a pairing, as far as the phone remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Paired.
    Paired,
    /// The answer to the pairing never came; the next connection finishes it, if the desk said yes.
    Pending,
    /// The host removed this phone; pair again.
    Removed {
        /// When, in Unix milliseconds by the host's clock.
        at_ms: u64,
    },
    /// What was remembered is damaged or belongs to another key of this phone; pair again.
    Damaged,
}

/// This phone. Cheap to clone; when the last clone is dropped, everything is cut. [`shutdown`](Self::shutdown) says
/// goodbye first.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    us: Us,
    records: Records,
    journal: Arc<Journal>,
    hosts: Mutex<HashMap<NodeId, Supervised>>,
    /// Where remembered hosts were found in this network.
    nearby: Mutex<HashMap<NodeId, Vec<Multiaddr>>>,
    /// It holds the network, so it ends with this.
    following: OnceLock<AbortOnDropHandle<()>>,
}

impl Inner {
    /// Has every host's task prove what it has, or try again.
    async fn try_anew(&self) {
        let hosts: Vec<_> = self.hosts.lock().await.values().map(|supervised| supervised.host.clone()).collect();
        futures::future::join_all(hosts.iter().map(Host::network_changed)).await;
    }
}

/// Tries anew whenever this device's addresses change, for as long as there is a client.
async fn follow_network(network: Arc<dyn Network>, client: Weak<Inner>) {
    loop {
        network.changes().await;
        let Some(client) = client.upgrade() else { return };
        client.try_anew().await;
    }
}

struct Supervised {
    host: Host,
    task: JoinHandle<()>,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.id())
    }
}

/// The relays through which the hosts are reached that `store` remembers, each once.
pub async fn relays(store: Arc<dyn KeyStore>) -> Result<Vec<Multiaddr>, records::Error> {
    let (records, _) = Records::open(store).await?;
    let mut relays = Vec::new();
    for (_, record) in records.hosts().await? {
        // A damaged one has none.
        let known = record.map(|record| record.relays).unwrap_or_default();
        relays.extend(known.into_iter().filter(|relay| !relays.contains(relay)).collect::<Vec<_>>());
    }
    Ok(relays)
}

impl Client {
    /// Loads or makes this phone's identity and starts its network. Connects to nobody yet.
    pub async fn open(config: Config, store: Arc<dyn KeyStore>) -> Result<Self, OpenError> {
        let (records, identity) = Records::open(store).await?;
        let journal = open_journal(config.journal).await?;
        let usual = match config.transports {
            Transports::Network => farhelm_overlay::Config::new(identity.clone()),
            Transports::Memory => farhelm_overlay::Config::memory(identity.clone()),
        };
        let listen = if config.listen.is_empty() { usual.listen.clone() } else { config.listen };
        let admission = Some(admission(records.hosts().await?.into_iter().map(|(host, _)| host)));
        // Nobody opens streams to a phone: without their receiver, such streams are reset.
        let (endpoint, _) =
            Endpoint::start(farhelm_overlay::Config { listen, admission, policy: config.paths, ..usual })?;
        let us = Us { network: Arc::new(endpoint), identity, device_name: clipped(&config.device_name) };
        let client = Self::with(us, records, journal);
        // Whoever opens one looks at it, until they say otherwise.
        client.set_active(true).await;
        let following = tokio::spawn(follow_network(client.0.us.network.clone(), Arc::downgrade(&client.0)));
        let _ = client.0.following.set(AbortOnDropHandle::new(following));
        Ok(client)
    }

    pub(crate) fn with(us: Us, records: Records, journal: Arc<Journal>) -> Self {
        let (hosts, nearby, following) = (Mutex::default(), Mutex::default(), OnceLock::new());
        Self(Arc::new(Inner { us, records, journal, hosts, nearby, following }))
    }

    /// This phone's key, which is also its peer id.
    pub fn id(&self) -> NodeId {
        self.0.us.identity.node_id()
    }

    /// Every host this phone remembers, by name.
    pub async fn hosts(&self) -> Result<Vec<KnownHost>, records::Error> {
        let known = self.0.records.hosts().await?;
        let mut hosts: Vec<_> = known.into_iter().map(|(id, record)| KnownHost::new(id, record.ok())).collect();
        hosts.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(hosts)
    }

    /// Begins a pairing with the text of a QR: on return the host is proven, and the four words can be compared.
    pub async fn pair(&self, ticket: &str) -> Result<Pairing, PairError> {
        self.pair_with(Ticket::decode(ticket)?).await
    }

    /// As [`pair`](Self::pair), with a ticket that was read already.
    pub async fn pair_with(&self, ticket: Ticket) -> Result<Pairing, PairError> {
        Pairing::begin(self.clone(), ticket).await
    }

    /// A handle on a paired host, at once; it connects in the background, and stays connected until
    /// [`forget`](Self::forget), [`shutdown`](Self::shutdown) or the end of the client.
    pub async fn connect(&self, host: NodeId) -> Result<Host, records::Error> {
        let mut hosts = self.0.hosts.lock().await;
        if let Some(known) = hosts.get(&host).filter(|known| !known.task.is_finished()) {
            return Ok(known.host.clone());
        }
        let mut record = self.0.records.get(host).await?;
        record.nearby = self.0.nearby.lock().await.get(&host).cloned().unwrap_or_default();
        let supervised = self.supervise(record, None);
        let handle = supervised.host.clone();
        hosts.insert(host, supervised);
        Ok(handle)
    }

    /// Forgets a host, here only: the host still lists this phone until somebody removes it there
    /// (`farhelm devices revoke`).
    pub async fn forget(&self, host: NodeId) -> Result<(), records::Error> {
        let mut hosts = self.0.hosts.lock().await;
        if let Some(supervised) = hosts.remove(&host) {
            supervised.end().await;
        }
        self.0.records.delete(host).await?;
        let journal = self.0.journal.clone();
        let forgotten = spawn_blocking(move || journal.write(&[Change::Forget(host)])).await;
        if !matches!(forgotten, Ok(Ok(()))) {
            tracing::warn!(%host, "what was on its way to a forgotten host is still stored");
        }
        Ok(())
    }

    /// A person has taken note that a host's record isn't what it was: from here on it counts as it is. Says whether it
    /// was broken.
    pub async fn accept_record(&self, host: NodeId) -> Result<bool, records::Error> {
        let hosts = self.0.hosts.lock().await;
        if let Some(known) = hosts.get(&host).filter(|known| !known.task.is_finished()) {
            return Ok(known.host.accept_record().await);
        }
        let mut record = self.0.records.get(host).await?;
        let was_broken = record.kept.accept();
        if was_broken {
            self.0.records.put(&record).await?;
        }
        Ok(was_broken)
    }

    /// Whether somebody looks at the screen; so it is at first. Then a dead connection is noticed within 5 s, else at its
    /// next use or half a minute later: radio and battery are left alone.
    pub async fn set_active(&self, active: bool) {
        self.0.us.network.set_active(active).await;
    }

    /// Somebody found a host in this network: multicast DNS, Bonjour, Android's NSD. What the finder says is tried beside
    /// what the host said itself, as far as it can be meant from here; whoever answers has to be the host. Of hosts that
    /// aren't paired, and of more than 16 addresses, nothing is kept.
    pub async fn found_nearby(&self, host: NodeId, mut addresses: Vec<Multiaddr>) {
        if self.0.records.get(host).await.is_err() {
            return;
        }
        addresses.retain(|address| !farhelm_overlay::addresses::is_relayed(address));
        addresses.truncate(PER_PEER);
        self.0.nearby.lock().await.insert(host, addresses.clone());
        let supervised = self.0.hosts.lock().await.get(&host).map(|supervised| supervised.host.clone());
        if let Some(host) = supervised {
            host.found_nearby(addresses).await;
        }
    }

    /// The device's network changed: every connection is proven or made anew, at once. Where the operating system tells a
    /// program of its addresses, a change of them is noticed without this.
    pub async fn network_changed(&self) {
        self.0.us.network.network_changed().await;
        self.0.try_anew().await;
    }

    /// The device, or the app, is awake again: what was connected before may be long gone, and nobody has waited
    /// meanwhile, whatever the clocks say.
    pub async fn did_resume(&self) {
        self.network_changed().await;
    }

    /// Says goodbye to every host and ends the network. Handles err from then on.
    pub async fn shutdown(&self) {
        let ending: Vec<_> = self.0.hosts.lock().await.drain().map(|(_, supervised)| supervised.end()).collect();
        futures::future::join_all(ending).await;
        self.0.us.network.shutdown().await;
    }

    pub(crate) fn us(&self) -> &Us {
        &self.0.us
    }

    pub(crate) fn records(&self) -> &Records {
        &self.0.records
    }

    /// Lets the paired hosts call us, and one more that is about to be.
    pub(crate) async fn admit(&self, further: NodeId) -> Result<(), records::Error> {
        let known = self.0.records.hosts().await?.into_iter().map(|(host, _)| host);
        self.0.us.network.admit(known.chain([further]).collect()).await;
        Ok(())
    }

    /// Takes over the channel of a finished pairing; what was there for that host ends.
    pub(crate) async fn adopt(&self, record: Record, attached: Attached) -> Result<Host, records::Error> {
        let mut hosts = self.0.hosts.lock().await;
        if let Some(old) = hosts.remove(&record.host) {
            old.end().await;
        }
        // After the old task, which stores what it knew.
        self.0.records.put(&record).await?;
        let host = record.host;
        let supervised = self.supervise(record, Some(attached));
        let handle = supervised.host.clone();
        hosts.insert(host, supervised);
        Ok(handle)
    }

    fn supervise(&self, record: Record, attached: Option<Attached>) -> Supervised {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let state = record.removed_at_ms.map_or(Connection::Connecting, |at_ms| Connection::Removed { at_ms });
        let outlets = outlets(state);
        let Inner { us, records, journal, .. } = &*self.0;
        let host = Host::new(record.host, us.identity.clone(), commands, outlets.clone());
        let supervisor =
            Supervisor::new(us.clone(), records.clone(), journal.clone(), record, receiver, outlets, attached);
        Supervised { host, task: tokio::spawn(supervisor.run()) }
    }
}

/// Opens the journal, or one that forgets: without a file, or while another process of this phone has it.
async fn open_journal(path: Option<PathBuf>) -> Result<Arc<Journal>, OpenError> {
    let open = move || match path.as_deref().map(Journal::open) {
        Some(Ok(journal)) => Ok(journal),
        None | Some(Err(farhelm_store::OpenError::InUse { .. })) => Ok(Journal::in_memory()?),
        Some(Err(error)) => Err(error.into()),
    };
    spawn_blocking(open).await.unwrap_or(Err(OpenError::Stopped)).map(Arc::new)
}

impl Supervised {
    async fn end(mut self) {
        self.host.stop().await;
        let _ = timeout(GOODBYE, &mut self.task).await;
    }
}

impl KnownHost {
    fn new(id: NodeId, record: Option<Record>) -> Self {
        let Some(record) = record else { return Self::damaged(id) };
        let standing = match (record.removed_at_ms, &record.confirmed) {
            (Some(at_ms), _) => Standing::Removed { at_ms },
            (None, Some(_)) => Standing::Paired,
            (None, None) => Standing::Pending,
        };
        let Kept { head, broken, .. } = record.kept;
        Self { id, name: record.name, standing, entitlement: record.entitlement, head, broken }
    }

    fn damaged(id: NodeId) -> Self {
        let (name, standing) = (String::new(), Standing::Damaged);
        Self { id, name, standing, entitlement: None, head: None, broken: None }
    }
}
