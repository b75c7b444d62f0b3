//! Open approvals and who decided them. Pure: the bridge brings what happened and the time, and carries out the answers.
//!
//! ```text
//!            decide (first valid signature)      Codex confirms
//!   open ───────────────────────────────▶ decided ─────────────▶ gone: accepted, declined, cancelled, by whom
//!     ├── Codex confirms without us ───────────────────────────▶ gone: elsewhere
//!     └── the app-server is gone ──────────────────────────────▶ gone: lost
//! ```
//! A decision only counts against the ledger's own entry, so a phone can't widen what it approves.

use std::collections::BTreeMap;

use farhelm_core::codex::approval::{Approval, Key, Outcome};
use farhelm_core::codex::decision::{Decision, Error, SignedDecision, VerifiedDecision};
use farhelm_core::identity::NodeId;
use farhelm_core::wire::envelope::{Approvals, DecisionRefusal, Resolved};
use farhelm_core::wire::{Envelope, limits};

/// Approvals kept open at once. Codex asks once a turn; beyond this the desk has to decide.
pub const OPEN: usize = 128;

/// How long phones may decide after Codex asked. The desk isn't bound by it.
pub const DEADLINE_MS: u64 = 24 * 60 * 60 * 1000;

/// What the list around approvals takes of an envelope; each brings more of its own when it travels alone.
const LIST: usize = 64;

/// Every approval that is open on this host.
#[derive(Debug)]
pub struct Ledger {
    host: NodeId,
    entries: BTreeMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    approval: Approval,
    decided: Option<(NodeId, Decision)>,
}

impl Ledger {
    /// An empty ledger of this host.
    pub const fn new(host: NodeId) -> Self {
        Self { host, entries: BTreeMap::new() }
    }

    /// Takes an approval in. `false` if it is known already (Codex repeats open ones on every resume), or if there
    /// are too many. One that was withheld is replaced when a repetition can be shown.
    pub fn open(&mut self, approval: Approval) -> bool {
        match self.entries.get(&approval.key) {
            Some(known) if known.approval.acceptable() || !approval.acceptable() => return false,
            Some(known) if known.decided.is_some() => return false,
            Some(_) => {}
            None if self.entries.len() >= OPEN => return false,
            None => {}
        }
        self.entries.insert(approval.key, Entry { approval, decided: None });
        true
    }

    /// What waits for a decision, oldest first.
    pub fn pending(&self) -> Vec<Approval> {
        self.entries.values().filter(|e| e.decided.is_none()).map(|e| e.approval.clone()).collect()
    }

    /// The same as envelopes: one list with as many as fit, and each of the rest by itself.
    pub fn announcement(&self) -> Vec<Envelope> {
        let mut room = limits::ENVELOPE - LIST;
        let (mut open, mut further) = (Vec::new(), Vec::new());
        for approval in self.pending() {
            let alone = Envelope::Approval(approval.clone());
            match room.checked_sub(alone.encode().len()) {
                Some(left) if further.is_empty() => {
                    room = left;
                    open.push(approval);
                }
                _ => further.push(alone),
            }
        }
        std::iter::once(Envelope::Approvals(Approvals { open })).chain(further).collect()
    }

    /// Takes a device's decision; the first valid one wins. The caller sends the answer and, if that fails, calls
    /// [`reopen`](Self::reopen).
    pub fn decide(
        &mut self,
        device: NodeId,
        signed: &SignedDecision,
        now_ms: u64,
    ) -> Result<VerifiedDecision, DecisionRefusal> {
        let entry = self.entries.get_mut(&signed.key).ok_or(DecisionRefusal::Over)?;
        if entry.decided.is_some() {
            return Err(DecisionRefusal::Over);
        }
        if now_ms > entry.approval.deadline_ms {
            return Err(DecisionRefusal::Late);
        }
        let verified = signed.verify(device, self.host, &entry.approval).map_err(|error| match error {
            Error::NotAcceptable => DecisionRefusal::TooLarge,
            Error::OtherApproval | Error::OtherContent | Error::Signature => DecisionRefusal::NotWhatIsShown,
        })?;
        entry.decided = Some((device, verified.decision()));
        Ok(verified)
    }

    /// The answer could not be sent: it is open again, unless it is over.
    pub fn reopen(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.decided = None;
        }
    }

    /// Codex says that a request is answered. `None` if it wasn't one of ours.
    pub fn resolve(&mut self, key: Key) -> Option<Resolved> {
        let entry = self.entries.remove(&key)?;
        let (outcome, by) = match entry.decided {
            Some((by, Decision::Accept)) => (Outcome::Accepted, Some(by)),
            Some((by, Decision::Decline)) => (Outcome::Declined, Some(by)),
            Some((by, Decision::Cancel)) => (Outcome::Cancelled, Some(by)),
            None => (Outcome::Elsewhere, None),
        };
        Some(Resolved { key, outcome, by })
    }

    /// A turn ended, and with it whatever it still asked (an interrupted turn resolves nothing by itself).
    pub fn end_turn(&mut self, thread: &str, turn: &str) -> Vec<Resolved> {
        let of_turn = |e: &Entry| e.approval.thread == thread && e.approval.turn == turn;
        let keys: Vec<_> = self.entries.iter().filter(|(_, e)| of_turn(e)).map(|(k, _)| *k).collect();
        keys.into_iter().filter_map(|key| self.resolve(key)).collect()
    }

    /// The app-server is gone, and with it everything it asked.
    pub fn lose_all(&mut self) -> Vec<Resolved> {
        let lost = std::mem::take(&mut self.entries);
        lost.into_keys().map(|key| Resolved { key, outcome: Outcome::Lost, by: None }).collect()
    }

    /// What nobody decided in time, to be declined.
    pub fn expired(&self, now_ms: u64) -> Vec<Key> {
        let late = |e: &Entry| e.decided.is_none() && now_ms > e.approval.deadline_ms;
        self.entries.iter().filter(|(_, e)| late(e)).map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::codex::approval::{Act, Content};
    use farhelm_core::identity::Identity;
    use serde_bytes::ByteArray;

    use super::*;

    fn identity(n: u8) -> Identity {
        Identity::from_seed(&[n; 32])
    }

    fn approval(request: i64) -> Approval {
        Approval {
            key: Key { epoch: ByteArray::new([1; 16]), request },
            environment: "local".into(),
            thread: "thread".into(),
            turn: "turn".into(),
            item: format!("item{request}"),
            content: Content {
                act: Act::Command { command: "make".into(), folder: "/src".into(), permissions: None },
                reason: None,
                approval_policy: "on-request".into(),
                sandbox: "workspace-write".into(),
            },
            deadline_ms: 1000,
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(identity(1).node_id());
        assert!(ledger.open(approval(7)));
        ledger
    }

    fn signed(by: u8, approval: &Approval, decision: Decision) -> SignedDecision {
        SignedDecision::sign(&identity(by), identity(1).node_id(), approval, decision).unwrap()
    }

    #[test]
    fn the_first_valid_decision_wins_and_names_its_device() {
        let mut ledger = ledger();
        let (first, second) = (identity(2).node_id(), identity(3).node_id());
        assert!(ledger.decide(first, &signed(2, &approval(7), Decision::Accept), 0).is_ok());
        let late = ledger.decide(second, &signed(3, &approval(7), Decision::Decline), 0);
        assert_eq!(late, Err(DecisionRefusal::Over));
        let resolved = ledger.resolve(approval(7).key).unwrap();
        assert_eq!((resolved.outcome, resolved.by), (Outcome::Accepted, Some(first)));
    }

    #[test]
    fn a_decision_about_other_content_has_no_effect() {
        let mut ledger = ledger();
        let mut other = approval(7);
        other.content.act = Act::Command { command: "make clean".into(), folder: "/src".into(), permissions: None };
        let decision = signed(2, &other, Decision::Accept);
        assert_eq!(ledger.decide(identity(2).node_id(), &decision, 0), Err(DecisionRefusal::NotWhatIsShown));
        assert_eq!(ledger.pending(), [approval(7)]);
    }

    #[test]
    fn another_devices_signature_has_no_effect() {
        let decision = signed(2, &approval(7), Decision::Accept);
        assert_eq!(ledger().decide(identity(3).node_id(), &decision, 0), Err(DecisionRefusal::NotWhatIsShown));
    }

    #[test]
    fn a_decision_after_the_deadline_is_late() {
        let mut ledger = ledger();
        let decision = signed(2, &approval(7), Decision::Accept);
        assert_eq!(ledger.expired(1000), []);
        assert_eq!(ledger.expired(1001), [approval(7).key]);
        assert_eq!(ledger.decide(identity(2).node_id(), &decision, 1001), Err(DecisionRefusal::Late));
    }

    #[test]
    fn a_decision_on_what_is_gone_is_over() {
        let mut ledger = ledger();
        assert_eq!(ledger.resolve(approval(7).key).unwrap().outcome, Outcome::Elsewhere);
        let decision = signed(2, &approval(7), Decision::Accept);
        assert_eq!(ledger.decide(identity(2).node_id(), &decision, 0), Err(DecisionRefusal::Over));
        assert_eq!(ledger.resolve(approval(7).key), None);
    }

    #[test]
    fn what_can_not_be_shown_whole_is_declined_only() {
        let mut large = approval(8);
        large.content.act = Act::Withheld { kind: "command".into(), about: "x".into(), why: "too large".into() };
        let mut ledger = ledger();
        ledger.open(large.clone());
        // A phone that lies about its own check: sign something acceptable under the same key, then claim the digest.
        let mut forged = signed(2, &approval(8), Decision::Accept);
        forged.digest = ByteArray::new(large.digest());
        assert!(ledger.decide(identity(2).node_id(), &forged, 0).is_err());
        assert!(ledger.decide(identity(2).node_id(), &signed(2, &large, Decision::Decline), 0).is_ok());
    }

    #[test]
    fn an_answer_that_was_not_sent_leaves_it_open() {
        let mut ledger = ledger();
        let decision = signed(2, &approval(7), Decision::Accept);
        ledger.decide(identity(2).node_id(), &decision, 0).unwrap();
        assert_eq!(ledger.pending(), []);
        ledger.reopen(approval(7).key);
        assert_eq!(ledger.pending(), [approval(7)]);
    }

    #[test]
    fn a_repeated_request_is_the_same_approval() {
        let mut ledger = ledger();
        assert!(!ledger.open(approval(7)));
        assert_eq!(ledger.pending().len(), 1);
    }

    #[test]
    fn a_withheld_approval_is_replaced_once_it_can_be_shown() {
        let mut withheld = approval(7);
        withheld.content.act = Act::Withheld { kind: "fileChange".into(), about: "x".into(), why: "unknown".into() };
        let mut ledger = Ledger::new(identity(1).node_id());
        assert!(ledger.open(withheld.clone()));
        assert!(!ledger.open(withheld.clone()), "still withheld");
        assert!(ledger.open(approval(7)));
        assert!(!ledger.open(withheld), "never the other way");
        assert_eq!(ledger.pending(), [approval(7)]);
    }

    #[test]
    fn the_ledger_is_bounded() {
        let mut ledger = Ledger::new(identity(1).node_id());
        let taken = (0..2 * OPEN as i64).filter(|n| ledger.open(approval(*n))).count();
        assert_eq!(taken, OPEN);
    }

    #[test]
    fn every_approval_is_announced_and_no_envelope_is_too_large() {
        let large = |n| {
            let mut approval = approval(n);
            let command = "x".repeat(limits::APPROVAL_CONTENT - 100);
            approval.content.act = Act::Command { command, folder: "/src".into(), permissions: None };
            approval
        };
        let mut ledger = Ledger::new(identity(1).node_id());
        assert_eq!(ledger.announcement(), [Envelope::Approvals(Approvals { open: Vec::new() })]);
        for n in 0..20 {
            assert!(ledger.open(large(n)));
        }
        let announced = ledger.announcement();
        assert!(announced.iter().all(|envelope| envelope.encode().len() <= limits::ENVELOPE));
        let [Envelope::Approvals(list), further @ ..] = &announced[..] else { panic!("the list comes first") };
        assert_eq!((list.open.len(), further.len()), (7, 13));
        assert!(further.iter().all(|envelope| matches!(envelope, Envelope::Approval(_))));
    }

    #[test]
    fn a_lost_app_server_and_an_ended_turn_leave_nothing_open() {
        let mut first = ledger();
        assert_eq!(first.lose_all()[0].outcome, Outcome::Lost);
        let mut second = ledger();
        assert_eq!(second.end_turn("thread", "other"), []);
        assert_eq!(second.end_turn("thread", "turn")[0].outcome, Outcome::Elsewhere);
        assert!(first.pending().is_empty() && second.pending().is_empty());
    }
}
