//! Threads that somebody looks at and that Codex didn't show: how long until each is asked for again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::backoff::Backoff;

/// A thread that there isn't is asked for as rarely as deadlines are looked at.
const FIRST: Duration = Duration::from_millis(500);
const LAST: Duration = super::actor::TICK;

#[derive(Debug, Default)]
pub(super) struct Missing(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    backoff: Backoff,
    is_waiting: bool,
}

impl Missing {
    /// How long to wait before this thread is asked for again; `None` if that is waited for already.
    pub(super) fn wait(&mut self, thread: &str) -> Option<Duration> {
        let new = || Entry { backoff: Backoff::between(FIRST, LAST), is_waiting: false };
        let entry = self.0.entry(thread.to_owned()).or_insert_with(new);
        (!std::mem::replace(&mut entry.is_waiting, true)).then(|| entry.backoff.wait())
    }

    /// The wait is over.
    pub(super) fn waited(&mut self, thread: &str) {
        if let Some(entry) = self.0.get_mut(thread) {
            entry.is_waiting = false;
        }
    }

    /// It was shown.
    pub(super) fn is_there(&mut self, thread: &str) {
        self.0.remove(thread);
    }

    /// Forgets the threads that nobody looks at.
    pub(super) fn retain(&mut self, is_looked_at: impl Fn(&String) -> bool) {
        self.0.retain(|thread, _| is_looked_at(thread));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_longer_and_there_is_one_at_a_time() {
        let mut missing = Missing::default();
        let first = missing.wait("t").expect("a wait");
        assert_eq!(missing.wait("t"), None);
        assert!(missing.wait("other").is_some());
        missing.waited("t");
        let second = missing.wait("t").expect("another");
        assert!(second > first, "{second:?} after {first:?}");
        missing.is_there("t");
        assert!(missing.wait("t").expect("the first again") < second);
    }
}
