//! `record.json`: frames under a given key and IV, and frames that must be refused.

use serde::Serialize;

use super::{Error, Limits, Opener, Sealer};
use crate::vectors::{check, counting, hex, unhex};

#[derive(Serialize)]
struct Vectors {
    what: &'static str,
    key: String,
    iv: String,
    frames: Vec<Frame>,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Frame {
    counter: u64,
    nonce: String,
    header: String,
    plaintext: String,
    frame: String,
}

#[derive(Serialize)]
struct Refused {
    what: &'static str,
    /// The counter that the receiver expects.
    expects: u64,
    frame: String,
    error: String,
}

fn sealer() -> Sealer {
    Sealer::new(&counting(0x01), counting(0xe1))
}

fn opener(expects: u64) -> Opener {
    let mut opener = Opener::new(&counting(0x01), counting(0xe1));
    opener.direction.counter = expects;
    opener
}

fn frame(counter: u64, plaintext: &[u8]) -> Frame {
    let mut sealer = sealer();
    sealer.0.counter = counter;
    let nonce = hex(sealer.0.nonce());
    let frame = sealer.seal(plaintext).unwrap();
    assert_eq!(opener(counter).open_frame(&frame), Ok(plaintext.to_vec()));
    Frame { counter, nonce, header: hex(&frame[..14]), plaintext: hex(plaintext), frame: hex(frame) }
}

fn refused(what: &'static str, expects: u64, frame: &str, change: impl Fn(&mut Vec<u8>)) -> Refused {
    let mut frame = unhex(frame);
    change(&mut frame);
    let error = opener(expects).open_frame(&frame).unwrap_err();
    let error = match error {
        Error::Length(_) => "Length".into(),
        other => format!("{other:?}"),
    };
    Refused { what, expects, frame: hex(frame), error }
}

#[test]
fn records_are_as_in_the_vectors() {
    let frames = vec![
        frame(0, b"first"),
        frame(1, b""),
        frame(2, b"third"),
        frame(0x0102, b"two bytes of counter"),
        frame(Limits::PROTOCOL.frames - 1, b"the last"),
    ];
    let second = frames[2].frame.clone();
    let nothing = |_: &mut Vec<u8>| {};
    let refused = vec![
        refused("a record that was opened before", 3, &second, nothing),
        refused("a record before its turn", 1, &second, nothing),
        refused("another key epoch", 2, &second, |f| f[3] = 1),
        refused("the length changed, and a byte taken off", 2, &second, |f| {
            f[13] -= 1;
            f.pop();
        }),
        refused("a bit of the ciphertext flipped", 2, &second, |f| f[14] ^= 1),
        refused("a bit of the tag flipped", 2, &second, |f| *f.last_mut().unwrap() ^= 0x80),
        refused("a length under the tag's 16", 2, &second, |f| f[13] = 15),
        refused("a length over the longest frame", 2, &second, |f| f[12..14].copy_from_slice(&[0x3f, 0xf3])),
        refused("a whole frame less than announced", 2, &second, |f| f.truncate(f.len() - 1)),
    ];
    let what = "One direction of a session: AES-256-GCM frames under a key and IV at several counters, and frames that a \
                receiver who expects the given counter must refuse. After a refusal it opens nothing more.";
    let vectors = Vectors { what, key: hex(counting::<32>(0x01)), iv: hex(counting::<12>(0xe1)), frames, refused };
    check("record.json", include_str!("../../../../../tests/vectors/record.json"), &vectors);
}

#[test]
fn keys_end_a_tenth_beyond_two_to_the_eighteenth_frame() {
    let end = (1 << 18) + (1 << 18) / 10;
    let mut sealer = sealer();
    sealer.0.counter = end - 1;
    assert!(sealer.seal(b"the last").is_ok());
    assert_eq!(sealer.seal(b"one more"), Err(Error::Exhausted));
}
