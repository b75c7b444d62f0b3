//! The texts that grow on a path, as their sender numbers them.
//!
//! The receiver keeps as many ([`super::Inbound`]): a new one takes the place of the one [`OPEN`] before it, on both sides,
//! and a thread's snapshot ends all that the thread had.

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;

use super::read::Common;
use super::{Delta, OPEN, StreamOpen};
use crate::wire::Envelope;

/// The texts that were named to the peer.
#[derive(Debug, Default)]
pub(super) struct Texts {
    next: u32,
    open: BTreeMap<u32, Open>,
}

#[derive(Debug)]
struct Open {
    thread: String,
    common: Common,
    sent: u64,
}

impl Texts {
    /// The envelope for a text's next piece.
    pub(super) fn write(&mut self, thread: String, common: Common, text: String) -> Envelope {
        let length = text.len() as u64;
        match self.open.iter_mut().find(|(_, open)| open.common == common) {
            Some((s, open)) => {
                let o = open.sent;
                open.sent += length;
                Envelope::Delta(Delta { s: *s, o, t: text })
            }
            None => self.begin(thread, common, text),
        }
    }

    fn begin(&mut self, thread: String, common: Common, text: String) -> Envelope {
        let s = self.next;
        let Common { method, params } = common.clone();
        self.open.insert(s, Open { thread, common, sent: text.len() as u64 });
        self.open.remove(&s.wrapping_sub(OPEN));
        self.next = s.wrapping_add(1);
        Envelope::StreamOpen(StreamOpen { s, method, params: ByteBuf::from(params), t: text })
    }

    /// Ends a thread's texts.
    pub(super) fn end(&mut self, thread: &str) {
        self.open.retain(|_, open| open.thread != thread);
    }
}
