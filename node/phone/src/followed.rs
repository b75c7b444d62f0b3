//! The threads that are followed: snapshots and notifications in, watched values out.
//!
//! Nobody says when a screen stops looking: a thread is followed as long as somebody holds its [`ThreadWatch`].

use std::collections::HashMap;
use std::ops::Deref;

use farhelm_core::codex::thread::{Applied, Thread, ThreadDigest, id_of};
use serde_json::Value;
use tokio::sync::watch;

use crate::error::Error;
use crate::truth::{Standing, Truth};

/// Threads one phone may follow at a host (the host keeps no more).
pub(crate) const CAPACITY: usize = 64;

/// A thread that stays up to date. Dropping the last clone ends the following.
///
/// After a reconnection the host's new snapshot replaces what was here.
#[derive(Debug, Clone)]
pub struct ThreadWatch(watch::Receiver<Thread>);

impl ThreadWatch {
    /// The thread as it stands. Holds a lock: look and let go, don't keep it over an `await`.
    pub fn borrow(&self) -> impl Deref<Target = Thread> + '_ {
        self.0.borrow()
    }

    /// Like [`borrow`](Self::borrow), and [`changed`](Self::changed) waits for something newer than this.
    pub fn borrow_and_update(&mut self) -> impl Deref<Target = Thread> + '_ {
        self.0.borrow_and_update()
    }

    /// Waits for a change that wasn't looked at yet. Errs when the host was let go. Cancel-safe.
    pub async fn changed(&mut self) -> Result<(), Error> {
        self.0.changed().await.map_err(|_| Error::Stopped)
    }

    /// Waits until the thread fulfils `condition`; gives a copy of it. Cancel-safe.
    pub async fn wait_for(&mut self, condition: impl FnMut(&Thread) -> bool) -> Result<Thread, Error> {
        self.0.wait_for(condition).await.map(|thread| thread.clone()).map_err(|_| Error::Stopped)
    }
}

/// Every followed thread of one host.
#[derive(Default)]
pub(crate) struct Followed(HashMap<String, Entry>);

struct Entry {
    sender: watch::Sender<Thread>,
    standing: Standing,
}

impl Entry {
    /// Not shown yet: without an id.
    fn new() -> Self {
        Self { sender: watch::Sender::new(Thread::default()), standing: Standing::default() }
    }
}

impl Followed {
    /// Follows a thread; without a snapshot yet it has no id.
    /// One that nobody looked at for a moment is still here, as the host goes on sending it and shows it whole only once.
    pub(crate) fn follow(&mut self, thread: &str) -> Result<ThreadWatch, Error> {
        if self.ids().len() >= CAPACITY && !self.0.contains_key(thread) {
            return Err(Error::TooManyThreads);
        }
        let entry = self.0.entry(thread.to_owned()).or_insert_with(Entry::new);
        Ok(ThreadWatch(entry.sender.subscribe()))
    }

    /// The ids for the host's book-keeping, sorted.
    pub(crate) fn ids(&self) -> Vec<String> {
        let looked_at = self.0.iter().filter(|(_, entry)| entry.sender.receiver_count() > 0);
        let mut ids: Vec<_> = looked_at.map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }

    /// Takes a thread as it stands now.
    pub(crate) fn replace(&mut self, thread: Thread) {
        match self.0.get_mut(&thread.id) {
            Some(entry) => {
                entry.standing.show();
                entry.sender.send_replace(thread);
            }
            None => tracing::debug!("a snapshot of a thread that nobody follows"),
        }
    }

    /// Takes a notification. Before the snapshot it is dropped: the snapshot holds what it says.
    pub(crate) fn apply(&mut self, method: &str, params: &Value) {
        let Some(entry) = id_of(params).and_then(|id| self.0.get(id)) else { return };
        entry.sender.send_if_modified(|thread| {
            !thread.id.is_empty() && matches!(thread.apply(method, params), Applied::Changed | Applied::Outdated)
        });
    }

    /// Holds a thread against what the host says it shows, and counts that. Says whether the host has to show it again.
    pub(crate) fn compare(&mut self, digest: &ThreadDigest, truth: &mut Truth) -> bool {
        let Some(Entry { sender, standing }) = self.0.get_mut(&digest.thread) else { return false };
        let thread = sender.borrow();
        // Before the snapshot there is nothing to compare, and nobody looks at what is without a watch.
        let shown = !thread.id.is_empty() && sender.receiver_count() > 0;
        shown && standing.compare(|| thread.agrees_with(digest), truth)
    }

    /// The host was told to show a thread again.
    pub(crate) fn asked(&mut self, thread: &str) {
        if let Some(entry) = self.0.get_mut(thread) {
            entry.standing.ask();
        }
    }

    /// Forgets those that nobody looks at and that the host doesn't send (any more).
    pub(crate) fn prune(&mut self, sent: &[String]) {
        self.0.retain(|id, entry| entry.sender.receiver_count() > 0 || sent.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::codex::thread::Status;
    use serde_json::json;

    use super::*;

    fn idle(id: &str) -> Value {
        json!({"threadId": id, "status": {"type": "idle"}})
    }

    fn with_id(id: &str) -> Thread {
        let mut thread = Thread::default();
        id.clone_into(&mut thread.id);
        thread
    }

    #[test]
    fn notifications_before_the_snapshot_change_nothing() {
        let mut followed = Followed::default();
        let watch = followed.follow("t").unwrap();
        followed.apply("thread/status/changed", &idle("t"));
        assert_eq!(*watch.borrow(), Thread::default());
        followed.replace(with_id("t"));
        followed.apply("thread/status/changed", &idle("t"));
        assert_eq!(watch.borrow().status, Status::Idle);
    }

    #[test]
    fn what_nobody_looks_at_is_no_longer_followed() {
        let mut followed = Followed::default();
        let first = followed.follow("a").unwrap();
        let second = followed.follow("b").unwrap();
        assert_eq!(followed.ids(), ["a", "b"]);
        drop(first);
        assert_eq!(followed.ids(), ["b"]);
        drop(second);
        followed.prune(&["b".into()]);
        assert!(followed.0.keys().eq(["b"]));
        followed.prune(&[]);
        assert!(followed.0.is_empty());
    }

    #[test]
    fn what_the_host_still_sends_is_whole_when_somebody_looks_again() {
        let mut followed = Followed::default();
        drop(followed.follow("t").unwrap());
        followed.replace(with_id("t"));
        followed.prune(&["t".into()]);
        followed.apply("thread/status/changed", &idle("t"));
        let again = followed.follow("t").unwrap();
        assert_eq!((again.borrow().id.as_str(), &again.borrow().status), ("t", &Status::Idle));
    }

    #[test]
    fn one_thread_too_many_is_refused() {
        let mut followed = Followed::default();
        let held: Vec<_> = (0..CAPACITY).map(|i| followed.follow(&i.to_string()).unwrap()).collect();
        assert_eq!(followed.follow("more").err(), Some(Error::TooManyThreads));
        assert!(followed.follow("0").is_ok());
        drop(held);
        assert!(followed.follow("more").is_ok());
    }

    #[tokio::test]
    async fn a_watch_ends_when_the_host_is_let_go() {
        let mut followed = Followed::default();
        let mut watch = followed.follow("t").unwrap();
        drop(followed);
        assert_eq!(watch.changed().await, Err(Error::Stopped));
    }
}
