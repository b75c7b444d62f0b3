//! What Codex asks and people decide: the half of the actor that keeps the ledger.

use farhelm_core::codex::approval::{Form, Key};
use farhelm_core::codex::decision::{Answer, SignedDecision};
use farhelm_core::codex::question::{Answers, Question};
use farhelm_core::codex::thread::{Status, Thread, id_of};
use farhelm_core::identity::NodeId;
use farhelm_core::policy::Entitlement;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Decided, DecisionRefusal, Resolved};
use serde_bytes::ByteArray;
use serde_json::{Value, json};

use super::actor::{Actor, Command};
use super::roster::Audience;
use crate::host::app_server::{ProcessEpoch, ReplyError};
use crate::host::devices::now_ms;
use crate::host::ledger::{By, DEADLINE_MS, Said};

impl Actor {
    pub(super) fn asked(&mut self, key: Key, method: &str, params: &Value) {
        if let Some((device, said)) = self.ledger.asked_again(key) {
            self.say_again(device, key, &said);
        }
        match (Form::of(method), method) {
            (Some(form), _) => self.asked_to_approve(key, form, params),
            (None, "item/tool/requestUserInput") => self.asked_a_question(key, params),
            // Every subscriber is asked and the first answer counts, so what we don't know is the desk's.
            (None, _) => tracing::debug!(method, "left to the desk"),
        }
    }

    fn asked_to_approve(&mut self, key: Key, form: Form, params: &Value) {
        let offers = self.offers_for_session();
        match self.followed.approval(form, params, key, offers, asked_at(params, now_ms()) + DEADLINE_MS) {
            Ok(approval) => {
                if self.ledger.open(approval.clone(), form) {
                    self.ask(key, &approval.thread.clone(), &Envelope::Approval(approval));
                }
            }
            Err(error) => tracing::warn!(?form, %error, "an approval that phones can't be shown"),
        }
    }

    fn asked_a_question(&mut self, key: Key, params: &Value) {
        match Question::from_request(params, key) {
            Ok(question) => {
                if self.ledger.ask(question.clone()) {
                    self.ask(key, &question.thread.clone(), &Envelope::Question(question));
                }
            }
            Err(error) => tracing::warn!(%error, "a question that phones can't be shown"),
        }
    }

    /// Asks every phone that may see the thread.
    fn ask(&mut self, key: Key, thread: &str, envelope: &Envelope) {
        if let Some(place) = self.followed.place(thread) {
            self.roster.ask(key, Audience::at(place), envelope);
        }
    }

    /// Whether the host's rules let phones accept for a session, as phones are told.
    fn offers_for_session(&self) -> bool {
        self.access.rules.borrow().accept_for_session
    }

    pub(super) fn resolved(&mut self, process: ProcessEpoch, params: &Value) {
        let Some(request) = params.get("requestId").and_then(Value::as_i64) else { return };
        let over = self.ledger.resolve(Key { epoch: ByteArray::new(process), request });
        self.tell_over(over);
    }

    pub(super) fn turn_ended(&mut self, params: &Value) {
        let id = |at: &Value| at.get("id").and_then(Value::as_str).map(str::to_owned);
        let (Some(thread), Some(turn)) = (id_of(params), params.get("turn").and_then(id)) else { return };
        let over = self.ledger.end_turn(thread, &turn);
        self.tell_over(over);
    }

    /// A resume is answered. Codex asks again what still waits only after that, so this says whether it will.
    pub(super) fn settle_doubt(&mut self, thread: &str) {
        // Of one that couldn't be resumed nothing new is known.
        let is_known = |t: &Thread| self.followed.is_subscribed(thread) || t.status == Status::HeldElsewhere;
        if self.followed.get(thread).is_some_and(|t| is_known(t) && waits_for_nothing(t)) {
            let over = self.ledger.waits_for_nothing(thread);
            self.tell_over(over);
        }
    }

    /// What Codex had the time to ask again and didn't is over.
    pub(super) fn settle_doubts(&mut self) {
        if self.epoch.is_some() {
            let over = self.ledger.look_again(|thread| self.resuming.contains_key(thread));
            self.tell_over(over);
        }
    }

    /// An answer died with its connection. It is held against what its device may do now, like any other.
    fn say_again(&mut self, device: NodeId, key: Key, said: &Said) {
        let (entitlement, folder) = (self.entitlement_of(device), self.folder_of(key));
        let by = By { device, entitlement: &entitlement, folder: folder.as_deref(), now_ms: now_ms() };
        let offers = self.offers_for_session();
        let answer = match said {
            Said::Decision(signed) => {
                self.ledger.decide(by, signed, offers).map(|a| (a.result().clone(), a.ends().cloned()))
            }
            Said::Answers(answers) => self.ledger.answer(by, answers).map(|result| (result, None)),
        };
        match answer {
            Ok((result, ends)) => self.reply(None, key, result, ends),
            Err(refusal) => tracing::warn!(?refusal, "a decision that didn't reach Codex doesn't hold any more"),
        }
    }

    /// Tells those who were asked, whatever they may see by now.
    pub(super) fn tell_over(&mut self, over: impl IntoIterator<Item = Resolved>) {
        over.into_iter().for_each(|resolved| self.roster.resolve(&resolved));
    }

    pub(super) fn decide(&mut self, device: NodeId, session: u64, signed: &SignedDecision) {
        // A revoked device's queued decisions die with its session.
        if !self.roster.is_live(session) {
            return;
        }
        let (entitlement, folder) = (self.entitlement_of(device), self.folder_of(signed.key));
        let by = By { device, entitlement: &entitlement, folder: folder.as_deref(), now_ms: now_ms() };
        let offers = self.offers_for_session();
        match self.ledger.decide(by, signed, offers) {
            Ok(_) if self.ledger.is_in_doubt(signed.key) => self.tell_decided(session, signed.key, Ok(())),
            Ok(answer) => self.reply_answer(Some(session), answer),
            Err(refusal) => self.tell_decided(session, signed.key, Err(refusal)),
        }
    }

    pub(super) fn take_answers(&mut self, device: NodeId, session: u64, answers: &Answers) {
        if !self.roster.is_live(session) {
            return;
        }
        let (entitlement, folder) = (self.entitlement_of(device), self.folder_of(answers.key));
        let by = By { device, entitlement: &entitlement, folder: folder.as_deref(), now_ms: now_ms() };
        match self.ledger.answer(by, answers) {
            Ok(_) if self.ledger.is_in_doubt(answers.key) => self.tell_decided(session, answers.key, Ok(())),
            Ok(result) => self.reply(Some(session), answers.key, result, None),
            Err(refusal) => self.tell_decided(session, answers.key, Err(refusal)),
        }
    }

    /// What a device may do now. Of one that may nothing: to look at nothing.
    fn entitlement_of(&self, device: NodeId) -> Entitlement {
        self.access.entitlement(device, now_ms()).unwrap_or_default()
    }

    /// The folder of the thread that an open matter is about.
    fn folder_of(&self, key: Key) -> Option<String> {
        self.followed.place(self.ledger.thread(key)?).map(str::to_owned)
    }

    pub(super) fn decline_expired(&mut self) {
        for answer in self.ledger.expired(now_ms()) {
            self.reply_answer(None, answer);
        }
    }

    fn reply_answer(&self, session: Option<u64>, answer: Answer) {
        self.reply(session, answer.key(), answer.result().clone(), answer.ends().cloned());
    }

    /// Writes the answer to the app-server, beside everything else, and ends the turn that goes with it.
    fn reply(&self, session: Option<u64>, key: Key, result: Value, ends: Option<(String, String)>) {
        let app_server = self.app_server.clone();
        self.spawn(async move {
            let sent = app_server.reply(*key.epoch, key.request, Ok(result)).await;
            if let Err(error) = &sent {
                tracing::warn!(%error, "a decision didn't reach Codex");
            }
            if let (Ok(()), Some((thread, turn))) = (&sent, ends) {
                let params = json!({ "threadId": thread, "turnId": turn });
                if let Err(error) = app_server.request("turn/interrupt", params).await {
                    tracing::warn!(%error, "a cancelled turn wasn't interrupted");
                }
            }
            Command::Answered { session, key, sent }
        });
    }

    /// An answer to the app-server was written, or not.
    pub(super) fn answered(&mut self, session: Option<u64>, key: Key, sent: Result<(), ReplyError>) {
        let taken = match sent {
            Ok(()) => Ok(()),
            // If Codex never heard it, it asks again, and is answered so.
            Err(ReplyError::Stale | ReplyError::Lost) if self.ledger.thread(key).is_some() => {
                self.ledger.doubt(key);
                Ok(())
            }
            Err(_) => {
                self.ledger.reopen(key);
                Err(DecisionRefusal::Over)
            }
        };
        if let Some(session) = session {
            self.tell_decided(session, key, taken);
        }
    }

    fn tell_decided(&self, session: u64, key: Key, result: Result<(), DecisionRefusal>) {
        self.roster.send(session, Envelope::Decided(Decided { key, result }));
    }
}

/// Whether a thread, as its resume says, has nothing to ask.
fn waits_for_nothing(thread: &Thread) -> bool {
    match thread.status {
        Status::Active { waiting_on_approval, waiting_on_input } => !waiting_on_approval && !waiting_on_input,
        Status::Unknown => false,
        Status::NotLoaded | Status::Idle | Status::SystemError | Status::HeldElsewhere => true,
    }
}

/// When Codex began to ask, so that the same request has the same deadline after a restart of the host, and a decision
/// that was signed before it still fits. From now, if Codex doesn't say, or can't be right.
fn asked_at(params: &Value, now_ms: u64) -> u64 {
    let started = params.get("startedAtMs").and_then(Value::as_u64);
    started.filter(|at| (now_ms.saturating_sub(DEADLINE_MS)..=now_ms).contains(at)).unwrap_or(now_ms)
}
