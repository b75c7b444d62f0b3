//! The task behind one [`Host`](crate::Host): keeps a session with it alive, moves it to better paths, and owns all of
//! its state.
//!
//! ```text
//!            ┌────────── backoff, or "network changed" ─────────┐
//!            ▼                                                  │
//!        attempt ── attached ──▶ line ── died ──▶ attempt ── failed ──▶ Away
//!            ▲                    │
//!            └── a direct path ───┘ (relayed): attempt beside the line; then the new one is the line, the old drains
//!
//!        any attempt ── tombstone ──▶ Removed, for good
//! ```
//! One line carries everything; a second one only drains: its outstanding reads may still be answered for ten seconds,
//! and what it acknowledges counts; nothing else is taken from it.
//!
//! What was asked, and what the host logged, outlives lines: it is in the [`Log`], and on the disk before anybody hears
//! of it. One write is under way at a time; whatever is due meanwhile goes with the next.

mod allowance;
mod inbound;
mod lines;
mod logged;
mod truth;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use allowance::Allowance;
use farhelm_core::codex::approval::Approval;
use farhelm_core::codex::question::Question;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{CloseReason, HostState, Watch};
use farhelm_overlay::channel::Channel;
use farhelm_overlay::{ConnectionId, Multiaddr};
use farhelm_store::Journal;
use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use logged::{Writing, fresh};
use rand::Rng;
use serde_bytes::ByteArray;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::attach::{Aim, Attached, Failure, Us};
use crate::backoff::Backoff;
use crate::calls::{self, Calls, LineId};
use crate::connection::{Connection, Path, Why};
use crate::decisions::{self, DecideError, Decisions, Said};
use crate::error::Error;
use crate::event::Event;
use crate::flight::Flight;
use crate::followed::{Followed, ThreadWatch};
use crate::log::Log;
use crate::records::{Record, Records};
use crate::truth::Truth;

/// How often the round trip in the state is brought up to date.
const REFRESH: Duration = Duration::from_secs(5);

/// What a handle asks of the task.
pub(crate) enum Command {
    /// Call a Codex method.
    Call {
        /// Its name.
        method: &'static str,
        /// Its parameters.
        params: Value,
        /// For the result.
        reply: calls::Reply,
    },
    /// Follow a thread.
    Follow {
        /// Its id.
        thread: String,
        /// For the watch.
        reply: oneshot::Sender<Result<ThreadWatch, Error>>,
    },
    /// Send a decision, or answers.
    Decide {
        /// What was decided or answered.
        said: Box<Said>,
        /// For what became of it.
        reply: decisions::Reply,
    },
    /// A person has taken note that the host's record was broken; whether it was.
    AcceptRecord(oneshot::Sender<bool>),
    /// Somebody found the host at these addresses of this network.
    Nearby(Vec<Multiaddr>),
    /// The device's network changed: what is there may be dead, what was not may be there.
    NetworkChanged,
    /// End.
    Stop,
}

impl Command {
    /// The host removed this phone. Whoever asked may have gone.
    fn refuse(self, at_ms: u64) {
        let error = Error::Removed { at_ms };
        match self {
            Self::Call { reply, .. } => drop(reply.send(Err(error))),
            Self::Follow { reply, .. } => drop(reply.send(Err(error))),
            Self::Decide { reply, .. } => drop(reply.send(Err(DecideError::Stopped))),
            Self::AcceptRecord(reply) => drop(reply.send(false)),
            Self::Nearby(_) | Self::NetworkChanged | Self::Stop => {}
        }
    }
}

/// What the handles look at.
#[derive(Debug)]
pub(crate) struct Outlets {
    pub(crate) state: watch::Sender<Connection>,
    pub(crate) host: watch::Sender<Option<HostState>>,
    pub(crate) approvals: watch::Sender<Vec<Approval>>,
    pub(crate) questions: watch::Sender<Vec<Question>>,
    /// Whether the host has listed both on the line there is.
    pub(crate) listed: watch::Sender<bool>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) truth: watch::Sender<Truth>,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
}

/// One attached channel.
struct Line {
    id: LineId,
    channel: Channel,
    path: Path,
    watched: Vec<String>,
    counted: (u64, u64),
    since: Instant,
    /// The host has said where it stands: its first word.
    met: bool,
    connection: ConnectionId,
    allowance: Allowance,
    /// Relayed: how often a direct path was tried in vain.
    tries: u32,
    /// How often the session was to move and didn't.
    failed_moves: u32,
    /// Direct: the other connections were let go.
    settled: bool,
}

type Attempt = BoxFuture<'static, Result<Attached, Failure>>;

/// The state of the task.
pub(crate) struct Supervisor {
    us: Us,
    records: Records,
    journal: Arc<Journal>,
    record: Record,
    log: Log,
    /// A write of the journal, with what follows from it.
    writing: Option<Writing>,
    /// An attempt that waits for its generation to be stored.
    attempting: bool,
    /// What goes with the handshake of the last attempt: whether it left, and its last entry.
    early: Option<(Flight, u64)>,
    /// The channel of a finished pairing, until the log has a path for it.
    paired: Option<Attached>,
    saving: Option<BoxFuture<'static, ()>>,
    unsaved: bool,
    /// A newer head of the host's record than what is stored.
    head_unsaved: bool,
    /// When the next one is stored.
    head_due: Instant,
    commands: mpsc::Receiver<Command>,
    outlets: Arc<Outlets>,
    lines: LineId,
    line: Option<Line>,
    draining: Option<(Line, Instant)>,
    attempt: Option<(Aim, Attempt)>,
    /// Says whether a direct path has appeared, in its time; only while the line is relayed.
    direct: Option<BoxFuture<'static, bool>>,
    retry_at: Option<Instant>,
    refresh_at: Instant,
    backoff: Backoff,
    calls: Calls,
    followed: Followed,
    decisions: Decisions,
}

impl Supervisor {
    /// Begins; with `attached` it is live from the start (after a pairing).
    pub(crate) fn new(
        us: Us,
        records: Records,
        journal: Arc<Journal>,
        record: Record,
        commands: mpsc::Receiver<Command>,
        outlets: Arc<Outlets>,
        attached: Option<Attached>,
    ) -> Self {
        let now = Instant::now();
        let log = Log::restore(record.host, Default::default(), fresh());
        let mut supervisor = Self {
            us,
            records,
            journal,
            record,
            log,
            writing: None,
            attempting: false,
            early: None,
            paired: attached,
            saving: None,
            unsaved: false,
            head_unsaved: false,
            head_due: now,
            commands,
            outlets,
            lines: 0,
            line: None,
            draining: None,
            attempt: None,
            direct: None,
            retry_at: Some(now),
            refresh_at: now,
            backoff: Backoff::default(),
            calls: Calls::default(),
            followed: Followed::default(),
            decisions: Decisions::default(),
        };
        if supervisor.record.removed_at_ms.is_some() {
            supervisor.retry_at = None;
        }
        supervisor
    }

    /// Runs until it is told to stop or every handle is gone.
    pub(crate) async fn run(mut self) {
        self.read_log().await;
        loop {
            self.start_what_is_due();
            let deadline = self.deadline();
            tokio::select! {
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => self.on_command(command),
                },
                Some(received) = OptionFuture::from(self.line.as_mut().map(|line| line.channel.receive())) => {
                    self.on_received(received);
                }
                Some(received) = OptionFuture::from(self.draining.as_mut().map(|(old, _)| old.channel.receive())) => {
                    self.on_drained(received);
                }
                Some(result) = OptionFuture::from(self.attempt.as_mut().map(|(_, attempt)| attempt)) => {
                    self.on_attempted(result);
                }
                Some(written) = OptionFuture::from(self.writing.as_mut()) => self.on_written(written),
                Some(is_there) = OptionFuture::from(self.direct.as_mut()) => self.on_direct(is_there),
                Some(()) = OptionFuture::from(self.saving.as_mut()) => self.saving = None,
                () = sleep_until(deadline) => self.on_time(),
            }
        }
        self.end().await;
    }

    fn start_what_is_due(&mut self) {
        if self.unsaved && self.saving.is_none() {
            self.unsaved = false;
            self.save();
        }
        let due = self.retry_at.is_some_and(|at| at <= Instant::now());
        if due && self.attempt.is_none() && !self.attempting {
            self.retry_at = None;
            self.start_attempt(Aim::Best);
        }
        self.write_what_is_due();
    }

    fn deadline(&self) -> Instant {
        let refresh = self.line.is_some().then_some(self.refresh_at);
        let retry = self.retry_at.filter(|_| self.attempt.is_none() && !self.attempting);
        let drained = self.draining.as_ref().map(|(_, until)| *until);
        let renewed = self.line.as_ref().filter(|line| line.met).and_then(|line| line.allowance.deadline());
        let renewed = renewed.filter(|_| self.attempt.is_none() && !self.attempting);
        let all = [refresh, retry, drained, renewed, self.calls.deadline(), self.decisions.deadline()];
        let far = Instant::now() + Duration::from_secs(3600);
        all.into_iter().flatten().min().unwrap_or(far)
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        self.note_early();
        self.calls.expire(now, |id| self.log.withdraw(id));
        self.decisions.expire(now, |id| self.log.withdraw(id));
        if self.draining.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.end_draining();
        }
        self.renew_circuit();
        if self.refresh_at <= now {
            self.refresh_at = now + REFRESH;
            self.refresh();
        }
    }

    fn on_command(&mut self, command: Command) {
        if let Some(at_ms) = self.record.removed_at_ms {
            return command.refuse(at_ms);
        }
        match command {
            Command::Call { method, params, reply } => {
                let mut id = [0; 16];
                rand::rng().fill_bytes(&mut id);
                match self.calls.add(id, method, &params, reply, Instant::now()) {
                    Some(change) => self.ask(ByteArray::new(id), Envelope::Request(change)),
                    None => self.send_all(),
                }
            }
            Command::Follow { thread, reply } => {
                let _ = reply.send(self.followed.follow(&thread));
                self.send_all();
            }
            Command::Decide { said, reply } => {
                let (id, envelope) = (ByteArray::new(rand::random()), Envelope::from((*said).clone()));
                if self.decisions.add(id, *said, reply, Instant::now()) {
                    self.ask(id, envelope);
                }
            }
            Command::AcceptRecord(reply) => {
                let was_broken = self.record.kept.accept();
                self.unsaved |= was_broken;
                let _ = reply.send(was_broken);
            }
            Command::Nearby(addresses) => self.on_nearby(addresses),
            Command::NetworkChanged => self.on_network_changed(),
            Command::Stop => {}
        }
    }

    /// Somebody found the host in this network: that is tried at once where nothing better is there.
    fn on_nearby(&mut self, addresses: Vec<Multiaddr>) {
        if self.record.nearby == addresses {
            return;
        }
        self.record.nearby = addresses;
        match &mut self.line {
            None => self.on_network_changed(),
            Some(line) if !line.path.is_direct() => {
                line.tries = 0;
                self.watch_for_direct(Duration::ZERO);
            }
            Some(_) => {}
        }
    }

    /// A new stream proves the path, or shows that it is dead, long before silence would.
    fn on_network_changed(&mut self) {
        self.backoff.reset();
        (self.attempt, self.retry_at) = (None, Some(Instant::now()));
        if self.line.is_none() {
            self.set_state(Connection::Connecting);
        }
    }

    /// Sends whatever waits, if there is a line.
    fn send_all(&mut self) {
        let Some(line) = &mut self.line else {
            if let Some((flight, _)) = &self.early {
                flight.load(self.calls.early());
            }
            return self.followed.prune(&[]);
        };
        let sender = line.channel.sender();
        let ids = self.followed.ids();
        if ids != line.watched && sender.offer(Envelope::Watch(Watch { threads: ids.clone() })).is_ok() {
            line.watched = ids;
        }
        self.followed.prune(&line.watched);
        self.calls.send(line.id, |request| sender.offer(Envelope::Request(request)).is_ok());
    }

    fn set_state(&self, state: Connection) {
        let kind_changed = {
            let before = self.outlets.state.borrow();
            !state.is_like(&before)
        };
        self.outlets.state.send_if_modified(|now| {
            let changed = *now != state;
            *now = state.clone();
            changed
        });
        if kind_changed {
            self.emit(Event::Connection(state));
        }
    }

    fn emit(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.outlets.events.send(event);
    }

    fn save(&mut self) {
        let (records, record) = (self.records.clone(), self.record.clone());
        let save = async move {
            if let Err(error) = records.put(&record).await {
                tracing::warn!(host = %record.host, %error, "what was learnt about the host could not be stored");
            }
        };
        self.saving = Some(save.boxed());
    }

    async fn end(mut self) {
        self.set_state(Connection::Away { since: SystemTime::now(), why: Why::Stopped });
        self.note_early();
        self.calls.end(&Error::Stopped, |id| self.log.withdraw(id));
        self.decisions.end(|id| self.log.withdraw(id));
        self.write_the_rest().await;
        if let Some(saving) = self.saving.take() {
            saving.await;
        }
        if self.unsaved || self.head_unsaved {
            let _ = self.records.put(&self.record).await;
        }
        for line in self.line.take().into_iter().chain(self.draining.take().map(|(old, _)| old)) {
            self.count(&line);
            line.channel.close(CloseReason::Stopping).await;
        }
    }
}

/// What the handles of a new task look at.
pub(crate) fn outlets(state: Connection) -> Arc<Outlets> {
    Arc::new(Outlets {
        state: watch::Sender::new(state),
        host: watch::Sender::new(None),
        approvals: watch::Sender::new(Vec::new()),
        questions: watch::Sender::new(Vec::new()),
        listed: watch::Sender::new(false),
        events: broadcast::Sender::new(256),
        truth: watch::Sender::new(Truth::default()),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
    })
}
