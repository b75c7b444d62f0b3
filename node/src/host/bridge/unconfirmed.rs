//! What people said and Codex hasn't confirmed. A device is told that its word counts only once Codex says so: an
//! answer that was written may die with the app-server that it was written to. Pure.

use farhelm_core::codex::approval::Key;
use farhelm_core::wire::envelope::DecisionRefusal;

use super::asked::Held;

/// One for each matter that was answered and isn't over; the ledger bounds them.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    held: Held,
    written: bool,
    /// How the matter ended while the answer was being written.
    over: Option<End>,
}

/// How a matter ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Codex said that it was answered.
    Confirmed,
    /// Codex doesn't wait for it any more: its process, its turn or its connection ended.
    Gone,
}

impl End {
    const fn result(self) -> Result<(), DecisionRefusal> {
        match self {
            Self::Confirmed => Ok(()),
            Self::Gone => Err(DecisionRefusal::OutcomeUnknown),
        }
    }
}

impl Unconfirmed {
    /// Somebody's answer is about to be written.
    pub(super) fn add(&mut self, held: Held) {
        self.0.push(Waiting { held, written: false, over: None });
    }

    /// The answer was written.
    pub(super) fn written(&mut self, key: Key) {
        let Some(waiting) = self.0.iter_mut().find(|waiting| waiting.held.key() == key) else { return };
        waiting.written = true;
        if let Some(end) = waiting.over {
            self.tell(key, end.result());
        }
    }

    /// The matter is over. What is still being written isn't told before that is known to have gone well.
    pub(super) fn over(&mut self, key: Key, end: End) {
        match self.0.iter_mut().find(|waiting| waiting.held.key() == key) {
            Some(waiting) if !waiting.written => waiting.over = Some(end),
            _ => self.tell(key, end.result()),
        }
    }

    /// Whoever waits is told.
    pub(super) fn tell(&mut self, key: Key, result: Result<(), DecisionRefusal>) {
        self.take(key).into_iter().for_each(|held| held.tell(result));
    }

    /// Nothing is known of this answer any more.
    pub(super) fn take(&mut self, key: Key) -> Option<Held> {
        let at = self.0.iter().position(|waiting| waiting.held.key() == key)?;
        Some(self.0.swap_remove(at).held)
    }
}
