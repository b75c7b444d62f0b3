//! Decisions and answers on their way: a table that knows when the host's word about one is final. No I/O.
//!
//! Each goes by the log, so the host hears of it once, whatever happens to connections, and says what became of it.

use farhelm_core::codex::approval::{Key, Outcome};
use farhelm_core::codex::decision::{self, SignedDecision};
use farhelm_core::codex::question::Answers;
use farhelm_core::identity::NodeId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::DecisionRefusal;
use farhelm_store::journal::ActId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::PATIENCE;

/// Decisions that may be under way to one host: a person makes one at a time.
const CAPACITY: usize = 16;

/// Why a decision wasn't taken, or isn't known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// It can't be shown whole, so it can't be accepted from a phone. Nothing was sent.
    #[error("this can't be shown whole, so it can't be accepted from here; decline it, or decide at the desk")]
    NotShownWhole,
    /// It was over before: somebody else decided, the turn ended, or Codex restarted.
    #[error("this was over before your decision arrived; look at the thread to see how it went on")]
    Over {
        /// How it ended, if the host said so.
        outcome: Option<Outcome>,
        /// Which device decided, if one did.
        by: Option<NodeId>,
    },
    /// The host doesn't take this one for the whole session.
    #[error("the host does not offer to accept this for the whole session; accept it this once")]
    NotOffered,
    /// Not an answer to this question. Nothing was sent.
    #[error("every question needs an answer: one of its options, or your own words where it takes them")]
    NotAnAnswer,
    /// The host shows something else by now.
    #[error("the host shows something else now; look again, then decide")]
    NotWhatIsShown,
    /// The deadline has passed.
    #[error("it is too late, by the host's clock; look at the thread to see how it went on")]
    Late,
    /// This device may not decide.
    #[error("the host does not let this phone decide; decide at the desk")]
    NotAllowed,
    /// The host's policy never takes an accept for it from a phone.
    #[error("denied by the host's policy, so it can't be accepted from here; decline it, or decide at the desk")]
    Denied,
    /// The host wants this phone to make sure of its owner first: [`Host::decide_stepped_up`](crate::Host). Nothing was
    /// decided.
    #[error("the host wants you to confirm again that it is you; confirm it, then accept again")]
    StepUpNeeded,
    /// It counts as the first of two: it still waits, for another device.
    #[error("1 of 2: a second person has to accept this on another device; it waits until then")]
    SecondNeeded,
    /// The host can't record it, so it isn't done, and still waits.
    #[error("the host can not record it, so it was not done; make room on its disk and decide again")]
    NotRecorded,
    /// It was sent, and nobody knows whether it counted.
    #[error("it isn't known whether this counted; look at the thread to see how it went on")]
    OutcomeUnknown,
    /// This phone couldn't store it, so it was not sent.
    #[error("this phone can't store anything, so nothing was sent; free space on it, then decide again")]
    NotStored,
    /// There was no connection all the while. Nothing was sent.
    #[error("the host was not reachable for {} s, nothing was sent; try again when it is", PATIENCE.as_secs())]
    NotConnected,
    /// Too many decisions are under way.
    #[error("too many decisions are under way; wait for one")]
    Busy,
    /// The host removed this phone, was forgotten here, or the client was shut down.
    #[error("this phone is not connected to the host any more; connect to it, or pair again")]
    Stopped,
}

impl From<decision::Error> for DecideError {
    fn from(error: decision::Error) -> Self {
        // The only reasons for which signing is refused.
        match error {
            decision::Error::NotOffered => Self::NotOffered,
            decision::Error::Denied => Self::Denied,
            decision::Error::StepUpNeeded => Self::StepUpNeeded,
            _ => Self::NotShownWhole,
        }
    }
}

impl From<DecisionRefusal> for DecideError {
    fn from(refusal: DecisionRefusal) -> Self {
        match refusal {
            DecisionRefusal::Over => Self::Over { outcome: None, by: None },
            DecisionRefusal::NotWhatIsShown => Self::NotWhatIsShown,
            DecisionRefusal::Late => Self::Late,
            DecisionRefusal::TooLarge => Self::NotShownWhole,
            DecisionRefusal::NotOffered => Self::NotOffered,
            DecisionRefusal::NotAllowed => Self::NotAllowed,
            DecisionRefusal::OutcomeUnknown => Self::OutcomeUnknown,
            DecisionRefusal::Denied => Self::Denied,
            DecisionRefusal::StepUpNeeded => Self::StepUpNeeded,
            DecisionRefusal::SecondNeeded => Self::SecondNeeded,
            DecisionRefusal::NotRecorded => Self::NotRecorded,
        }
    }
}

pub(crate) type Reply = oneshot::Sender<Result<(), DecideError>>;

/// What a person said.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// On an approval.
    Decision(SignedDecision),
    /// To a question.
    Answers(Answers),
}

impl Said {
    fn key(&self) -> Key {
        match self {
            Self::Decision(signed) => signed.key,
            Self::Answers(answers) => answers.key,
        }
    }

    /// How what it is about ends by it.
    fn meant(&self) -> Outcome {
        match self {
            Self::Decision(signed) => signed.decision.outcome(),
            Self::Answers(_) => Outcome::Accepted,
        }
    }
}

impl From<Said> for Envelope {
    fn from(said: Said) -> Self {
        match said {
            Said::Decision(signed) => Self::Decision(signed),
            Said::Answers(answers) => Self::Answers(answers),
        }
    }
}

struct Waiting {
    id: ActId,
    said: Said,
    deadline: Instant,
    reply: Reply,
}

/// Everything said that the host hasn't answered.
#[derive(Default)]
pub(crate) struct Decisions(Vec<Waiting>);

impl Decisions {
    /// Takes a decision or answers, which are logged under this id. Says whether there is room.
    pub(crate) fn add(&mut self, id: ActId, said: Said, reply: Reply, now: Instant) -> bool {
        self.0.retain(|waiting| !waiting.reply.is_closed());
        let room = self.0.len() < CAPACITY;
        if room {
            self.0.push(Waiting { id, said, deadline: now + PATIENCE, reply });
        } else {
            let _ = reply.send(Err(DecideError::Busy));
        }
        room
    }

    /// Ends one that could not be logged.
    pub(crate) fn refuse(&mut self, id: ActId, error: &DecideError) {
        self.finish(|waiting| (waiting.id == id).then(|| Err(error.clone())));
    }

    /// The host answered what we said.
    pub(crate) fn decided(&mut self, key: Key, result: Result<(), DecisionRefusal>) {
        self.finish(|waiting| (waiting.said.key() == key).then(|| result.map_err(DecideError::from)));
    }

    /// An approval or a question is over; perhaps by us.
    pub(crate) fn resolved(&mut self, key: Key, outcome: Outcome, by: Option<NodeId>, us: NodeId) {
        self.finish(|waiting| {
            let ours = by == Some(us) && outcome == waiting.said.meant();
            let result = if ours { Ok(()) } else { Err(DecideError::Over { outcome: Some(outcome), by }) };
            (waiting.said.key() == key).then_some(result)
        });
    }

    /// Ends what has waited too long. `withdraw` takes it back if it was never sent.
    pub(crate) fn expire(&mut self, now: Instant, mut withdraw: impl FnMut(ActId) -> bool) {
        self.finish(|waiting| {
            (now >= waiting.deadline).then(|| match withdraw(waiting.id) {
                true => Err(DecideError::NotConnected),
                false => Err(DecideError::OutcomeUnknown),
            })
        });
    }

    /// Ends everything.
    pub(crate) fn end(&mut self, mut withdraw: impl FnMut(ActId) -> bool) {
        self.finish(|waiting| {
            Some(Err(if withdraw(waiting.id) { DecideError::Stopped } else { DecideError::OutcomeUnknown }))
        });
    }

    /// Ends those that are not asked any more: they could not be stored, and weren't sent.
    pub(crate) fn forget_unless(&mut self, is_asked: impl Fn(ActId) -> bool) {
        self.finish(|waiting| (!is_asked(waiting.id)).then_some(Err(DecideError::NotStored)));
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|waiting| waiting.deadline).min()
    }

    fn finish(&mut self, mut end: impl FnMut(&mut Waiting) -> Option<Result<(), DecideError>>) {
        for mut waiting in std::mem::take(&mut self.0) {
            match end(&mut waiting) {
                Some(result) => drop(waiting.reply.send(result)),
                None => self.0.push(waiting),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::codex::approval::{Act, Approval, Content};
    use farhelm_core::codex::decision::Decision;
    use farhelm_core::identity::Identity;
    use serde_bytes::ByteArray;

    use super::*;

    fn us() -> Identity {
        Identity::from_seed(&[1; 32])
    }

    fn approval(request: i64) -> Approval {
        let act = Act::Command { command: "ls".into(), folder: "/".into(), permissions: None };
        let (approval_policy, sandbox, workspace) = Default::default();
        let content = Content { act, reason: None, approval_policy, sandbox, workspace };
        let key = Key { epoch: ByteArray::new([7; 16]), request };
        let (environment, thread, turn, item) = Default::default();
        Approval {
            key,
            environment,
            thread,
            turn,
            item,
            content,
            for_session: false,
            deadline_ms: 1,
            guard: Default::default(),
        }
    }

    fn decide(table: &mut Decisions, request: i64) -> oneshot::Receiver<Result<(), DecideError>> {
        let (reply, answer) = oneshot::channel();
        let signed = SignedDecision::sign(&us(), us().node_id(), &approval(request), Decision::Accept).unwrap();
        table.add(id(request), Said::Decision(signed), reply, Instant::now());
        answer
    }

    fn id(request: i64) -> ActId {
        ActId::new([request as u8; 16])
    }

    #[test]
    fn resolved_by_us_as_we_meant_it_is_taken_and_otherwise_over() {
        let us = us().node_id();
        for (outcome, by, taken) in [
            (Outcome::Accepted, Some(us), true),
            (Outcome::Declined, Some(us), false),
            (Outcome::Accepted, None, false),
            (Outcome::Lost, None, false),
        ] {
            let mut table = Decisions::default();
            let mut answer = decide(&mut table, 0);
            table.resolved(approval(1).key, outcome, by, us);
            assert!(answer.try_recv().is_err(), "another approval");
            table.resolved(approval(0).key, outcome, by, us);
            let over = DecideError::Over { outcome: Some(outcome), by };
            assert_eq!(answer.try_recv().unwrap(), if taken { Ok(()) } else { Err(over) });
        }
    }

    #[test]
    fn what_waits_too_long_ends_by_what_may_have_happened() {
        let mut table = Decisions::default();
        let (mut sent, mut unsent) = (decide(&mut table, 0), decide(&mut table, 1));
        table.expire(Instant::now(), |_| true);
        assert!(sent.try_recv().is_err() && table.deadline().is_some());
        table.expire(Instant::now() + PATIENCE, |it| it == id(1));
        assert_eq!(sent.try_recv().unwrap(), Err(DecideError::OutcomeUnknown));
        assert_eq!(unsent.try_recv().unwrap(), Err(DecideError::NotConnected));
    }

    #[test]
    fn one_that_could_not_be_stored_was_not_sent() {
        let mut table = Decisions::default();
        let (mut lost, mut kept) = (decide(&mut table, 0), decide(&mut table, 1));
        table.forget_unless(|it| it == id(1));
        assert_eq!(lost.try_recv().unwrap(), Err(DecideError::NotStored));
        assert!(kept.try_recv().is_err());
    }

    #[test]
    fn one_decision_too_many_is_refused() {
        let mut table = Decisions::default();
        let held: Vec<_> = (0..CAPACITY as i64).map(|request| decide(&mut table, request)).collect();
        assert_eq!(decide(&mut table, 99).try_recv().unwrap(), Err(DecideError::Busy));
        drop(held);
        assert!(decide(&mut table, 99).try_recv().is_err());
    }

    #[test]
    fn the_end_leaves_nobody_waiting() {
        let mut table = Decisions::default();
        let (mut sent, mut unsent) = (decide(&mut table, 0), decide(&mut table, 1));
        table.end(|it| it == id(1));
        assert_eq!(sent.try_recv().unwrap(), Err(DecideError::OutcomeUnknown));
        assert_eq!(unsent.try_recv().unwrap(), Err(DecideError::Stopped));
    }
}
