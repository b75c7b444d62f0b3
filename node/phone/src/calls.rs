//! The requests under way: which were sent on which line, and what becomes of them when a line dies. A table, no I/O.
//!
//! What happens then is the method table's word ([`Retry`]): what can be done twice without harm is sent again on the
//! next line. Anything else is sent once: when its line dies before the answer, nobody here knows whether it happened,
//! and that is what the caller is told.

use std::collections::VecDeque;

use farhelm_core::policy::{Effect, Retry, table};
use farhelm_core::wire::envelope::{FailedBy, Failure, Request, Response};
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Error, PATIENCE};

/// Requests that may be under way to one host; a screen needs a few.
pub(crate) const CAPACITY: usize = 64;

/// One connection's number, counted up by its owner.
pub(crate) type LineId = u64;

pub(crate) type Reply = oneshot::Sender<Result<Value, Error>>;

struct Call {
    request: Request,
    /// It may be sent twice.
    again: bool,
    /// It changes nothing, so losing its answer leaves no doubt.
    reads: bool,
    deadline: Instant,
    sent_on: Option<LineId>,
    /// It was sent, on this line or an earlier one.
    sent: bool,
    reply: Reply,
}

/// Every call that has no answer yet, oldest first.
#[derive(Default)]
pub(crate) struct Calls(VecDeque<Call>);

impl Calls {
    /// Takes a call; it waits for [`send`](Self::send). `id` is random.
    pub(crate) fn add(&mut self, id: [u8; 16], method: &str, params: &Value, reply: Reply, now: Instant) {
        self.0.retain(|call| !call.reply.is_closed());
        if self.0.len() >= CAPACITY {
            // The caller may have gone; then nobody needs to know.
            let _ = reply.send(Err(Error::Busy));
            return;
        }
        let params = ByteBuf::from(params.to_string());
        let request = Request { id: ByteArray::new(id), method: method.to_owned(), params };
        // What the table doesn't know is a change that happens once.
        let entry = table::find(method);
        let again = entry.is_some_and(|entry| entry.retry == Retry::Idempotent);
        let reads = entry.is_some_and(|entry| entry.effect == Effect::Read);
        self.0.push_back(Call { request, again, reads, deadline: now + PATIENCE, sent_on: None, sent: false, reply });
    }

    /// Hands everything unsent to `send`, until it takes no more.
    pub(crate) fn send(&mut self, line: LineId, mut send: impl FnMut(Request) -> bool) {
        for call in self.0.iter_mut().filter(|call| call.sent_on.is_none() && !call.reply.is_closed()) {
            if !send(call.request.clone()) {
                return;
            }
            call.sent_on = Some(line);
            call.sent = true;
        }
    }

    /// Whether anything waits for an answer on this line.
    pub(crate) fn any_on(&self, line: LineId) -> bool {
        self.0.iter().any(|call| call.sent_on == Some(line) && !call.reply.is_closed())
    }

    /// Takes an answer. One that nobody waits for, or that comes on another line than its request went, is dropped.
    pub(crate) fn answer(&mut self, line: LineId, response: Response) {
        let place = self.0.iter().position(|call| call.request.id == response.id && call.sent_on == Some(line));
        let Some(call) = place.and_then(|place| self.0.remove(place)) else {
            tracing::debug!("an answer that nobody waits for");
            return;
        };
        let result = match response.result {
            Ok(text) => serde_json::from_slice(&text).map_err(|_| Error::Unreadable("an answer that is no JSON")),
            Err(failure) => Err(refused(failure)),
        };
        let _ = call.reply.send(result);
    }

    /// The line died: what may be sent twice waits for the next one, the rest ends in doubt.
    pub(crate) fn lost(&mut self, line: LineId) {
        self.finish(|call| {
            if call.sent_on != Some(line) {
                return None;
            }
            call.sent_on = None;
            (!call.again).then_some(Error::OutcomeUnknown)
        });
    }

    /// Ends what has waited too long. What was never sent surely didn't happen.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.finish(|call| {
            let error = match call.reads {
                _ if !call.sent => Error::NotConnected,
                true => Error::NoAnswer,
                false => Error::OutcomeUnknown,
            };
            (now >= call.deadline).then_some(error)
        });
    }

    /// Ends everything: what was sent and may have happened in doubt, the rest with `error`.
    pub(crate) fn end(&mut self, error: &Error) {
        self.finish(|call| {
            let doubt = call.sent && !call.reads;
            Some(if doubt { Error::OutcomeUnknown } else { error.clone() })
        });
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|call| call.deadline).min()
    }

    fn finish(&mut self, mut end: impl FnMut(&mut Call) -> Option<Error>) {
        for mut call in std::mem::take(&mut self.0) {
            match end(&mut call) {
                Some(error) => drop(call.reply.send(Err(error))),
                None => self.0.push_back(call),
            }
        }
    }
}

/// The host's word for a failure in ours; its sentence is kept short and is not sanitized for a terminal.
fn refused(Failure { by, mut message }: Failure) -> Error {
    message.truncate(message.floor_char_boundary(SENTENCE));
    match by {
        FailedBy::Policy => Error::Policy(message),
        FailedBy::Codex => Error::Codex(message),
        FailedBy::CodexAway => Error::CodexAway(message),
        FailedBy::OutcomeUnknown => Error::OutcomeUnknown,
        FailedBy::Busy => Error::Busy,
    }
}

/// The longest sentence of a host that is worth showing.
const SENTENCE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<Value, Error>>;

    fn call(calls: &mut Calls, id: u8, method: &str) -> Answer {
        let (reply, answer) = oneshot::channel();
        calls.add([id; 16], method, &Value::Null, reply, Instant::now());
        answer
    }

    fn send(calls: &mut Calls, line: LineId) -> Vec<u8> {
        let mut sent = Vec::new();
        calls.send(line, |request| {
            sent.push(request.id[0]);
            true
        });
        sent
    }

    fn response(id: u8, text: &str) -> Response {
        Response { id: ByteArray::new([id; 16]), result: Ok(ByteBuf::from(text)) }
    }

    #[test]
    fn answers_find_their_requests_in_any_order() {
        let mut calls = Calls::default();
        let (mut one, mut two) = (call(&mut calls, 1, "thread/list"), call(&mut calls, 2, "turn/start"));
        assert_eq!(send(&mut calls, 1), [1, 2]);
        calls.answer(1, response(2, "2"));
        calls.answer(1, response(1, "1"));
        assert_eq!((one.try_recv().unwrap(), two.try_recv().unwrap()), (Ok(1.into()), Ok(2.into())));
    }

    #[test]
    fn a_read_is_sent_again_and_a_write_ends_in_doubt_when_the_line_dies() {
        let mut calls = Calls::default();
        let (mut read, mut write) = (call(&mut calls, 1, "thread/read"), call(&mut calls, 2, "turn/start"));
        send(&mut calls, 1);
        calls.lost(1);
        assert_eq!(write.try_recv().unwrap(), Err(Error::OutcomeUnknown));
        assert_eq!(send(&mut calls, 2), [1]);
        calls.answer(2, response(1, "{}"));
        assert!(read.try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_change_that_was_sent_twice_without_an_answer_ends_in_doubt() {
        let mut calls = Calls::default();
        let mut interrupt = call(&mut calls, 1, "turn/interrupt");
        send(&mut calls, 1);
        calls.lost(1);
        assert!(interrupt.try_recv().is_err(), "it is sent again");
        calls.expire(Instant::now() + PATIENCE);
        assert_eq!(interrupt.try_recv().unwrap(), Err(Error::OutcomeUnknown), "it may have happened the first time");
    }

    #[test]
    fn a_method_that_the_table_does_not_know_is_sent_once() {
        let mut calls = Calls::default();
        let mut unknown = call(&mut calls, 1, "thread/frobnicate");
        send(&mut calls, 1);
        calls.lost(1);
        assert_eq!(unknown.try_recv().unwrap(), Err(Error::OutcomeUnknown));
    }

    #[test]
    fn a_write_that_was_never_sent_survives_a_dead_line() {
        let mut calls = Calls::default();
        let mut write = call(&mut calls, 1, "turn/start");
        calls.lost(1);
        assert!(write.try_recv().is_err());
        assert_eq!(send(&mut calls, 2), [1]);
    }

    #[test]
    fn an_answer_on_the_wrong_line_or_a_second_one_is_dropped() {
        let mut calls = Calls::default();
        let mut one = call(&mut calls, 1, "thread/list");
        send(&mut calls, 1);
        calls.answer(2, response(1, "1"));
        assert!(one.try_recv().is_err());
        calls.answer(1, response(1, "1"));
        calls.answer(1, response(1, "2"));
        assert_eq!(one.try_recv().unwrap(), Ok(1.into()));
    }

    #[test]
    fn what_waits_too_long_ends_by_what_may_have_happened() {
        let mut calls = Calls::default();
        let (mut read, mut write) = (call(&mut calls, 1, "thread/list"), call(&mut calls, 2, "turn/start"));
        send(&mut calls, 1);
        let mut unsent = call(&mut calls, 3, "turn/start");
        calls.expire(Instant::now());
        assert!(read.try_recv().is_err(), "not yet");
        calls.expire(Instant::now() + PATIENCE);
        assert_eq!(read.try_recv().unwrap(), Err(Error::NoAnswer));
        assert_eq!(write.try_recv().unwrap(), Err(Error::OutcomeUnknown));
        assert_eq!(unsent.try_recv().unwrap(), Err(Error::NotConnected));
        assert_eq!(calls.deadline(), None);
    }

    #[test]
    fn one_call_too_many_is_refused_and_a_caller_that_went_makes_room() {
        let mut calls = Calls::default();
        let mut waiting: Vec<_> = (0..CAPACITY).map(|id| call(&mut calls, id as u8, "thread/list")).collect();
        assert_eq!(call(&mut calls, 99, "thread/list").try_recv().unwrap(), Err(Error::Busy));
        waiting.pop();
        assert!(call(&mut calls, 100, "thread/list").try_recv().is_err());
    }

    #[test]
    fn an_answer_that_is_no_json_is_an_error() {
        let mut calls = Calls::default();
        let mut one = call(&mut calls, 1, "thread/list");
        send(&mut calls, 1);
        calls.answer(1, response(1, "{"));
        assert!(matches!(one.try_recv().unwrap(), Err(Error::Unreadable(_))));
    }

    #[test]
    fn a_failure_names_who_refused() {
        for (by, error) in [
            (FailedBy::Policy, Error::Policy("no".into())),
            (FailedBy::Codex, Error::Codex("no".into())),
            (FailedBy::CodexAway, Error::CodexAway("no".into())),
            (FailedBy::OutcomeUnknown, Error::OutcomeUnknown),
            (FailedBy::Busy, Error::Busy),
        ] {
            assert_eq!(refused(Failure { by, message: "no".into() }), error);
        }
        let Error::Codex(cut) = refused(Failure { by: FailedBy::Codex, message: "ä".repeat(2000) }) else { panic!() };
        assert!(cut.len() <= SENTENCE);
    }
}
