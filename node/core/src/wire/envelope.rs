//! The messages inside a session, phone to host and back.
//!
//! On the wire an envelope is the CBOR array `[kind, body]`, body being a byte string that holds the CBOR of the struct.
//! An unknown kind, and unknown fields in a body, are skipped, so that versions may differ; decisions and approvals are
//! the exception and refuse unknown fields (`node/PROTOCOL.md` §5, §9).

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::{ByteArray, ByteBuf};

use super::stream::{Confirm, Delta, StreamOpen};
use super::{cbor, limits};
use crate::audit::Head;
use crate::codex::approval::{Approval, Key, Outcome};
use crate::codex::decision::SignedDecision;
use crate::codex::question::{Answers, Question};
use crate::codex::thread::{Thread, ThreadDigest, TurnStatus};
use crate::identity::NodeId;
use crate::pairing::RevocationEpoch;
use crate::policy::{Entitlement, Rules};
use crate::session::log::Position;
use crate::session::rekey::Message as Rekeying;

/// One message, opened.
#[derive(Debug, Clone, PartialEq)]
pub enum Envelope {
    /// Phone → host: call a Codex method.
    Request(Request),
    /// Phone → host: which threads this phone wants to follow from now on (the whole set; the host's book-keeping only).
    Watch(Watch),
    /// Phone → host: a person decided.
    Decision(SignedDecision),
    /// Phone → host: a person answered a question.
    Answers(Answers),
    /// Phone → host: where this phone stands; the first thing on every path.
    Attach(Attach),
    /// Phone → host: where this phone may be reached directly.
    Reachable(Reachable),
    /// Host → phone: the answer to a request.
    Response(Response),
    /// Host → phone: what Codex reports about a followed thread, or about all.
    Notification(Notification),
    /// Host → phone: what the host is and how it stands with Codex; at attach and at every change.
    Host(HostState),
    /// Host → phone: a followed thread as it stands now; notifications continue from here.
    Snapshot(Snapshot),
    /// Host → phone: a text goes on ([`super::stream`]).
    Delta(Delta),
    /// Host → phone: a text begins ([`super::stream`]).
    StreamOpen(StreamOpen),
    /// Host → phone: an item is done, and its text is what went of it ([`super::stream`]).
    Confirm(Confirm),
    /// Host → phone: every approval that is open now; at attach.
    Approvals(Approvals),
    /// Host → phone: a new approval.
    Approval(Approval),
    /// Host → phone: an approval or a question is over.
    Resolved(Resolved),
    /// Host → phone: what became of this phone's decision or answer.
    Decided(Decided),
    /// Host → phone: every question that is open now; at attach.
    Questions(Questions),
    /// Host → phone: a new question.
    Question(Question),
    /// Host → phone: where the host stands; its first thing on every path.
    Attached(Attached),
    /// Host → phone: a turn is over.
    TurnEnded(TurnEnded),
    /// Host → phone: what a followed thread shows after all that was sent of it before this.
    Digest(ThreadDigest),
    /// Host → phone: how far its record of what phones had done goes, to be kept.
    AuditHead(Head),
    /// Host → phone: its revocation epoch, to be kept. Phone → host: the highest one that it was shown.
    RevocationEpoch(RevocationEpoch),
    /// Either way: are you there? Answered by `Pong` with the same number.
    Ping(Beat),
    /// Either way: the answer to `Ping`.
    Pong(Beat),
    /// Either way: the session ends here, on purpose.
    Closing(Closing),
    /// Either way: an envelope of the log.
    Entry(Entry),
    /// Either way: every entry up to this one is stored.
    Ack(Ack),
    /// Either way: this much has arrived on this path.
    Credit(Credit),
    /// Either way: the session's keys change ([`crate::session::rekey`]).
    Rekeying(Rekeying),
    /// A kind this version doesn't know; skipped.
    Unknown(u16),
}

/// A call of a Codex method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Random, so that it is unique over all connections of a device.
    pub id: ByteArray<16>,
    /// The method's name, as Codex spells it.
    pub method: String,
    /// The parameters as JSON text.
    pub params: ByteBuf,
}

/// Where a phone stands. Its unacknowledged entries follow at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Counted up by the phone, and stored, before every path: of two paths the one with the higher number counts.
    pub generation: u64,
    /// Its log, and what it has of the host's.
    pub position: Position,
}

/// Where the host stands with a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its log for this phone, and what it has of the phone's.
    pub position: Position,
    /// The highest generation that it has met, if the phone's isn't higher: this path is read for acknowledgements only.
    pub superseded: Option<u64>,
}

/// An entry of the sender's log: sent again on each path until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; the next entry has the next one.
    pub seq: u64,
    /// What it says: a [`Logged`], encoded; empty for one that was taken back.
    pub body: ByteBuf,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// From a phone: the act's id, random, and a request's own. From a host: the act that this answers, if it is one.
    pub act: Option<ByteArray<16>>,
    /// What is asked, answered or told.
    pub envelope: Envelope,
}

impl Logged {
    /// `[act, envelope]` as CBOR, the envelope as a byte string.
    pub fn encode(&self) -> Vec<u8> {
        cbor::to_vec(&(self.act, ByteBuf::from(self.envelope.encode())))
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Self, cbor::Error> {
        let (act, envelope): (_, ByteBuf) = cbor::from_slice(bytes, limits::ENVELOPE)?;
        Ok(Self { act, envelope: Envelope::decode(&envelope)? })
    }
}

/// What is stored of the receiver's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The last entry stored.
    pub upto: u64,
}

/// What has arrived on a path, stored or not ([`crate::session::flow`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Bytes of pieces since the path began, those of the control lane left out.
    pub received: u64,
}

/// A turn that is over, told to every device that may see its thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnEnded {
    /// Its thread.
    pub thread: String,
    /// The turn.
    pub turn: String,
    /// How it ended.
    pub status: TurnStatus,
}

/// The threads a phone follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Thread ids; at most 64 are kept.
    pub threads: Vec<String>,
}

/// Where a phone may be reached directly, while its session is relayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reachable {
    /// Multiaddrs without `/p2p`; the first 16 are looked at.
    pub addresses: Vec<String>,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The request's id.
    pub id: ByteArray<16>,
    /// The result as JSON text, or why there is none.
    pub result: Result<ByteBuf, Failure>,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Who refused or failed.
    pub by: FailedBy,
    /// One sentence for a person.
    pub message: String,
}

/// Where a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailedBy {
    /// The host's policy: the method or a field isn't for phones.
    Policy,
    /// Codex answered with an error.
    Codex,
    /// Codex isn't there now; nothing was sent.
    CodexAway,
    /// Codex went away before it answered: it may or may not have happened.
    OutcomeUnknown,
    /// The host is busy: too many requests under way; nothing was sent.
    Busy,
}

/// What Codex reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The method's name.
    pub method: String,
    /// The filtered parameters as JSON text.
    pub params: ByteBuf,
}

/// The host as a phone sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostState {
    /// The host's name, for people.
    pub name: String,
    /// The folder in which threads start, if the phone names none.
    pub folder: String,
    /// The folders in which this phone may start threads, canonical.
    pub start_folders: Vec<String>,
    /// What this phone may do here.
    pub entitlement: Entitlement,
    /// What holds for every phone here.
    pub rules: Rules,
    /// How it stands with Codex.
    pub codex: CodexState,
    /// The relays it holds reservations on, as multiaddrs, for the next connection.
    pub relays: Vec<String>,
    /// Addresses on which it can perhaps be reached without a relay.
    pub direct: Vec<String>,
}

/// How a host stands with its Codex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CodexState {
    /// Connected; the app-server's version.
    Ready(String),
    /// Not connected, trying; why, in a sentence.
    Away(String),
}

/// A followed thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The thread with the turns that fit; older ones are read with `thread/turns/list`.
    pub thread: Thread,
}

/// All open approvals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// Oldest first.
    pub open: Vec<Approval>,
}

/// All open questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Questions {
    /// Oldest first.
    pub open: Vec<Question>,
}

/// An approval or a question that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Which.
    pub key: Key,
    /// How it ended.
    pub outcome: Outcome,
    /// The device that decided, if one of ours did.
    pub by: Option<NodeId>,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// On which approval.
    pub key: Key,
    /// Taken, or why not.
    pub result: Result<(), DecisionRefusal>,
}

/// Why a decision had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DecisionRefusal {
    /// Somebody else decided first, the turn ended, or Codex restarted.
    Over,
    /// The signature isn't over what this host shows: reload and look again.
    NotWhatIsShown,
    /// The deadline has passed.
    Late,
    /// It is too large to be shown whole, so it can't be accepted from here.
    TooLarge,
    /// The host doesn't take `acceptForSession` for it.
    NotOffered,
    /// This device may not decide.
    NotAllowed,
    /// The host was ended while it answered Codex: it may or may not have counted.
    OutcomeUnknown,
    /// The host's policy never takes an accept for it from a phone.
    Denied,
    /// Make sure of the phone's owner again, sign that, and send it again.
    StepUpNeeded,
    /// It counts as the first of two: another device has to accept it, too.
    SecondNeeded,
    /// The host can't record it, so it isn't done.
    NotRecorded,
}

/// A number to be sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Any number.
    pub n: u64,
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The reason.
    pub reason: CloseReason,
}

/// Why a session ends on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CloseReason {
    /// The program stops; come back later.
    Stopping,
    /// This device was removed; its next handshake brings the tombstone.
    Revoked,
    /// The same device attached by a newer connection, which goes on.
    Replaced,
    /// This device's time is over; more is given at the desk.
    Expired,
    /// The host's owner has switched remote connections off.
    SwitchedOff,
    /// The host is frozen: no phone does anything until a person at the desk thaws it.
    Frozen,
    /// The host can't store anything (its disk is full, perhaps), so it takes nothing.
    StoreFailed,
}

impl Envelope {
    /// `[kind, body]` as CBOR.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Request(body) => encode(1, body),
            Self::Watch(body) => encode(2, body),
            Self::Decision(body) => encode(3, body),
            Self::Answers(body) => encode(4, body),
            Self::Attach(body) => encode(5, body),
            Self::Reachable(body) => encode(6, body),
            Self::Response(body) => encode(16, body),
            Self::Notification(body) => encode(17, body),
            Self::Host(body) => encode(18, body),
            Self::Snapshot(body) => encode(19, body),
            Self::Approvals(body) => encode(20, body),
            Self::Approval(body) => encode(21, body),
            Self::Resolved(body) => encode(22, body),
            Self::Decided(body) => encode(23, body),
            Self::Questions(body) => encode(24, body),
            Self::Question(body) => encode(25, body),
            Self::Attached(body) => encode(26, body),
            Self::TurnEnded(body) => encode(27, body),
            Self::Delta(body) => encode(28, body),
            Self::Digest(body) => encode(29, body),
            Self::StreamOpen(body) => encode(30, body),
            Self::Confirm(body) => encode(31, body),
            Self::Ping(body) => encode(32, body),
            Self::Pong(body) => encode(33, body),
            Self::Closing(body) => encode(34, body),
            Self::Entry(body) => encode(36, body),
            Self::Ack(body) => encode(37, body),
            Self::Credit(body) => encode(38, body),
            Self::Rekeying(Rekeying::Rekey(body)) => encode(39, body),
            Self::Rekeying(Rekeying::Rekeyed(body)) => encode(40, body),
            Self::Rekeying(Rekeying::Switch(body)) => encode(41, body),
            Self::Rekeying(Rekeying::Ask(body)) => encode(42, body),
            Self::AuditHead(body) => encode(43, body),
            Self::RevocationEpoch(body) => encode(44, body),
            Self::Unknown(kind) => encode(*kind, &()),
        }
    }

    /// Reads one envelope of at most [`limits::ENVELOPE`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, cbor::Error> {
        let (kind, body): (u16, ByteBuf) = cbor::from_slice(bytes, limits::ENVELOPE)?;
        Ok(match kind {
            1 => Self::Request(read(&body)?),
            2 => Self::Watch(read(&body)?),
            3 => Self::Decision(read(&body)?),
            4 => Self::Answers(read(&body)?),
            5 => Self::Attach(read(&body)?),
            6 => Self::Reachable(read(&body)?),
            16 => Self::Response(read(&body)?),
            17 => Self::Notification(read(&body)?),
            18 => Self::Host(read(&body)?),
            19 => Self::Snapshot(read(&body)?),
            20 => Self::Approvals(read(&body)?),
            21 => Self::Approval(read(&body)?),
            22 => Self::Resolved(read(&body)?),
            23 => Self::Decided(read(&body)?),
            24 => Self::Questions(read(&body)?),
            25 => Self::Question(read(&body)?),
            26 => Self::Attached(read(&body)?),
            27 => Self::TurnEnded(read(&body)?),
            28 => Self::Delta(read(&body)?),
            29 => Self::Digest(read(&body)?),
            30 => Self::StreamOpen(read(&body)?),
            31 => Self::Confirm(read(&body)?),
            32 => Self::Ping(read(&body)?),
            33 => Self::Pong(read(&body)?),
            34 => Self::Closing(read(&body)?),
            36 => Self::Entry(read(&body)?),
            37 => Self::Ack(read(&body)?),
            38 => Self::Credit(read(&body)?),
            39 => Self::Rekeying(Rekeying::Rekey(read(&body)?)),
            40 => Self::Rekeying(Rekeying::Rekeyed(read(&body)?)),
            41 => Self::Rekeying(Rekeying::Switch(read(&body)?)),
            42 => Self::Rekeying(Rekeying::Ask(read(&body)?)),
            43 => Self::AuditHead(read(&body)?),
            44 => Self::RevocationEpoch(read(&body)?),
            unknown => Self::Unknown(unknown),
        })
    }
}

fn encode(kind: u16, body: &impl Serialize) -> Vec<u8> {
    cbor::to_vec(&(kind, ByteBuf::from(cbor::to_vec(body))))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, cbor::Error> {
    cbor::from_slice(body, limits::ENVELOPE)
}

#[cfg(test)]
pub(crate) mod vectors;
