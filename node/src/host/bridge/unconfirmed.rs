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

    /// The matter is over. What is still being written isn't told before that is known to have gone well. What Codex
    /// confirmed stays so: that the matter is gone is what follows.
    pub(super) fn over(&mut self, key: Key, end: End) {
        match self.0.iter_mut().find(|waiting| waiting.held.key() == key) {
            Some(waiting) if !waiting.written => _ = waiting.over.get_or_insert(end),
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

#[cfg(test)]
mod tests {
    use farhelm_core::codex::question::Answers;
    use farhelm_core::identity::Identity;
    use serde_bytes::ByteArray;
    use tokio::sync::oneshot::{self, Receiver};

    use super::*;
    use crate::host::ledger::Said;

    const KEY: Key = Key { epoch: ByteArray::new([1; 16]), request: 7 };

    fn waiting() -> (Unconfirmed, Receiver<Result<(), DecisionRefusal>>) {
        let (reply, told) = oneshot::channel();
        let answers = Answers { key: KEY, digest: ByteArray::new([2; 32]), answers: Default::default() };
        let device = Identity::from_seed(&[3; 32]).node_id();
        let mut unconfirmed = Unconfirmed::default();
        let said = Said::Answers(answers);
        unconfirmed.add(Held { device, act: ByteArray::new([4; 16]), unknown: false, said, reply });
        (unconfirmed, told)
    }

    #[test]
    fn what_codex_confirms_before_the_writing_is_known_counts_though_its_matter_is_gone_then() {
        let (mut unconfirmed, mut told) = waiting();
        unconfirmed.over(KEY, End::Confirmed);
        unconfirmed.over(KEY, End::Gone);
        assert!(told.try_recv().is_err(), "the writing may still fail");
        unconfirmed.written(KEY);
        assert_eq!(told.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn of_what_ended_before_it_was_confirmed_nobody_knows_whether_it_counts() {
        let (mut unconfirmed, mut told) = waiting();
        unconfirmed.over(KEY, End::Gone);
        unconfirmed.written(KEY);
        assert_eq!(told.try_recv(), Ok(Err(DecisionRefusal::OutcomeUnknown)));
    }
}
