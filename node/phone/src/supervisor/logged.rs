//! The log's hands: what is due is stored, and then sent, acknowledged and told.

use std::time::SystemTime;

use farhelm_core::session::log::LogId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Ack, Attached, Decided, Entry, Logged, Response};
use farhelm_store::journal::ActId;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::spawn_blocking;

use super::Supervisor;
use crate::calls::read;
use crate::connection::Why;
use crate::decisions::DecideError;
use crate::error::Error;
use crate::event::Event;
use crate::log::{Batch, Due, Log};

/// A write under way: what follows from it, if it worked.
pub(super) type Writing = BoxFuture<'static, Result<Vec<Due>, farhelm_store::Error>>;

impl Supervisor {
    /// Reads what was on its way when the program ended last.
    pub(super) async fn read_log(&mut self) {
        let (journal, host) = (self.journal.clone(), self.record.host);
        match spawn_blocking(move || journal.read(host)).await {
            Ok(Ok(peer)) => self.log = Log::restore(host, peer, fresh()),
            Ok(Err(error)) => tracing::error!(%host, %error, "what was on its way can't be read"),
            Err(error) => tracing::error!(%host, %error, "what was on its way was not read"),
        }
    }

    /// Asks the host to do something, once.
    pub(super) fn ask(&mut self, id: ActId, envelope: Envelope) {
        if self.log.ask(id, envelope, now_ms()).is_err() {
            self.calls.refuse(id, &Error::Busy);
            self.decisions.refuse(id, &DecideError::Busy);
        }
    }

    pub(super) fn write_what_is_due(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let Some(batch) = self.log.batch() else { return };
        self.writing = Some(self.write(batch));
    }

    fn write(&self, Batch { changes, due }: Batch) -> Writing {
        let journal = self.journal.clone();
        async move {
            if !changes.is_empty() {
                let written = spawn_blocking(move || journal.write(&changes)).await;
                written.unwrap_or_else(|stopped| std::panic::resume_unwind(stopped.into_panic()))?;
            }
            #[cfg(feature = "faults")]
            if due.iter().any(|due| matches!(due, Due::Pushed(_))) {
                farhelm_overlay::faults::reach(farhelm_overlay::faults::Point::StoredUnsent).await;
            }
            Ok(due)
        }
        .boxed()
    }

    /// Before the task ends: whatever is still to be stored.
    pub(super) async fn write_the_rest(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        if let Some(batch) = self.log.batch()
            && let Err(error) = self.write(batch).await
        {
            tracing::warn!(%error, "what is on its way could not be stored");
        }
    }

    pub(super) fn on_written(&mut self, written: Result<Vec<Due>, farhelm_store::Error>) {
        self.writing = None;
        match written {
            Ok(due) => due.into_iter().for_each(|due| self.carry_out(due)),
            Err(error) => {
                tracing::error!(host = %self.record.host, %error, "nothing can be stored");
                self.on_not_stored();
            }
        }
    }

    /// Nothing of a write counts. What is on the disk is what is known from now on.
    fn on_not_stored(&mut self) {
        self.attempting = false;
        self.drop_line();
        let (journal, host) = (self.journal.clone(), self.record.host);
        // Rare, short, and nothing else can be done meanwhile.
        if let Ok(peer) = journal.read(host) {
            self.log = Log::restore(host, peer, fresh());
        }
        let log = &self.log;
        self.calls.forget_unless(|id| log.is_asked(id), &Error::NotStored);
        self.decisions.forget_unless(|id| log.is_asked(id));
        self.on_away(Why::NotStored);
    }

    fn carry_out(&mut self, due: Due) {
        match due {
            Due::Pushed(upto) => {
                self.log.stored_outgoing(upto);
                self.send_log();
            }
            Due::Taken(seq, logged) => {
                let stored = self.log.stored_incoming(seq);
                if let (Some(line), Some(upto)) = (&self.line, stored) {
                    let _ = line.channel.sender().offer(Envelope::Ack(Ack { upto }));
                }
                if let Some(logged) = logged {
                    self.on_logged(*logged);
                }
            }
            Due::Attempt(aim) => self.begin_attempt(aim),
        }
    }

    /// Sends what waits, if the host has said where it stands.
    pub(super) fn send_log(&mut self) {
        let Some(line) = self.line.as_ref().filter(|line| line.met) else { return };
        let sender = line.channel.sender();
        while let Some(entry) = self.log.poll() {
            if sender.offer(Envelope::Entry(entry)).is_err() {
                // The line is broken, or its queue is full: the next one brings it.
                return;
            }
        }
    }

    /// The host's first word on a line. Says whether the line may go on.
    pub(super) fn on_met(&mut self, attached: &Attached) -> bool {
        if let Some(generation) = attached.superseded {
            tracing::info!(host = %self.record.host, "another program of this phone, or an older copy, was here");
            self.log.overtake(generation);
            return false;
        }
        if let Err(error) = self.log.attached(attached, fresh()) {
            tracing::warn!(host = %self.record.host, %error, "the host's log makes no sense");
            return false;
        }
        self.line.iter_mut().for_each(|line| line.met = true);
        self.send_log();
        true
    }

    pub(super) fn on_entry(&mut self, entry: &Entry) {
        if let Err(error) = self.log.take(entry) {
            tracing::warn!(host = %self.record.host, %error, "the line ends");
            self.drop_line();
            self.on_away(Why::LinkLost);
        }
    }

    pub(super) fn on_ack(&mut self, Ack { upto }: Ack) {
        if let Err(error) = self.log.ack(upto) {
            tracing::warn!(host = %self.record.host, %error, "the line ends");
            self.drop_line();
            self.on_away(Why::LinkLost);
        }
    }

    /// Something the host logged, and that is stored here.
    fn on_logged(&mut self, Logged { act, envelope }: Logged) {
        let asked = act.and_then(|act| self.log.answered(act));
        match envelope {
            Envelope::Response(response) => self.on_response(response, asked),
            Envelope::Decided(Decided { key, result }) => self.decisions.decided(key, result),
            Envelope::Approval(approval) => self.on_approval(approval),
            Envelope::Question(question) => self.on_question(question),
            Envelope::Resolved(resolved) => self.on_resolved(resolved),
            Envelope::TurnEnded(ended) => self.on_turn_ended(ended),
            _ => tracing::debug!("the host logged what doesn't belong there"),
        }
    }

    fn on_response(&mut self, response: Response, asked: Option<Envelope>) {
        if !self.calls.answer_logged(response.clone())
            && let Some(Envelope::Request(request)) = asked
        {
            self.emit(Event::Answered { what: request.method, result: read(response.result) });
        }
    }
}

pub(super) fn fresh() -> LogId {
    LogId::new(rand::random())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
