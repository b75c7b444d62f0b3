//! What `node/PROTOCOL.md` says against what the code does, where that can be told cheaply.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use serde::Serialize;

use crate::codex::approval::Outcome;
use crate::codex::decision::Decision;
use crate::identity::Label;
use crate::pairing::Refusal;
use crate::session::record::{self, Limits};
use crate::wire::envelope::vectors::{describe, envelopes};
use crate::wire::envelope::{CloseReason, DecisionRefusal, FailedBy};
use crate::wire::{cbor, limits};

const PAGE: &str = include_str!("../../PROTOCOL.md");

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text that is a label by its form, with quotes or backticks around it.
fn labels(text: &str) -> BTreeSet<String> {
    let is_label = |text: &&str| {
        let name = text.strip_prefix("farhelm/1 ").unwrap_or_default();
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b' ' || b == b'-')
    };
    text.split(['"', '`']).filter(is_label).map(str::to_owned).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => iter::once(path).filter(|p| p.extension().is_some_and(|e| e == "rs")).collect(),
        })
        .collect()
}

/// A value's own word, as it is on the wire.
fn word(value: &impl Serialize) -> String {
    cbor::from_slice(&cbor::to_vec(value), 64).unwrap()
}

#[test]
fn every_label_of_the_code_is_on_the_page_and_no_other() {
    // The core's, and the host's: it hashes for itself what names a process of the app-server.
    let files = ["src", "../src"].map(|folder| sources(&root().join(folder))).concat();
    let code: BTreeSet<_> = files.iter().flat_map(|path| labels(&fs::read_to_string(path).unwrap())).collect();
    assert!(Label::ALL.iter().all(|label| code.contains(label.as_str())));
    assert_eq!(labels(PAGE), code);
}

#[test]
fn every_kind_of_envelope_has_its_row() {
    let mut kinds = BTreeSet::new();
    for envelope in envelopes() {
        let (kind, _): (u16, serde_bytes::ByteBuf) = cbor::from_slice(&envelope.encode(), limits::ENVELOPE).unwrap();
        let (name, from) = describe(&envelope);
        assert!(PAGE.contains(&format!("\n| {kind} | {name} | {from} | ")), "{kind} {name} {from}");
        kinds.insert(kind);
    }
    let section = section("### 5.2 ");
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| kind"));
    assert_eq!(rows.count(), kinds.len());
}

#[test]
fn every_word_that_travels_is_on_the_page() {
    use DecisionRefusal as D;
    use FailedBy as F;
    let words = [
        [
            Refusal::Declined,
            Refusal::Expired,
            Refusal::Spent,
            Refusal::SwitchedOff,
            Refusal::Frozen,
            Refusal::Unavailable,
        ]
        .map(|w| word(&w))
        .to_vec(),
        [
            D::Over,
            D::NotWhatIsShown,
            D::Late,
            D::TooLarge,
            D::NotOffered,
            D::NotAllowed,
            D::OutcomeUnknown,
            D::Denied,
            D::StepUpNeeded,
            D::SecondNeeded,
            D::NotRecorded,
        ]
        .map(|w| word(&w))
        .to_vec(),
        [F::Policy, F::Codex, F::CodexAway, F::OutcomeUnknown, F::Busy].map(|w| word(&w)).to_vec(),
        [Decision::Accept, Decision::AcceptForSession, Decision::Decline, Decision::Cancel].map(|w| word(&w)).to_vec(),
        [
            CloseReason::Stopping,
            CloseReason::Revoked,
            CloseReason::Replaced,
            CloseReason::Expired,
            CloseReason::SwitchedOff,
            CloseReason::Frozen,
            CloseReason::StoreFailed,
        ]
        .map(|w| word(&w))
        .to_vec(),
        [Outcome::Accepted, Outcome::Declined, Outcome::Cancelled, Outcome::Elsewhere, Outcome::Lost]
            .map(|w| word(&w))
            .to_vec(),
    ];
    for word in words.concat() {
        assert!(PAGE.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn every_limit_is_as_on_the_page() {
    let says = [
        format!("A frame has at most {} bytes, so {} bytes of plaintext", limits::FRAME, record::MAX_PLAINTEXT),
        format!("A handshake message has at most {} bytes", limits::HANDSHAKE_MESSAGE),
        format!("An envelope has at most {} bytes", limits::ENVELOPE),
        format!("holds a QR of {} ticket bytes", limits::TICKET_FOR_TERMINAL),
        format!("({} bytes) are read", limits::TICKET),
        format!("array, at most {}", limits::TICKET_ADDRESSES),
        format!("text, at most {} bytes", limits::NAME),
        format!("of at most {} bytes each, and", limits::PROMPT),
        format!("in base64, of at most {} bytes each", limits::IMAGE),
        format!("more than {} bytes (1 MiB) to read", limits::APPROVAL_CONTENT),
        format!("2^{} frames, {} GiB", Limits::PROTOCOL.frames.ilog2(), Limits::PROTOCOL.bytes >> 30),
        format!("or {} hour", Limits::PROTOCOL.age.as_secs() / 3600),
        format!("more than {} % over", Limits::PROTOCOL.grace),
    ];
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in says {
        assert!(page.contains(&text), "{text}");
    }
}

#[test]
fn every_file_of_vectors_is_listed() {
    let listed: BTreeSet<_> =
        section("## 10. ").lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).collect();
    let listed: BTreeSet<_> = listed.into_iter().map(|(name, _)| name.to_owned()).collect();
    let files = fs::read_dir(root().join("../../tests/vectors")).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(listed, files);
}

/// From a heading to the next.
fn section(heading: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("\n{heading}")).unwrap();
    rest.split("\n#").next().unwrap()
}
