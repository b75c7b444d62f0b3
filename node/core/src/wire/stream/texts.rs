//! The texts that grow on a path, as their sender numbers them.
//!
//! The receiver keeps as many ([`super::Inbound`]): a new one takes the place of the one [`OPEN`] before it, on both sides,
//! and a thread's snapshot ends all that the thread had. Of the newest of them both sides keep the text as well.

use std::collections::BTreeMap;

use serde_bytes::{ByteArray, ByteBuf};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::read::{Common, Piece, completed, completes, completion};
use super::{Confirm, Delta, KEPT, OPEN, StreamOpen, WHOLE};
use crate::codex::thread::id_of;
use crate::wire::Envelope;
use crate::wire::envelope::Notification;

/// The texts that were named to the peer.
#[derive(Debug, Default)]
pub(super) struct Texts {
    next: u32,
    open: BTreeMap<u32, Open>,
}

#[derive(Debug)]
struct Open {
    thread: String,
    item: String,
    common: Common,
    sent: u64,
    text: Kept,
}

/// A text so far, unless it is too long or too long ago.
#[derive(Debug)]
pub(super) struct Kept(Option<String>);

impl Kept {
    pub(super) fn new(text: &str) -> Self {
        let mut kept = Self(Some(String::new()));
        kept.extend(text);
        kept
    }

    pub(super) fn extend(&mut self, more: &str) {
        let Some(text) = self.0.as_mut().filter(|text| text.len() + more.len() <= WHOLE) else { return self.drop() };
        text.push_str(more);
    }

    pub(super) fn drop(&mut self) {
        self.0 = None;
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl Texts {
    /// The envelope for a text's next piece.
    pub(super) fn write(&mut self, thread: String, common: Common, piece: Piece) -> Envelope {
        match self.open.iter_mut().find(|(_, open)| open.common == common) {
            Some((s, open)) => {
                let o = open.sent;
                open.sent += piece.text.len() as u64;
                open.text.extend(&piece.text);
                Envelope::Delta(Delta { s: *s, o, t: piece.text })
            }
            None => self.begin(thread, common, piece),
        }
    }

    fn begin(&mut self, thread: String, common: Common, Piece { item, text }: Piece) -> Envelope {
        let s = self.next;
        let Common { method, params } = common.clone();
        self.open.insert(s, Open { thread, item, common, sent: text.len() as u64, text: Kept::new(&text) });
        self.open.remove(&s.wrapping_sub(OPEN));
        self.open.get_mut(&s.wrapping_sub(KEPT)).into_iter().for_each(|open| open.text.drop());
        self.next = s.wrapping_add(1);
        Envelope::StreamOpen(StreamOpen { s, method, params: ByteBuf::from(params), t: text })
    }

    /// The envelope for something whole: an item without its text, if that went piece by piece.
    pub(super) fn close(&self, notification: Notification) -> Envelope {
        match self.confirm(&notification) {
            Some(confirm) => Envelope::Confirm(confirm),
            None => Envelope::Notification(notification),
        }
    }

    fn confirm(&self, notification: &Notification) -> Option<Confirm> {
        if self.open.is_empty() || !notification.method.ends_with("/completed") {
            return None;
        }
        let mut params: Value = serde_json::from_slice(&notification.params).ok()?;
        let thread = id_of(&params).filter(|_| completion(&params) == notification.method)?.to_owned();
        let (s, text) = self.open.iter().rev().filter(|(_, open)| open.thread == thread).find_map(|(s, open)| {
            let field = completes(&open.common.method)?;
            let item = completed(&mut params, &open.item)?;
            let text = open.text.text().filter(|text| item.get(field).and_then(Value::as_str) == Some(*text))?;
            item.remove(field);
            Some((*s, text))
        })?;
        let params = ByteBuf::from(serde_json::to_vec(&params).ok()?);
        Some(Confirm { s, h: digest(text), params })
    }

    /// Ends a thread's texts.
    pub(super) fn end(&mut self, thread: &str) {
        self.open.retain(|_, open| open.thread != thread);
    }
}

/// What stands for a text that both sides have.
pub(super) fn digest(text: &str) -> ByteArray<32> {
    ByteArray::new(Sha256::digest(text).into())
}
