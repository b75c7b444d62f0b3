//! What the host's digests say of the threads here.

use farhelm_core::codex::thread::ThreadDigest;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::Watch;

use super::Supervisor;

impl Supervisor {
    pub(super) fn on_digest(&mut self, digest: &ThreadDigest) {
        let mut truth = *self.outlets.truth.borrow();
        let unrepaired = truth.unrepaired;
        let again = self.followed.compare(digest, &mut truth);
        if truth.unrepaired > unrepaired {
            tracing::warn!(host = %self.record.host, thread = digest.thread, "shown again, a thread still is another");
        }
        self.outlets.truth.send_if_modified(|before| std::mem::replace(before, truth) != truth);
        if again {
            self.show_again(&digest.thread);
        }
    }

    /// Looks away from a thread and back, so that the host shows it whole.
    fn show_again(&mut self, thread: &str) {
        let Some(line) = &mut self.line else { return };
        let threads: Vec<_> = line.watched.iter().filter(|id| *id != thread).cloned().collect();
        // If there is no room for it now, the next digest says the same.
        if line.channel.sender().offer(Envelope::Watch(Watch { threads: threads.clone() })).is_ok() {
            line.watched = threads;
            self.followed.asked(thread);
            self.send_all();
        }
    }
}
