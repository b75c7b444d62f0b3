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
//! One line carries everything; a second one only drains: its outstanding requests may still be answered for
//! [`DRAIN`], nothing else is taken from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use farhelm_core::codex::approval::{Approval, Key};
use farhelm_core::codex::decision::SignedDecision;
use farhelm_core::codex::thread::{Thread, Turn, TurnStatus, id_of};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{CloseReason, Decided, HostState, Notification, Resolved, Watch};
use farhelm_overlay::channel::{self, Channel};
use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture};
use rand::Rng;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::attach::{Aim, Attached, Failure, Us, attach};
use crate::backoff::Backoff;
use crate::calls::{self, Calls, LineId};
use crate::connection::{Connection, Path, Why};
use crate::decisions::{self, DecideError, Decisions};
use crate::error::Error;
use crate::event::Event;
use crate::followed::{Followed, ThreadWatch};
use crate::records::{Record, Records};

/// How long an old line may still answer after the session moved.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a failed move to a direct path isn't tried again.
const NEXT_MOVE: Duration = Duration::from_secs(30);
/// How long to leave the host to another program that took our place.
const REPLACED: Duration = Duration::from_secs(5);
/// How often the round trip in the state is brought up to date.
const REFRESH: Duration = Duration::from_secs(5);
/// Open approvals that are kept. A host with more is broken; the newest are dropped.
const APPROVALS: usize = 64;

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
    /// Send a decision.
    Decide {
        /// The decision.
        signed: Box<SignedDecision>,
        /// For what became of it.
        reply: decisions::Reply,
    },
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
            Self::NetworkChanged | Self::Stop => {}
        }
    }
}

/// What the handles look at.
#[derive(Debug)]
pub(crate) struct Outlets {
    pub(crate) state: watch::Sender<Connection>,
    pub(crate) host: watch::Sender<Option<HostState>>,
    pub(crate) approvals: watch::Sender<Vec<Approval>>,
    pub(crate) events: broadcast::Sender<Event>,
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
}

type Attempt = BoxFuture<'static, Result<Attached, Failure>>;

/// The state of the task.
pub(crate) struct Supervisor {
    us: Us,
    records: Records,
    record: Record,
    saving: Option<BoxFuture<'static, ()>>,
    unsaved: bool,
    commands: mpsc::Receiver<Command>,
    outlets: Arc<Outlets>,
    lines: LineId,
    line: Option<Line>,
    draining: Option<(Line, Instant)>,
    attempt: Option<(Aim, Attempt)>,
    /// Resolves when a direct path has appeared; only while the line is relayed.
    direct: Option<BoxFuture<'static, ()>>,
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
        record: Record,
        commands: mpsc::Receiver<Command>,
        outlets: Arc<Outlets>,
        attached: Option<Attached>,
    ) -> Self {
        let now = Instant::now();
        let mut supervisor = Self {
            us,
            records,
            record,
            saving: None,
            unsaved: false,
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
        match (supervisor.record.removed_at_ms, attached) {
            (Some(_), _) => supervisor.retry_at = None,
            (None, Some(attached)) => supervisor.on_attached(attached),
            (None, None) => {}
        }
        supervisor
    }

    /// Runs until it is told to stop or every handle is gone.
    pub(crate) async fn run(mut self) {
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
                Some(()) = OptionFuture::from(self.direct.as_mut()) => self.on_direct(),
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
        if due && self.attempt.is_none() {
            self.retry_at = None;
            self.start_attempt(Aim::Best);
        }
    }

    fn start_attempt(&mut self, aim: Aim) {
        let attempt = attach(self.us.clone(), self.record.clone(), self.followed.ids(), aim);
        self.attempt = Some((aim, attempt.boxed()));
    }

    fn deadline(&self) -> Instant {
        let refresh = self.line.is_some().then_some(self.refresh_at);
        let retry = self.retry_at.filter(|_| self.attempt.is_none());
        let drained = self.draining.as_ref().map(|(_, until)| *until);
        let all = [refresh, retry, drained, self.calls.deadline(), self.decisions.deadline()];
        let far = Instant::now() + Duration::from_secs(3600);
        all.into_iter().flatten().min().unwrap_or(far)
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        self.calls.expire(now);
        self.decisions.expire(now);
        if self.draining.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.end_draining();
        }
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
                self.calls.add(id, method, &params, reply, Instant::now());
                self.send_all();
            }
            Command::Follow { thread, reply } => {
                let _ = reply.send(self.followed.follow(&thread));
                self.send_all();
            }
            Command::Decide { signed, reply } => {
                self.decisions.add(*signed, reply, Instant::now());
                self.send_all();
            }
            Command::NetworkChanged => self.on_network_changed(),
            Command::Stop => {}
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

    fn on_attempted(&mut self, result: Result<Attached, Failure>) {
        let aim = self.attempt.take().map(|(aim, _)| aim);
        match result {
            Ok(attached) => self.on_attached(attached),
            Err(Failure::Removed(tombstone)) => self.on_removed(tombstone.revoked_at_ms),
            // The line lives on; moving it is tried again later.
            Err(Failure::Away(_)) if aim == Some(Aim::Direct) && self.line.is_some() => {
                self.watch_for_direct(NEXT_MOVE);
            }
            Err(Failure::Away(why)) => {
                self.drop_line();
                self.on_away(why);
            }
        }
    }

    fn on_attached(&mut self, attached: Attached) {
        let Attached { channel, path, host_name, secret, watched } = attached;
        self.backoff.reset();
        self.retry_at = None;
        self.lines += 1;
        let line = Line { id: self.lines, channel, path: Path::of(&path), watched, counted: (0, 0) };
        if let Some(old) = self.line.replace(line) {
            self.drain(old);
        }
        self.unsaved |= self.record.confirm(&secret);
        self.unsaved |= self.record.rename(&host_name);
        self.refresh_at = Instant::now() + Duration::from_millis(500);
        self.watch_for_direct(Duration::ZERO);
        self.refresh();
        self.send_all();
    }

    fn watch_for_direct(&mut self, after: Duration) {
        let relayed = self.line.as_ref().is_some_and(|line| !line.path.is_direct());
        self.direct = relayed.then(|| {
            let (network, host, addresses) = (self.us.network.clone(), self.record.host, self.record.direct.clone());
            async move {
                tokio::time::sleep(after).await;
                network.direct(host, addresses).await;
            }
            .boxed()
        });
    }

    fn on_direct(&mut self) {
        self.direct = None;
        if self.attempt.is_none() {
            self.start_attempt(Aim::Direct);
        }
    }

    /// Sends whatever waits, if there is a line.
    fn send_all(&mut self) {
        let Some(line) = &mut self.line else { return };
        let sender = line.channel.sender();
        let ids = self.followed.ids();
        if ids != line.watched && sender.offer(Envelope::Watch(Watch { threads: ids.clone() })).is_ok() {
            line.watched = ids;
        }
        self.decisions.send(|signed| sender.offer(Envelope::Decision(signed)).is_ok());
        self.calls.send(line.id, |request| sender.offer(Envelope::Request(request)).is_ok());
    }

    fn on_received(&mut self, received: Result<Envelope, channel::Error>) {
        match received {
            Ok(envelope) => self.on_envelope(envelope),
            Err(error) => self.on_line_lost(&error),
        }
    }

    fn on_envelope(&mut self, envelope: Envelope) {
        match envelope {
            Envelope::Response(response) => {
                let line = self.line.as_ref().map_or(0, |line| line.id);
                self.calls.answer(line, response);
            }
            Envelope::Notification(notification) => self.on_notification(&notification),
            Envelope::Snapshot(snapshot) => self.followed.replace(snapshot.thread),
            Envelope::Host(state) => self.on_host(state),
            Envelope::Approvals(all) => self.on_approvals(all.open),
            Envelope::Approval(approval) => self.on_approval(approval),
            Envelope::Resolved(resolved) => self.on_resolved(resolved),
            Envelope::Decided(Decided { key, result }) => self.decisions.decided(key, result),
            // What only a phone sends; beats are the channel's.
            _ => tracing::debug!("the host sent what only a phone sends"),
        }
    }

    fn on_host(&mut self, state: HostState) {
        let direct = self.record.direct.clone();
        self.unsaved |= self.record.learn(&state);
        if direct != self.record.direct {
            self.watch_for_direct(Duration::ZERO);
        }
        self.outlets.host.send_replace(Some(state.clone()));
        self.emit(Event::Host(state));
    }

    fn on_notification(&mut self, Notification { method, params }: &Notification) {
        let Ok(params) = serde_json::from_slice::<Value>(params) else {
            return tracing::debug!("a notification that is no JSON");
        };
        self.followed.apply(method, &params);
        if method == "turn/completed"
            && let (Some(thread), Some((turn, status))) = (id_of(&params), completed(&params))
        {
            self.emit(Event::TurnCompleted { thread: thread.to_owned(), turn, status });
        }
        // Somebody may have stopped looking since.
        if self.line.as_ref().is_some_and(|line| line.watched.len() > self.followed.ids().len()) {
            self.followed.prune();
            self.send_all();
        }
    }

    fn on_approvals(&mut self, mut open: Vec<Approval>) {
        open.truncate(APPROVALS);
        self.decisions.listed(&open);
        let before = self.outlets.approvals.send_replace(open.clone());
        for gone in before.iter().filter(|old| !open.iter().any(|approval| approval.key == old.key)) {
            self.emit(Event::Gone { key: gone.key, thread: gone.thread.clone() });
        }
        for new in open.into_iter().filter(|approval| !before.contains(approval)) {
            self.emit(Event::Approval(new));
        }
        self.send_all();
    }

    fn on_approval(&mut self, approval: Approval) {
        let kept = self.outlets.approvals.send_if_modified(|open| {
            open.retain(|other| other.key != approval.key);
            let room = open.len() < APPROVALS;
            if room {
                open.push(approval.clone());
            }
            room
        });
        if kept {
            self.emit(Event::Approval(approval));
        }
    }

    fn on_resolved(&mut self, Resolved { key, outcome, by }: Resolved) {
        self.decisions.resolved(key, outcome, by, self.us.identity.node_id());
        let thread = self.forget_approval(key);
        self.emit(Event::Resolved { key, thread, outcome, by });
    }

    fn forget_approval(&mut self, key: Key) -> Option<String> {
        let mut thread = None;
        self.outlets.approvals.send_if_modified(|open| {
            let place = open.iter().position(|approval| approval.key == key);
            thread = place.map(|place| open.remove(place).thread);
            thread.is_some()
        });
        thread
    }

    fn on_line_lost(&mut self, error: &channel::Error) {
        tracing::debug!(host = %self.record.host, %error, "the session's line ended");
        self.drop_line();
        // A better path is being taken already: perhaps that is why this one ended.
        if self.attempt.is_some() {
            return self.set_state(Connection::Connecting);
        }
        // A removed device learns from its next handshake when that was.
        match (Why::from(error), error) {
            (Why::LinkLost, _) | (_, channel::Error::Closed(CloseReason::Revoked)) => {
                self.retry_at = Some(Instant::now());
                self.set_state(Connection::Connecting);
            }
            (why, _) => self.on_away(why),
        }
    }

    fn drop_line(&mut self) {
        self.direct = None;
        if let Some(line) = self.line.take() {
            self.count(&line);
            self.calls.lost(line.id);
        }
    }

    fn on_away(&mut self, why: Why) {
        let wait = match why {
            Why::Replaced => self.backoff.next_after(REPLACED),
            _ => self.backoff.next(),
        };
        self.retry_at = Some(Instant::now() + wait);
        let since = match *self.outlets.state.borrow() {
            Connection::Away { since, .. } => since,
            _ => SystemTime::now(),
        };
        self.set_state(Connection::Away { since, why });
    }

    fn on_removed(&mut self, at_ms: u64) {
        self.drop_line();
        (self.attempt, self.direct, self.retry_at) = (None, None, None);
        self.record.remove(at_ms);
        self.unsaved = true;
        self.calls.end(&Error::Removed { at_ms });
        self.decisions.end();
        self.outlets.approvals.send_replace(Vec::new());
        self.set_state(Connection::Removed { at_ms });
    }

    fn drain(&mut self, old: Line) {
        self.end_draining();
        let until = Instant::now() + DRAIN;
        self.draining = Some((old, until));
        self.end_draining_if_answered();
    }

    fn on_drained(&mut self, received: Result<Envelope, channel::Error>) {
        let Some((old, _)) = &self.draining else { return };
        match received {
            Ok(Envelope::Response(response)) => self.calls.answer(old.id, response),
            Ok(Envelope::Decided(Decided { key, result })) => self.decisions.decided(key, result),
            Ok(_) => {}
            Err(_) => return self.end_draining(),
        }
        self.end_draining_if_answered();
    }

    fn end_draining_if_answered(&mut self) {
        if self.draining.as_ref().is_some_and(|(old, _)| !self.calls.any_on(old.id)) {
            self.end_draining();
        }
    }

    fn end_draining(&mut self) {
        let Some((old, _)) = self.draining.take() else { return };
        self.count(&old);
        self.calls.lost(old.id);
        tokio::spawn(old.channel.close(CloseReason::Replaced));
        self.send_all();
    }

    /// Brings what the handles see up to date.
    fn refresh(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        let traffic = line.channel.traffic();
        line.path.round_trip = traffic.round_trip().or(line.path.round_trip);
        line.counted = self.count(&line);
        self.set_state(Connection::Live(line.path));
        self.line = Some(line);
    }

    /// Adds what a line has moved since it was counted last.
    fn count(&self, line: &Line) -> (u64, u64) {
        let traffic = line.channel.traffic();
        let now = (traffic.sent(), traffic.received());
        self.outlets.sent.fetch_add(now.0.saturating_sub(line.counted.0), Ordering::Relaxed);
        self.outlets.received.fetch_add(now.1.saturating_sub(line.counted.1), Ordering::Relaxed);
        now
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
        self.calls.end(&Error::Stopped);
        self.decisions.end();
        if let Some(saving) = self.saving.take() {
            saving.await;
        }
        if self.unsaved {
            let _ = self.records.put(&self.record).await;
        }
        for line in self.line.take().into_iter().chain(self.draining.take().map(|(old, _)| old)) {
            self.count(&line);
            line.channel.close(CloseReason::Stopping).await;
        }
    }
}

/// The turn of a `turn/completed` and how it ended.
fn completed(params: &Value) -> Option<(String, TurnStatus)> {
    // The reducer reads it, on a thread that has nothing else.
    let mut thread = Thread::default();
    id_of(params)?.clone_into(&mut thread.id);
    thread.apply("turn/completed", params);
    thread.turns.pop().map(|Turn { id, status, .. }| (id, status))
}

/// What the handles of a new task look at.
pub(crate) fn outlets(state: Connection) -> Arc<Outlets> {
    Arc::new(Outlets {
        state: watch::Sender::new(state),
        host: watch::Sender::new(None),
        approvals: watch::Sender::new(Vec::new()),
        events: broadcast::Sender::new(256),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
    })
}
