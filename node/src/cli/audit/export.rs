//! A record as a text that an auditor takes along: a line of JSON for each entry, the signed heads around them, and what
//! `farhelm audit verify --export` needs to hold it against them on another machine. Pure.

use data_encoding::HEXLOWER_PERMISSIVE;
use farhelm_core::audit::{Entry, Head, Record};
use farhelm_core::identity::NodeId;
use farhelm_store::audit::Kept;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Row;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Line {
    /// The first: whose record it is, and the head it begins with, if earlier entries are no longer kept.
    Record { host: String, begins: Option<String> },
    /// An entry: the bytes that count, and what they say, for people and scripts.
    Entry { link: String, record: String, reads: Value },
    /// The last: the head beside it.
    Head { head: String },
}

/// Why a text isn't an export.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no line of an export: {why}")]
pub(super) struct NotOne {
    line: usize,
    why: String,
}

/// The lines of a record, without their ends.
pub(super) fn lines(kept: &Kept, host: NodeId) -> impl Iterator<Item = String> {
    let hex = |head: &Head| HEXLOWER_PERMISSIVE.encode(&head.encode());
    let first = Line::Record { host: host.to_string(), begins: kept.start.as_ref().map(hex) };
    let entries = kept.entries.iter().map(|entry| Line::Entry {
        link: HEXLOWER_PERMISSIVE.encode(&entry.link),
        record: HEXLOWER_PERMISSIVE.encode(&entry.record),
        reads: Record::decode(&entry.record).map_or(Value::Null, |record| serde_json::json!(Row::of(&record))),
    });
    let last = kept.head.as_ref().map(|head| Line::Head { head: hex(head) });
    let lines: Vec<_> = [first].into_iter().chain(entries).chain(last).collect();
    lines.into_iter().map(|line| serde_json::to_string(&line).expect("texts and numbers"))
}

/// Reads an export. What entries say beside their bytes isn't looked at: only the bytes are linked.
pub(super) fn read(text: &str) -> Result<(NodeId, Kept), NotOne> {
    let mut lines = text.lines().enumerate();
    let (at, first) = lines.next().ok_or_else(|| not_one(0, "it is empty"))?;
    let Line::Record { host, begins } = line(at, first)? else {
        return Err(not_one(at, "it doesn't begin with whose record it is"));
    };
    let host = host.parse().map_err(|_| not_one(at, "no peer id"))?;
    let start = begins.map(|head| read_head(at, &head)).transpose()?;
    let mut kept = Kept { start, entries: Vec::new(), head: None, rest: 0 };
    for (at, text) in lines {
        match line(at, text)? {
            Line::Record { .. } => return Err(not_one(at, "a second beginning")),
            _ if kept.head.is_some() => return Err(not_one(at, "something behind the end")),
            Line::Head { head } => kept.head = Some(read_head(at, &head)?),
            Line::Entry { link, record, .. } => {
                let link = bytes(at, &link)?.try_into().map_err(|_| not_one(at, "a link has 32 bytes"))?;
                kept.entries.push(Entry { link, record: bytes(at, &record)? });
            }
        }
    }
    Ok((host, kept))
}

fn line(at: usize, text: &str) -> Result<Line, NotOne> {
    serde_json::from_str(text).map_err(|error| not_one(at, &error.to_string()))
}

fn bytes(at: usize, hex: &str) -> Result<Vec<u8>, NotOne> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|error| not_one(at, &error.to_string()))
}

fn read_head(at: usize, hex: &str) -> Result<Head, NotOne> {
    Head::decode(&bytes(at, hex)?).map_err(|error| not_one(at, &error.to_string()))
}

fn not_one(at: usize, why: &str) -> NotOne {
    NotOne { line: at + 1, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use farhelm_core::audit::{Chain, Effect};
    use farhelm_core::identity::Identity;

    use super::*;

    fn kept(begins_at: usize) -> (NodeId, Kept) {
        let host = Identity::from_seed(&[7; 32]);
        let mut chain = Chain::begin(host.node_id());
        let mut start = None;
        let mut entries = Vec::new();
        for at in 0..4 {
            if at == begins_at && at > 0 {
                (start, entries) = (Some(chain.head(&host, 5)), Vec::new());
            }
            entries.push(chain.append(&mut Record::new(at as u64, "freeze", Effect::Done)));
        }
        (host.node_id(), Kept { start, entries, head: Some(chain.head(&host, 9)), rest: 0 })
    }

    #[test]
    fn what_is_exported_is_read_back_and_verifies() {
        for begins_at in [0, 2] {
            let (host, kept) = kept(begins_at);
            let text: Vec<_> = lines(&kept, host).collect();
            let (whose, back) = read(&text.join("\n")).unwrap();
            assert_eq!((whose, &back), (host, &kept));
            assert!(back.verify(host, &[]).is_ok());
        }
    }

    #[test]
    fn what_is_no_export_is_refused_by_its_line() {
        let (host, kept) = kept(0);
        let good: Vec<_> = lines(&kept, host).collect();
        let with = |at: usize, line: &str| {
            let mut lines = good.clone();
            lines[at] = line.to_owned();
            read(&lines.join("\n")).unwrap_err().line
        };
        assert_eq!(read("").unwrap_err().line, 1);
        assert_eq!(with(0, &good[1]), 1, "no beginning");
        assert_eq!(with(2, "{}"), 3);
        assert_eq!(with(2, r#"{"entry":{"link":"00","record":"","reads":null}}"#), 3);
        assert_eq!(with(3, r#"{"entry":{"link":"zz","record":"","reads":null}}"#), 4);
        assert_eq!(with(2, good.last().unwrap()), 4, "something behind the end");
        assert_eq!(with(4, &good[0]), 5, "a second beginning");
    }
}
