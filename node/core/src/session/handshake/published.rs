//! X25519 against RFC 7748, and against every point of low order.

use super::*;
use crate::vectors::{hex, unhex_array};

/// Coordinates of low order, with the two that are not reduced (Wycheproof, `x25519_test.json`; Bernstein's list).
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn x25519_agrees_with_rfc_7748_section_5_2() {
    let scalar: [u8; 32] = unhex_array("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let point = unhex_array("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let shared = agree(&scalar.into(), point).unwrap();
    assert_eq!(hex(shared.as_bytes()), "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

#[test]
fn a_thousand_rounds_agree_with_rfc_7748() {
    let mut nine = [0; 32];
    nine[0] = 9;
    let (mut k, mut u) = (nine, nine);
    for round in 1..=1000 {
        (k, u) = (agree(&k.into(), u).unwrap().to_bytes(), k);
        if round == 1 {
            assert_eq!(hex(k), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
        }
    }
    assert_eq!(hex(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

#[test]
fn every_point_of_low_order_is_refused() {
    let secrets = [[0; 32], [7; 32], [0xff; 32]];
    for text in LOW_ORDER {
        let point: [u8; 32] = unhex_array(text);
        // X25519 ignores the highest bit, so a set one hides nothing.
        let mut high = point;
        high[31] |= 0x80;
        for secret in secrets {
            for point in [point, high] {
                assert_eq!(agree(&secret.into(), point).err(), Some(Error::Degenerate), "{text}");
            }
        }
    }
}
