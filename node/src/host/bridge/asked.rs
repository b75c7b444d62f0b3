//! What Codex asks and people decide: the half of the actor that keeps the ledger.

use farhelm_core::codex::approval::{Form, Key};
use farhelm_core::codex::decision::{Answer, SignedDecision};
use farhelm_core::codex::question::{Answers, Question};
use farhelm_core::codex::thread::id_of;
use farhelm_core::identity::NodeId;
use farhelm_core::policy::Entitlement;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Decided, DecisionRefusal, Resolved};
use serde_bytes::ByteArray;
use serde_json::{Value, json};

use super::actor::{Actor, Command};
use super::roster::Audience;
use crate::host::app_server::Epoch;
use crate::host::devices::now_ms;
use crate::host::ledger::{By, DEADLINE_MS};

impl Actor {
    pub(super) fn asked(&mut self, key: Key, method: &str, params: &Value) {
        match (Form::of(method), method) {
            (Some(form), _) => self.asked_to_approve(key, form, params),
            (None, "item/tool/requestUserInput") => self.asked_a_question(key, params),
            // Every subscriber is asked and the first answer counts, so what we don't know is the desk's.
            (None, _) => tracing::debug!(method, "left to the desk"),
        }
    }

    fn asked_to_approve(&mut self, key: Key, form: Form, params: &Value) {
        let offers = self.offers_for_session();
        match self.followed.approval(form, params, key, offers, now_ms() + DEADLINE_MS) {
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

    pub(super) fn resolved(&mut self, epoch: Epoch, params: &Value) {
        let Some(request) = params.get("requestId").and_then(Value::as_i64) else { return };
        let over = self.ledger.resolve(Key { epoch: ByteArray::new(epoch), request });
        self.tell_over(over);
    }

    pub(super) fn turn_ended(&mut self, params: &Value) {
        let id = |at: &Value| at.get("id").and_then(Value::as_str).map(str::to_owned);
        let (Some(thread), Some(turn)) = (id_of(params), params.get("turn").and_then(id)) else { return };
        let over = self.ledger.end_turn(thread, &turn);
        self.tell_over(over);
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
            Command::Answered { session, key, sent: sent.is_ok() }
        });
    }

    /// An answer to the app-server was written, or not.
    pub(super) fn answered(&mut self, session: Option<u64>, key: Key, sent: bool) {
        if !sent {
            self.ledger.reopen(key);
        }
        if let Some(session) = session {
            self.tell_decided(session, key, if sent { Ok(()) } else { Err(DecisionRefusal::Over) });
        }
    }

    fn tell_decided(&self, session: u64, key: Key, result: Result<(), DecisionRefusal>) {
        self.roster.send(session, Envelope::Decided(Decided { key, result }));
    }
}
