//! Order, limits and epochs of records.

use super::*;

fn pair() -> (Sealer, Opener) {
    (Sealer::new(&[1; 32], [2; 12]), Opener::new(&[1; 32], [2; 12]))
}

#[test]
fn records_arrive_in_order() {
    let (mut sealer, mut opener) = pair();
    for n in 0..3u8 {
        let frame = sealer.seal(&[n; 5]).unwrap();
        assert_eq!(opener.open_frame(&frame), Ok(vec![n; 5]));
    }
}

#[test]
fn a_flip_of_any_byte_is_refused_and_final() {
    let (mut sealer, _) = pair();
    let frame = sealer.seal(b"rm -rf build").unwrap();
    for at in 0..frame.len() {
        let mut changed = frame.clone();
        changed[at] ^= 1;
        let (_, mut opener) = pair();
        assert!(opener.open_frame(&changed).is_err(), "byte {at}");
        assert_eq!(opener.open_frame(&frame), Err(Error::Closed));
    }
}

#[test]
fn a_replayed_record_is_refused() {
    let (mut sealer, mut opener) = pair();
    let frame = sealer.seal(b"once").unwrap();
    opener.open_frame(&frame).unwrap();
    assert_eq!(opener.open_frame(&frame), Err(Error::Order));
}

#[test]
fn a_skipped_record_is_refused() {
    let (mut sealer, mut opener) = pair();
    sealer.seal(b"lost").unwrap();
    assert_eq!(opener.open_frame(&sealer.seal(b"next").unwrap()), Err(Error::Order));
}

#[test]
fn lengths_are_judged_before_the_body() {
    for length in [0u16, 15, (limits::FRAME - HEADER + 1) as u16, u16::MAX] {
        let mut header = [0; HEADER];
        header[12..].copy_from_slice(&length.to_be_bytes());
        assert_eq!(Header::read(&header), Err(Error::Length(length.into())));
    }
    let (mut sealer, mut opener) = pair();
    assert_eq!(sealer.seal(&[0; MAX_PLAINTEXT + 1]), Err(Error::TooLong(MAX_PLAINTEXT + 1)));
    let whole = sealer.seal(&[0; MAX_PLAINTEXT]).unwrap();
    assert_eq!(whole.len(), limits::FRAME);
    assert_eq!(opener.open_frame(&whole).unwrap().len(), MAX_PLAINTEXT);
}

#[test]
fn a_cut_frame_is_refused() {
    let (mut sealer, mut opener) = pair();
    let frame = sealer.seal(b"whole").unwrap();
    assert!(opener.open_frame(&frame[..frame.len() - 1]).is_err());
    assert_eq!(pair().1.open_frame(&frame[..5]), Err(Error::Length(5)));
}

const SMALL: Limits = Limits { frames: 10, bytes: 100, age: Duration::MAX, grace: 10 };

fn next_keys(epoch: u32) -> Keys {
    Keys { epoch, key: Zeroizing::new([3; 32]), iv: Zeroizing::new([4; 12]) }
}

#[test]
fn keys_wear_at_their_limit_and_end_a_tenth_beyond() {
    for (bytes, fit) in [(1, 11), (10, 11), (11, 10), (22, 5)] {
        let (mut sealer, mut opener) = pair();
        sealer.limit(SMALL);
        opener.limit(SMALL);
        for n in 0..fit {
            let (frames, sum) = (n as u64, (n * bytes) as u64);
            assert_eq!(sealer.is_worn(), frames >= 10 || sum >= 100, "{n} of {bytes}");
            assert_eq!(opener.is_worn(), sealer.is_worn());
            opener.open_frame(&sealer.seal(&vec![0; bytes]).unwrap()).unwrap();
        }
        assert_eq!(sealer.seal(b"one more"), Err(Error::Exhausted));
        // A peer that doesn't keep to the end is refused.
        sealer.limit(Limits::PROTOCOL);
        assert_eq!(opener.open_frame(&sealer.seal(b"one more").unwrap()), Err(Error::Exhausted));
    }
}

#[test]
fn an_epoch_begins_behind_the_marker_and_counts_from_nothing() {
    let (mut sealer, mut opener) = pair();
    opener.open_frame(&sealer.seal(b"old").unwrap()).unwrap();
    opener.open_frame(&sealer.seal_last(b"marker", &next_keys(1)).unwrap()).unwrap();
    opener.switch(&next_keys(1)).unwrap();
    let first = sealer.seal(b"new").unwrap();
    assert_eq!(first[..12], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(opener.open_frame(&first), Ok(b"new".to_vec()));
}

#[test]
fn a_frame_of_the_old_epoch_behind_the_marker_is_refused() {
    let (mut sealer, mut opener) = pair();
    opener.open_frame(&sealer.seal(b"marker").unwrap()).unwrap();
    opener.switch(&next_keys(1)).unwrap();
    assert_eq!(opener.open_frame(&sealer.seal(b"late").unwrap()), Err(Error::Order));
    assert_eq!(opener.open_frame(&sealer.seal(b"later").unwrap()), Err(Error::Closed));
}

#[test]
fn a_frame_of_the_new_epoch_before_the_marker_is_refused() {
    let (mut sealer, mut opener) = pair();
    sealer.seal_last(b"lost", &next_keys(1)).unwrap();
    assert_eq!(opener.open_frame(&sealer.seal(b"new").unwrap()), Err(Error::Order));
}

#[test]
fn no_epoch_is_skipped_or_repeated() {
    for epoch in [0, 2] {
        let (mut sealer, mut opener) = pair();
        assert_eq!(sealer.seal_last(b"marker", &next_keys(epoch)), Err(Error::Order));
        assert_eq!(opener.switch(&next_keys(epoch)), Err(Error::Order));
        assert_eq!(opener.open_frame(&pair().0.seal(b"x").unwrap()), Err(Error::Closed));
    }
}

#[test]
fn nonces_never_repeat_under_a_key() {
    let (mut sealer, _) = pair();
    let nonces: std::collections::HashSet<_> = (0..300)
        .map(|_| {
            sealer.seal(b"x").unwrap();
            sealer.0.nonce()
        })
        .collect();
    assert_eq!(nonces.len(), 300);
}
