//! Who is attached, and what each is sent. Sending never waits: a phone that doesn't keep up loses its session and
//! finds everything again when it attaches anew.

use std::collections::{BTreeMap, BTreeSet};

use farhelm_core::identity::NodeId;
use farhelm_core::wire::Envelope;
use farhelm_overlay::channel;
use tokio::sync::watch;

/// Threads one phone may follow.
const WATCHED: usize = 64;

/// What becomes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Live,
    /// Its device was removed.
    Revoked,
    /// It didn't keep up.
    Slow,
}

/// What a new session is given.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) session: u64,
    pub(super) cut: watch::Receiver<Fate>,
}

#[derive(Debug)]
struct Session {
    device: NodeId,
    sender: channel::Sender,
    fate: watch::Sender<Fate>,
    watched: BTreeSet<String>,
    /// A newer session of the same device is there: this one gets its answers and nothing else.
    replaced: bool,
}

/// The attached sessions.
#[derive(Debug, Default)]
pub(super) struct Roster {
    next: u64,
    sessions: BTreeMap<u64, Session>,
}

impl Roster {
    /// Takes a session in.
    pub(super) fn attach(&mut self, device: NodeId, sender: channel::Sender) -> Ticket {
        for older in self.sessions.values_mut().filter(|s| s.device == device) {
            older.replaced = true;
        }
        let (fate, cut) = watch::channel(Fate::Live);
        let session = self.next;
        self.next += 1;
        let watched = BTreeSet::new();
        self.sessions.insert(session, Session { device, sender, fate, watched, replaced: false });
        Ticket { session, cut }
    }

    /// Lets a session go.
    pub(super) fn detach(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// Ends all sessions of a device, whatever they still wait for.
    pub(super) fn cut(&mut self, device: NodeId) {
        for session in self.sessions.values().filter(|s| s.device == device) {
            session.fate.send_replace(Fate::Revoked);
        }
        self.sessions.retain(|_, s| s.device != device);
    }

    /// Whether this session may still act for its device.
    pub(super) fn is_live(&self, session: u64) -> bool {
        self.sessions.get(&session).is_some_and(|s| *s.fate.borrow() == Fate::Live)
    }

    /// Replaces the set of threads a session follows; gives those that are new to it.
    pub(super) fn watch(&mut self, session: u64, threads: Vec<String>) -> Vec<String> {
        let Some(session) = self.sessions.get_mut(&session) else { return Vec::new() };
        let wanted: BTreeSet<_> = threads.into_iter().take(WATCHED).collect();
        let new = wanted.difference(&session.watched).cloned().collect();
        session.watched = wanted;
        new
    }

    /// Every thread that somebody follows.
    pub(super) fn watched(&self) -> BTreeSet<String> {
        self.sessions.values().flat_map(|s| s.watched.iter().cloned()).collect()
    }

    /// Sends to one session.
    pub(super) fn send(&self, session: u64, envelope: Envelope) {
        if let Some(session) = self.sessions.get(&session) {
            session.offer(envelope);
        }
    }

    /// Sends to every device.
    pub(super) fn broadcast(&self, envelope: &Envelope) {
        self.sessions.values().filter(|s| !s.replaced).for_each(|s| s.offer(envelope.clone()));
    }

    /// Sends to every device that follows a thread.
    pub(super) fn to_watchers(&self, thread: &str, envelope: &Envelope) {
        let follows = |s: &&Session| !s.replaced && s.watched.contains(thread);
        self.sessions.values().filter(follows).for_each(|s| s.offer(envelope.clone()));
    }
}

impl Session {
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
