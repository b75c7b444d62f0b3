//! One record: who did what, with which right, about what, and what came of it.
//!
//! Everything in it is bounded, as names, methods and reasons come from outside. The request itself isn't in it: its
//! digest is enough to hold a copy against, and prompts stay out of a file that is shown to others.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::{Digest, Sha256};

use crate::codex::decision::Decision;
use crate::identity::NodeId;
use crate::policy::Right;
use crate::wire::{cbor, limits};

/// A bounded text. It may hold anything: make it harmless before it goes to a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

impl Text {
    /// The text, cut at a character where it is too long.
    pub fn cut(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(limits::AUDIT_TEXT)].to_owned())
    }

    /// What it says.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > limits::AUDIT_TEXT { Err("too long") } else { Ok(Self(text)) }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// The digest of a request, over its bytes as they were received.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What came of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// It was asked for and is about to be carried out. A later record says how it ended, or it is of unknown fate.
    Asked,
    /// It was carried out.
    Done,
    /// It was an accept that waits for a second device's.
    First,
    /// It wasn't; the reason in a word.
    Refused(Text),
    /// Nobody can tell any more.
    Unknown,
    /// Somebody or something else came first; who or what.
    Resolved(Text),
}

/// One act, or how an earlier one ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Record {
    /// Its place in the chain, from 1. The chain gives it.
    pub seq: u64,
    /// When, in Unix milliseconds by the host's clock.
    pub at_ms: u64,
    /// Which device asked; none if it was at the desk, or the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<NodeId>,
    /// The device that it was done to, if it was to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<NodeId>,
    /// The name at the time of the device that asked; of an act at the desk, of the one that it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
    /// Its right at the time; of an act at the desk, the one that it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Right>,
    /// The method that was called, or a word of the host's: `decision`, `pair`, `grant`, `revoke`, ….
    pub act: Text,
    /// SHA-256 of the request exactly as it was received, or the digest of what was shown and decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<ByteArray<32>>,
    /// What the person decided, if it is about an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What came of it.
    pub effect: Effect,
    /// The record of the act, if this one says how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
}

impl Record {
    /// An act of the desk's, to be filled in.
    pub fn new(at_ms: u64, act: &str, effect: Effect) -> Self {
        Self {
            seq: 0,
            at_ms,
            who: None,
            about: None,
            name: None,
            right: None,
            act: Text::cut(act),
            digest: None,
            decision: None,
            effect,
            ends: None,
        }
    }

    /// How this one ended.
    pub fn ended(&self, at_ms: u64, effect: Effect) -> Self {
        Self { at_ms, effect, ends: Some(self.seq), ..self.clone() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads a record. It must be in the one form in which it is written.
    pub fn decode(bytes: &[u8]) -> Result<Self, cbor::Error> {
        let record: Self = cbor::from_slice(bytes, limits::AUDIT_RECORD)?;
        if record.encode() == bytes { Ok(record) } else { Err(cbor::Error::Malformed { offset: 0 }) }
    }
}
