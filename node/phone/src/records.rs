//! What the phone remembers, in the [`KeyStore`]: its identity, and one record a host.
//!
//! A record is CBOR under `host/<peer id>`. It may hold two pairing secrets: the *confirmed* one, and a *pending* one
//! of a pairing whose answer hasn't arrived. Both are tried on the next connection, so that neither a lost answer nor
//! a declined second pairing costs a good one.

use std::sync::Arc;
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::Ticket;
use farhelm_core::policy::Entitlement;
use farhelm_core::session::PairingSecret;
use farhelm_core::wire::envelope::HostState;
use farhelm_core::wire::{cbor, limits};
use farhelm_overlay::{Multiaddr, Protocol, addresses};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tokio::time::timeout;
use zeroize::{Zeroize, Zeroizing};

use crate::kept::Kept;
use crate::key_store::{self, KeyStore};

const IDENTITY: &str = "identity";
const PREFIX: &str = "host/";
const VERSION: u8 = 1;
/// A record: two secrets, a name, addresses of at most [`ADDRESSES`] each way, and as many folders.
const LIMIT: usize = 64 * 1024;
/// Relays, and direct addresses, that are remembered of one host.
const ADDRESSES: usize = 16;
/// One address as text: a DNS name at its longest, a certificate hash, a peer id.
const ADDRESS: usize = 512;
/// Folders that are remembered of what one host allows, and the bytes of one; longer paths are hardly ever in use.
const FOLDERS: usize = 32;
const FOLDER: usize = 1024;
/// A store may ask the person (a fingerprint), so it gets a person's time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why something remembered can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store itself.
    #[error(transparent)]
    Store(#[from] key_store::Error),
    /// The stored identity isn't one. It isn't replaced silently: every host knows the phone by it.
    #[error("this phone's stored key is damaged; remove it (`identity` in the key store) and pair every host again")]
    Identity,
    /// The record of this host can't be read, or belongs to another identity of this phone.
    #[error("what this phone remembers of {0} is damaged or lost; pair again with `farhelm pair` at the desk")]
    Damaged(NodeId),
    /// There is no record of this host.
    #[error("{0} is not paired with this phone; pair with `farhelm pair` at the desk")]
    Unknown(NodeId),
}

/// One host as the phone remembers it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) host: NodeId,
    pub(crate) name: String,
    /// Relays with their `/p2p`.
    pub(crate) relays: Vec<Multiaddr>,
    /// Direct addresses without `/p2p`.
    pub(crate) direct: Vec<Multiaddr>,
    /// Where somebody found it in this network; not stored.
    pub(crate) nearby: Vec<Multiaddr>,
    pub(crate) confirmed: Option<PairingSecret>,
    pub(crate) pending: Option<PairingSecret>,
    pub(crate) removed_at_ms: Option<u64>,
    /// What the host said last that this phone may do.
    pub(crate) entitlement: Option<Entitlement>,
    /// What the host has signed for us to keep.
    pub(crate) kept: Kept,
}

impl Record {
    /// What a ticket says, before anything is proven.
    pub(crate) fn of_ticket(ticket: &Ticket) -> Self {
        Self {
            host: ticket.host,
            name: ticket.name.clone(),
            relays: ticket.relay_addresses(),
            direct: ticket.direct.clone(),
            nearby: Vec::new(),
            confirmed: None,
            pending: None,
            removed_at_ms: None,
            entitlement: None,
            kept: Kept::default(),
        }
    }

    /// Every address that is known: circuits through each relay, and direct ones.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        self.circuits().into_iter().chain(self.direct_addresses()).collect()
    }

    /// Those through a relay.
    pub(crate) fn circuits(&self) -> Vec<Multiaddr> {
        let circuits = self.relays.iter().map(|relay| relay.clone().with(Protocol::P2pCircuit));
        circuits.map(|circuit| self.of_host(circuit)).collect()
    }

    /// Those where nobody is in between.
    pub(crate) fn direct_addresses(&self) -> Vec<Multiaddr> {
        let apart = self.nearby.iter().filter(|address| !self.direct.contains(address));
        self.direct.iter().chain(apart).map(|address| self.of_host(address.clone())).collect()
    }

    fn of_host(&self, address: Multiaddr) -> Multiaddr {
        address.with(Protocol::P2p(self.host.to_peer_id()))
    }

    /// The secrets to resume with, in the order in which to try them.
    pub(crate) fn secrets(&self) -> Vec<PairingSecret> {
        self.pending.iter().chain(&self.confirmed).cloned().collect()
    }

    /// The host let us in with this secret: it is the pairing now.
    pub(crate) fn confirm(&mut self, secret: &PairingSecret) -> bool {
        let changed = self.pending.is_some() || self.confirmed.as_ref() != Some(secret) || self.removed_at_ms.is_some();
        self.confirmed = Some(secret.clone());
        (self.pending, self.removed_at_ms) = (None, None);
        changed
    }

    /// The host removed this phone: the secrets are worth nothing any more.
    pub(crate) fn remove(&mut self, at_ms: u64) {
        (self.confirmed, self.pending, self.removed_at_ms) = (None, None, Some(at_ms));
        self.entitlement = None;
    }

    /// Takes over the name the host gives itself; whether it changed.
    pub(crate) fn rename(&mut self, name: &str) -> bool {
        let name = clipped(name);
        let changed = !name.is_empty() && name != self.name;
        if changed {
            self.name = name;
        }
        changed
    }

    /// Takes over where the host says it can be reached, and what it allows. An empty list of addresses says "not
    /// now", not "never again". Loopback is remembered of a host only that was reached over it.
    pub(crate) fn learn(&mut self, state: &HostState, over_loopback: bool) -> bool {
        let host = self.host.to_peer_id();
        let relays =
            readable(&state.relays, |address| matches!(address.iter().last(), Some(Protocol::P2p(p)) if p != host));
        let is_loopback = |a: &Multiaddr| addresses::ip(a).is_some_and(|ip| ip.is_loopback());
        let is_direct = |a: &Multiaddr| !a.iter().any(|p| matches!(p, Protocol::P2p(_) | Protocol::P2pCircuit));
        let direct = readable(&state.direct, |a| is_direct(a) && (over_loopback || !is_loopback(a)));
        let before = (self.relays.clone(), self.direct.clone(), self.entitlement.clone());
        self.entitlement = Some(bounded(&state.entitlement));
        if !relays.is_empty() {
            self.relays = relays;
        }
        if !direct.is_empty() {
            self.direct = direct;
        }
        let renamed = self.rename(&state.name);
        renamed || before != (self.relays.clone(), self.direct.clone(), self.entitlement.clone())
    }

    fn encode(&self, phone: NodeId) -> Zeroizing<Vec<u8>> {
        let texts = |addresses: &[Multiaddr]| addresses.iter().map(ToString::to_string).collect();
        let bytes = |secret: &Option<PairingSecret>| secret.as_ref().map(|secret| ByteArray::new(*secret.as_bytes()));
        Zeroizing::new(cbor::to_vec(&Stored {
            v: VERSION,
            phone,
            name: self.name.clone(),
            relays: texts(&self.relays),
            direct: texts(&self.direct),
            confirmed: bytes(&self.confirmed),
            pending: bytes(&self.pending),
            removed_at_ms: self.removed_at_ms,
            entitlement: self.entitlement.clone(),
            kept: self.kept.clone(),
        }))
    }

    fn decode(bytes: &[u8], host: NodeId, phone: NodeId) -> Result<Self, Error> {
        let stored: Stored = cbor::from_slice(bytes, LIMIT).map_err(|_| Error::Damaged(host))?;
        if stored.v != VERSION || stored.phone != phone {
            return Err(Error::Damaged(host));
        }
        let secret = |bytes: &Option<ByteArray<32>>| bytes.map(|bytes| PairingSecret::from_bytes(bytes.into_array()));
        let record = Self {
            host,
            name: stored.name.clone(),
            relays: readable(&stored.relays, |_| true),
            direct: readable(&stored.direct, |_| true),
            nearby: Vec::new(),
            confirmed: secret(&stored.confirmed),
            pending: secret(&stored.pending),
            removed_at_ms: stored.removed_at_ms,
            entitlement: stored.entitlement.clone(),
            kept: stored.kept.clone(),
        };
        let usable = record.removed_at_ms.is_some() || record.confirmed.is_some() || record.pending.is_some();
        if usable { Ok(record) } else { Err(Error::Damaged(host)) }
    }
}

/// The addresses that are ones and that `fits` accepts: a host's word, so bounded and judged.
fn readable(texts: &[String], fits: impl Fn(&Multiaddr) -> bool) -> Vec<Multiaddr> {
    let short = texts.iter().filter(|text| text.len() <= ADDRESS);
    short.filter_map(|text| text.parse().ok()).filter(|address| fits(address)).take(ADDRESSES).collect()
}

/// What a host says that this phone may do, with no more folders than are remembered. It is shown only: the host
/// enforces it.
fn bounded(entitlement: &Entitlement) -> Entitlement {
    let short = entitlement.folders.iter().filter(|folder| folder.len() <= FOLDER);
    Entitlement { folders: short.take(FOLDERS).cloned().collect(), ..*entitlement }
}

pub(crate) fn clipped(name: &str) -> String {
    name[..name.floor_char_boundary(limits::NAME)].to_owned()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    /// The identity this pairing was made with; with another one the host doesn't know us.
    phone: NodeId,
    name: String,
    relays: Vec<String>,
    direct: Vec<String>,
    confirmed: Option<ByteArray<32>>,
    pending: Option<ByteArray<32>>,
    removed_at_ms: Option<u64>,
    entitlement: Option<Entitlement>,
    #[serde(default)]
    kept: Kept,
}

impl Drop for Stored {
    fn drop(&mut self) {
        for secret in [&mut self.confirmed, &mut self.pending].into_iter().flatten() {
            secret.as_mut_slice().zeroize();
        }
    }
}

/// The records and the identity they belong to.
#[derive(Clone)]
pub(crate) struct Records {
    store: Arc<dyn KeyStore>,
    phone: NodeId,
}

impl Records {
    /// Loads the identity, or makes and stores one.
    pub(crate) async fn open(store: Arc<dyn KeyStore>) -> Result<(Self, Identity), Error> {
        let identity = match wait(store.get(IDENTITY)).await? {
            Some(seed) => {
                let seed: Zeroizing<[u8; 32]> =
                    Zeroizing::new(seed.as_slice().try_into().map_err(|_| Error::Identity)?);
                Identity::from_seed(&seed)
            }
            None => {
                let identity = Identity::generate(&mut rand::rng());
                wait(store.put(IDENTITY, Zeroizing::new(identity.seed().to_vec()))).await?;
                identity
            }
        };
        Ok((Self { store, phone: identity.node_id() }, identity))
    }

    /// What is remembered of `host`.
    pub(crate) async fn get(&self, host: NodeId) -> Result<Record, Error> {
        let bytes = wait(self.store.get(&name_of(host))).await?.ok_or(Error::Unknown(host))?;
        Record::decode(&bytes, host, self.phone)
    }

    pub(crate) async fn put(&self, record: &Record) -> Result<(), Error> {
        Ok(wait(self.store.put(&name_of(record.host), record.encode(self.phone))).await?)
    }

    pub(crate) async fn delete(&self, host: NodeId) -> Result<(), Error> {
        Ok(wait(self.store.delete(&name_of(host))).await?)
    }

    /// Every host there is a record of, readable or not.
    pub(crate) async fn hosts(&self) -> Result<Vec<(NodeId, Result<Record, Error>)>, Error> {
        let names = wait(self.store.list()).await?;
        let mut hosts = Vec::new();
        for host in names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()) {
            match self.get(host).await {
                Err(Error::Store(error)) => return Err(error.into()),
                // Removed while we were looking.
                Err(Error::Unknown(_)) => {}
                known => hosts.push((host, known)),
            }
        }
        Ok(hosts)
    }
}

async fn wait<T>(answer: impl Future<Output = Result<T, key_store::Error>>) -> Result<T, key_store::Error> {
    timeout(PATIENCE, answer).await.unwrap_or(Err(key_store::Error::Silent))
}

fn name_of(host: NodeId) -> String {
    format!("{PREFIX}{host}")
}

#[cfg(test)]
mod tests {
    use farhelm_core::policy::Right;

    use super::*;
    use crate::key_store::Memory;

    fn host() -> NodeId {
        Identity::from_seed(&[9; 32]).node_id()
    }

    fn record() -> Record {
        let relay = format!("/ip4/192.0.2.1/tcp/4001/p2p/{}", Identity::from_seed(&[8; 32]).node_id());
        Record {
            host: host(),
            name: "desk".into(),
            relays: vec![relay.parse().unwrap()],
            direct: vec!["/ip4/192.0.2.2/udp/1/quic-v1".parse().unwrap()],
            nearby: Vec::new(),
            confirmed: Some(PairingSecret::from_bytes([1; 32])),
            pending: Some(PairingSecret::from_bytes([2; 32])),
            removed_at_ms: None,
            entitlement: Some(Entitlement::default()),
            kept: Kept::default(),
        }
    }

    fn state(relays: &[&str], direct: &[&str]) -> HostState {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        HostState {
            name: "desk".into(),
            folder: "/".into(),
            start_folders: Vec::new(),
            entitlement: Default::default(),
            rules: Default::default(),
            codex: farhelm_core::wire::envelope::CodexState::Away(String::new()),
            relays: texts(relays),
            direct: texts(direct),
        }
    }

    #[tokio::test]
    async fn a_record_survives_and_the_pending_secret_is_tried_first() {
        let store = Arc::new(Memory::default());
        let (records, identity) = Records::open(store.clone()).await.unwrap();
        records.put(&record()).await.unwrap();
        let (again, same) = Records::open(store).await.unwrap();
        assert_eq!(identity.node_id(), same.node_id());
        let read = again.get(host()).await.unwrap();
        assert_eq!(read.secrets(), [PairingSecret::from_bytes([2; 32]), PairingSecret::from_bytes([1; 32])]);
        assert_eq!(read.addresses(), record().addresses());
        assert!(read.addresses()[0].to_string().ends_with(&format!("/p2p-circuit/p2p/{}", host())));
    }

    #[tokio::test]
    async fn a_damaged_record_says_pair_again_and_hides_no_other() {
        let store = Arc::new(Memory::default());
        let (records, _) = Records::open(store.clone()).await.unwrap();
        let other = Identity::from_seed(&[7; 32]).node_id();
        records.put(&record()).await.unwrap();
        store.put(&name_of(other), Zeroizing::new(vec![0xff; 10])).await.unwrap();
        assert_eq!(records.get(other).await.unwrap_err(), Error::Damaged(other));
        let hosts = records.hosts().await.unwrap();
        assert_eq!(hosts.len(), 2);
        assert_eq!(hosts.iter().filter(|(_, record)| record.is_ok()).count(), 1);
    }

    #[tokio::test]
    async fn a_record_of_another_identity_says_pair_again() {
        let store = Arc::new(Memory::default());
        let (records, _) = Records::open(store.clone()).await.unwrap();
        records.put(&record()).await.unwrap();
        store.delete(IDENTITY).await.unwrap();
        let (records, _) = Records::open(store).await.unwrap();
        assert_eq!(records.get(host()).await.unwrap_err(), Error::Damaged(host()));
    }

    #[tokio::test]
    async fn a_damaged_identity_is_never_replaced_silently() {
        let store = Arc::new(Memory::default());
        store.put(IDENTITY, Zeroizing::new(vec![1; 31])).await.unwrap();
        assert_eq!(Records::open(store).await.err(), Some(Error::Identity));
    }

    #[tokio::test]
    async fn a_host_without_a_record_is_unknown() {
        let (records, _) = Records::open(Arc::new(Memory::default())).await.unwrap();
        assert_eq!(records.get(host()).await.unwrap_err(), Error::Unknown(host()));
    }

    /// A store that never answers.
    struct Silent;

    #[async_trait::async_trait]
    impl KeyStore for Silent {
        async fn get(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>, key_store::Error> {
            std::future::pending().await
        }
        async fn put(&self, _: &str, _: Zeroizing<Vec<u8>>) -> Result<(), key_store::Error> {
            std::future::pending().await
        }
        async fn delete(&self, _: &str) -> Result<(), key_store::Error> {
            std::future::pending().await
        }
        async fn list(&self) -> Result<Vec<String>, key_store::Error> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answers_is_named() {
        assert_eq!(Records::open(Arc::new(Silent)).await.err(), Some(Error::Store(key_store::Error::Silent)));
    }

    #[test]
    fn an_empty_list_of_relays_forgets_none() {
        let mut record = record();
        assert!(!record.learn(&state(&[], &[]), false));
        assert_eq!(record.relays.len(), 1);
    }

    #[test]
    fn addresses_of_a_host_are_judged_before_they_are_kept() {
        let mut record = record();
        let itself = format!("/ip4/192.0.2.9/tcp/1/p2p/{}", host());
        let long = format!("/dns/{}/tcp/1", "a".repeat(600));
        let circuit = format!("{}/p2p-circuit", record.relays[0]);
        assert!(
            !record
                .learn(&state(&["nonsense", &itself, "/ip4/192.0.2.9/tcp/1"], &[&long, &circuit, "nonsense"]), false)
        );
        assert!(record.learn(&state(&[], &["/ip4/198.51.100.1/tcp/9"]), false));
        assert_eq!(record.direct, ["/ip4/198.51.100.1/tcp/9".parse().unwrap()]);
    }

    #[test]
    fn loopback_is_remembered_only_of_a_host_that_was_reached_over_it() {
        let (mut record, told) = (record(), state(&[], &["/ip4/127.0.0.1/tcp/22", "/ip4/198.51.100.1/tcp/9"]));
        record.learn(&told, false);
        assert_eq!(record.direct, ["/ip4/198.51.100.1/tcp/9".parse().unwrap()]);
        record.learn(&told, true);
        assert_eq!(record.direct.len(), 2);
    }

    #[tokio::test]
    async fn what_a_host_allows_is_remembered_within_bounds_and_over_a_restart() {
        let mut record = record();
        let folders = (0..100).map(|n| format!("/{n}/{}", "x".repeat(FOLDER - 10))).chain(["y".repeat(FOLDER + 1)]);
        let entitlement = Entitlement { right: Right::Operator, folders: folders.rev().collect(), until_ms: Some(7) };
        let state = HostState { entitlement: entitlement.clone(), ..state(&[], &[]) };
        assert!(record.learn(&state, false) && !record.learn(&state, false), "news once");
        let kept = Entitlement { folders: entitlement.folders[1..=FOLDERS].to_vec(), ..entitlement };
        let (records, _) = Records::open(Arc::new(Memory::default())).await.unwrap();
        records.put(&record).await.unwrap();
        assert_eq!(records.get(host()).await.unwrap().entitlement, Some(kept));
        record.remove(1);
        assert_eq!(record.entitlement, None);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", record()).contains("1, 1"));
    }
}
