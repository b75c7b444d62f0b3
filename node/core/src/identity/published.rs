//! Ed25519 against published answers: RFC 8032 §7.1, and what strict verification must refuse.

use super::*;
use crate::vectors::{unhex, unhex_array};

/// Every encoding of a point of small order, canonical and not ("Taming the many EdDSAs", Chalkias et al., table 1).
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

/// The group's order, little endian.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

#[test]
fn keys_agree_with_rfc_8032() {
    let cases = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        ),
    ];
    for (seed, key) in cases {
        assert_eq!(Identity::from_seed(&unhex_array(seed)).node_id().as_bytes(), &unhex_array(key));
    }
}

#[test]
fn signatures_agree_with_rfc_8032() {
    let key = SigningKey::from_bytes(&unhex_array("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
    let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                    085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    assert_eq!(key.sign(&[0x72]).to_bytes(), unhex_array(expected));
}

#[test]
fn no_encoding_of_a_point_of_small_order_is_a_key() {
    for key in SMALL_ORDER {
        assert_eq!(NodeId::from_bytes(unhex_array(key)), Err(Error::Key), "{key}");
    }
}

#[test]
fn a_second_form_of_the_same_signature_is_refused() {
    let identity = Identity::from_seed(&[7; 32]);
    let mut bytes = *identity.sign(Label::Decision, b"yes").as_bytes();
    let mut carry = 0;
    for (s, order) in bytes[32..].iter_mut().zip(unhex(ORDER)) {
        let sum = u16::from(*s) + u16::from(order) + carry;
        (*s, carry) = (sum as u8, sum >> 8);
    }
    let malleated = Signature::from_bytes(bytes);
    assert_eq!(identity.node_id().verify(Label::Decision, b"yes", &malleated), Err(Error::Signature));
}

/// Case 2 of the paper's table 6: lax verification takes it, and its R is of small order.
#[test]
fn a_signature_with_a_point_of_small_order_is_refused() {
    let key = unhex_array("f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43");
    let message = unhex("aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab");
    let signature = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa\
                     8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e";
    let signature = DalekSignature::from_bytes(&unhex_array(signature));
    let key = VerifyingKey::from_bytes(&key).unwrap();
    assert!(ed25519_dalek::Verifier::verify(&key, &message, &signature).is_ok());
    assert!(key.verify_strict(&message, &signature).is_err());
}

#[test]
fn signatures_of_nothing_are_refused() {
    let id = Identity::from_seed(&[7; 32]).node_id();
    for r in SMALL_ORDER {
        let bytes = [unhex(r), vec![0; 32]].concat();
        let signature = Signature::from_bytes(bytes.try_into().unwrap());
        assert_eq!(id.verify(Label::HostHello, b"", &signature), Err(Error::Signature), "{r}");
    }
}
