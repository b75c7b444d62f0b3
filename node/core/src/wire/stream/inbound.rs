//! The phone's side: numbered pieces in, notifications as Codex sent them out.

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;
use serde_json::{Map, Value};

use super::read::{completed, completes, completion, join};
use super::texts::{Kept, digest};
use super::{COMMON, Confirm, Delta, KEPT, OPEN, StreamOpen};
use crate::codex::thread::id_of;
use crate::wire::Envelope;
use crate::wire::envelope::Notification;

/// Something of the stream is missing: the thread has to be shown anew. It may be said again until that has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a part of the stream is missing")]
pub struct Gap {
    /// Of which thread; nothing if it could be any.
    pub thread: Option<String>,
}

/// What a path's stream has begun.
#[derive(Debug, Default)]
pub struct Inbound {
    next: u32,
    open: BTreeMap<u32, Open>,
}

#[derive(Debug)]
struct Open {
    thread: String,
    method: String,
    params: Map<String, Value>,
    read: u64,
    text: Kept,
    /// A piece is missing: nothing more of it is taken.
    broken: bool,
}

impl Inbound {
    /// Takes what arrived and gives what there is to hear: pieces become notifications, anything else goes through.
    pub fn take(&mut self, envelope: Envelope) -> Result<Option<Envelope>, Gap> {
        match envelope {
            Envelope::StreamOpen(begun) => self.begin(begun),
            Envelope::Delta(piece) => self.go_on(piece),
            Envelope::Confirm(done) => self.text(done.s)?.complete(&done),
            Envelope::Snapshot(snapshot) => {
                self.open.retain(|_, open| open.thread != snapshot.thread.id);
                Ok(Some(Envelope::Snapshot(snapshot)))
            }
            other => Ok(Some(other)),
        }
    }

    fn begin(&mut self, begun: StreamOpen) -> Result<Option<Envelope>, Gap> {
        let missed = begun.s != std::mem::replace(&mut self.next, begun.s.wrapping_add(1));
        if missed {
            // Which texts began in between, nobody knows; after the snapshots all begin anew.
            self.open.clear();
        }
        let s = begun.s;
        self.open.remove(&s.wrapping_sub(OPEN));
        self.open.get_mut(&s.wrapping_sub(KEPT)).into_iter().for_each(|open| open.text.drop());
        let open = Open::read(&begun, missed).ok_or(Gap { thread: None })?;
        let open = self.open.entry(s).insert_entry(open).into_mut();
        if missed { Err(Gap { thread: None }) } else { open.hear(0, begun.t) }
    }

    fn go_on(&mut self, Delta { s, o, t }: Delta) -> Result<Option<Envelope>, Gap> {
        self.text(s)?.hear(o, t)
    }

    fn text(&mut self, s: u32) -> Result<&mut Open, Gap> {
        self.open.get_mut(&s).ok_or(Gap { thread: None })
    }
}

impl Open {
    fn read(begun: &StreamOpen, broken: bool) -> Option<Self> {
        if begun.params.len() > COMMON {
            return None;
        }
        let params: Value = serde_json::from_slice(&begun.params).ok()?;
        let thread = id_of(&params)?.to_owned();
        let Value::Object(params) = params else { return None };
        Some(Self { thread, method: begun.method.clone(), params, read: 0, text: Kept::new(""), broken })
    }

    fn hear(&mut self, offset: u64, text: String) -> Result<Option<Envelope>, Gap> {
        self.check(offset == self.read, |open| {
            open.read += text.len() as u64;
            open.text.extend(&text);
            join(&open.method, &open.params, text)
        })
    }

    /// The item with the text that is here, if that is the one meant.
    fn complete(&mut self, done: &Confirm) -> Result<Option<Envelope>, Gap> {
        let same = self.text.text().is_some_and(|text| digest(text) == done.h);
        self.check(same, |open| {
            let mut params: Value = serde_json::from_slice(&done.params).ok()?;
            let (field, text) = (completes(&open.method)?, open.text.text()?);
            let item = open.params.get("itemId")?.as_str()?;
            completed(&mut params, item)?.insert(field.into(), text.into());
            let method = completion(&params).into();
            Some(Notification { method, params: ByteBuf::from(serde_json::to_vec(&params).ok()?) })
        })
    }

    /// What follows, if nothing is missing here; says it once if something is.
    fn check(
        &mut self,
        holds: bool,
        follows: impl FnOnce(&mut Self) -> Option<Notification>,
    ) -> Result<Option<Envelope>, Gap> {
        if self.broken {
            return Ok(None);
        }
        match holds.then(|| follows(self)).flatten() {
            Some(notification) => Ok(Some(Envelope::Notification(notification))),
            None => {
                self.broken = true;
                Err(Gap { thread: Some(self.thread.clone()) })
            }
        }
    }
}
