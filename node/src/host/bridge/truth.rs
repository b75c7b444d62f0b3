//! Equal truth: the phone has what the host has of a thread, and notices if not.
//!
//! ```text
//!  snapshot, or the end of a turn, or 30 s of changes ─► digest, behind everything sent before ─► the phone compares
//! ```
//! The digest is of the reducer's state at that moment, so it is right however much of the stream still waits: it waits
//! behind that. What a phone does about a difference is to ask for the thread again; that is a [`Watch`] like any other.
//!
//! [`Watch`]: farhelm_core::wire::envelope::Watch

use farhelm_core::codex::thread::{Thread, id_of};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::Snapshot;
use serde_json::Value;

use super::actor::Actor;
use super::roster::Audience;

/// A thread as a phone is shown it: all of it, and by what it can tell later that this is still so.
pub(super) fn whole(thread: &Thread) -> [Envelope; 2] {
    [Envelope::Snapshot(Snapshot { thread: thread.clone() }), Envelope::Digest(thread.digest())]
}

impl Actor {
    /// After something that a phone should be sure of.
    pub(super) fn compare_after(&mut self, method: &str, params: &Value) {
        if method == "turn/completed"
            && let Some(id) = id_of(params)
        {
            self.compare(id);
        }
    }

    /// Whatever has changed since the last time.
    pub(super) fn compare_changed(&mut self) {
        for id in self.followed.changed() {
            self.compare(&id);
        }
    }

    /// Tells whoever was shown a thread how it stands now.
    fn compare(&mut self, id: &str) {
        if !self.roster.is_shown(id) {
            return;
        }
        let Some(digest) = self.followed.digest(id) else { return };
        if let Some(place) = self.followed.place(id) {
            self.roster.to_shown(id, Audience::at(place), &Envelope::Digest(digest));
        }
    }
}
