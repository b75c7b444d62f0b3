//! What the host sends, into what the handles look at.

use std::time::Duration;

use farhelm_core::audit::Head;
use farhelm_core::codex::approval::{Approval, Key};
use farhelm_core::codex::question::Question;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{HostState, Notification, Resolved, TurnEnded};
use serde_json::Value;
use tokio::time::Instant;

use super::Supervisor;
use crate::event::Event;
use crate::kept::Refused;

/// Open approvals, and open questions, that are kept. A host with more is broken; the newest are dropped.
const OPEN: usize = 64;
/// How often a head is stored while others follow.
const HEADS: Duration = Duration::from_secs(60);

impl Supervisor {
    pub(super) fn on_envelope(&mut self, envelope: Envelope) {
        match envelope {
            Envelope::Entry(entry) => self.on_entry(&entry),
            Envelope::Ack(ack) => self.on_ack(ack),
            Envelope::Response(response) => {
                let line = self.line.as_ref().map_or(0, |line| line.id);
                self.calls.answer(line, response);
            }
            Envelope::Notification(notification) => self.on_notification(&notification),
            Envelope::Snapshot(snapshot) => self.followed.replace(snapshot.thread),
            Envelope::Digest(digest) => self.on_digest(&digest),
            Envelope::Host(state) => self.on_host(state),
            Envelope::Approvals(all) => self.on_approvals(all.open),
            Envelope::Approval(approval) => self.on_approval(approval),
            Envelope::Questions(all) => self.on_questions(all.open),
            Envelope::Question(question) => self.on_question(question),
            Envelope::RevocationEpoch(epoch) => self.unsaved |= self.record.kept.take_epoch(self.record.host, epoch),
            Envelope::AuditHead(head) => self.on_head(head),
            // What only a phone sends, or what belongs into the log; beats are the channel's.
            _ => tracing::debug!("the host sent what doesn't belong here"),
        }
    }

    fn on_host(&mut self, state: HostState) {
        let direct = self.record.direct.clone();
        self.unsaved |= self.record.learn(&state, self.us.network.is_over_loopback(self.record.host));
        if direct != self.record.direct {
            self.watch_for_direct(Duration::ZERO);
        }
        self.outlets.host.send_replace(Some(state.clone()));
        self.emit(Event::Host(state));
    }

    /// The newest head is kept. It comes every few seconds while phones have work done, and a key store is no place to
    /// write to so often.
    fn on_head(&mut self, head: Head) {
        match self.record.kept.take_head(self.record.host, head) {
            Ok(()) if self.head_due <= Instant::now() => {
                self.head_due = Instant::now() + HEADS;
                (self.unsaved, self.head_unsaved) = (true, false);
            }
            Ok(()) => self.head_unsaved = true,
            Err(Refused::Backwards { backwards, is_news: true }) => {
                tracing::error!(host = %self.record.host, %backwards, "the host's record is not what it was");
                self.unsaved = true;
                if let Some(broken) = self.record.kept.broken.clone() {
                    self.emit(Event::RecordBroken(broken));
                }
            }
            Err(Refused::Backwards { .. }) => {}
            Err(Refused::NotTheHosts) => tracing::warn!(host = %self.record.host, "a head that the host did not sign"),
        }
    }

    fn on_notification(&mut self, Notification { method, params }: &Notification) {
        let Ok(params) = serde_json::from_slice::<Value>(params) else {
            return tracing::debug!("a notification that is no JSON");
        };
        self.followed.apply(method, &params);
        // Somebody may have stopped looking since.
        if self.line.as_ref().is_some_and(|line| line.watched.len() > self.followed.ids().len()) {
            self.send_all();
        }
    }

    fn on_approvals(&mut self, mut open: Vec<Approval>) {
        open.truncate(OPEN);
        let before = self.outlets.approvals.send_replace(open.clone());
        for gone in before.iter().filter(|old| !open.iter().any(|approval| approval.key == old.key)) {
            self.emit(Event::Gone { key: gone.key, thread: gone.thread.clone() });
        }
        for new in open.into_iter().filter(|approval| !before.contains(approval)) {
            self.emit(Event::Approval(new));
        }
        self.send_all();
    }

    /// The list of questions follows that of approvals.
    fn on_questions(&mut self, mut open: Vec<Question>) {
        open.truncate(OPEN);
        let before = self.outlets.questions.send_replace(open.clone());
        for gone in before.iter().filter(|old| !open.iter().any(|question| question.key == old.key)) {
            self.emit(Event::Gone { key: gone.key, thread: gone.thread.clone() });
        }
        for new in open.into_iter().filter(|question| !before.contains(question)) {
            self.emit(Event::Question(new));
        }
        self.outlets.listed.send_replace(true);
        self.refresh();
        self.send_all();
    }

    pub(super) fn on_question(&mut self, question: Question) {
        let kept = self.outlets.questions.send_if_modified(|open| {
            let new = open.len() < OPEN && open.iter().all(|other| other.key != question.key);
            if new {
                open.push(question.clone());
            }
            new
        });
        if kept {
            self.emit(Event::Question(question));
        }
    }

    pub(super) fn on_approval(&mut self, approval: Approval) {
        let kept = self.outlets.approvals.send_if_modified(|open| {
            // The host says it again after it was restarted.
            if open.contains(&approval) {
                return false;
            }
            open.retain(|other| other.key != approval.key);
            let room = open.len() < OPEN;
            if room {
                open.push(approval.clone());
            }
            room
        });
        if kept {
            self.emit(Event::Approval(approval));
        }
    }

    pub(super) fn on_resolved(&mut self, Resolved { key, outcome, by }: Resolved) {
        self.decisions.resolved(key, outcome, by, self.us.identity.node_id());
        let thread = self.forget_approval(key).or_else(|| self.forget_question(key));
        self.emit(Event::Resolved { key, thread, outcome, by });
    }

    pub(super) fn on_turn_ended(&self, TurnEnded { thread, turn, status }: TurnEnded) {
        self.emit(Event::TurnCompleted { thread, turn, status });
    }

    fn forget_approval(&mut self, key: Key) -> Option<String> {
        let mut thread = None;
        self.outlets.approvals.send_if_modified(|open| {
            let place = open.iter().position(|approval| approval.key == key);
            thread = place.map(|place| open.remove(place).thread);
            thread.is_some()
        });
        thread
    }

    fn forget_question(&mut self, key: Key) -> Option<String> {
        let mut thread = None;
        self.outlets.questions.send_if_modified(|open| {
            let place = open.iter().position(|question| question.key == key);
            thread = place.map(|place| open.remove(place).thread);
            thread.is_some()
        });
        thread
    }
}
