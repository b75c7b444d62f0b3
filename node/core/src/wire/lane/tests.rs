//! Which lane, and what its lengths say.

use serde_bytes::ByteBuf;

use super::*;
use crate::codex::decision::{Decision, SignedDecision};
use crate::session::record::MAX_PLAINTEXT;
use crate::wire::envelope::Entry;
use crate::wire::envelope::vectors::{command, device, envelopes, files, host, permissions, withheld};
use crate::wire::fragment::split;

fn lengths(envelope: &Envelope) -> Vec<usize> {
    split(of(envelope), envelope.encode(), MAX_PLAINTEXT).iter().map(Vec::len).collect()
}

#[test]
fn what_people_and_the_log_wait_for_is_urgent_and_of_one_length() {
    for envelope in envelopes().iter().filter(|envelope| of(envelope) == Lane::Urgent) {
        let encoded = envelope.encode();
        if encoded.len() > 900 {
            continue;
        }
        assert_eq!(lengths(envelope), [1024], "{envelope:?}");
        assert_eq!(lengths(&Envelope::Entry(Entry { seq: 1 << 40, body: ByteBuf::from(encoded) })), [1024]);
    }
}

#[test]
fn a_beat_a_credit_and_a_farewell_have_one_length() {
    for envelope in envelopes().iter().filter(|envelope| of(envelope) == Lane::Control) {
        let rekeys = matches!(envelope, Envelope::Rekeying(_));
        assert!(rekeys || lengths(envelope) == [64], "{envelope:?}");
    }
}

fn entry(envelope: &Envelope) -> Envelope {
    Envelope::Entry(Entry { seq: 7, body: ByteBuf::from(envelope.encode()) })
}

#[test]
fn whoever_counts_bytes_does_not_learn_what_was_decided() {
    let decisions = [Decision::Accept, Decision::AcceptForSession, Decision::Decline, Decision::Cancel];
    for approval in [command(), files(), permissions()] {
        for decision in decisions {
            let mut approval = approval.clone();
            approval.for_session = true;
            let Ok(signed) = SignedDecision::sign(&device(), host(), &approval, decision) else { continue };
            assert_eq!(lengths(&entry(&Envelope::Decision(signed))), [1024], "{decision:?}");
        }
    }
}

#[test]
fn nor_on_what() {
    for mut approval in [command(), files(), permissions(), withheld()] {
        // As long as Codex's are.
        let id = "0199d5f3-7a40-7c51-b1a7-3a1d0f6c2b11";
        (approval.thread, approval.turn, approval.item) = (id.into(), id.into(), id.into());
        assert_eq!(lengths(&entry(&Envelope::Approval(approval))), [1024]);
    }
}
