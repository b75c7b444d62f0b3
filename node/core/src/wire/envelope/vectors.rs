//! `envelope.json`: every kind encoded, what must be skipped, and what must be refused.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::audit::Chain;
use crate::codex::approval::{Act, Change, Content};
use crate::codex::decision::Decision;
use crate::codex::question::{Ask, Choice};
use crate::codex::thread::{Item, ItemKind, Progress, Status, Turn, TurnStatus};
use crate::identity::Identity;
use crate::pairing::RevocationEpoch;
use crate::policy::Right;
use crate::session::log::Heard;
use crate::session::rekey::{Epoch, Share};
use crate::vectors::{check, counting, diagnostic, hex, unhex};

const AT_MS: u64 = 1_800_000_000_000;

#[derive(Serialize)]
struct Vectors {
    what: &'static str,
    kinds: Vec<Kind>,
    skipped: Vec<Skipped>,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Kind {
    kind: u16,
    name: &'static str,
    from: &'static str,
    envelope: String,
    body: String,
}

#[derive(Clone, Serialize)]
struct Skipped {
    what: &'static str,
    envelope: String,
    reads: String,
}

#[derive(Serialize)]
struct Refused {
    what: &'static str,
    envelope: String,
}

pub(crate) fn device() -> Identity {
    Identity::from_seed(&counting(0x01))
}

pub(crate) fn host() -> NodeId {
    Identity::from_seed(&counting(0x21)).node_id()
}

fn key() -> Key {
    Key { epoch: ByteArray::new(counting(0x71)), request: 3 }
}

fn approval(act: Act) -> Approval {
    Approval {
        key: key(),
        environment: "local".into(),
        thread: "t1".into(),
        turn: "u1".into(),
        item: "i1".into(),
        content: Content {
            act,
            reason: Some("to see whether it builds".into()),
            approval_policy: "on-request".into(),
            sandbox: "workspace-write".into(),
            workspace: "/home/me/project".into(),
        },
        for_session: false,
        deadline_ms: 1_800_086_400_000,
        guard: Default::default(),
    }
}

pub(crate) fn command() -> Approval {
    approval(Act::Command { command: "cargo test".into(), folder: "/home/me/project".into(), permissions: None })
}

pub(crate) fn files() -> Approval {
    let change =
        Change { path: "/home/me/project/a".into(), kind: "add".into(), moved_to: None, diff: "hello\n".into() };
    approval(Act::Files { changes: vec![change], grant_root: None })
}

pub(crate) fn permissions() -> Approval {
    let permissions = r#"{"network":{"enabled":true}}"#.into();
    approval(Act::Permissions { permissions, folder: "/home/me/project".into() })
}

pub(crate) fn withheld() -> Approval {
    let (kind, about, why) = ("writeStdin".into(), "y".into(), "It isn't an ordinary command.".into());
    approval(Act::Withheld { kind, about, why })
}

fn thread() -> Thread {
    let item = Item {
        id: "i1".into(),
        open: false,
        truncated: false,
        images: 0,
        kind: ItemKind::Command {
            command: "ls".into(),
            folder: "/home/me/project".into(),
            output: "a\n".into(),
            exit_code: Some(0),
            status: Progress::Completed,
            duration_ms: Some(12),
            by_person: false,
        },
    };
    let turn = Turn { id: "u1".into(), status: TurnStatus::InProgress, items: vec![item], ..Turn::default() };
    let mut thread = Thread::new("t1");
    thread.preview = "list the files".into();
    thread.folder = "/home/me/project".into();
    thread.status = Status::Active { waiting_on_approval: true, waiting_on_input: false };
    thread.turns = vec![turn];
    thread
}

fn state(codex: CodexState) -> Envelope {
    let relay = "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    Envelope::Host(HostState {
        name: "workshop-desk".into(),
        folder: "/home/me/project".into(),
        start_folders: vec!["/home/me/project".into()],
        entitlement: Entitlement {
            right: Right::Operator,
            folders: vec!["/home/me/project".into()],
            until_ms: Some(1_800_000_000_000),
        },
        rules: Rules::default(),
        codex,
        relays: vec![relay.into()],
        direct: vec!["/ip4/192.168.1.20/tcp/40111".into()],
    })
}

fn response(result: Result<&str, (FailedBy, &str)>) -> Envelope {
    let failure = |(by, message): (FailedBy, &str)| Failure { by, message: message.into() };
    let result = result.map(ByteBuf::from).map_err(failure);
    Envelope::Response(Response { id: ByteArray::new(counting(0x51)), result })
}

fn decided(result: Result<(), DecisionRefusal>) -> Envelope {
    Envelope::Decided(Decided { key: key(), result })
}

fn resolved(outcome: Outcome, by: Option<NodeId>) -> Envelope {
    Envelope::Resolved(Resolved { key: key(), outcome, by })
}

fn question() -> Question {
    let choice = |label: &str, description: &str| Choice { label: label.into(), description: description.into() };
    let ask = Ask {
        id: "q1".into(),
        header: "Tests".into(),
        question: "Which ones shall I run?".into(),
        options: vec![choice("All", "Takes a minute"), choice("None", "")],
        other: true,
        secret: false,
    };
    Question { key: key(), thread: "t1".into(), turn: "u1".into(), item: "i3".into(), asks: vec![ask] }
}

fn position(heard: Option<u64>) -> Position {
    let heard = heard.map(|upto| Heard { log: ByteArray::new(counting(0x91)), upto });
    Position { log: ByteArray::new(counting(0x81)), first: 3, heard }
}

fn logged(act: Option<ByteArray<16>>, envelope: Envelope) -> ByteBuf {
    let logged = Logged { act, envelope };
    let body = logged.encode();
    assert_eq!(Logged::decode(&body), Ok(logged));
    ByteBuf::from(body)
}

/// At least one of every kind, and one of every form that differs.
pub(crate) fn envelopes() -> Vec<Envelope> {
    let (id, host_key) = (ByteArray::new(counting(0x51)), Identity::from_seed(&counting(0x21)));
    let params = ByteBuf::from(r#"{"limit":20}"#);
    let notified = ByteBuf::from(r#"{"threadId":"t1","turnId":"u1","itemId":"i2","delta":"He"}"#);
    let signed = SignedDecision::sign(&device(), host(), &command(), Decision::Accept).unwrap();
    vec![
        Envelope::Request(Request { id, method: "thread/list".into(), params }),
        Envelope::Watch(Watch { threads: vec!["t1".into()] }),
        Envelope::Decision(signed),
        Envelope::Answers(Answers::new(&question(), [("q1".into(), vec!["All".into()])].into()).unwrap()),
        response(Ok(r#"{"data":[]}"#)),
        response(Err((FailedBy::CodexAway, "Codex is away"))),
        Envelope::Notification(Notification { method: "item/agentMessage/delta".into(), params: notified }),
        state(CodexState::Ready("0.169.0".into())),
        state(CodexState::Away("starting".into())),
        Envelope::Snapshot(Snapshot { thread: thread() }),
        Envelope::Approvals(Approvals { open: vec![command(), files(), permissions(), withheld()] }),
        Envelope::Approval(command()),
        resolved(Outcome::Accepted, Some(device().node_id())),
        resolved(Outcome::Elsewhere, None),
        decided(Ok(())),
        decided(Err(DecisionRefusal::NotWhatIsShown)),
        Envelope::Questions(Questions { open: vec![question()] }),
        Envelope::Question(question()),
        Envelope::Ping(Beat { n: 1 }),
        Envelope::Pong(Beat { n: 1 }),
        Envelope::Closing(Closing { reason: CloseReason::Stopping }),
        Envelope::Attach(Attach { generation: 7, position: position(Some(4)) }),
        Envelope::Attached(Attached { position: position(None), superseded: None }),
        Envelope::Attached(Attached { position: position(Some(4)), superseded: Some(8) }),
        Envelope::Reachable(Reachable { addresses: vec!["/ip4/192.0.2.7/udp/4001/quic-v1".into()] }),
        Envelope::TurnEnded(TurnEnded { thread: "t1".into(), turn: "u1".into(), status: TurnStatus::Completed }),
        Envelope::StreamOpen(StreamOpen {
            s: 0,
            method: "item/agentMessage/delta".into(),
            params: ByteBuf::from(r#"{"itemId":"i1","threadId":"t1","turnId":"u1"}"#),
            t: "The ".into(),
        }),
        Envelope::Delta(Delta { s: 0, o: 4, t: "answer is 42".into() }),
        Envelope::Confirm(Confirm {
            s: 0,
            h: ByteArray::new(Sha256::digest("The answer is 42").into()),
            params: ByteBuf::from(r#"{"item":{"id":"i1","type":"agentMessage"},"threadId":"t1","turnId":"u1"}"#),
        }),
        Envelope::Digest(thread().digest()),
        Envelope::Entry(Entry { seq: 5, body: logged(Some(id), decided(Ok(()))) }),
        Envelope::Entry(Entry { seq: 6, body: logged(None, Envelope::Approval(command())) }),
        Envelope::Ack(Ack { upto: 5 }),
        Envelope::Credit(Credit { received: 8192 }),
        Envelope::Rekeying(Rekeying::Rekey(Share { epoch: 1, key: ByteArray::new(counting(0x41)) })),
        Envelope::Rekeying(Rekeying::Rekeyed(Share { epoch: 1, key: ByteArray::new(counting(0x61)) })),
        Envelope::Rekeying(Rekeying::Switch(Epoch { epoch: 1 })),
        Envelope::Rekeying(Rekeying::Ask(Epoch { epoch: 0 })),
        Envelope::AuditHead(Chain::begin(host()).head(&host_key, AT_MS)),
        Envelope::RevocationEpoch(RevocationEpoch::sign(&host_key, 3, AT_MS)),
    ]
}

/// A kind's name and who sends it. Without a wildcard: a new kind doesn't compile until it has a vector's row.
pub(crate) fn describe(envelope: &Envelope) -> (&'static str, &'static str) {
    match envelope {
        Envelope::Request(_) => ("Request", "phone"),
        Envelope::Watch(_) => ("Watch", "phone"),
        Envelope::Decision(_) => ("Decision", "phone"),
        Envelope::Answers(_) => ("Answers", "phone"),
        Envelope::Reachable(_) => ("Reachable", "phone"),
        Envelope::Response(_) => ("Response", "host"),
        Envelope::Notification(_) => ("Notification", "host"),
        Envelope::Host(_) => ("Host", "host"),
        Envelope::Snapshot(_) => ("Snapshot", "host"),
        Envelope::Approvals(_) => ("Approvals", "host"),
        Envelope::Approval(_) => ("Approval", "host"),
        Envelope::Resolved(_) => ("Resolved", "host"),
        Envelope::Decided(_) => ("Decided", "host"),
        Envelope::Questions(_) => ("Questions", "host"),
        Envelope::Question(_) => ("Question", "host"),
        Envelope::Ping(_) => ("Ping", "either"),
        Envelope::Pong(_) => ("Pong", "either"),
        Envelope::Closing(_) => ("Closing", "either"),
        Envelope::Attach(_) => ("Attach", "phone"),
        Envelope::Attached(_) => ("Attached", "host"),
        Envelope::TurnEnded(_) => ("TurnEnded", "host"),
        Envelope::Delta(_) => ("Delta", "host"),
        Envelope::StreamOpen(_) => ("StreamOpen", "host"),
        Envelope::Confirm(_) => ("Confirm", "host"),
        Envelope::Digest(_) => ("Digest", "host"),
        Envelope::Entry(_) => ("Entry", "either"),
        Envelope::Ack(_) => ("Ack", "either"),
        Envelope::Credit(_) => ("Credit", "either"),
        Envelope::Rekeying(Rekeying::Rekey(_)) => ("Rekey", "phone"),
        Envelope::Rekeying(Rekeying::Rekeyed(_)) => ("Rekeyed", "host"),
        Envelope::Rekeying(Rekeying::Switch(_)) => ("Switch", "either"),
        Envelope::Rekeying(Rekeying::Ask(_)) => ("RekeyAsk", "host"),
        Envelope::AuditHead(_) => ("AuditHead", "host"),
        Envelope::RevocationEpoch(_) => ("RevocationEpoch", "either"),
        Envelope::Unknown(_) => ("Unknown", "nobody"),
    }
}

fn kind(envelope: &Envelope) -> Kind {
    let encoded = envelope.encode();
    assert_eq!(Envelope::decode(&encoded).as_ref(), Ok(envelope));
    let (kind, body): (u16, ByteBuf) = cbor::from_slice(&encoded, limits::ENVELOPE).unwrap();
    let (name, from) = describe(envelope);
    Kind { kind, name, from, envelope: hex(encoded), body: diagnostic(&body) }
}

fn skipped(what: &'static str, envelope: &str, expected: &Envelope) -> Skipped {
    assert_eq!(Envelope::decode(&unhex(envelope)).as_ref(), Ok(expected), "{what}");
    let (kind, body): (u16, ByteBuf) = cbor::from_slice(&unhex(envelope), limits::ENVELOPE).unwrap();
    Skipped { what, envelope: envelope.into(), reads: format!("[{kind}, <<{}>>]", diagnostic(&body)) }
}

fn refused(what: &'static str, envelope: String) -> Refused {
    assert!(Envelope::decode(&unhex(&envelope)).is_err(), "{what}");
    Refused { what, envelope }
}

/// An envelope whose body, a map of fewer than 23 fields, is given a further field `"x": null`.
fn with_stranger(envelope: &Envelope) -> String {
    let (kind, body): (u16, ByteBuf) = cbor::from_slice(&envelope.encode(), limits::ENVELOPE).unwrap();
    let mut body = body.into_vec();
    body[0] += 1;
    body.extend([0x61, b'x', 0xf6]);
    hex(cbor::to_vec(&(kind, ByteBuf::from(body))))
}

/// A snapshot with an item and a status of types that this version doesn't know.
fn unknown_in_a_thread(expected: &Thread) -> Skipped {
    let mut thread = Snapshot { thread: thread() };
    thread.thread.status = Status::Idle;
    let text = hex(Envelope::Snapshot(thread).encode());
    // Texts of the same length, so that nothing around them changes: `type` is followed by its value's head.
    let renamed = text
        .replace(&hex("type\x67command"), &hex("type\x67holiday"))
        .replace(&hex("type\x64idle"), &hex("type\x64busy"));
    skipped(
        "types of a later version in a snapshot",
        &renamed,
        &Envelope::Snapshot(Snapshot { thread: expected.clone() }),
    )
}

#[test]
fn envelopes_are_as_in_the_vectors() {
    let ping = Envelope::Ping(Beat { n: 1 });
    let all = envelopes();
    let skipped = vec![
        skipped("a kind of a later version", "82187f41f6", &Envelope::Unknown(127)),
        skipped("a field of a later version", &with_stranger(&ping), &ping),
    ];
    let mut later = thread();
    later.status = Status::Unknown;
    later.turns[0].items[0].kind = ItemKind::Unknown;
    let skipped = [skipped, vec![unknown_in_a_thread(&later)]].concat();
    let refused = vec![
        refused("a field of a later version in a decision", with_stranger(&all[2])),
        refused("a field of a later version in an approval", with_stranger(&Envelope::Approval(command()))),
        refused(
            "a field of a later version in a rekey's share",
            with_stranger(&Envelope::Rekeying(Rekeying::Rekey(Share {
                epoch: 1,
                key: ByteArray::new(counting(0x41)),
            }))),
        ),
        refused("an unknown word where one of a list stands", "82182250a166726561736f6e686c61756e63686564".into()),
        refused("a body that isn't wrapped into a byte string", "821820a1616e01".into()),
        refused("a byte after the body's end", "82182045a1616e0100".into()),
        refused("a byte after the envelope's end", "82182044a1616e0100".into()),
        refused("a third element", "83182044a1616e01f6".into()),
        refused("a missing field", "82182041a0".into()),
        refused("nothing", String::new()),
    ];
    let kinds = all.iter().map(kind).collect();
    let what = "Every kind of envelope: [kind, body as a byte string of CBOR]. `body` is in diagnostic notation (RFC 8949 \
                section 8). Then envelopes of which a part is skipped, and envelopes that end the path.";
    check(
        "envelope.json",
        include_str!("../../../../../tests/vectors/envelope.json"),
        &Vectors { what, kinds, skipped, refused },
    );
}
