//! What Codex asks and people decide: the half of the actor that keeps the ledger.

use farhelm_core::codex::approval::{Form, Key};
use farhelm_core::codex::question::Question;
use farhelm_core::codex::thread::{Status, Thread, completed, id_of};
use farhelm_core::identity::NodeId;
use farhelm_core::policy::{Entitlement, Right};
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{DecisionRefusal, Resolved, TurnEnded};
use farhelm_store::journal::ActId;
use serde_bytes::ByteArray;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::actor::{Actor, Command};
use super::unconfirmed::End;
use crate::host::app_server::{ProcessEpoch, ReplyError};
use crate::host::devices::now_ms;
use crate::host::ledger::{By, Said};

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
        self.take_held_on(key);
    }

    fn asked_to_approve(&mut self, key: Key, form: Form, params: &Value) {
        let offers = self.offers_for_session();
        let lasts = self.access.conditions.borrow().deadline_ms;
        match self.followed.approval(form, params, key, offers, asked_at(params, now_ms(), lasts) + lasts) {
            Ok(mut approval) => {
                approval.guard = self.access.conditions.borrow().guard(&approval.content.act);
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

    /// Asks every device that may see the thread.
    fn ask(&mut self, key: Key, thread: &str, envelope: &Envelope) {
        if let Some(place) = self.followed.place(thread) {
            let devices = self.access.devices_at(place, Right::Viewer, now_ms());
            self.roster.ask(key, devices, envelope);
        }
    }

    /// Does what somebody decided on this before it was known.
    fn take_held_on(&mut self, key: Key) {
        let (now, later): (Vec<_>, _) = std::mem::take(&mut self.held).into_iter().partition(|held| held.key() == key);
        self.held = later;
        now.into_iter().for_each(|held| self.take_said(held));
    }

    /// Whether the host's rules let phones accept for a session, as phones are told.
    fn offers_for_session(&self) -> bool {
        self.access.rules.borrow().accept_for_session
    }

    pub(super) fn resolved(&mut self, process: ProcessEpoch, params: &Value) {
        let Some(request) = params.get("requestId").and_then(Value::as_i64) else { return };
        let key = Key { epoch: ByteArray::new(process), request };
        let over = self.ledger.resolve(key);
        self.unconfirmed.over(key, End::Confirmed);
        self.tell_over(over);
    }

    pub(super) fn turn_ended(&mut self, params: &Value) {
        let id = |at: &Value| at.get("id").and_then(Value::as_str).map(str::to_owned);
        let (Some(thread), Some(turn)) = (id_of(params), params.get("turn").and_then(id)) else { return };
        let over = self.ledger.end_turn(thread, &turn);
        self.tell_over(over);
        self.log_end(thread, params);
    }

    /// Tells every device that may see the thread, attached or not, that a turn of it is over.
    fn log_end(&self, thread: &str, params: &Value) {
        let (Some((turn, status)), Some(place)) = (completed(params), self.followed.place(thread)) else { return };
        let devices = self.access.devices_at(place, Right::Viewer, now_ms());
        let ended = TurnEnded { thread: thread.to_owned(), turn, status };
        self.roster.log(devices, &Envelope::TurnEnded(ended));
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
        match self.decide(device, key, said) {
            Ok((result, ends)) => self.reply(None, key, result, ends),
            Err(refusal) => {
                tracing::warn!(?refusal, "a decision that didn't reach Codex doesn't hold any more");
                self.unconfirmed.tell(key, Err(refusal));
            }
        }
    }

    /// Tells those who were asked, whatever they may see by now.
    pub(super) fn tell_over(&mut self, over: impl IntoIterator<Item = Resolved>) {
        let over: Vec<_> = over.into_iter().collect();
        over.iter().for_each(|resolved| self.roster.resolve(resolved));
        // Those that Codex confirmed have been told.
        over.iter().for_each(|resolved| self.unconfirmed.over(resolved.key, End::Gone));
        over.iter().for_each(|resolved| self.take_held_on(resolved.key));
    }

    /// A person said something. What it is about may be unknown yet: after a start of the host, or while the connection
    /// to Codex is away, Codex asks again what still waits.
    pub(super) fn take_said(&mut self, held: Held) {
        let key = held.key();
        let waits = self.ledger.is_in_doubt(key) || self.ledger.thread(key).is_none() && self.may_be_asked_yet(key);
        if waits && self.held.len() < HELD {
            return self.held.push(held);
        }
        match self.decide(held.device, key, &held.said) {
            Ok((result, ends)) => {
                let by = Some((held.device, held.act));
                self.unconfirmed.add(held);
                self.reply(by, key, result, ends);
            }
            // It was answered before the host was ended, and is over; whether by that, nobody knows.
            Err(DecisionRefusal::Over) if held.unknown => held.tell(Err(DecisionRefusal::OutcomeUnknown)),
            Err(refusal) => {
                if refusal == DecisionRefusal::SecondNeeded {
                    self.show_anew(key);
                }
                held.tell(Err(refusal));
            }
        }
    }

    /// Holds what is open against a policy that changed.
    pub(super) fn guard_anew(&mut self) {
        let conditions = self.access.conditions.borrow().clone();
        let changed = self.ledger.guard_anew(|act| conditions.guard(act));
        changed.iter().for_each(|approval| self.show_anew(approval.key));
    }

    /// Shows an open approval to everyone who was asked, as it is now.
    fn show_anew(&mut self, key: Key) {
        if let Some(approval) = self.ledger.approval(key).cloned() {
            self.ask(key, &approval.thread.clone(), &Envelope::Approval(approval));
        }
    }

    /// A first accept counts for as long as its device may decide.
    fn let_go_of_first(&mut self, key: Key, folder: Option<&str>) {
        let Some(first) = self.ledger.approval(key).and_then(|approval| approval.guard.first.clone()) else { return };
        let its = self.entitlement_of(first.device);
        if !(its.may(Right::Approver, now_ms()) && folder.is_some_and(|folder| its.covers(folder))) {
            self.ledger.forget_first(key);
        }
    }

    /// What Codex is answered, if a device may say so now; and the turn that ends with it.
    fn decide(&mut self, device: NodeId, key: Key, said: &Said) -> Result<Answered, DecisionRefusal> {
        let (entitlement, folder) = (self.entitlement_of(device), self.folder_of(key));
        let name = self.access.name(device);
        self.let_go_of_first(key, folder.as_deref());
        let by = By { device, name: &name, entitlement: &entitlement, folder: folder.as_deref(), now_ms: now_ms() };
        let offers = self.offers_for_session();
        match said {
            Said::Decision(signed) => {
                self.ledger.decide(by, signed, offers).map(|a| (a.result().clone(), a.ends().cloned()))
            }
            Said::Answers(answers) => self.ledger.answer(by, answers).map(|result| (result, None)),
        }
    }

    /// Whether Codex may still ask this again.
    fn may_be_asked_yet(&self, key: Key) -> bool {
        match self.epoch {
            None => true,
            Some(_) => {
                *key.epoch == self.process && (self.listing || !self.resuming.is_empty() || self.is_about_to_ask())
            }
        }
    }

    /// Whether a thread was resumed that waits for something, and hasn't asked it yet.
    fn is_about_to_ask(&self) -> bool {
        self.settling && self.followed.waiting().any(|thread| !self.ledger.is_asked_on(thread))
    }

    /// What was said on matters that Codex doesn't ask any more is too late.
    pub(super) fn let_go_of_held(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.take_said(held);
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
            self.reply(None, answer.key(), answer.result().clone(), answer.ends().cloned());
        }
    }

    /// Writes the answer to the app-server, beside everything else, and ends the turn that goes with it.
    fn reply(&self, by: Option<(NodeId, ActId)>, key: Key, result: Value, ends: Option<(String, String)>) {
        let (app_server, logs) = (self.app_server.clone(), self.logs.clone());
        self.spawn(async move {
            // After a crash from here on nobody knows whether it counted.
            if let Some((device, act)) = by
                && logs.forwarded(device, act).await.is_err()
            {
                return Command::Unwanted { key };
            }
            let sent = app_server.reply(*key.epoch, key.request, Ok(result)).await;
            if let Err(error) = &sent {
                tracing::warn!(%error, "a decision didn't reach Codex");
            }
            #[cfg(feature = "faults")]
            if by.is_some() {
                farhelm_overlay::faults::reach(farhelm_overlay::faults::Point::DecidedUnacked).await;
            }
            if let (Ok(()), Some((thread, turn))) = (&sent, ends) {
                let params = json!({ "threadId": thread, "turnId": turn });
                if let Err(error) = app_server.request("turn/interrupt", params).await {
                    tracing::warn!(%error, "a cancelled turn wasn't interrupted");
                }
            }
            Command::Answered { key, sent }
        });
    }

    /// An answer to the app-server was written, or not.
    pub(super) fn answered(&mut self, key: Key, sent: Result<(), ReplyError>) {
        match sent {
            Ok(()) => self.unconfirmed.written(key),
            // If Codex never heard it, it asks again, and is answered so.
            Err(ReplyError::Stale | ReplyError::Lost) if self.ledger.thread(key).is_some() => {
                self.ledger.doubt(key);
                if let Some(held) = self.unconfirmed.take(key) {
                    self.ledger.reopen(key);
                    self.take_said(Held { unknown: true, ..held });
                }
            }
            Err(ReplyError::Lost) => self.unconfirmed.tell(key, Err(DecisionRefusal::OutcomeUnknown)),
            Err(ReplyError::Stale | ReplyError::TooLarge(_)) => self.unanswered(key),
        }
    }

    /// It surely wasn't answered by this: it is open, unless it is over.
    fn unanswered(&mut self, key: Key) {
        self.ledger.reopen(key);
        self.unconfirmed.tell(key, Err(DecisionRefusal::Over));
    }

    /// Whoever decided was removed before Codex was told.
    pub(super) fn unwanted(&mut self, key: Key) {
        self.unanswered(key);
    }
}

/// What Codex is answered, and the thread and turn that end with it.
type Answered = (Value, Option<(String, String)>);

/// Something said, on its way.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) device: NodeId,
    pub(super) act: ActId,
    /// It may have been answered already.
    pub(super) unknown: bool,
    pub(super) said: Said,
    pub(super) reply: oneshot::Sender<Result<(), DecisionRefusal>>,
}

impl Held {
    pub(super) fn key(&self) -> Key {
        match &self.said {
            Said::Decision(signed) => signed.key,
            Said::Answers(answers) => answers.key,
        }
    }

    /// Whoever waited may have gone.
    pub(super) fn tell(self, result: Result<(), DecisionRefusal>) {
        let _ = self.reply.send(result);
    }
}

/// Decisions that may wait for what they are about: one for every matter that may be open.
const HELD: usize = crate::host::ledger::OPEN;

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
fn asked_at(params: &Value, now_ms: u64, lasts: u64) -> u64 {
    let started = params.get("startedAtMs").and_then(Value::as_u64);
    started.filter(|at| (now_ms.saturating_sub(lasts)..=now_ms).contains(at)).unwrap_or(now_ms)
}
