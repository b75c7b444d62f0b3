//! A phone and a test host over pipes, in virtual time.
//!
//! [`World`] holds the phone's store and a network of pipes; whatever the phone opens arrives in [`World::arrival`],
//! where a test plays the host by hand, with the real handshake and the real channel.

mod commands;
mod overlay;
mod pairing;
mod questions;
mod session;
mod truth;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::{Ticket, TicketSecret, ticket};
use farhelm_core::session::host::{Authenticated, Hello};
use farhelm_core::session::log::{Incoming, LogId, Outgoing, Position, Taken};
use farhelm_core::session::{PairingSecret, Session};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{
    Ack, Approvals, Attached, CodexState, Entry, HostState, Logged, Questions, Request, Response,
};
use farhelm_overlay::channel::{self, Channel, Wire};
use farhelm_overlay::{ConnectionId, Limit, Multiaddr};
use farhelm_store::Journal;
use farhelm_store::journal::ActId;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;

use crate::attach::Us;
use crate::network::{Network, Reached, Unreachable};
use crate::records::{Record, Records};
use crate::*;

/// Virtual, so generous.
const LONG: Duration = Duration::from_secs(600);

struct Pipes {
    arrivals: mpsc::Sender<Arrival>,
    reachable: watch::Sender<bool>,
    /// What was dialled last.
    tried: watch::Sender<Vec<Multiaddr>>,
    direct: watch::Sender<bool>,
    /// What a relay says that a circuit may carry.
    limit: watch::Sender<Limit>,
    /// The connection beside which all others were let go.
    kept: watch::Sender<Option<ConnectionId>>,
    count: AtomicUsize,
}

struct Arrival {
    stream: DuplexStream,
    direct: bool,
}

impl Pipes {
    async fn open(&self) -> Reached {
        let (ours, theirs) = duplex(256 * 1024);
        let direct = *self.direct.borrow();
        self.arrivals.send(Arrival { stream: theirs, direct }).await.expect("the world lives");
        let path = farhelm_overlay::Path {
            connection: ConnectionId::new_unchecked(self.count.fetch_add(1, Ordering::Relaxed)),
            peer: host_key().node_id(),
            via: if direct { Via::Direct } else { Via::Relay(None) },
            transport: Transport::Memory,
            outbound: true,
            remote: Multiaddr::empty(),
            established: Instant::now(),
            rtt: None,
            limit: *self.limit.borrow(),
        };
        Reached { stream: Box::new(ours), path }
    }
}

#[async_trait]
impl Network for Pipes {
    async fn reach(&self, _: NodeId, addresses: Vec<Multiaddr>) -> Result<Reached, Unreachable> {
        self.tried.send_replace(addresses.clone());
        if !*self.reachable.borrow() {
            let tried = addresses.iter().map(|address| format!("{address}: no")).collect();
            return Err(Unreachable { tried, not_direct: false });
        }
        Ok(self.open().await)
    }

    async fn reach_anew(&self, host: NodeId, addresses: Vec<Multiaddr>) -> Result<Reached, Unreachable> {
        self.reach(host, addresses).await
    }

    async fn reach_directly(&self, _: NodeId) -> Result<Reached, Unreachable> {
        if *self.direct.borrow() { Ok(self.open().await) } else { Err(Unreachable::default()) }
    }

    async fn direct(&self, _: NodeId, _: Vec<Multiaddr>, patience: Duration) -> bool {
        let mut direct = self.direct.subscribe();
        timeout(patience, direct.wait_for(|direct| *direct)).await.is_ok()
    }

    fn candidates(&self) -> Vec<Multiaddr> {
        vec!["/ip4/192.0.2.7/tcp/9".parse().unwrap()]
    }

    fn is_over_loopback(&self, _: NodeId) -> bool {
        false
    }

    fn is_best(&self, _: NodeId, _: ConnectionId) -> bool {
        true
    }

    fn wants_direct(&self) -> bool {
        true
    }

    async fn keep_only(&self, _: NodeId, connection: ConnectionId) {
        self.kept.send_replace(Some(connection));
    }

    fn has_path(&self, _: NodeId) -> bool {
        false
    }

    async fn discard(&self, _: ConnectionId) {}

    async fn set_active(&self, _: bool) {}

    async fn network_changed(&self) {}

    async fn changes(&self) {
        std::future::pending().await
    }

    async fn admit(&self, _: Vec<NodeId>) {}

    async fn shutdown(&self) {}
}

fn host_key() -> Identity {
    Identity::from_seed(&[2; 32])
}

fn ticket_secret() -> TicketSecret {
    TicketSecret::from_bytes([5; 16])
}

fn secret() -> PairingSecret {
    PairingSecret::from_bytes([3; 32])
}

struct World {
    pipes: Arc<Pipes>,
    store: Arc<dyn KeyStore>,
    journal: Arc<Journal>,
    log: Arc<std::sync::Mutex<HostLog>>,
    arrivals: Mutex<mpsc::Receiver<Arrival>>,
}

impl World {
    fn new() -> Self {
        Self::on(Arc::new(key_store::Memory::default()))
    }

    fn on(store: Arc<dyn KeyStore>) -> Self {
        let (sender, arrivals) = mpsc::channel(16);
        let pipes = Pipes {
            arrivals: sender,
            reachable: watch::Sender::new(true),
            tried: watch::Sender::default(),
            direct: watch::Sender::new(false),
            limit: watch::Sender::new(Limit::default()),
            kept: watch::Sender::new(None),
            count: AtomicUsize::new(0),
        };
        let journal = Arc::new(Journal::in_memory().unwrap());
        let log = Arc::default();
        Self { pipes: Arc::new(pipes), store, journal, log, arrivals: Mutex::new(arrivals) }
    }

    async fn client(&self) -> Client {
        let (records, identity) = Records::open(self.store.clone()).await.unwrap();
        let us = Us { network: self.pipes.clone(), identity, device_name: "pocket".into() };
        Client::with(us, records, self.journal.clone())
    }

    /// A client that is paired with the host.
    async fn paired(&self) -> (Client, Host) {
        let (records, _) = Records::open(self.store.clone()).await.unwrap();
        let record = Record { confirmed: Some(secret()), ..Record::of_ticket(&ticket()) };
        records.put(&record).await.unwrap();
        let client = self.client().await;
        let host = client.connect(host_key().node_id()).await.unwrap();
        (client, host)
    }

    async fn arrival(&self) -> Arrival {
        timeout(LONG, self.arrivals.lock().await.recv()).await.expect("the phone opens a stream").unwrap()
    }

    /// Plays the host for the next stream, which resumes: both say where they stand, and nothing waits for a person.
    async fn admit(&self) -> Desk {
        let desk = self.meet().await;
        desk.lists(Vec::new()).await;
        desk
    }

    /// The same, up to where both have said where they stand.
    async fn meet(&self) -> Desk {
        let phone = self.phone().await;
        let arrival = self.arrival().await;
        let direct = arrival.direct;
        let channel = admit(arrival.stream, phone, &secret()).await.expect("the phone is who it is");
        self.met(channel, direct).await
    }

    /// The host's end of a channel on which both have said where they stand.
    async fn met(&self, channel: Channel, direct: bool) -> Desk {
        let mut desk = Desk { channel, direct, log: self.log.clone() };
        desk.meet().await;
        desk
    }

    /// The same, and nothing waits for a person.
    async fn listed(&self, channel: Channel) -> Desk {
        let desk = self.met(channel, false).await;
        desk.lists(Vec::new()).await;
        desk
    }

    async fn phone(&self) -> NodeId {
        Records::open(self.store.clone()).await.unwrap().1.node_id()
    }

    fn reachable(&self, reachable: bool) {
        self.pipes.reachable.send_replace(reachable);
    }

    fn direct(&self) {
        self.pipes.direct.send_replace(true);
    }
}

fn ticket() -> Ticket {
    let relay = ticket::Relay {
        key: Identity::from_seed(&[8; 32]).node_id(),
        endpoints: vec!["/ip4/192.0.2.1/tcp/4001".parse().unwrap()],
    };
    Ticket {
        host: host_key().node_id(),
        secret: ticket_secret(),
        expires_at: 0,
        relays: vec![relay],
        direct: Vec::new(),
        name: "desk".into(),
    }
}

/// The host's hands for a phone that resumes.
async fn admit<S>(stream: S, phone: NodeId, secret: &PairingSecret) -> Result<Channel, channel::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut wire = Wire::new(stream);
    let (session, answer) = greet(&mut wire, phone, secret).await?;
    wire.send_frame(&answer).await?;
    Ok(Channel::start(wire, session))
}

/// The same, up to the answer.
async fn greet<S>(
    wire: &mut Wire<S>,
    phone: NodeId,
    secret: &PairingSecret,
) -> Result<(Session, Vec<u8>), channel::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host = host_key();
    let Hello::Resume(back) = Hello::read(&wire.receive().await?, host.node_id(), phone)? else {
        panic!("mode resume")
    };
    let (waits, reply) = back.reply(secret, &host, &mut rand::rng())?;
    wire.send(&reply).await?;
    Ok(waits.receive(&wire.receive().await?)?.accept("desk")?)
}

type Claimant = Authenticated<farhelm_core::session::handshake::Pair>;

/// The host's hands for a phone with a ticket, up to where the desk is asked.
async fn invite<S>(stream: S, phone: NodeId, host: &Identity) -> Result<(Wire<S>, Claimant), channel::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut wire = Wire::new(stream);
    let Hello::Pair(claim) = Hello::read(&wire.receive().await?, host.node_id(), phone)? else { panic!("mode pair") };
    let (waits, reply) = claim.verify(&ticket_secret())?.reply(host, &mut rand::rng())?;
    wire.send(&reply).await?;
    let claimant = waits.receive(&wire.receive().await?)?;
    Ok((wire, claimant))
}

/// What the host has of both logs.
struct HostLog {
    outgoing: Outgoing,
    incoming: Incoming,
    /// The last act that came, which decisions and answers are answered under.
    last: Option<ActId>,
    /// The acts that are requests.
    requests: BTreeSet<ActId>,
    /// Where the phone may be reached, each time it said so.
    reachable: Vec<Vec<String>>,
}

impl Default for HostLog {
    fn default() -> Self {
        let (incoming, last, requests, reachable) = Default::default();
        Self { outgoing: Outgoing::new(LogId::new([9; 16])), incoming, last, requests, reachable }
    }
}

/// The host's end of a path.
struct Desk {
    channel: Channel,
    direct: bool,
    log: Arc<std::sync::Mutex<HostLog>>,
}

impl Desk {
    /// What comes next, past what the phone says of where it may be reached.
    async fn next(&mut self) -> Envelope {
        loop {
            let next = timeout(LONG, self.channel.receive()).await.expect("the phone sends something");
            match next.expect("the line lives") {
                Envelope::Reachable(told) => self.log.lock().unwrap().reachable.push(told.addresses),
                envelope => return envelope,
            }
        }
    }

    /// Answers the phone's first word.
    async fn meet(&mut self) {
        let Envelope::Attach(attach) = self.next().await else { panic!("the phone says first where it stands") };
        let attached = {
            let mut log = self.log.lock().unwrap();
            log.outgoing.detach();
            log.outgoing.attach(attach.position.heard).unwrap();
            log.incoming.attach(attach.position.log, attach.position.first);
            let (first, heard) = (log.outgoing.first(), log.incoming.heard());
            Attached { position: Position { log: log.outgoing.log(), first, heard }, superseded: None }
        };
        self.say(Envelope::Attached(attached)).await;
        self.flush().await;
    }

    /// The next thing the phone says; what is logged is stored and acknowledged.
    async fn receive(&mut self) -> Envelope {
        loop {
            match self.next().await {
                Envelope::Entry(entry) => {
                    let new = self.take(&entry);
                    self.say(Envelope::Ack(Ack { upto: entry.seq })).await;
                    if let Some(envelope) = new {
                        return envelope;
                    }
                }
                Envelope::Ack(ack) => drop(self.log.lock().unwrap().outgoing.ack(ack.upto).unwrap()),
                envelope => return envelope,
            }
        }
    }

    /// How often the phone has said where it may be reached; waits until it did so this often, and says nothing else.
    async fn told_where(&mut self, often: usize) {
        let log = self.log.clone();
        let mut nothing_else = std::pin::pin!(async {
            loop {
                match self.channel.receive().await.expect("the line lives") {
                    Envelope::Reachable(told) => self.log.lock().unwrap().reachable.push(told.addresses),
                    said => assert!(matches!(said, Envelope::Watch(_) | Envelope::Ack(_)), "{said:?}"),
                }
            }
        });
        let told = async {
            while log.lock().unwrap().reachable.len() < often {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = &mut nothing_else => {}
            told = timeout(100 * LONG, told) => told.expect("it says so"),
        }
    }

    fn take(&self, entry: &Entry) -> Option<Envelope> {
        let mut log = self.log.lock().unwrap();
        let is_new = log.incoming.take(entry.seq).unwrap() == Taken::New;
        log.incoming.stored(entry.seq);
        let Logged { act, envelope } = Logged::decode(&entry.body).unwrap();
        log.last = act;
        if let Envelope::Request(request) = &envelope {
            log.requests.insert(request.id);
        }
        is_new.then_some(envelope)
    }

    /// Sends what the log has for the phone.
    async fn flush(&self) {
        loop {
            let next = self.log.lock().unwrap().outgoing.poll().map(|(seq, body)| (seq, body.to_vec()));
            let Some((seq, body)) = next else { return };
            self.say(Envelope::Entry(Entry { seq, body: ByteBuf::from(body) })).await;
        }
    }

    /// How the line ends.
    async fn ended(&mut self) -> channel::Error {
        loop {
            if let Err(error) = timeout(LONG, self.channel.receive()).await.expect("the line ends") {
                return error;
            }
        }
    }

    /// Sends something, by the log if it belongs there.
    async fn send(&self, envelope: Envelope) {
        let act = match &envelope {
            Envelope::Response(response) if self.log.lock().unwrap().requests.contains(&response.id) => {
                Some(response.id)
            }
            Envelope::Decided(_) => self.log.lock().unwrap().last,
            Envelope::Approval(_) | Envelope::Question(_) | Envelope::Resolved(_) | Envelope::TurnEnded(_) => None,
            _ => return self.say(envelope).await,
        };
        {
            let mut log = self.log.lock().unwrap();
            let seq = log.outgoing.push(Logged { act, envelope }.encode()).unwrap();
            log.outgoing.stored(seq);
        }
        self.flush().await;
    }

    async fn say(&self, envelope: Envelope) {
        self.channel.sender().send(envelope).await.unwrap();
    }

    /// The set of threads the phone follows, said next.
    async fn watched(&mut self) -> Vec<String> {
        match self.receive().await {
            Envelope::Watch(watch) => watch.threads,
            other => panic!("{other:?}"),
        }
    }

    /// The next request, past what the phone says of its watches.
    async fn request(&mut self) -> (Request, Value) {
        loop {
            match self.receive().await {
                Envelope::Watch(_) => {}
                Envelope::Request(request) => {
                    let params = serde_json::from_slice(&request.params).unwrap();
                    return (request, params);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn answer(&self, request: &Request, result: Value) {
        let result = Ok(ByteBuf::from(result.to_string()));
        self.send(Envelope::Response(Response { id: request.id, result })).await;
    }

    async fn lists(&self, open: Vec<codex::approval::Approval>) {
        self.send(Envelope::Approvals(Approvals { open })).await;
        self.send(Envelope::Questions(Questions { open: Vec::new() })).await;
    }
}

fn host_state() -> HostState {
    HostState {
        name: "desk".into(),
        folder: "/work".into(),
        start_folders: Vec::new(),
        entitlement: Default::default(),
        rules: Default::default(),
        codex: CodexState::Ready("0.169.0".into()),
        relays: Vec::new(),
        direct: Vec::new(),
    }
}

fn row(id: &str) -> Value {
    json!({"id": id, "preview": "hello", "cwd": "/work", "status": {"type": "idle"}, "updatedAt": 1})
}
