//! `fragment.json`: envelopes cut into pieces, and pieces that must be refused.

use serde::Serialize;

use super::{Error, Lane, Reassembly, split};
use crate::vectors::{check, counting, hex};
use crate::wire::limits;

#[derive(Serialize)]
struct Vectors {
    what: &'static str,
    cut: Vec<Cut>,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Cut {
    lane: u8,
    envelope: String,
    room: usize,
    pieces: Vec<String>,
}

#[derive(Serialize)]
struct Refused {
    what: &'static str,
    pieces: Vec<String>,
    /// Of the last piece; those before it are fine.
    error: &'static str,
}

fn cut<const LENGTH: usize>(lane: Lane, room: usize) -> Cut {
    let envelope = counting::<LENGTH>(0x01);
    let pieces = split(lane, envelope.to_vec(), room);
    let mut reassembly = Reassembly::default();
    let whole: Vec<_> = pieces.iter().filter_map(|piece| reassembly.take(piece).unwrap().1).collect();
    assert_eq!(whole, [envelope.to_vec()]);
    Cut { lane: lane as u8, envelope: hex(envelope), room, pieces: pieces.iter().map(hex).collect() }
}

fn refused(what: &'static str, pieces: &[&[u8]]) -> Refused {
    let mut reassembly = Reassembly::default();
    let (last, before) = pieces.split_last().unwrap();
    before.iter().for_each(|piece| assert_eq!(reassembly.take(piece).map(|(_, whole)| whole), Ok(None)));
    let error = match reassembly.take(last).unwrap_err() {
        Error::TooLong(_) => "TooLong",
        Error::Misplaced => "Misplaced",
        Error::Length => "Length",
    };
    Refused { what, pieces: pieces.iter().map(hex).collect(), error }
}

#[test]
fn fragments_are_as_in_the_vectors() {
    let too_long = [&[0x31], &(limits::ENVELOPE as u32 + 1).to_be_bytes()[..], &[0xaa]].concat();
    let refused = vec![
        refused("no piece at all", &[&[]]),
        refused("an unknown form", &[&[0x33, 0xaa]]),
        refused("an unknown bit", &[&[0x38, 0xaa]]),
        refused("an unknown lane", &[&[0x40, 0xaa]]),
        refused("a further piece of nothing", &[&[0x32, 0xaa]]),
        refused("a further piece in another lane", &[&[0x31, 0, 0, 0, 2, 0xaa], &[0x22, 0xbb]]),
        refused("a whole envelope inside another", &[&[0x31, 0, 0, 0, 2, 0xaa], &[0x30, 0xbb]]),
        refused("a second envelope inside the first", &[&[0x31, 0, 0, 0, 2, 0xaa], &[0x31, 0, 0, 0, 1, 0xbb]]),
        refused("a first piece cut inside its length", &[&[0x31, 0, 0]]),
        refused("an empty first piece", &[&[0x31, 0, 0, 0, 2]]),
        refused("an empty further piece", &[&[0x31, 0, 0, 0, 2, 0xaa], &[0x32]]),
        refused("more than was announced", &[&[0x31, 0, 0, 0, 2, 0xaa], &[0x32, 0xbb, 0xcc]]),
        refused("more announced than an envelope may have", &[&too_long]),
        refused("padding that isn't zero", &[&[0x14, 0, 1, 0xaa, 0, 1]]),
        refused("more bytes than the piece has", &[&[0x14, 0, 2, 0xaa]]),
        refused("a control envelope in pieces", &[&[0x01, 0, 0, 0, 2, 0xaa]]),
    ];
    let what = "Envelopes cut into record plaintexts of at most `room` bytes (16354 in a real session; small here, to be \
                read), and sequences whose last piece must be refused.";
    let cut = vec![
        cut::<8>(Lane::Bulk, 20),
        cut::<19>(Lane::Bulk, 20),
        cut::<20>(Lane::Stream, 20),
        cut::<40>(Lane::Stream, 20),
        cut::<34>(Lane::Bulk, 20),
        cut::<8>(Lane::Control, 600),
        cut::<8>(Lane::Urgent, 600),
        cut::<40>(Lane::Urgent, 20),
        cut::<600>(Lane::Urgent, 600),
    ];
    check("fragment.json", include_str!("../../../../../tests/vectors/fragment.json"), &Vectors { what, cut, refused });
}
