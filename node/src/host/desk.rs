//! Who is asked when a phone wants to pair: a terminal, a `farhelm pair` at the control socket, or nobody (`--yes`).
//!
//! An offer belongs to the desk that showed it, and only that desk is asked and told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use farhelm_core::identity::NodeId;
use farhelm_core::pairing::TicketId;
use farhelm_core::policy::Grant;
use tokio::sync::{mpsc, oneshot, watch};

/// What a desk is told about its offer.
#[derive(Debug)]
pub enum Event {
    /// A phone with the ticket wants in: do the words agree?
    Asks {
        /// The name it gives itself; not sanitized.
        name: String,
        /// The words that the phone shows too.
        words: [&'static str; 4],
        /// What it will get; perhaps less, if another one becomes the first meanwhile.
        grant: Grant,
        /// Yes or no; dropping it is no.
        answer: oneshot::Sender<bool>,
    },
    /// It is paired and stored.
    Paired {
        /// The name it gives itself; not sanitized.
        name: String,
        /// Its key.
        device: NodeId,
        /// What it got.
        grant: Grant,
    },
    /// The desk's no has been stored; the ticket is void.
    Declined,
    /// Somebody else came with the ticket after it was used.
    SecondScan,
    /// Somebody came with this ticket's id and without its secret.
    WrongGate,
}

/// How an offer's phone is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// A person at this desk is asked.
    Ask,
    /// Without asking (`--yes`); the desk is told only.
    Given,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Yes,
    /// Don't; also when the desk is gone.
    No,
    /// The phone came again and the desk is asked anew.
    Superseded,
}

/// The desk of one offer.
#[derive(Debug, Clone)]
pub struct Desk {
    consent: Consent,
    events: mpsc::Sender<Event>,
    /// Counts questions; a higher count supersedes an open one.
    questions: watch::Sender<u64>,
}

impl Desk {
    /// A desk that hears `events`. One that doesn't listen misses what isn't a question.
    pub fn new(consent: Consent, events: mpsc::Sender<Event>) -> Self {
        Self { consent, events, questions: watch::Sender::new(0) }
    }

    /// Tells the desk.
    pub fn tell(&self, event: Event) {
        let _ = self.events.try_send(event);
    }

    /// Asks whether a phone is let in and given this.
    pub async fn ask(&self, name: &str, words: [&'static str; 4], grant: &Grant) -> Verdict {
        if self.consent == Consent::Given {
            return Verdict::Yes;
        }
        self.questions.send_modify(|n| *n += 1);
        let mut questions = self.questions.subscribe();
        let (answer, answered) = oneshot::channel();
        let asks = Event::Asks { name: name.to_owned(), words, grant: grant.clone(), answer };
        if self.events.send(asks).await.is_err() {
            return Verdict::No;
        }
        tokio::select! {
            biased;
            Ok(()) = questions.changed() => Verdict::Superseded,
            answer = answered => if answer.unwrap_or(false) { Verdict::Yes } else { Verdict::No },
        }
    }
}

/// The desks of all offers of this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Desks(Arc<Mutex<HashMap<[u8; 8], Desk>>>);

impl Desks {
    /// Remembers whose offer it is.
    pub fn put(&self, ticket: TicketId, desk: Desk) {
        self.lock().insert(*ticket, desk);
    }

    /// Whose offer it is.
    pub fn get(&self, ticket: TicketId) -> Option<Desk> {
        self.lock().get(&*ticket).cloned()
    }

    /// Forgets an offer.
    pub fn remove(&self, ticket: TicketId) {
        self.lock().remove(&*ticket);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 8], Desk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::policy::Right;

    use super::*;

    const WORDS: [&str; 4] = ["able", "baker", "cabin", "dance"];
    static GRANT: Grant = Grant::of(Right::Operator);

    async fn answer(events: &mut mpsc::Receiver<Event>, yes: bool) {
        let Some(Event::Asks { answer, words, grant, .. }) = events.recv().await else { panic!("a question") };
        assert_eq!((words, &grant), (WORDS, &GRANT));
        let _ = answer.send(yes);
    }

    #[tokio::test]
    async fn the_desks_word_counts() {
        for (yes, verdict) in [(true, Verdict::Yes), (false, Verdict::No)] {
            let (events, mut heard) = mpsc::channel(4);
            let desk = Desk::new(Consent::Ask, events);
            assert_eq!(tokio::join!(desk.ask("p", WORDS, &GRANT), answer(&mut heard, yes)).0, verdict);
        }
    }

    #[tokio::test]
    async fn a_desk_that_is_gone_says_no() {
        let (events, heard) = mpsc::channel(4);
        drop(heard);
        assert_eq!(Desk::new(Consent::Ask, events).ask("p", WORDS, &GRANT).await, Verdict::No);
    }

    #[tokio::test]
    async fn a_phone_that_comes_again_supersedes_its_first_question() {
        let (events, mut heard) = mpsc::channel(4);
        let desk = Desk::new(Consent::Ask, events);
        let first = tokio::spawn({
            let desk = desk.clone();
            async move { desk.ask("p", WORDS, &GRANT).await }
        });
        let Some(Event::Asks { answer: _kept, .. }) = heard.recv().await else { panic!("a question") };
        let (second, ()) = tokio::join!(desk.ask("p", WORDS, &GRANT), answer(&mut heard, true));
        assert_eq!((first.await.unwrap(), second), (Verdict::Superseded, Verdict::Yes));
    }
}
