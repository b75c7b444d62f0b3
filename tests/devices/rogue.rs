//! A phone that keeps to nothing: its keys and its session are in the test's hands, it reads on when it was told to go,
//! and says what it likes when it likes. All it has is the protocol.

use std::time::Duration;

use farhelm_core::codex::approval::Approval;
use farhelm_core::codex::decision::{Decision, SignedDecision};
use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::Ticket;
use farhelm_core::session::PairingSecret;
use farhelm_core::session::handshake::phone;
use farhelm_core::session::log::{LogId, Position};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Attach, DecisionRefusal, Entry, Logged, Request, Watch};
use farhelm_overlay::channel::{self, Channel, Wire};
use farhelm_overlay::{Config, Endpoint, Path, Route, Stream, Via};
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::Value;
use tokio::time::timeout;

use crate::scene::PATIENCE;

/// A node with a key of its own.
pub(crate) struct Stranger {
    pub(crate) identity: Identity,
    pub(crate) host: NodeId,
    ticket: Ticket,
    name: String,
    endpoint: Endpoint,
}

impl Stranger {
    /// One that has read a ticket, or taken its addresses from elsewhere.
    pub(crate) fn new(seed: u8, ticket: &str) -> Self {
        Self::called("rogue", seed, ticket)
    }

    /// The same, by the name that it gives itself. It listens nowhere, so nobody can reach it in another way.
    pub(crate) fn called(name: &str, seed: u8, ticket: &str) -> Self {
        let ticket = Ticket::decode(ticket).expect("a ticket");
        let mut config = Config::new(Identity::from_seed(&[seed; 32]));
        config.listen = Vec::new();
        let (endpoint, _) = Endpoint::start(config).expect("a node");
        Self { identity: Identity::from_seed(&[seed; 32]), host: ticket.host, ticket, name: name.to_owned(), endpoint }
    }

    /// A stream to the host, if it is let in.
    pub(crate) async fn stream(&self) -> Option<Stream> {
        Some(self.path().await?.1)
    }

    async fn path(&self) -> Option<(Path, Stream)> {
        let reached = self.endpoint.connect(self.host, self.ticket.addresses_of_host());
        timeout(PATIENCE, reached).await.expect("an end").ok()?;
        let opened = self.endpoint.open(self.host, Route::Best);
        timeout(PATIENCE, opened).await.expect("an end").ok()
    }

    /// Uses the ticket; a desk with `--yes` lets it in.
    pub(crate) async fn pair(self) -> Result<Rogue, channel::Error> {
        let (path, stream) = self.path().await.expect("the door is open");
        let pairing = channel::pair(stream, &self.identity, self.host, &self.ticket.secret, &self.name).await?;
        let secret = pairing.pairing_secret();
        let (channel, _) = pairing.finish(PATIENCE).await?;
        let log = ByteArray::new(rand::random());
        Ok(Rogue { stranger: self, secret, log, via: path.via, generation: 0, said: 0, channel }.attached().await)
    }
}

/// A paired one with a session.
pub(crate) struct Rogue {
    pub(crate) stranger: Stranger,
    /// What carried its pairing, and its session until it resumes.
    pub(crate) via: Via,
    secret: PairingSecret,
    log: LogId,
    generation: u64,
    said: u64,
    channel: Channel,
}

impl Rogue {
    /// Says where it stands, as whoever begins a path must.
    async fn attached(mut self) -> Self {
        self.generation += 1;
        let position = Position { log: self.log, first: 1, heard: None };
        let attach = Attach { generation: self.generation, position };
        self.say(Envelope::Attach(attach)).await;
        self
    }

    /// A session on a new stream, with what it kept. The older channel comes back, still open.
    pub(crate) async fn resumes(mut self) -> Result<(Self, Channel), channel::Error> {
        let Stranger { identity, host, .. } = &self.stranger;
        let Some(stream) = self.stranger.stream().await else { return Err(channel::Error::Silent) };
        let (channel, _) = channel::resume(stream, identity, *host, &self.secret, "rogue", Vec::new).await?;
        let older = std::mem::replace(&mut self.channel, channel);
        Ok((self.attached().await, older))
    }

    /// Proves itself only once this was waited for. Whether it gets a session then.
    pub(crate) async fn resumes_after(&self, first: impl Future<Output = ()>) -> Result<(), channel::Error> {
        let Stranger { identity, host, .. } = &self.stranger;
        let Some(stream) = self.stranger.stream().await else { return Err(channel::Error::Silent) };
        let mut wire = Wire::new(stream);
        let (waits, hello) = phone::resume(identity.node_id(), *host, &self.secret, &mut rand::rng());
        wire.send(&hello).await?;
        let (waits, auth) = waits.receive(&wire.receive().await?, identity, "rogue")?;
        first.await;
        wire.send(&auth).await?;
        let (header, sealed) = wire.receive_frame(PATIENCE).await?;
        Ok(waits.receive(header, &sealed).map(drop)?)
    }

    /// Sends it, if there is anybody to send it to.
    pub(crate) async fn say(&self, envelope: Envelope) {
        let _ = timeout(PATIENCE, self.channel.sender().send(envelope)).await.expect("an end");
    }

    pub(crate) async fn watches(&self, thread: &str) {
        self.say(Envelope::Watch(Watch { threads: vec![thread.to_owned()] })).await;
    }

    /// Sends it by the log.
    pub(crate) async fn logs(&mut self, envelope: Envelope) {
        self.logs_as(ByteArray::new(rand::random()), envelope).await;
    }

    async fn logs_as(&mut self, act: ByteArray<16>, envelope: Envelope) {
        self.said += 1;
        let body = Logged { act: Some(act), envelope }.encode();
        self.say(Envelope::Entry(Entry { seq: self.said, body: ByteBuf::from(body) })).await;
    }

    /// Has something done that no program of ours would ask for. What comes of it.
    pub(crate) async fn asks(&mut self, method: &str, params: &Value) -> Result<(), String> {
        let id = ByteArray::new(rand::random());
        let params = ByteBuf::from(params.to_string());
        self.logs_as(id, Envelope::Request(Request { id, method: method.into(), params })).await;
        loop {
            match self.hears().await.map_err(|ended| ended.to_string())? {
                Envelope::Response(response) if response.id == id => {
                    return response.result.map(drop).map_err(|failure| failure.message);
                }
                _ => {}
            }
        }
    }

    /// The next thing that it hears, logged or not.
    pub(crate) async fn hears(&mut self) -> Result<Envelope, channel::Error> {
        Ok(match timeout(PATIENCE, self.channel.receive()).await.expect("a word or an end")? {
            Envelope::Entry(entry) => Logged::decode(&entry.body).expect("an envelope").envelope,
            envelope => envelope,
        })
    }

    /// Waits for what is open, or is opened.
    pub(crate) async fn asked(&mut self) -> Approval {
        loop {
            match self.hears().await.expect("a session") {
                Envelope::Approval(approval) => return approval,
                Envelope::Approvals(mut all) if !all.open.is_empty() => return all.open.remove(0),
                _ => {}
            }
        }
    }

    pub(crate) fn signs(&self, approval: &Approval, decision: Decision) -> Envelope {
        let Stranger { identity, host, .. } = &self.stranger;
        Envelope::Decision(SignedDecision::sign(identity, *host, approval, decision).expect("it may be signed"))
    }

    /// What became of its decision.
    pub(crate) async fn decided(&mut self) -> Result<(), DecisionRefusal> {
        loop {
            if let Envelope::Decided(decided) = self.hears().await.expect("a session") {
                return decided.result;
            }
        }
    }

    /// Waits until a thread's text goes on.
    pub(crate) async fn hears_text(&mut self) {
        while !is_text(&self.hears().await.expect("a session")) {}
    }

    /// Whether the host shuts this session up within this time; what it says meanwhile is heard to the end.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> bool {
        timeout(limit, async { while self.hears().await.is_ok() {} }).await.is_ok()
    }
}

/// Whether it is a piece of a text that is being written.
fn is_text(envelope: &Envelope) -> bool {
    matches!(envelope, Envelope::Notification(said) if said.method == "item/agentMessage/delta")
}
