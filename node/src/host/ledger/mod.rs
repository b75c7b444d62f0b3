//! What waits for a person, approvals and questions, and who decided. Pure: the bridge brings what happened and the
//! time, and carries out the answers.
//!
//! ```text
//!            decide, answer (first valid one)    Codex confirms
//!   open ───────────────────────────────▶ decided ─────────────▶ gone: accepted, declined, cancelled, by whom
//!     ├── Codex confirms without us ───────────────────────────▶ gone: elsewhere
//!     └── another app-server process is there ─────────────────▶ gone: lost
//! ```
//! While the connection to the app-server is away, everything stays as it is, in doubt. What the same process then asks
//! again has waited all along; if it was decided, the answer died with the connection and is given again. What it
//! doesn't ask again is over.
//!
//! Where two people have to accept, the first accept is kept with the approval, which stays open: `1 of 2`. It lasts as
//! long as its device may decide, the policy asks for the same, and the host runs.
//!
//! A decision only counts against the ledger's own entry, so a phone can't widen what it approves; and only with a
//! right that holds at that moment, whenever the decision was signed.

use std::collections::BTreeMap;

use farhelm_core::codex::approval::{Act, Approval, First, Form, Guard, Key, Outcome};
use farhelm_core::codex::decision::{Answer, Decision, Error, SignedDecision};
use farhelm_core::codex::question::{Answers, Question};
use farhelm_core::identity::NodeId;
use farhelm_core::policy::{Entitlement, Right};
use farhelm_core::wire::envelope::{Approvals, DecisionRefusal, Questions, Resolved};
use farhelm_core::wire::{Envelope, limits};
use serde_json::Value;

/// Matters kept open at once. Codex asks once a turn; beyond this the desk has to decide.
pub const OPEN: usize = 128;

/// What the list around approvals or questions takes of an envelope; each brings more of its own when it travels alone.
const LIST: usize = 64;

/// Everything that is open on this host.
#[derive(Debug)]
pub struct Ledger {
    host: NodeId,
    entries: BTreeMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    matter: Matter,
    decided: Option<Decided>,
    doubt: Doubt,
}

impl Entry {
    fn new(matter: Matter) -> Self {
        Self { matter, decided: None, doubt: Doubt::None }
    }
}

/// Who decided, and how.
#[derive(Debug)]
struct Decided {
    by: NodeId,
    outcome: Outcome,
    said: Said,
}

/// What a device said on a matter.
#[derive(Debug, Clone)]
pub enum Said {
    /// On an approval.
    Decision(SignedDecision),
    /// To a question.
    Answers(Answers),
}

/// Whether the app-server still waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It does: it asked over the present connection.
    None,
    /// It asked over a connection that has ended.
    Fresh,
    /// And hasn't asked again, though it was looked once before.
    Old,
}

/// What Codex asks.
#[derive(Debug)]
enum Matter {
    Approval(Box<Approval>, Form),
    Question(Question),
}

impl Matter {
    fn thread(&self) -> &str {
        match self {
            Self::Approval(approval, _) => &approval.thread,
            Self::Question(question) => &question.thread,
        }
    }

    fn turn(&self) -> &str {
        match self {
            Self::Approval(approval, _) => &approval.turn,
            Self::Question(question) => &question.turn,
        }
    }
}

/// A device that wants something done now, and what it may.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Which.
    pub device: NodeId,
    /// What it is called here.
    pub name: &'a str,
    /// What it may do, as it stands now.
    pub entitlement: &'a Entitlement,
    /// The canonical folder of the thread that it is about, if that is known.
    pub folder: Option<&'a str>,
    /// Unix milliseconds.
    pub now_ms: u64,
}

impl By<'_> {
    fn unless_entitled(&self, needed: Right) -> Result<(), DecisionRefusal> {
        let covered = self.folder.is_some_and(|folder| self.entitlement.covers(folder));
        let may = self.entitlement.may(needed, self.now_ms) && covered;
        if may { Ok(()) } else { Err(DecisionRefusal::NotAllowed) }
    }
}

impl Ledger {
    /// An empty ledger of this host.
    pub const fn new(host: NodeId) -> Self {
        Self { host, entries: BTreeMap::new() }
    }

    /// Takes an approval in, and in which form Codex waits for its answer. `false` if it is known already (Codex repeats
    /// open ones on every resume), or if there are too many. One that was withheld is replaced when a repetition can be
    /// shown.
    pub fn open(&mut self, approval: Approval, form: Form) -> bool {
        match self.entries.get(&approval.key) {
            Some(Entry { matter: Matter::Approval(known, _), decided: None, .. })
                if !known.acceptable() && approval.acceptable() => {}
            Some(_) => return false,
            None if self.entries.len() >= OPEN => return false,
            None => {}
        }
        self.entries.insert(approval.key, Entry::new(Matter::Approval(Box::new(approval), form)));
        true
    }

    /// Takes a question in; `false` as for [`open`](Self::open).
    pub fn ask(&mut self, question: Question) -> bool {
        let new = !self.entries.contains_key(&question.key) && self.entries.len() < OPEN;
        if new {
            self.entries.insert(question.key, Entry::new(Matter::Question(question)));
        }
        new
    }

    /// The thread that this is about.
    pub fn thread(&self, key: Key) -> Option<&str> {
        self.entries.get(&key).map(|entry| entry.matter.thread())
    }

    /// Everything that isn't over, decided on or not, with its thread.
    pub fn threads(&self) -> impl Iterator<Item = (Key, &str)> {
        self.entries.iter().map(|(key, entry)| (*key, entry.matter.thread()))
    }

    /// The approvals that wait for a decision, oldest first.
    pub fn pending(&self) -> Vec<Approval> {
        let approval = |matter: &Matter| match matter {
            Matter::Approval(approval, _) => Some(Approval::clone(approval)),
            Matter::Question(_) => None,
        };
        self.waiting().filter_map(approval).collect()
    }

    /// The questions that wait for an answer, oldest first.
    pub fn questions(&self) -> Vec<Question> {
        let question = |matter: &Matter| match matter {
            Matter::Question(question) => Some(question.clone()),
            Matter::Approval(..) => None,
        };
        self.waiting().filter_map(question).collect()
    }

    fn waiting(&self) -> impl Iterator<Item = &Matter> {
        self.entries.values().filter(|entry| entry.decided.is_none()).map(|entry| &entry.matter)
    }

    /// What is open on the threads that `shown` lets through, as envelopes: a list of each kind with as many as fit, and
    /// each of the rest by itself.
    pub fn announcement(&self, shown: impl Fn(&str) -> bool) -> Vec<Envelope> {
        let approvals = self.pending().into_iter().filter(|approval| shown(&approval.thread));
        let (open, rest) = split(approvals, Envelope::Approval);
        let (asked, further) = split(self.questions().into_iter().filter(|q| shown(&q.thread)), Envelope::Question);
        let lists = [Envelope::Approvals(Approvals { open }), Envelope::Questions(Questions { open: asked })];
        lists.into_iter().chain(rest).chain(further).collect()
    }

    /// Holds what is open against a policy that changed; what phones have to be shown anew. A first accept that was given
    /// under other conditions doesn't count under these.
    pub fn guard_anew(&mut self, guard: impl Fn(&Act) -> Guard) -> Vec<Approval> {
        let mut changed = Vec::new();
        for entry in self.entries.values_mut() {
            let Matter::Approval(approval, _) = &mut entry.matter else { continue };
            let new = guard(&approval.content.act);
            if new != (Guard { first: None, ..approval.guard.clone() }) {
                approval.guard = new;
                changed.extend(entry.decided.is_none().then(|| Approval::clone(approval)));
            }
        }
        changed
    }

    /// An approval, if it is open.
    pub fn approval(&self, key: Key) -> Option<&Approval> {
        match self.entries.get(&key) {
            Some(Entry { matter: Matter::Approval(approval, _), decided: None, .. }) => Some(approval),
            _ => None,
        }
    }

    /// The first of two devices isn't one that may accept any more.
    pub fn forget_first(&mut self, key: Key) {
        if let Some(Entry { matter: Matter::Approval(approval, _), .. }) = self.entries.get_mut(&key) {
            approval.guard.first = None;
        }
    }

    /// Takes a device's decision; the first valid one wins. `for_session` is whether the host's rules let phones accept
    /// for a session now. The caller sends the answer and, if that fails, calls [`reopen`](Self::reopen).
    pub fn decide(
        &mut self,
        by: By<'_>,
        signed: &SignedDecision,
        for_session: bool,
    ) -> Result<Answer, DecisionRefusal> {
        let entry = self.entries.get_mut(&signed.key).ok_or(DecisionRefusal::Over)?;
        let Matter::Approval(approval, form) = &mut entry.matter else { return Err(DecisionRefusal::Over) };
        if entry.decided.is_some() {
            return Err(DecisionRefusal::Over);
        }
        by.unless_entitled(Right::Approver)?;
        if by.now_ms > approval.deadline_ms {
            return Err(DecisionRefusal::Late);
        }
        let verified = signed.verify(by.device, self.host, approval).map_err(refusal)?;
        if verified.decision() == Decision::AcceptForSession && !for_session {
            return Err(DecisionRefusal::NotOffered);
        }
        if verified.decision().accepts() && is_first_of_two(&mut approval.guard, by) {
            return Err(DecisionRefusal::SecondNeeded);
        }
        let (outcome, said) = (verified.decision().outcome(), Said::Decision(signed.clone()));
        entry.decided = Some(Decided { by: by.device, outcome, said });
        Ok(verified.answer(*form))
    }

    /// Takes a device's answers to a question; the first ones win. What Codex is answered; if that fails, call
    /// [`reopen`](Self::reopen).
    pub fn answer(&mut self, by: By<'_>, answers: &Answers) -> Result<Value, DecisionRefusal> {
        let entry = self.entries.get_mut(&answers.key).ok_or(DecisionRefusal::Over)?;
        let Matter::Question(question) = &entry.matter else { return Err(DecisionRefusal::Over) };
        if entry.decided.is_some() {
            return Err(DecisionRefusal::Over);
        }
        by.unless_entitled(Right::Operator)?;
        let result = question.result(answers).ok_or(DecisionRefusal::NotWhatIsShown)?;
        let said = Said::Answers(answers.clone());
        entry.decided = Some(Decided { by: by.device, outcome: Outcome::Accepted, said });
        Ok(result)
    }

    /// The answer could not be sent: it is open again, unless it is over.
    pub fn reopen(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.decided = None;
        }
    }

    /// Codex says that a request is answered: how it ended. `None` if it wasn't one of ours.
    pub fn resolve(&mut self, key: Key) -> Option<Resolved> {
        let entry = self.entries.remove(&key)?;
        let (outcome, by) = match entry.decided {
            Some(Decided { by, outcome, .. }) => (outcome, Some(by)),
            None => (Outcome::Elsewhere, None),
        };
        Some(Resolved { key, outcome, by })
    }

    /// A turn ended, and with it whatever it still asked (an interrupted turn resolves nothing by itself).
    pub fn end_turn(&mut self, thread: &str, turn: &str) -> Vec<Resolved> {
        self.settle(|entry| entry.matter.thread() == thread && entry.matter.turn() == turn)
    }

    /// The connection ended: whatever was asked over it may be over by now.
    pub fn doubt_all(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.doubt = Doubt::Fresh);
    }

    /// The connection ended before an answer was surely written. It stands, for the case that this is asked again.
    pub fn doubt(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.doubt = Doubt::Fresh;
        }
    }

    /// Whether the app-server may not wait for this any more: an answer can't be given before it asks again.
    pub fn is_in_doubt(&self, key: Key) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.doubt != Doubt::None)
    }

    /// Whether the app-server has asked something on this thread over the present connection that isn't over.
    pub fn is_asked_on(&self, thread: &str) -> bool {
        self.entries.values().any(|entry| entry.doubt == Doubt::None && entry.matter.thread() == thread)
    }

    /// A connection to this process: what others asked is lost with them.
    pub fn lose_others(&mut self, process: [u8; 16]) -> Vec<Resolved> {
        let lost: Vec<_> = self.entries.keys().filter(|key| *key.epoch != process).copied().collect();
        self.entries.retain(|key, _| *key.epoch == process);
        lost.into_iter().map(|key| Resolved { key, outcome: Outcome::Lost, by: None }).collect()
    }

    /// The app-server asks: no doubt about it. Gives what was said on it and never heard, to be said again; until then
    /// it is open, as the right to say it may have ended.
    pub fn asked_again(&mut self, key: Key) -> Option<(NodeId, Said)> {
        let entry = self.entries.get_mut(&key)?;
        let was_in_doubt = std::mem::replace(&mut entry.doubt, Doubt::None) != Doubt::None;
        let decided = if was_in_doubt { entry.decided.take() } else { None };
        decided.map(|Decided { by, said, .. }| (by, said))
    }

    /// This thread waits for nothing: what is in doubt there is over.
    pub fn waits_for_nothing(&mut self, thread: &str) -> Vec<Resolved> {
        self.settle(|entry| entry.doubt != Doubt::None && entry.matter.thread() == thread)
    }

    /// Looked at from time to time while there is a connection. What is in doubt on threads that aren't about to be
    /// resumed is over when it is found so a second time.
    pub fn look_again(&mut self, is_resumed: impl Fn(&str) -> bool) -> Vec<Resolved> {
        let over = self.settle(|entry| entry.doubt == Doubt::Old && !is_resumed(entry.matter.thread()));
        for entry in self.entries.values_mut().filter(|entry| entry.doubt == Doubt::Fresh) {
            if !is_resumed(entry.matter.thread()) {
                entry.doubt = Doubt::Old;
            }
        }
        over
    }

    fn settle(&mut self, is_over: impl Fn(&Entry) -> bool) -> Vec<Resolved> {
        let keys: Vec<_> = self.entries.iter().filter(|(_, entry)| is_over(entry)).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.resolve(key)).collect()
    }

    /// How to decline what nobody decided in time. A question has no deadline.
    pub fn expired(&self, now_ms: u64) -> Vec<Answer> {
        let waits = |entry: &Entry| entry.decided.is_none() && entry.doubt == Doubt::None;
        let late = |entry: &Entry| match &entry.matter {
            Matter::Approval(approval, form) if now_ms > approval.deadline_ms && waits(entry) => {
                Some(Answer::decline(approval.key, *form))
            }
            _ => None,
        };
        self.entries.values().filter_map(late).collect()
    }
}

fn refusal(error: Error) -> DecisionRefusal {
    match error {
        Error::NotAcceptable => DecisionRefusal::TooLarge,
        Error::NotOffered => DecisionRefusal::NotOffered,
        Error::Denied => DecisionRefusal::Denied,
        Error::StepUpNeeded => DecisionRefusal::StepUpNeeded,
        Error::OtherApproval | Error::OtherContent | Error::Signature => DecisionRefusal::NotWhatIsShown,
    }
}

/// Whether an accept by this device leaves another one to be waited for; it is noted as the first then. The same device
/// a second time is still the first.
fn is_first_of_two(guard: &mut Guard, by: By<'_>) -> bool {
    if !guard.two_person {
        return false;
    }
    let first = guard.first.get_or_insert_with(|| First { device: by.device, name: by.name.to_owned() });
    first.device == by.device
}

/// As many as fit one list, and the rest as envelopes of their own.
fn split<T: Clone>(all: impl Iterator<Item = T>, alone: impl Fn(T) -> Envelope) -> (Vec<T>, Vec<Envelope>) {
    let mut room = limits::ENVELOPE - LIST;
    let (mut open, mut further) = (Vec::new(), Vec::new());
    for one in all {
        let alone = alone(one.clone());
        match room.checked_sub(alone.encode().len()) {
            Some(left) if further.is_empty() => {
                room = left;
                open.push(one);
            }
            _ => further.push(alone),
        }
    }
    (open, further)
}

#[cfg(test)]
mod tests;
