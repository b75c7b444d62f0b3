//! Who is attached, what each may see, and what each is sent. Sending never waits: a phone that doesn't keep up loses
//! its session and finds everything again when it attaches anew.
//!
//! What streams goes to sessions. What must not be lost (approvals, questions, how they ended, ends of turns) is logged
//! for devices, attached or not; and what a session is told in between goes the same way, so that order holds.

use std::collections::{BTreeMap, BTreeSet};

use farhelm_core::codex::approval::Key;
use farhelm_core::identity::NodeId;
use farhelm_core::policy::{Entitlement, Right};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{CloseReason, HostState, Resolved};
use farhelm_overlay::channel;
use tokio::sync::watch;

use crate::host::devices::now_ms;
use crate::host::logs::{Line, Logs};

/// Threads one phone may follow.
const WATCHED: usize = 64;

/// What becomes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Live,
    /// The host ends it.
    Ended(CloseReason),
    /// It didn't keep up.
    Slow,
}

/// What a new session is given.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) session: u64,
    pub(super) cut: watch::Receiver<Fate>,
}

/// For whom something is: whoever has the right and, if it is about a thread, the folder in which that works.
#[derive(Debug, Clone, Copy)]
pub(super) struct Audience<'a> {
    pub(super) right: Right,
    pub(super) place: Option<&'a str>,
}

impl<'a> Audience<'a> {
    /// Whoever may read what lies in this folder.
    pub(super) const fn at(place: &'a str) -> Self {
        Self { right: Right::Viewer, place: Some(place) }
    }
}

#[derive(Debug)]
struct Session {
    device: NodeId,
    sender: channel::Sender,
    line: Line,
    fate: watch::Sender<Fate>,
    entitlement: Entitlement,
    /// What it was told of the host last.
    told: Option<HostState>,
    /// The threads its person looks at, whether it may or not.
    watched: BTreeSet<String>,
    /// Those of them of which it has a snapshot.
    shown: BTreeSet<String>,
    /// A newer session of the same device is there: this one gets its answers and nothing else.
    replaced: bool,
}

/// The attached sessions, and what every device was asked.
#[derive(Debug)]
pub(super) struct Roster {
    logs: Logs,
    next: u64,
    sessions: BTreeMap<u64, Session>,
    /// What waits for a person, as far as each device was told.
    asked: BTreeMap<NodeId, BTreeSet<Key>>,
}

impl Roster {
    /// Nobody yet.
    pub(super) const fn new(logs: Logs) -> Self {
        Self { logs, next: 0, sessions: BTreeMap::new(), asked: BTreeMap::new() }
    }

    /// Takes a session in.
    pub(super) fn attach(&mut self, device: NodeId, sender: channel::Sender, line: Line) -> Ticket {
        for older in self.sessions.values_mut().filter(|s| s.device == device) {
            older.replaced = true;
        }
        let (fate, cut) = watch::channel(Fate::Live);
        let session = self.next;
        self.next += 1;
        let (entitlement, watched, shown) = Default::default();
        let told = None;
        let new = Session { device, sender, line, fate, entitlement, told, watched, shown, replaced: false };
        self.sessions.insert(session, new);
        Ticket { session, cut }
    }

    /// Lets a session go.
    pub(super) fn detach(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// Ends all sessions of a device, whatever they still wait for.
    pub(super) fn cut(&mut self, device: NodeId, reason: CloseReason) {
        for session in self.sessions.values().filter(|s| s.device == device) {
            session.fate.send_replace(Fate::Ended(reason));
        }
        self.sessions.retain(|_, s| s.device != device);
        self.asked.remove(&device);
    }

    /// Every session and its device.
    pub(super) fn sessions(&self) -> Vec<(u64, NodeId)> {
        self.sessions.iter().map(|(session, s)| (*session, s.device)).collect()
    }

    /// Whether what lies in a canonical folder is for a session's device.
    pub(super) fn covers(&self, session: u64, place: &str) -> bool {
        self.sessions.get(&session).is_some_and(|s| s.entitlement.covers(place))
    }

    /// When the first entitlement ends, in Unix milliseconds.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.sessions.values().filter_map(|s| s.entitlement.until_ms).min()
    }

    /// Tells a session what the host is and what it may do there, if that is news. It holds from now on. Says whether
    /// it may do something else than before.
    pub(super) fn entitle(&mut self, session: u64, about: HostState) -> bool {
        let Some(session) = self.sessions.get_mut(&session) else { return false };
        let is_new = session.entitlement != about.entitlement;
        session.entitlement = about.entitlement.clone();
        if session.told.as_ref() != Some(&about) && !session.replaced {
            session.line.say(Envelope::Host(about.clone()));
            session.told = Some(about);
        }
        is_new
    }

    /// Replaces the set of threads a session follows; gives those that are new to it.
    pub(super) fn watch(&mut self, session: u64, threads: Vec<String>) -> Vec<String> {
        let Some(session) = self.sessions.get_mut(&session) else { return Vec::new() };
        let wanted: BTreeSet<_> = threads.into_iter().take(WATCHED).collect();
        let new = wanted.difference(&session.watched).cloned().collect();
        session.shown.retain(|thread| wanted.contains(thread));
        session.watched = wanted;
        new
    }

    /// Every thread that somebody follows.
    pub(super) fn watched(&self) -> BTreeSet<String> {
        self.sessions.values().flat_map(|s| s.watched.iter().cloned()).collect()
    }

    /// The threads a session follows, and whether it has been shown each.
    pub(super) fn watched_by(&self, session: u64) -> Vec<(String, bool)> {
        let Some(session) = self.sessions.get(&session) else { return Vec::new() };
        session.watched.iter().map(|thread| (thread.clone(), session.shown.contains(thread))).collect()
    }

    /// Whether somebody who may see what lies there follows this thread.
    pub(super) fn is_watched_at(&self, thread: &str, place: &str) -> bool {
        self.sessions.values().any(|s| s.watched.contains(thread) && s.hears(Audience::at(place)))
    }

    /// A session isn't to be shown a thread any more.
    pub(super) fn hide(&mut self, session: u64, thread: &str) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.shown.remove(thread);
        }
    }

    /// Shows one session a thread that it follows.
    pub(super) fn show(&mut self, session: u64, thread: &str, whole: [Envelope; 2]) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.shown.insert(thread.to_owned());
            whole.into_iter().for_each(|envelope| session.offer(envelope));
        }
    }

    /// A session isn't shown this thread, so its channel needs no snapshot to go on with it.
    pub(super) fn release(&self, session: u64, thread: &str) {
        if let Some(session) = self.sessions.get(&session) {
            session.sender.release(thread);
        }
    }

    /// Shows a thread to everyone who follows it.
    pub(super) fn show_watchers(&mut self, thread: &str, to: Audience<'_>, whole: &[Envelope; 2]) {
        for session in self.sessions.values_mut().filter(|s| s.watched.contains(thread) && s.hears(to)) {
            session.shown.insert(thread.to_owned());
            whole.iter().for_each(|envelope| session.offer(envelope.clone()));
        }
    }

    /// Whether somebody has a snapshot of a thread.
    pub(super) fn is_shown(&self, thread: &str) -> bool {
        self.sessions.values().any(|s| s.shown.contains(thread) && !s.replaced)
    }

    /// Sends to everyone it is for who has a snapshot of a thread.
    pub(super) fn to_shown(&self, thread: &str, to: Audience<'_>, envelope: &Envelope) {
        let has = |s: &&Session| s.shown.contains(thread) && s.hears(to);
        self.sessions.values().filter(has).for_each(|s| s.offer(envelope.clone()));
    }

    /// Sends to everyone it is for.
    pub(super) fn broadcast(&self, to: Audience<'_>, envelope: &Envelope) {
        self.sessions.values().filter(|s| s.hears(to)).for_each(|s| s.offer(envelope.clone()));
    }

    /// Sends to everyone it is for who follows a thread.
    pub(super) fn to_watchers(&self, thread: &str, to: Audience<'_>, envelope: &Envelope) {
        let follows = |s: &&Session| s.watched.contains(thread) && s.hears(to);
        self.sessions.values().filter(follows).for_each(|s| s.offer(envelope.clone()));
    }

    /// Asks these devices, and remembers that they were.
    pub(super) fn ask(&mut self, key: Key, devices: impl IntoIterator<Item = NodeId>, envelope: &Envelope) {
        for device in devices {
            self.asked.entry(device).or_default().insert(key);
            self.logs.push(device, envelope.clone());
        }
    }

    /// What a device was asked and isn't over.
    pub(super) fn asked(&self, device: NodeId) -> BTreeSet<Key> {
        self.asked.get(&device).cloned().unwrap_or_default()
    }

    /// Asks one session all of this, in place of what its device was asked before.
    pub(super) fn ask_anew(&mut self, session: u64, keys: BTreeSet<Key>, envelopes: Vec<Envelope>) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        self.asked.insert(session.device, keys);
        if !session.replaced {
            envelopes.into_iter().for_each(|envelope| session.line.say(envelope));
        }
    }

    /// Tells everyone who was asked that it is over.
    pub(super) fn resolve(&mut self, resolved: &Resolved) {
        for (device, asked) in &mut self.asked {
            if asked.remove(&resolved.key) {
                self.logs.push(*device, Envelope::Resolved(resolved.clone()));
            }
        }
    }

    /// Tells these devices something that must not be lost.
    pub(super) fn log(&self, devices: impl IntoIterator<Item = NodeId>, envelope: &Envelope) {
        devices.into_iter().for_each(|device| self.logs.push(device, envelope.clone()));
    }
}

impl Session {
    fn hears(&self, to: Audience<'_>) -> bool {
        let covers = to.place.is_none_or(|place| self.entitlement.covers(place));
        !self.replaced && covers && self.entitlement.may(to.right, now_ms())
    }

    fn offer(&self, envelope: Envelope) {
        if self.sender.offer(envelope).is_err() {
            self.fate.send_if_modified(|fate| {
                let slow = *fate == Fate::Live;
                if slow {
                    *fate = Fate::Slow;
                }
                slow
            });
        }
    }
}
