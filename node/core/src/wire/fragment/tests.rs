//! Cutting and putting together, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::session::record::MAX_PLAINTEXT;

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::Urgent), Just(Lane::Stream), Just(Lane::Bulk)]
}

proptest! {
    #[test]
    fn what_is_split_comes_together(
        lane in lane(), envelope in proptest::collection::vec(any::<u8>(), 0..2000), room in 8usize..300,
    ) {
        let mut reassembly = Reassembly::default();
        let pieces = split(lane, envelope.clone(), room);
        let (last, before) = pieces.split_last().unwrap();
        for piece in before {
            prop_assert!(piece.len() <= room);
            prop_assert_eq!(reassembly.take(piece), Ok((lane, None)));
        }
        prop_assert_eq!(reassembly.take(last), Ok((lane, Some(envelope))));
    }

    #[test]
    fn lanes_may_be_interleaved_in_any_way(order in proptest::collection::vec(0usize..3, 0..200)) {
        let mut reassembly = Reassembly::default();
        let lanes = [Lane::Urgent, Lane::Stream, Lane::Bulk];
        let mut cutters = lanes.map(|lane| Cutter::new(lane, vec![lane as u8; 500]));
        for at in order.into_iter().chain([0; 50]).chain([1; 50]).chain([2; 50]) {
            if cutters[at].is_over() {
                continue;
            }
            let (lane, whole) = reassembly.take(&cutters[at].cut(40)).unwrap();
            prop_assert_eq!(lane, lanes[at]);
            prop_assert_eq!(whole, cutters[at].is_over().then(|| vec![lane as u8; 500]));
        }
        prop_assert!(cutters.iter().all(Cutter::is_over));
    }

    #[test]
    fn no_sequence_of_pieces_panics_or_overfills(
        pieces in proptest::collection::vec((0u8..64, proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
    ) {
        let mut reassembly = Reassembly::default();
        for (form, rest) in pieces {
            let _ = reassembly.take(&[&[form], &rest[..]].concat());
            for (total, bytes) in reassembly.open.iter().flatten() {
                prop_assert!(bytes.len() < *total);
            }
        }
    }

    #[test]
    fn urgent_pieces_have_one_of_a_few_lengths(length in 0usize..40_000) {
        for piece in split(Lane::Urgent, vec![7; length], MAX_PLAINTEXT) {
            prop_assert!(SIZES[1..].contains(&piece.len()), "{}", piece.len());
        }
    }
}

const BULK: u8 = (Lane::Bulk as u8) << 4;

#[test]
fn the_largest_size_is_a_whole_record() {
    assert_eq!(SIZES.last(), Some(&MAX_PLAINTEXT));
}

#[test]
fn an_envelope_over_the_limit_is_refused_when_announced() {
    let total = limits::ENVELOPE as u32 + 1;
    let first = [&[BULK | FIRST], &total.to_be_bytes()[..], &[0; 10]].concat();
    assert_eq!(Reassembly::default().take(&first), Err(Error::TooLong(total as usize)));
}

#[test]
fn a_second_envelope_inside_the_first_is_refused() {
    let mut reassembly = Reassembly::default();
    reassembly.take(&split(Lane::Bulk, vec![0; 100], 50)[0]).unwrap();
    assert_eq!(reassembly.take(&[BULK | WHOLE, 1]), Err(Error::Misplaced));
    assert_eq!(Reassembly::default().take(&[BULK | FURTHER, 1]), Err(Error::Misplaced));
    assert_eq!(Reassembly::default().take(&[BULK | 9]), Err(Error::Misplaced));
    assert_eq!(Reassembly::default().take(&[0x40, 1]), Err(Error::Misplaced), "a lane that there isn't");
}

#[test]
fn pieces_beyond_the_announced_length_are_refused() {
    let mut reassembly = Reassembly::default();
    reassembly.take(&[BULK | FIRST, 0, 0, 0, 3, 1]).unwrap();
    assert_eq!(reassembly.take(&[BULK | FURTHER, 2, 3, 4]), Err(Error::Length));
    let mut reassembly = Reassembly::default();
    assert_eq!(reassembly.take(&[BULK | FIRST, 0, 0, 0, 3]), Err(Error::Length));
}

#[test]
fn padding_holds_nothing() {
    let padded = BULK | PADDED | WHOLE;
    assert_eq!(Reassembly::default().take(&[padded, 0, 1, 7, 0, 0]), Ok((Lane::Bulk, Some(vec![7]))));
    assert_eq!(Reassembly::default().take(&[padded, 0, 1, 7, 0, 1]), Err(Error::Length));
    assert_eq!(Reassembly::default().take(&[padded, 0, 2, 7]), Err(Error::Length));
    assert_eq!(Reassembly::default().take(&[padded, 0]), Err(Error::Length));
}

#[test]
fn control_is_never_in_pieces() {
    let first = [FIRST, 0, 0, 0, 9, 1];
    assert_eq!(Reassembly::default().take(&first), Err(Error::Misplaced));
}
