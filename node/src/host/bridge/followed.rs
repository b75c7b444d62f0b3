//! The threads this host follows: each with its reducer, as the app-server tells a late subscriber no partial text and
//! a file-change approval no diff. Pure but for one thing: it looks where a thread's folder really is, when that changes.

use std::collections::BTreeMap;

use farhelm_core::codex::approval::{Approval, Asked, Error, Form, Key};
use farhelm_core::codex::thread::{Applied, Status, Thread, ThreadDigest, id_of};
use serde_json::Value;

use crate::host::folders;

/// Threads kept; beyond it the ones idle for longest are let go and read again when somebody asks.
const KEPT: usize = 128;

/// Every followed thread.
#[derive(Debug, Default)]
pub(super) struct Followed {
    threads: BTreeMap<String, Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    thread: Thread,
    subscribed: bool,
    used: u64,
    place: Place,
    /// Since its last digest.
    changed: bool,
}

/// Where a thread works.
#[derive(Debug, Default)]
struct Place {
    /// As Codex named it.
    named: String,
    /// Canonical, if there is such a folder.
    real: Option<String>,
}

impl Entry {
    fn new(thread: Thread, subscribed: bool, used: u64) -> Self {
        let place = Place::of(&thread.folder);
        Self { thread, subscribed, used, place, changed: false }
    }
}

impl Place {
    fn of(named: &str) -> Self {
        Self { named: named.to_owned(), real: folders::canonical(named) }
    }
}

impl Followed {
    /// Takes over what `thread/resume` or `thread/start` answered; from then on the app-server reports to us.
    pub(super) fn adopt(&mut self, thread: Thread) {
        let used = self.tick();
        self.threads.insert(thread.id.clone(), Entry::new(thread, true, used));
        self.trim();
    }

    /// Notes a thread that only another app-server may write to.
    pub(super) fn held_elsewhere(&mut self, mut thread: Thread) {
        thread.status = Status::HeldElsewhere;
        let used = self.tick();
        self.threads.insert(thread.id.clone(), Entry::new(thread, false, used));
    }

    /// Takes a notification in. Says whether the thread works elsewhere by it.
    pub(super) fn apply(&mut self, method: &str, params: &Value) -> bool {
        let used = self.tick();
        let Some(entry) = id_of(params).and_then(|id| self.threads.get_mut(id)) else { return false };
        entry.used = used;
        entry.changed |= matches!(entry.thread.apply(method, params), Applied::Changed | Applied::Outdated);
        // A thread that nobody has open has no subscribers; whoever opens it anew gets to know of it by its status.
        entry.subscribed &= entry.thread.status != Status::NotLoaded;
        let moved = entry.place.named != entry.thread.folder;
        if moved {
            entry.place = Place::of(&entry.thread.folder);
        }
        moved
    }

    /// Looks again where every thread's folder is, as links may be turned. Says whether one is elsewhere by that.
    pub(super) fn look_again(&mut self) -> bool {
        let mut moved = false;
        for entry in self.threads.values_mut() {
            let place = Place::of(&entry.place.named);
            moved |= place.real != entry.place.real;
            entry.place = place;
        }
        moved
    }

    /// The canonical folder in which a thread works, if that is known.
    pub(super) fn place(&self, id: &str) -> Option<&str> {
        self.threads.get(id)?.place.real.as_deref()
    }

    /// The folder of a thread that the app-server reports about to us, as Codex names it.
    pub(super) fn folder(&self, id: &str) -> Option<&str> {
        self.threads.get(id).filter(|entry| entry.subscribed).map(|entry| &*entry.place.named)
    }

    /// A thread as it stands.
    pub(super) fn get(&self, id: &str) -> Option<&Thread> {
        self.threads.get(id).map(|entry| &entry.thread)
    }

    /// The threads that have changed since their last digest.
    pub(super) fn changed(&self) -> Vec<String> {
        self.threads.iter().filter(|(_, entry)| entry.changed).map(|(id, _)| id.clone()).collect()
    }

    /// The digest of a thread as it stands, for everyone who was shown it.
    pub(super) fn digest(&mut self, id: &str) -> Option<ThreadDigest> {
        let entry = self.threads.get_mut(id)?;
        entry.changed = false;
        Some(entry.thread.digest())
    }

    /// Whether the app-server reports about it to us.
    pub(super) fn is_subscribed(&self, id: &str) -> bool {
        self.threads.get(id).is_some_and(|entry| entry.subscribed)
    }

    /// The app-server is gone: nothing is subscribed any more; what was shown stays until it is read again.
    pub(super) fn unsubscribe_all(&mut self) {
        self.threads.values_mut().for_each(|entry| entry.subscribed = false);
    }

    /// The threads that wait for an approval or an answer, as Codex says.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &str> {
        let waits = |thread: &Thread| match thread.status {
            Status::Active { waiting_on_approval, waiting_on_input } => waiting_on_approval || waiting_on_input,
            _ => false,
        };
        self.threads.values().filter(move |e| e.subscribed && waits(&e.thread)).map(|e| &*e.thread.id)
    }

    /// Whether a turn is under way.
    pub(super) fn is_working(&self) -> bool {
        self.threads.values().any(|e| e.subscribed && e.thread.running().is_some())
    }

    /// Threads with a turn under way.
    pub(super) fn running(&self) -> Vec<(String, String)> {
        let title = |t: &Thread| t.name.clone().unwrap_or_else(|| t.preview.clone());
        let running = self.threads.values().filter(|e| e.subscribed && e.thread.running().is_some());
        running.map(|e| (e.thread.id.clone(), title(&e.thread))).collect()
    }

    /// An approval request of the app-server as it is shown.
    pub(super) fn approval(
        &self,
        form: Form,
        params: &Value,
        key: Key,
        for_session: bool,
        deadline_ms: u64,
    ) -> Result<Approval, Error> {
        let thread = id_of(params).and_then(|id| self.get(id));
        let terms = thread.map(Thread::terms).unwrap_or_default();
        let asked = Asked { key, terms: &terms, for_session, deadline_ms };
        match form {
            Form::Command => Approval::from_command_request(params, asked),
            Form::FileChange => {
                let id = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
                let changes = thread.and_then(|t| t.changes(id("turnId"), id("itemId")));
                Approval::from_file_change_request(params, changes, asked)
            }
            Form::Permissions => Approval::from_permissions_request(params, asked),
            Form::Elicitation => Approval::from_elicitation(params, asked),
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn trim(&mut self) {
        while self.threads.len() > KEPT {
            let idle = self.threads.iter().filter(|(_, e)| e.thread.running().is_none());
            let Some(oldest) = idle.min_by_key(|(_, e)| e.used).map(|(id, _)| id.clone()) else { return };
            self.threads.remove(&oldest);
        }
    }
}
