//! AES-256-GCM against McGrew and Viega's test cases, and against tags that aren't quite right.

use super::*;
use crate::vectors::{hex, unhex, unhex_array};

/// Key, nonce, plaintext, associated data; ciphertext with tag: cases 13, 14 and 16 of the GCM submission.
const CASES: [[&str; 5]; 3] = [
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000",
        "",
        "",
        "530f8afbc74536b9a963b4f1c4cb738b",
    ],
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000",
        "00000000000000000000000000000000",
        "",
        "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
    ],
    [
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
    ],
];

fn cipher(case: &[&str; 5]) -> (Aes256Gcm, [u8; 12]) {
    let key: [u8; 32] = unhex_array(case[0]);
    (Aes256Gcm::new(&key.into()), unhex_array(case[1]))
}

fn opens(case: &[&str; 5], sealed: &[u8]) -> bool {
    let (cipher, nonce) = cipher(case);
    cipher.decrypt(&nonce.into(), Payload { msg: sealed, aad: &unhex(case[3]) }).is_ok()
}

#[test]
fn sealing_agrees_with_the_published_cases() {
    for case in &CASES {
        let (cipher, nonce) = cipher(case);
        let sealed = cipher.encrypt(&nonce.into(), Payload { msg: &unhex(case[2]), aad: &unhex(case[3]) }).unwrap();
        assert_eq!(hex(&sealed), case[4]);
        assert!(opens(case, &sealed));
    }
}

#[test]
fn a_tag_changed_in_any_bit_is_refused() {
    for case in &CASES {
        let sealed = unhex(case[4]);
        let tag = sealed.len() - TAG;
        for bit in 0..8 * TAG {
            let mut changed = sealed.clone();
            changed[tag + bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(case, &changed), "bit {bit}");
        }
    }
}

#[test]
fn tags_of_other_shapes_are_refused() {
    for case in &CASES {
        let sealed = unhex(case[4]);
        let (text, tag) = sealed.split_at(sealed.len() - TAG);
        let others: [Vec<u8>; 6] = [
            vec![0; TAG],
            vec![0xff; TAG],
            tag.iter().map(|byte| !byte).collect(),
            tag.iter().rev().copied().collect(),
            tag[..TAG - 4].to_vec(),
            [tag, &[0]].concat(),
        ];
        for other in others {
            assert!(!opens(case, &[text, &other].concat()), "{}", hex(other));
        }
    }
}

#[test]
fn a_record_under_the_nonce_of_another_is_refused() {
    let mut first = Sealer::new(&[1; 32], [2; 12]);
    let mut frame = first.seal(b"one").unwrap();
    // The header claims the next counter, and the receiver expects it.
    frame[11] = 1;
    let mut opener = Opener::new(&[1; 32], [2; 12]);
    opener.direction.counter = 1;
    assert_eq!(opener.open_frame(&frame), Err(Error::Forged));
}
