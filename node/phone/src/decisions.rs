//! Decisions and answers on their way: a table that knows when the host's word about one is final. No I/O.
//!
//! Either may safely travel twice: it is about exactly one approval or question, and the first valid one wins. So it is
//! sent again after a reconnection while the host still lists what it is about. If that is gone by then, it ended while
//! nobody listened, and that is all that can be said.

use farhelm_core::codex::approval::{Approval, Key, Outcome};
use farhelm_core::codex::decision::{self, SignedDecision};
use farhelm_core::codex::question::{Answers, Question};
use farhelm_core::identity::NodeId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::DecisionRefusal;
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
    /// The connection broke, and when it was back the approval was gone.
    #[error("the connection broke, and the request is over since; look at the thread to see how it ended")]
    OutcomeUnknown,
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
        // The only two reasons for which signing is refused.
        match error {
            decision::Error::NotOffered => Self::NotOffered,
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
    said: Said,
    deadline: Instant,
    sent: bool,
    reply: Reply,
}

/// Everything said that the host hasn't answered.
#[derive(Default)]
pub(crate) struct Decisions(Vec<Waiting>);

impl Decisions {
    /// Takes a decision or answers; they wait for [`send`](Self::send).
    pub(crate) fn add(&mut self, said: Said, reply: Reply, now: Instant) {
        self.0.retain(|waiting| !waiting.reply.is_closed());
        if self.0.len() >= CAPACITY {
            let _ = reply.send(Err(DecideError::Busy));
            return;
        }
        self.0.push(Waiting { said, deadline: now + PATIENCE, sent: false, reply });
    }

    /// Hands everything unsent to `send`, until it takes no more.
    pub(crate) fn send(&mut self, mut send: impl FnMut(Said) -> bool) {
        for waiting in self.0.iter_mut().filter(|waiting| !waiting.sent) {
            if !send(waiting.said.clone()) {
                return;
            }
            waiting.sent = true;
        }
    }

    /// The host listed the approvals that are open: what is still there is to be sent (again), the rest is over.
    pub(crate) fn listed(&mut self, open: &[Approval]) {
        let is_open = |key| open.iter().any(|approval| approval.key == key);
        self.relist(|said| matches!(said, Said::Decision(_)), is_open);
    }

    /// The same for questions.
    pub(crate) fn listed_questions(&mut self, open: &[Question]) {
        let is_open = |key| open.iter().any(|question| question.key == key);
        self.relist(|said| matches!(said, Said::Answers(_)), is_open);
    }

    fn relist(&mut self, concerns: impl Fn(&Said) -> bool, is_open: impl Fn(Key) -> bool) {
        self.finish(|waiting| {
            if !concerns(&waiting.said) {
                return None;
            }
            if is_open(waiting.said.key()) {
                waiting.sent = false;
                return None;
            }
            let gone = DecideError::Over { outcome: None, by: None };
            Some(Err(if waiting.sent { DecideError::OutcomeUnknown } else { gone }))
        });
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

    /// Ends what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.finish(|waiting| {
            let error = if waiting.sent { DecideError::OutcomeUnknown } else { DecideError::NotConnected };
            (now >= waiting.deadline).then_some(Err(error))
        });
    }

    /// Ends everything.
    pub(crate) fn end(&mut self) {
        self.finish(|waiting| Some(Err(if waiting.sent { DecideError::OutcomeUnknown } else { DecideError::Stopped })));
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
    use farhelm_core::codex::approval::{Act, Content};
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
        Approval { key, environment, thread, turn, item, content, for_session: false, deadline_ms: 1 }
    }

    fn decide(table: &mut Decisions, request: i64) -> oneshot::Receiver<Result<(), DecideError>> {
        let (reply, answer) = oneshot::channel();
        let signed = SignedDecision::sign(&us(), us().node_id(), &approval(request), Decision::Accept).unwrap();
        table.add(Said::Decision(signed), reply, Instant::now());
        answer
    }

    #[test]
    fn a_list_of_approvals_says_nothing_about_answers_and_the_other_way_round() {
        let mut table = Decisions::default();
        let mut decision = decide(&mut table, 0);
        let (reply, mut answer) = oneshot::channel();
        let answers = Answers { key: approval(1).key, digest: ByteArray::new([0; 32]), answers: Default::default() };
        table.add(Said::Answers(answers), reply, Instant::now());
        assert_eq!(send(&mut table), 2);
        table.listed(&[approval(0)]);
        assert!(answer.try_recv().is_err());
        table.listed_questions(&[]);
        assert_eq!(answer.try_recv().unwrap(), Err(DecideError::OutcomeUnknown));
        assert!(decision.try_recv().is_err());
    }

    fn send(table: &mut Decisions) -> usize {
        let mut sent = 0;
        table.send(|_| {
            sent += 1;
            true
        });
        sent
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
            send(&mut table);
            table.resolved(approval(1).key, outcome, by, us);
            assert!(answer.try_recv().is_err(), "another approval");
            table.resolved(approval(0).key, outcome, by, us);
            let over = DecideError::Over { outcome: Some(outcome), by };
            assert_eq!(answer.try_recv().unwrap(), if taken { Ok(()) } else { Err(over) });
        }
    }

    #[test]
    fn a_decision_that_was_never_sent_on_what_is_gone_is_over_without_doubt() {
        let mut table = Decisions::default();
        let mut answer = decide(&mut table, 0);
        table.listed(&[approval(1)]);
        assert_eq!(answer.try_recv().unwrap(), Err(DecideError::Over { outcome: None, by: None }));
    }

    #[test]
    fn what_waits_too_long_ends_by_what_may_have_happened() {
        let mut table = Decisions::default();
        let mut sent = decide(&mut table, 0);
        assert_eq!((send(&mut table), send(&mut table)), (1, 0));
        let mut unsent = decide(&mut table, 1);
        table.expire(Instant::now());
        assert!(sent.try_recv().is_err() && table.deadline().is_some());
        table.expire(Instant::now() + PATIENCE);
        assert_eq!(sent.try_recv().unwrap(), Err(DecideError::OutcomeUnknown));
        assert_eq!(unsent.try_recv().unwrap(), Err(DecideError::NotConnected));
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
        let mut sent = decide(&mut table, 0);
        send(&mut table);
        let mut unsent = decide(&mut table, 1);
        table.end();
        assert_eq!(sent.try_recv().unwrap(), Err(DecideError::OutcomeUnknown));
        assert_eq!(unsent.try_recv().unwrap(), Err(DecideError::Stopped));
    }
}
