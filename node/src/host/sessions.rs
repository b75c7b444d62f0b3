//! Incoming streams: handshake, pairing at the desk, then a path of the device's session, as long as the stream lives.
//!
//! An unpaired peer costs a slot among [`HALF_OPEN`] and at most one handshake's time. It never touches a live session.

use std::sync::Arc;
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::{Refusal, RevocationEpoch, TicketId};
use farhelm_core::policy::{self, Effect, Grant};
use farhelm_core::session::PairingSecret;
use farhelm_core::session::handshake::Pair;
use farhelm_core::session::host::{Authenticated, Claim, Hello, Return};
use farhelm_core::wire::envelope::{CloseReason, Envelope, FailedBy, Failure, Request, Response};
use farhelm_overlay::channel::{self, Channel, Wire};
use farhelm_overlay::endpoint::{self, Endpoint, Incoming};
use farhelm_store::offer;
use serde_bytes::ByteBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::audit::{Recorder, of_the_desk};
use super::bridge::{Access, Bridge};
use super::callback::Callback;
use super::desk::{Desks, Event, Verdict};
use super::devices::{self, Devices};
use super::logs::{self, Logs, Path};
use super::remote::Remote;
use super::vouched::Vouched;

/// Handshakes under way at once.
pub const HALF_OPEN: usize = 32;
/// Requests of one phone under way at once.
const REQUESTS: usize = 16;
/// How long a desk may think: as long as the longest offer.
const DESK: Duration = Duration::from_secs(60 * 60);

/// Why a handshake came to nothing. For the log; the peer sees a closed stream.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Channel(#[from] channel::Error),
    #[error(transparent)]
    Handshake(#[from] farhelm_core::session::handshake::Error),
    #[error(transparent)]
    Devices(#[from] devices::Error),
    #[error(transparent)]
    Overlay(#[from] endpoint::Error),
    #[error("no such ticket")]
    NoTicket,
    #[error("not paired")]
    NotPaired,
    #[error("removed; its tombstone was sent")]
    Removed,
    #[error("sent away: {0}")]
    SentAway(Refusal),
    #[error("too many handshakes at once")]
    Busy,
}

/// How a phone that knows the ticket's secret is sent away.
struct Away {
    refusal: Refusal,
    /// Whether that was the desk's no, which ends the offer.
    voids: bool,
}

/// What every session needs. Clones share it.
#[derive(Clone)]
pub struct Sessions {
    /// The host's key.
    pub identity: Arc<Identity>,
    /// The host's name, for phones.
    pub name: String,
    /// Who is paired.
    pub devices: Devices,
    /// Who is asked.
    pub desks: Desks,
    /// Where envelopes go.
    pub bridge: Bridge,
    /// Who answers what is asked.
    pub remote: Remote,
    /// What waits for each device.
    pub logs: Logs,
    /// Whether any phone may connect, and what a newcomer gets where nothing is named.
    pub access: Access,
    /// What it signs for phones to keep.
    pub vouched: Vouched,
    /// What is done at the desk is recorded.
    pub recorder: Recorder,
    /// To keep an invited stranger's connection, and to call phones back.
    pub endpoint: Endpoint,
    /// Phones that are called back.
    pub(super) callback: Callback,
}

impl Sessions {
    /// Serves incoming streams until `stop`.
    pub async fn run(self, mut incoming: mpsc::Receiver<Incoming>, stop: CancellationToken) {
        let half_open = Arc::new(Semaphore::new(HALF_OPEN));
        let tasks = tokio_util::task::TaskTracker::new();
        while let Some(Some(next)) = stop.run_until_cancelled(incoming.recv()).await {
            let (sessions, half_open, stop) = (self.clone(), half_open.clone(), stop.clone());
            tasks.spawn(async move {
                let peer = next.peer;
                if let Err(refused) = sessions.admit(next.stream, peer, half_open, stop).await {
                    tracing::info!(%peer, %refused, "no session");
                }
            });
        }
        tasks.close();
        let _ = timeout(Duration::from_secs(5), tasks.wait()).await;
    }

    async fn admit<S>(
        self,
        stream: S,
        peer: NodeId,
        half_open: Arc<Semaphore>,
        stop: CancellationToken,
    ) -> Result<(), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let slot = half_open.try_acquire_owned().map_err(|_| Refused::Busy)?;
        let mut wire = Wire::new(stream);
        let hello = wire.receive().await?;
        let (channel, secret) = match Hello::read(&hello, self.identity.node_id(), peer)? {
            Hello::Pair(claim) => self.pair(wire, claim).await?,
            Hello::Resume(back) => self.resume(wire, back, peer).await?,
        };
        drop(slot);
        self.serve(channel, &secret, stop).await;
        Ok(())
    }

    async fn resume<S>(
        &self,
        mut wire: Wire<S>,
        back: Return,
        peer: NodeId,
    ) -> Result<(Channel, PairingSecret), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(secret) = self.devices.secret(peer)? else {
            let tombstone = self.devices.tombstone(peer)?.ok_or(Refused::NotPaired)?;
            wire.send(&back.bury(&tombstone)).await?;
            wire.close().await;
            return Err(Refused::Removed);
        };
        let (waits, reply) = back.reply(&secret, &self.identity, &mut rand::rng())?;
        wire.send(&reply).await?;
        let known = waits.receive(&wire.receive().await?)?;
        // Entitled still, now that it has proven itself: a revocation during the handshake counts.
        if let Some(refusal) = self.not_entitled(peer)? {
            wire.send_frame(&known.refuse(refusal)?).await?;
            wire.close().await;
            return Err(Refused::SentAway(refusal));
        }
        let (session, answer) = known.accept(&self.name)?;
        wire.send_frame(&answer).await?;
        self.devices.saw(peer)?;
        Ok((Channel::start(wire, session), secret))
    }

    /// Why a device that was paired once gets no session now.
    fn not_entitled(&self, device: NodeId) -> Result<Option<Refusal>, Refused> {
        let is_over = |grant: Grant| grant.resolve(&[]).expired(devices::now_ms());
        Ok(match self.devices.grant_of(device)? {
            None => Some(Refusal::Unavailable),
            Some(grant) => {
                let shut = self.access.shut().map(Refusal::from);
                shut.or_else(|| is_over(grant).then_some(Refusal::Expired))
            }
        })
    }

    async fn pair<S>(&self, mut wire: Wire<S>, claim: Claim) -> Result<(Channel, PairingSecret), Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ticket = claim.ticket();
        let offer = self.devices.offer_of(ticket)?.ok_or(Refused::NoTicket)?;
        let invited = claim.verify(&offer.secret).inspect_err(|_| self.tell(ticket, Event::WrongGate))?;
        let (waits, reply) = invited.reply(&self.identity, &mut rand::rng())?;
        wire.send(&reply).await?;
        let known = waits.receive(&wire.receive().await?)?;
        self.endpoint.vouch(known.phone()).await?;
        match self.consent(ticket, &known).await? {
            Ok(()) => {}
            Err(away) => {
                let sent = wire.send_frame(&known.refuse(away.refusal)?).await;
                wire.close().await;
                // Only now: with the offer the door closes, and the phone's connection with it. A crash before this
                // voids the offer as well.
                if away.voids {
                    self.devices.end_offer(ticket, Refusal::Declined)?;
                    self.tell(ticket, Event::Declined);
                }
                sent?;
                return Err(Refused::SentAway(away.refusal));
            }
        }
        // The device is stored. If the answer doesn't arrive, a resume finishes it.
        let secret = known.pairing_secret();
        let (session, answer) = known.accept(&self.name)?;
        wire.send_frame(&answer).await?;
        Ok((Channel::start(wire, session), secret))
    }

    /// Takes the ticket, asks the desk, and stores the device.
    async fn consent(&self, ticket: TicketId, known: &Authenticated<Pair>) -> Result<Result<(), Away>, Refused> {
        let away = |refusal| Ok(Err(Away { refusal, voids: false }));
        let (phone, name) = (known.phone(), known.device_name());
        if let Err(refusal) = self.devices.take(ticket, phone)? {
            if matches!(refusal, offer::Refusal::Spent { .. }) {
                self.tell(ticket, Event::SecondScan);
            }
            return away(refusal.coarse());
        }
        #[cfg(feature = "faults")]
        farhelm_overlay::faults::reach(farhelm_overlay::faults::Point::TakenUnasked).await;
        if let Some(shut) = self.access.shut() {
            return away(shut.into());
        }
        let Some(desk) = self.desks.get(ticket) else { return away(Refusal::Unavailable) };
        let otherwise = self.access.standard.borrow().right;
        let shown = self.devices.grant_of_offer(ticket, phone, otherwise)?;
        match timeout(DESK, desk.ask(name, known.words(), &shown)).await.unwrap_or(Verdict::No) {
            Verdict::Yes => {}
            // The same phone came again, on a new path and with new words; that question counts.
            Verdict::Superseded => return away(Refusal::Unavailable),
            Verdict::No => return Ok(Err(Away { refusal: Refusal::Declined, voids: true })),
        }
        let Ok(asked) = self.recorder.gives(of_the_desk("pair", Some((phone, name, shown.right)))).await else {
            tracing::error!(%phone, "the pairing can't be recorded, so it was not made");
            return away(Refusal::Unavailable);
        };
        let completed = self.devices.complete(ticket, phone, name, known.pairing_secret(), (shown, otherwise));
        self.recorder.gave(asked, completed.is_ok()).await;
        let device = completed?;
        #[cfg(feature = "faults")]
        farhelm_overlay::faults::reach(farhelm_overlay::faults::Point::PairedUnanswered).await;
        // Where it was paired before: whoever has a stream under the older secret has it no longer.
        self.logs.end_paths(phone).await;
        desk.tell(Event::Paired { name: device.name, device: phone, grant: device.grant });
        Ok(Ok(()))
    }

    fn tell(&self, ticket: TicketId, event: Event) {
        if let Some(desk) = self.desks.get(ticket) {
            desk.tell(event);
        }
    }

    /// Carries envelopes until the path, the device or the host ends.
    async fn serve(&self, mut channel: Channel, secret: &PairingSecret, stop: CancellationToken) {
        let device = channel.peer();
        let begun = self.begin(&mut channel, device).await;
        let reason = match begun.and_then(|path| self.is_paired_by(device, secret).map(|()| path)) {
            Ok(path) if path.is_superseded() => acknowledged_only(&mut channel, path).await,
            Ok(path) => return self.serve_on(channel, path, stop).await,
            Err(reason) => reason,
        };
        if let Some(reason) = reason {
            channel.close(reason).await;
        }
    }

    /// A removal, or a new pairing, is stored and then cuts what is attached. One that came before found nothing to cut.
    fn is_paired_by(&self, device: NodeId, secret: &PairingSecret) -> Result<(), Option<CloseReason>> {
        match self.devices.secret(device) {
            Ok(Some(current)) if current == *secret => Ok(()),
            Ok(None) => Err(Some(CloseReason::Revoked)),
            _ => Err(None),
        }
    }

    /// The phone says where it stands, and is told where the host does.
    async fn begin(&self, channel: &mut Channel, device: NodeId) -> Result<Path, Option<CloseReason>> {
        let attach = match timeout(channel::STEP, channel.receive()).await {
            Ok(Ok(Envelope::Attach(attach))) => attach,
            Ok(Ok(_)) => {
                tracing::info!(%device, "a path that doesn't begin with a position; its phone is to be updated");
                return Err(None);
            }
            _ => return Err(None),
        };
        self.logs.attach(device, attach, channel.sender()).await.map_err(|refused| {
            tracing::warn!(%device, %refused, "no session");
            match refused {
                logs::Refused::StoreFailed => Some(CloseReason::StoreFailed),
                logs::Refused::Stopped => Some(CloseReason::Stopping),
            }
        })
    }

    async fn serve_on(&self, mut channel: Channel, mut path: Path, stop: CancellationToken) {
        let device = channel.peer();
        let Ok(mut attached) = self.bridge.attach(device, channel.sender(), path.line()).await else {
            return channel.close(CloseReason::Stopping).await;
        };
        let mut gaps = channel.gaps();
        let mut vouched = self.vouched.clone();
        let mut reads = Reads::default();
        let reason = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Some(CloseReason::Stopping),
                why = attached.ended() => break why,
                why = path.ended() => break why,
                envelope = channel.receive() => match envelope {
                    Ok(Envelope::Entry(entry)) => path.entry(entry).await,
                    Ok(Envelope::Ack(ack)) => path.ack(ack).await,
                    Ok(Envelope::Request(request)) => reads.answer(request, device, &self.remote, channel.sender()),
                    Ok(Envelope::Watch(watch)) => attached.watch(watch.threads).await,
                    Ok(Envelope::Reachable(told)) => self.callback.call(&self.endpoint, device, &told.addresses),
                    Ok(Envelope::RevocationEpoch(shown)) => self.meet(device, &shown).await,
                    Ok(_) => tracing::debug!(%device, "an envelope that only hosts send, or that belongs into the log"),
                    Err(error) => {
                        tracing::debug!(%device, %error, "the path ended");
                        break None;
                    }
                },
                thread = gaps.next() => attached.repair(thread).await,
                word = vouched.next() => {
                    // One that doesn't fit any more ends the session by itself.
                    let _ = channel.sender().offer(word);
                }
            }
        };
        // What was read is for this path; what was to be done goes on without it.
        reads.drop_all();
        attached.detach().await;
        if let Some(reason) = reason {
            channel.close(reason).await;
        }
    }
}

impl Sessions {
    /// A phone shows what this host once signed. If that is news to it, it was set back: it freezes before it looks at
    /// anything else that the phone says.
    async fn meet(&self, device: NodeId, shown: &RevocationEpoch) {
        if !self.devices.is_behind(shown) {
            return;
        }
        tracing::error!(%device, shown = shown.number, "this host was set back to an older state; it is frozen");
        self.logs.begin_anew().await;
        if let Err(error) = self.devices.meet(shown) {
            tracing::error!(%error, "the host can't be frozen, though it was set back");
        }
        self.bridge.enforced().await;
    }
}

/// A path that a newer one has overtaken: what it still brings comes again there, but what it acknowledges counts.
async fn acknowledged_only(channel: &mut Channel, mut path: Path) -> Option<CloseReason> {
    loop {
        tokio::select! {
            why = path.ended() => return why,
            envelope = channel.receive() => match envelope {
                Ok(Envelope::Ack(ack)) => path.ack(ack).await,
                Ok(_) => {}
                Err(_) => return None,
            },
        }
    }
}

/// The reads of one session that wait for Codex. What changes something comes by the log.
#[derive(Default)]
struct Reads(JoinSet<()>);

impl Reads {
    /// Answers a request beside the others; a phone that asks too much at once is told so.
    fn answer(&mut self, request: Request, device: NodeId, remote: &Remote, sender: channel::Sender) {
        while self.0.try_join_next().is_some() {}
        let refused = match policy::table::find(&request.method) {
            Some(method) if method.verdict.is_for_phones() && method.effect != Effect::Read => {
                Some((FailedBy::Policy, "what changes something belongs into the log; update farhelm on the phone"))
            }
            _ if self.0.len() >= REQUESTS => Some((FailedBy::Busy, "too many requests at once; try again")),
            _ => None,
        };
        if let Some((by, message)) = refused {
            let result = Err(Failure { by, message: message.into() });
            let _ = sender.offer(Envelope::Response(Response { id: request.id, result }));
            return;
        }
        let remote = remote.clone();
        self.0.spawn(async move {
            let result = remote.request(device, &request.method, &request.params).await.map(ByteBuf::from);
            let _ = sender.send(Envelope::Response(Response { id: request.id, result })).await;
        });
    }

    fn drop_all(&mut self) {
        self.0.abort_all();
    }
}
