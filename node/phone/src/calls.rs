//! The calls that wait for an answer: reads, which go out on whatever line there is, and changes, which go by the log.
//! A table, no I/O.
//!
//! A read is sent again on the next line when its line dies. A change is logged once, and the host does it once; who
//! called waits for the answer for a while only, and what is said then depends on whether it can still be taken back.

use std::collections::VecDeque;

use farhelm_core::policy::{Effect, table};
use farhelm_core::wire::envelope::{FailedBy, Failure, Request, Response};
use farhelm_store::journal::ActId;
use serde_bytes::{ByteArray, ByteBuf};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Error, PATIENCE};

/// Calls that may be under way to one host; a screen needs a few.
pub(crate) const CAPACITY: usize = 64;

/// Bytes of reads that go with a handshake, where nothing is known yet of what the path carries.
const EARLY: usize = 8 * 1024;

/// One connection's number, counted up by its owner.
pub(crate) type LineId = u64;

pub(crate) type Reply = oneshot::Sender<Result<Value, Error>>;

struct Call {
    request: Request,
    /// It changes nothing, so losing its answer leaves no doubt.
    reads: bool,
    deadline: Instant,
    /// A read's line.
    sent_on: Option<LineId>,
    /// It was sent, on this line or an earlier one.
    sent: bool,
    reply: Reply,
}

/// Every call that has no answer yet, oldest first.
#[derive(Default)]
pub(crate) struct Calls(VecDeque<Call>);

impl Calls {
    /// Takes a call. A read waits for [`send`](Self::send); a change is given back, to be logged. `id` is random.
    pub(crate) fn add(
        &mut self,
        id: [u8; 16],
        method: &str,
        params: &Value,
        reply: Reply,
        now: Instant,
    ) -> Option<Request> {
        self.0.retain(|call| !call.reply.is_closed());
        if self.0.len() >= CAPACITY {
            // The caller may have gone; then nobody needs to know.
            let _ = reply.send(Err(Error::Busy));
            return None;
        }
        let params = ByteBuf::from(params.to_string());
        let request = Request { id: ByteArray::new(id), method: method.to_owned(), params };
        let reads = is_read(method);
        let logged = (!reads).then(|| request.clone());
        self.0.push_back(Call { request, reads, deadline: now + PATIENCE, sent_on: None, sent: false, reply });
        logged
    }

    /// Ends a call that could not be logged.
    pub(crate) fn refuse(&mut self, id: ActId, error: &Error) {
        self.finish(|call| (call.request.id == id).then(|| error.clone()));
    }

    /// Hands every unsent read to `send`, until it takes no more.
    pub(crate) fn send(&mut self, line: LineId, mut send: impl FnMut(Request) -> bool) {
        let unsent = |call: &&mut Call| call.reads && call.sent_on.is_none() && !call.reply.is_closed();
        for call in self.0.iter_mut().filter(unsent) {
            if !send(call.request.clone()) {
                return;
            }
            call.sent_on = Some(line);
            call.sent = true;
        }
    }

    /// The unsent reads that may go with a handshake; the others follow it.
    pub(crate) fn early(&self) -> Vec<Request> {
        let mut room = EARLY;
        let unsent = self.0.iter().filter(|call| call.reads && call.sent_on.is_none() && !call.reply.is_closed());
        let fits = |call: &&Call| {
            room = room.saturating_sub(call.request.method.len() + call.request.params.len());
            room > 0
        };
        unsent.take_while(fits).map(|call| call.request.clone()).collect()
    }

    /// These went with the handshake of this line.
    pub(crate) fn went(&mut self, line: LineId, with: &[ActId]) {
        for call in self.0.iter_mut().filter(|call| with.contains(&call.request.id)) {
            (call.sent_on, call.sent) = (Some(line), true);
        }
    }

    /// Whether a read waits for an answer on this line.
    pub(crate) fn any_on(&self, line: LineId) -> bool {
        self.0.iter().any(|call| call.sent_on == Some(line) && !call.reply.is_closed())
    }

    /// Takes the answer to a read. One that nobody waits for, or that comes on another line than its request went, is
    /// dropped.
    pub(crate) fn answer(&mut self, line: LineId, response: Response) {
        let place = self.0.iter().position(|call| call.request.id == response.id && call.sent_on == Some(line));
        self.give(place, response);
    }

    /// Takes the answer to a change, which came by the log. Says whether anybody waited for it.
    pub(crate) fn answer_logged(&mut self, response: Response) -> bool {
        let place = self.0.iter().position(|call| call.request.id == response.id && !call.reads);
        self.give(place, response)
    }

    fn give(&mut self, place: Option<usize>, response: Response) -> bool {
        let Some(call) = place.and_then(|place| self.0.remove(place)) else {
            tracing::debug!("an answer that nobody waits for");
            return false;
        };
        call.reply.send(read(response.result)).is_ok()
    }

    /// The line died: reads wait for the next one.
    pub(crate) fn lost(&mut self, line: LineId) {
        self.0.iter_mut().filter(|call| call.sent_on == Some(line)).for_each(|call| call.sent_on = None);
    }

    /// Ends what has waited too long. `withdraw` takes a change back if it was never sent; then it surely didn't happen.
    pub(crate) fn expire(&mut self, now: Instant, mut withdraw: impl FnMut(ActId) -> bool) {
        self.finish(|call| {
            (now >= call.deadline).then(|| match call.reads {
                true if call.sent => Error::NoAnswer,
                true => Error::NotConnected,
                false if withdraw(call.request.id) => Error::NotConnected,
                false => Error::OutcomeUnknown,
            })
        });
    }

    /// Ends everything: changes that can't be taken back any more in doubt, the rest with `error`.
    pub(crate) fn end(&mut self, error: &Error, mut withdraw: impl FnMut(ActId) -> bool) {
        self.finish(|call| {
            let doubt = !call.reads && !withdraw(call.request.id);
            Some(if doubt { Error::OutcomeUnknown } else { error.clone() })
        });
    }

    /// Ends changes that are not asked any more: they could not be stored, and weren't sent.
    pub(crate) fn forget_unless(&mut self, is_asked: impl Fn(ActId) -> bool, error: &Error) {
        self.finish(|call| (!call.reads && !is_asked(call.request.id)).then(|| error.clone()));
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

/// What the table doesn't know is a change.
fn is_read(method: &str) -> bool {
    table::find(method).is_some_and(|entry| entry.effect == Effect::Read)
}

/// What an answer says to whoever called.
pub(crate) fn read(result: Result<ByteBuf, Failure>) -> Result<Value, Error> {
    match result {
        Ok(text) => serde_json::from_slice(&text).map_err(|_| Error::Unreadable("an answer that is no JSON")),
        Err(failure) => Err(refused(failure)),
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
        let _ = calls.add([id; 16], method, &Value::Null, reply, Instant::now());
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
    fn reads_go_with_a_handshake_as_far_as_there_is_room_and_not_again_after_it() {
        let mut calls = Calls::default();
        let _answers =
            [call(&mut calls, 1, "thread/list"), call(&mut calls, 2, "turn/start"), call(&mut calls, 3, "thread/read")];
        let (reply, _long) = oneshot::channel();
        let _ = calls.add([4; 16], "thread/list", &Value::from("x".repeat(EARLY)), reply, Instant::now());
        let early: Vec<_> = calls.early().iter().map(|request| request.id).collect();
        assert_eq!(early, [[1; 16], [3; 16]].map(ByteArray::new), "no change, and nothing long");
        calls.went(7, &early);
        assert!(calls.any_on(7));
        assert_eq!(send(&mut calls, 7), [4]);
        calls.lost(7);
        assert_eq!(send(&mut calls, 8), [1, 3, 4], "the line died with it");
    }

    #[test]
    fn answers_find_their_requests_in_any_order() {
        let mut calls = Calls::default();
        let (mut one, mut two) = (call(&mut calls, 1, "thread/list"), call(&mut calls, 2, "turn/start"));
        assert_eq!(send(&mut calls, 1), [1], "a change goes by the log");
        assert!(calls.answer_logged(response(2, "2")));
        calls.answer(1, response(1, "1"));
        assert_eq!((one.try_recv().unwrap(), two.try_recv().unwrap()), (Ok(1.into()), Ok(2.into())));
    }

    #[test]
    fn a_read_is_sent_again_when_its_line_dies() {
        let mut calls = Calls::default();
        let mut read = call(&mut calls, 1, "thread/read");
        send(&mut calls, 1);
        calls.lost(1);
        assert_eq!(send(&mut calls, 2), [1]);
        calls.answer(2, response(1, "{}"));
        assert!(read.try_recv().unwrap().is_ok());
    }

    #[test]
    fn what_changes_something_is_given_back_to_be_logged() {
        let mut calls = Calls::default();
        for (method, logged) in
            [("turn/start", true), ("turn/interrupt", true), ("thread/frobnicate", true), ("thread/list", false)]
        {
            let (reply, _answer) = oneshot::channel();
            assert_eq!(calls.add([1; 16], method, &Value::Null, reply, Instant::now()).is_some(), logged, "{method}");
        }
    }

    #[test]
    fn a_change_that_could_not_be_stored_ends_and_the_others_wait() {
        let mut calls = Calls::default();
        let (mut one, mut two) = (call(&mut calls, 1, "turn/start"), call(&mut calls, 2, "turn/start"));
        calls.forget_unless(|id| id[0] == 2, &Error::Busy);
        assert_eq!(one.try_recv().unwrap(), Err(Error::Busy));
        assert!(two.try_recv().is_err());
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
        let (mut unsent, mut unread) = (call(&mut calls, 3, "turn/start"), call(&mut calls, 4, "thread/list"));
        calls.expire(Instant::now(), |_| true);
        assert!(read.try_recv().is_err(), "not yet");
        calls.expire(Instant::now() + PATIENCE, |id| id[0] == 3);
        assert_eq!(read.try_recv().unwrap(), Err(Error::NoAnswer));
        assert_eq!(write.try_recv().unwrap(), Err(Error::OutcomeUnknown));
        assert_eq!(unsent.try_recv().unwrap(), Err(Error::NotConnected));
        assert_eq!(unread.try_recv().unwrap(), Err(Error::NotConnected));
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
