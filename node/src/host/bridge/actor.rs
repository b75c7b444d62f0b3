//! The task behind [`super::Bridge`]. It never waits for the app-server: what takes time is spawned and comes back as
//! a [`Command`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::replace;
use std::time::Duration;

use farhelm_core::codex::approval::Key;
use farhelm_core::codex::thread::{Thread, id_of};
use farhelm_core::identity::NodeId;
use farhelm_core::policy::{self, About, Defaults, Right};
use farhelm_core::wire::envelope::{CloseReason, HostState, Notification};
use farhelm_core::wire::{Envelope, limits};
use farhelm_overlay::channel;
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::access::Access;
use super::asked::Held;
use super::floor::{Asked, Judged};
use super::followed::Followed;
use super::missing::Missing;
use super::roster::{Audience, Roster, Ticket};
use super::unconfirmed::Unconfirmed;
use crate::host::app_server::{AppServer, Epoch, Event, ProcessEpoch, ReplyError, RequestError, RpcError};
use crate::host::devices::now_ms;
use crate::host::folders;
use crate::host::ledger::Ledger;
use crate::host::logs::{Line, Logs};

/// How often deadlines are looked at.
pub(super) const TICK: Duration = Duration::from_secs(30);

/// What is kept of a thread whose resume is under way; beyond it the oldest go, as in any thread.
const SAID: usize = 1024;

/// Resumes under way at once; what a phone wants to follow beyond that, it asks for again.
pub(super) const RESUMING: usize = 256;

/// What Codex says about a thread.
#[derive(Debug)]
pub(super) enum Said {
    Notification { process: ProcessEpoch, method: String, params: Value },
    Request { key: Key, method: String, params: Value },
}

impl Said {
    const fn params(&self) -> &Value {
        match self {
            Self::Notification { params, .. } | Self::Request { params, .. } => params,
        }
    }
}

/// What the actor is told by sessions, and by its own spawned calls.
#[derive(Debug)]
pub(super) enum Command {
    Attach {
        device: NodeId,
        sender: channel::Sender,
        line: Line,
        reply: oneshot::Sender<Ticket>,
    },
    Detach {
        session: u64,
    },
    Cut {
        device: NodeId,
        done: oneshot::Sender<()>,
    },
    Watch {
        session: u64,
        threads: Vec<String>,
    },
    Repair {
        session: u64,
        thread: String,
    },
    /// A person decided or answered.
    Say(Held),
    Running {
        reply: oneshot::Sender<Vec<(String, String)>>,
    },
    /// Where these threads work, as Codex names it; `None` of one that isn't followed.
    Folders {
        threads: Vec<String>,
        reply: oneshot::Sender<Vec<Option<String>>>,
    },
    /// A phone is about to have the agent work on a thread: whether the floor permits that.
    Judge {
        asked: Asked,
        reply: Judged,
    },
    /// Where a thread works that a phone looks at; `None` if Codex doesn't say.
    Found {
        thread: String,
        place: Option<String>,
    },
    /// The time has come to ask again about a thread that a phone looks at.
    Seek {
        thread: String,
    },
    /// The thread is loaded.
    Follow {
        thread: String,
    },
    /// A call that concerns the following of a thread was answered. Calls and events come on different ways, so the
    /// connection may have ended since; then this means nothing any more.
    Learned {
        epoch: Epoch,
        learned: Learned,
    },
    /// An answer to the app-server was written, or not.
    Answered {
        key: Key,
        sent: Result<(), ReplyError>,
    },
    /// The device that decided was removed before Codex was told.
    Unwanted {
        key: Key,
    },
    /// Every loaded thread is followed, or about to be.
    Listed {
        epoch: Epoch,
    },
}

/// What the answer to a call says about following a thread.
#[derive(Debug)]
pub(super) enum Learned {
    /// A `thread/start` or `thread/resume` succeeded: we are subscribed to its thread.
    Subscribed(Value),
    /// The thread can't be followed here; shown as far as it can be read.
    HeldElsewhere(Value),
    /// A resume gave nothing to show; it is tried again when the thread moves, and for those who look at it now and then.
    NotFollowed(String),
}

pub(super) struct Actor {
    pub(super) app_server: AppServer,
    pub(super) access: Access,
    pub(super) about: watch::Receiver<HostState>,
    commands: mpsc::WeakSender<Command>,
    /// The connection whose events are heard now.
    pub(super) epoch: Option<Epoch>,
    /// The app-server that was connected to last, perhaps still is.
    pub(super) process: ProcessEpoch,
    pub(super) followed: Followed,
    /// Threads whose resume is under way, with what Codex said about them meanwhile: the answer to a resume and the
    /// events behind it come on different ways, and only together they are the thread.
    pub(super) resuming: BTreeMap<String, Vec<Said>>,
    /// Threads that a phone looks at and of which Codex is asked where they work.
    pub(super) looking: BTreeSet<String>,
    /// Threads that a phone looks at and that couldn't be shown.
    pub(super) missing: Missing,
    /// Threads on which a phone was let have the agent work, until the next turn begins or ends.
    pub(super) caused: BTreeSet<String>,
    /// The ids of messages that phones queued and that no turn has taken up.
    pub(super) queued: VecDeque<String>,
    /// Who waits for a resume to be told whether the floor permits work on the thread.
    pub(super) judging: Vec<(Asked, Judged)>,
    pub(super) ledger: Ledger,
    pub(super) roster: Roster,
    pub(super) logs: Logs,
    /// Codex hasn't said yet which threads are loaded.
    pub(super) listing: bool,
    /// A resume was answered not long ago; what its thread waits for is asked only after that.
    pub(super) settling: bool,
    /// Decisions on what isn't known yet.
    pub(super) held: Vec<Held>,
    pub(super) unconfirmed: Unconfirmed,
    /// Says the ids of messages that Codex has kept.
    kept: broadcast::Sender<String>,
}

/// What makes the actor go on.
enum Step {
    Heard(Event),
    Told(Command),
    /// What phones are told of the host, or what they may do, has changed, or the time of one is over.
    Changed,
    Tick,
}

impl Actor {
    pub(super) fn new(
        host: NodeId,
        app_server: AppServer,
        access: Access,
        about: watch::Receiver<HostState>,
        logs: Logs,
        commands: mpsc::WeakSender<Command>,
        kept: broadcast::Sender<String>,
    ) -> Self {
        Self {
            app_server,
            access,
            about,
            commands,
            epoch: None,
            process: ProcessEpoch::default(),
            followed: Followed::default(),
            resuming: BTreeMap::new(),
            looking: BTreeSet::new(),
            missing: Missing::default(),
            caused: BTreeSet::new(),
            queued: VecDeque::new(),
            judging: Vec::new(),
            ledger: Ledger::new(host),
            roster: Roster::new(logs.clone()),
            logs,
            listing: true,
            settling: false,
            held: Vec::new(),
            unconfirmed: Unconfirmed::default(),
            kept,
        }
    }

    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut commands: mpsc::Receiver<Command>,
        working: watch::Sender<bool>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        while let Some(step) = self.next(&mut events, &mut commands, &mut tick).await {
            // First of all: what comes after a grant was lowered is judged by the lowered one.
            if self.access.heed() || matches!(step, Step::Changed) {
                self.settle_all();
            }
            if self.access.heed_conditions() {
                self.guard_anew();
            }
            match step {
                Step::Heard(event) => self.hear(event),
                Step::Told(command) => self.obey(command),
                Step::Changed => {}
                Step::Tick => self.pass(),
            }
            let is_working = self.followed.is_working();
            working.send_if_modified(|was| replace(was, is_working) != is_working);
        }
    }

    async fn next(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        commands: &mut mpsc::Receiver<Command>,
        tick: &mut tokio::time::Interval,
    ) -> Option<Step> {
        let expiry = until(self.roster.next_expiry());
        tokio::select! {
            event = events.recv() => event.map(Step::Heard),
            command = commands.recv() => command.map(Step::Told),
            () = self.access.changed() => Some(Step::Changed),
            Ok(()) = self.about.changed() => Some(Step::Changed),
            () = expiry => Some(Step::Changed),
            _ = tick.tick() => Some(Step::Tick),
        }
    }

    /// Time has passed: deadlines, links that were turned, and clocks that were set; and phones compare what they have.
    fn pass(&mut self) {
        self.followed.look_again();
        self.settle_all();
        self.settle_doubts();
        if !replace(&mut self.settling, false) {
            self.let_go_of_held();
        }
        self.decline_expired();
        self.compare_changed();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Attach { device, sender, line, reply } => self.attach(device, sender, line, reply),
            Command::Detach { session } => self.roster.detach(session),
            Command::Cut { device, done } => {
                self.roster.cut(device, CloseReason::Revoked);
                let _ = done.send(());
            }
            Command::Watch { session, threads } => self.watch(session, threads),
            Command::Repair { session, thread } => self.repair(session, thread),
            Command::Say(held) => self.take_said(held),
            Command::Running { reply } => drop(reply.send(self.followed.running())),
            Command::Folders { threads, reply } => {
                let folder = |thread: &String| self.followed.folder(thread).map(str::to_owned);
                let _ = reply.send(threads.iter().map(folder).collect());
            }
            Command::Judge { asked, reply } => self.judge(asked, reply),
            Command::Found { thread, place } => self.found(thread, place.as_deref()),
            Command::Seek { thread } => self.seek(thread),
            Command::Follow { thread } => self.follow(thread),
            Command::Learned { epoch, learned } if self.epoch == Some(epoch) => self.learn(&learned),
            Command::Learned { .. } => tracing::debug!("an answer of a connection that has ended"),
            Command::Answered { key, sent } => self.answered(key, sent),
            Command::Unwanted { key } => self.unwanted(key),
            Command::Listed { epoch } if self.epoch == Some(epoch) => {
                self.listing = false;
                self.let_go_of_held();
            }
            Command::Listed { .. } => {}
        }
    }

    // What Codex says.

    fn hear(&mut self, event: Event) {
        match event {
            Event::Up { epoch, process, .. } => {
                (self.epoch, self.process, self.listing) = (Some(epoch), process, true);
                let lost = self.ledger.lose_others(process);
                self.tell_over(lost);
                self.follow_loaded(epoch);
            }
            Event::Down { .. } => self.lose_app_server(),
            Event::Notification { method, params, .. } => {
                self.hear_or_keep(Said::Notification { process: self.process, method, params });
            }
            Event::Request { id, method, params, .. } => {
                let key = Key { epoch: ByteArray::new(self.process), request: id };
                self.hear_or_keep(Said::Request { key, method, params });
            }
        }
    }

    fn hear_or_keep(&mut self, said: Said) {
        match id_of(said.params()).and_then(|id| self.resuming.get_mut(id)) {
            Some(kept) => {
                if kept.len() >= SAID {
                    kept.remove(0);
                }
                kept.push(said);
            }
            None => self.hear_said(said),
        }
    }

    fn hear_said(&mut self, said: Said) {
        match said {
            Said::Notification { process, method, params } => {
                self.notified(process, &method, &params);
                self.compare_after(&method, &params);
            }
            Said::Request { key, method, params } => self.asked(key, &method, &params),
        }
    }

    /// The resume of a thread is over, one way or the other: what was said meanwhile counts now.
    fn hear_backlog(&mut self, thread: &str) {
        for said in self.resuming.remove(thread).unwrap_or_default() {
            self.hear_said(said);
        }
        self.settle_doubt(thread);
        self.judge_waiting(thread);
        self.settling = true;
        self.let_go_of_held();
    }

    fn lose_app_server(&mut self) {
        self.epoch = None;
        self.followed.unsubscribe_all();
        self.resuming.clear();
        self.caused.clear();
        self.judging.clear();
        self.ledger.doubt_all();
    }

    /// A message stands in the history now; nobody may wait for that.
    fn kept(&self, params: &Value) {
        if let Some(id) = params.pointer("/item/clientId").and_then(Value::as_str) {
            let _ = self.kept.send(id.to_owned());
        }
    }

    fn notified(&mut self, process: ProcessEpoch, method: &str, params: &Value) {
        if self.followed.apply(method, params) {
            self.settle_all();
        }
        self.watch_floor(method, params);
        if method == "thread/started" {
            self.access.hint();
        }
        match method {
            "serverRequest/resolved" => self.resolved(process, params),
            "turn/completed" => self.turn_ended(params),
            "item/completed" => self.kept(params),
            // Started or opened at the desk, or by another client: its approvals come to subscribers only.
            "thread/started" | "thread/status/changed" if !is_unloaded(params) => {
                id_of(params).map(str::to_owned).into_iter().for_each(|id| self.follow(id));
            }
            _ => {}
        }
        let Some((known, params)) = policy::notifications::find(method).and_then(|n| Some((n, n.filter(params)?)))
        else {
            return;
        };
        let thread = id_of(&params).map(str::to_owned);
        let place = thread.as_deref().and_then(|thread| self.place_in(&params, thread));
        let params = ByteBuf::from(params.to_string());
        let is_short = params.len() <= limits::CODEX_JSON;
        let envelope = Envelope::Notification(Notification { method: method.to_owned(), params });
        match (known.subject, thread, place) {
            (About::Host, ..) if is_short => {
                self.roster.broadcast(Audience { right: known.right, place: None }, &envelope);
            }
            // The thread as it stands is bounded, and says what the notification would have.
            (About::Thread, Some(thread), _) if !is_short => self.snapshot_to_watchers(&thread),
            (About::Thread, Some(thread), Some(place)) => {
                let to = Audience { right: known.right, place: Some(&place) };
                // Codex itself tells some to every client; a list of threads lives on them.
                if is_broadcast(method) {
                    self.roster.broadcast(to, &envelope);
                } else {
                    self.roster.to_watchers(&thread, to, &envelope);
                }
            }
            // Nobody's, as long as it isn't known where it belongs.
            _ => {}
        }
    }

    /// Where a thread works: what is reported about it says so itself before it is followed.
    fn place_in(&self, params: &Value, thread: &str) -> Option<String> {
        match params.pointer("/thread/cwd").and_then(Value::as_str) {
            Some(folder) => folders::canonical(folder),
            None => self.followed.place(thread).map(str::to_owned),
        }
    }

    // Following threads.

    /// After a connection: whatever is loaded, and whatever a phone looks at.
    fn follow_loaded(&mut self, epoch: Epoch) {
        for id in self.roster.watched() {
            self.find(id);
        }
        let (app_server, commands) = (self.app_server.clone(), self.commands.clone());
        tokio::spawn(async move {
            let loaded = match app_server.request("thread/loaded/list", json!({})).await {
                Ok(loaded) => loaded,
                Err(error) => return tracing::warn!(%error, "can't list the loaded threads"),
            };
            let ids = loaded.get("data").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            for id in ids {
                let Some(commands) = commands.upgrade() else { return };
                let _ = commands.send(Command::Follow { thread: id.to_owned() }).await;
            }
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(Command::Listed { epoch }).await;
            }
        });
    }

    pub(super) fn follow(&mut self, id: String) {
        // Without a connection there is nothing to ask; the next one begins with what phones look at.
        let Some(epoch) = self.epoch else { return };
        if self.followed.is_subscribed(&id) || self.resuming.contains_key(&id) || self.resuming.len() >= RESUMING {
            return;
        }
        self.resuming.insert(id.clone(), Vec::new());
        let (app_server, defaults) = (self.app_server.clone(), self.access.defaults_of_host());
        self.spawn(async move {
            let learned = resume(&app_server, &defaults, id).await;
            Command::Learned { epoch, learned }
        });
    }

    fn learn(&mut self, learned: &Learned) {
        match learned {
            Learned::Subscribed(result) => self.subscribed(result),
            Learned::HeldElsewhere(result) => self.note_held_elsewhere(result),
            Learned::NotFollowed(thread) => {
                self.hear_backlog(thread);
                self.seek_later(thread);
            }
        }
    }

    fn subscribed(&mut self, result: &Value) {
        let Ok(thread) = Thread::from_resume(result) else {
            return tracing::warn!("an answer of Codex holds no thread");
        };
        let id = thread.id.clone();
        self.missing.is_there(&id);
        if !self.followed.is_subscribed(&id) {
            self.followed.adopt(thread);
            self.snapshot_to_watchers(&id);
            self.settle_all();
        }
        self.hear_backlog(&id);
    }

    fn note_held_elsewhere(&mut self, result: &Value) {
        let Ok(thread) = Thread::from_read(result) else { return };
        let id = thread.id.clone();
        self.missing.is_there(&id);
        self.followed.held_elsewhere(thread);
        self.snapshot_to_watchers(&id);
        self.hear_backlog(&id);
    }

    pub(super) fn spawn(&self, call: impl Future<Output = Command> + Send + 'static) {
        let commands = self.commands.clone();
        tokio::spawn(async move {
            let command = call.await;
            if let Some(commands) = commands.upgrade() {
                let _ = commands.send(command).await;
            }
        });
    }
}

/// Subscribes to a thread. Its open approvals are asked again by that.
async fn resume(app_server: &AppServer, defaults: &Defaults, id: String) -> Learned {
    let learned = match open(app_server, resume_params(&id, defaults)).await {
        Ok(result) if Thread::from_resume(&result).is_ok() => Ok(Learned::Subscribed(result)),
        Err(RequestError::HeldElsewhere) => {
            let read = app_server.request("thread/read", json!({ "threadId": id, "includeTurns": false })).await;
            read.map_err(|error| error.to_string()).and_then(|result| match Thread::from_read(&result) {
                Ok(_) => Ok(Learned::HeldElsewhere(result)),
                Err(error) => Err(error.to_string()),
            })
        }
        Ok(_) => Err("the answer holds no thread".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    learned.unwrap_or_else(|error| {
        tracing::debug!(thread = id, error, "not followed");
        Learned::NotFollowed(id)
    })
}

/// Asks for a resume. Turns full of images can be more than is taken at once; then the thread is opened without their
/// items, which a phone reads page by page.
pub(super) async fn open(app_server: &AppServer, mut params: Value) -> Result<Value, RequestError> {
    match app_server.request("thread/resume", params.clone()).await {
        Err(RequestError::Codex(error)) if error.code == RpcError::TOO_LARGE => {
            params["initialTurnsPage"] = json!({"limit": 20, "sortDirection": "desc", "itemsView": "notLoaded"});
            app_server.request("thread/resume", params).await
        }
        answered => answered,
    }
}

/// The same parameters as a phone's own resume gets.
fn resume_params(id: &str, defaults: &Defaults) -> Value {
    let asked = json!({ "threadId": id });
    policy::request("thread/resume", &asked, Right::Owner, defaults).map_or(asked, |forward| forward.params)
}

/// Whether a thread's new status is that nobody has it open.
fn is_unloaded(params: &Value) -> bool {
    params.pointer("/status/type").and_then(Value::as_str) == Some("notLoaded")
}

/// What Codex itself tells every client, subscribed or not (APP-SERVER: thread/started, thread/status/changed).
fn is_broadcast(method: &str) -> bool {
    matches!(method, "thread/started" | "thread/status/changed" | "thread/name/updated" | "thread/archived")
}

/// Waits until a time by this machine's clock; for ever, if there is none. The clock may be set meanwhile, so it is
/// looked at with every [`TICK`], too.
async fn until(at_ms: Option<u64>) {
    match at_ms {
        Some(at) => tokio::time::sleep(Duration::from_millis(at.saturating_sub(now_ms())).min(TICK)).await,
        None => std::future::pending().await,
    }
}
