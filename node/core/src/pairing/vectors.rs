//! `tombstone.json` and `revocation_epoch.json`: what a removed device is shown, and what the others keep.

use serde::Serialize;

use super::{RevocationEpoch, Tombstone};
use crate::identity::{Identity, Label, Signature};
use crate::session::transcript::Transcript;
use crate::vectors::{check, counting, diagnostic, hex};
use crate::wire::cbor;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Vectors {
    what: &'static str,
    host_seed: String,
    host: String,
    device: String,
    revoked_at_ms: u64,
    statement: String,
    signed_bytes: String,
    signature: String,
    cbor: String,
    reads: String,
}

#[test]
fn a_tombstone_is_as_in_the_vectors() {
    let host = Identity::from_seed(&counting(0x21));
    let device = Identity::from_seed(&counting(0x01)).node_id();
    let tombstone = Tombstone::sign(&host, device, 1_800_000_000_000);
    let statement = Transcript::new("farhelm/1 tombstone")
        .bytes(host.node_id().as_bytes())
        .bytes(device.as_bytes())
        .number(tombstone.revoked_at_ms)
        .finish();
    assert_eq!(host.node_id().verify(Label::Tombstone, &statement, &tombstone.signature), Ok(()));
    let encoded = cbor::to_vec(&tombstone);
    let vectors = Vectors {
        what: "A host's signed word that it removed a device. In a handshake it travels as {\"tombstone\": …}.",
        host_seed: hex(*host.seed()),
        host: hex(host.node_id().as_bytes()),
        device: hex(device.as_bytes()),
        revoked_at_ms: tombstone.revoked_at_ms,
        statement: hex(statement),
        signed_bytes: hex([b"farhelm/1 tombstone\0", &statement[..]].concat()),
        signature: hex(tombstone.signature.as_bytes()),
        reads: diagnostic(&encoded),
        cbor: hex(encoded),
    };
    check("tombstone.json", include_str!("../../../../tests/vectors/tombstone.json"), &vectors);
}

#[test]
fn a_tombstone_changed_in_any_part_is_refused() {
    let host = Identity::from_seed(&counting(0x21));
    let (device, other) = (Identity::from_seed(&counting(0x01)).node_id(), Identity::from_seed(&[9; 32]).node_id());
    let tombstone = Tombstone::sign(&host, device, 7);
    assert!(tombstone.verify(host.node_id(), device).is_ok());
    assert!(tombstone.verify(other, device).is_err());
    assert!(tombstone.verify(host.node_id(), other).is_err());
    let later = Tombstone { revoked_at_ms: 8, ..tombstone.clone() };
    assert!(later.verify(host.node_id(), device).is_err());
    let mut bytes = *tombstone.signature.as_bytes();
    bytes[0] ^= 1;
    let forged = Tombstone { signature: Signature::from_bytes(bytes), ..tombstone };
    assert!(forged.verify(host.node_id(), device).is_err());
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EpochVectors {
    what: &'static str,
    host_seed: String,
    host: String,
    statement: String,
    signed_bytes: String,
    cbor: String,
    reads: String,
}

#[test]
fn an_epoch_is_as_in_the_vectors() {
    let host = Identity::from_seed(&counting(0x21));
    let epoch = RevocationEpoch::sign(&host, 3, 1_800_000_000_000);
    let statement = RevocationEpoch::statement(host.node_id(), epoch.number, epoch.at_ms);
    let encoded = cbor::to_vec(&epoch);
    let vectors = EpochVectors {
        what: "A host's signed word on how often it has taken something away from a device.",
        host_seed: hex(*host.seed()),
        host: hex(host.node_id().as_bytes()),
        statement: hex(statement),
        signed_bytes: hex([b"farhelm/1 revocation-epoch\0", &statement[..]].concat()),
        reads: diagnostic(&encoded),
        cbor: hex(encoded),
    };
    check("revocation_epoch.json", include_str!("../../../../tests/vectors/revocation_epoch.json"), &vectors);
}

#[test]
fn an_epoch_changed_in_any_part_is_refused() {
    let (host, other) = (Identity::from_seed(&counting(0x21)), Identity::from_seed(&[9; 32]));
    let epoch = RevocationEpoch::sign(&host, 3, 7);
    assert!(epoch.verify(host.node_id()).is_ok());
    assert!(epoch.verify(other.node_id()).is_err());
    for changed in [RevocationEpoch { number: 4, ..epoch.clone() }, RevocationEpoch { at_ms: 8, ..epoch.clone() }] {
        assert!(changed.verify(host.node_id()).is_err(), "{changed:?}");
    }
    let foreign = RevocationEpoch::sign(&other, 3, 7);
    assert!(foreign.verify(host.node_id()).is_err());
}
