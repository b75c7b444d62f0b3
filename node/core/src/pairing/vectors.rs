//! `tombstone.json`: what a removed device is shown.

use serde::Serialize;

use super::Tombstone;
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
