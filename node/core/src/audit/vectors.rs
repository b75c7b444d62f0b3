//! `audit.json`: a chain of records, its head, and what verifying says of a broken one.

use serde::Serialize;

use super::tests::{chain, host};
use super::*;
use crate::vectors::{check, diagnostic, hex};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Vectors {
    what: &'static str,
    host_seed: String,
    host: String,
    first_link: String,
    entries: Vec<Linked>,
    head: Signed,
    broken: Vec<Case>,
}

#[derive(Serialize)]
struct Linked {
    record: String,
    reads: String,
    link: String,
}

#[derive(Serialize)]
struct Signed {
    statement: String,
    cbor: String,
    reads: String,
}

#[derive(Serialize)]
struct Case {
    what: &'static str,
    error: String,
}

fn linked(entry: &Entry) -> Linked {
    Linked { record: hex(&entry.record), reads: diagnostic(&entry.record), link: hex(entry.link) }
}

fn case(what: &'static str, change: impl Fn(&mut Vec<Entry>)) -> Case {
    let (mut entries, head) = chain();
    change(&mut entries);
    let broken = verify(host().node_id(), None, &entries, &[head]).unwrap_err();
    Case { what, error: broken.to_string() }
}

#[test]
fn a_chain_is_as_in_the_vectors() {
    let (entries, head) = chain();
    let encoded = head.encode();
    let vectors = Vectors {
        what: "A host's chain of records, the link before the first, its signed head, and what is said of changed ones.",
        host_seed: hex(*host().seed()),
        host: hex(host().node_id().as_bytes()),
        first_link: hex(Chain::begin(host().node_id()).hash()),
        entries: entries.iter().map(linked).collect(),
        head: Signed {
            statement: hex(Head::statement(head.host, head.seq, &head.hash, head.at_ms)),
            reads: diagnostic(&encoded),
            cbor: hex(encoded),
        },
        broken: vec![
            case("the last byte of the third record is changed", |e| *e[2].record.last_mut().unwrap() ^= 1),
            case("the second record is left out", |e| drop(e.remove(1))),
            case("the second and the fourth record change places", |e| e.swap(1, 3)),
            case("the last record is left out", |e| drop(e.pop())),
        ],
    };
    check("audit.json", include_str!("../../../../tests/vectors/audit.json"), &vectors);
}
