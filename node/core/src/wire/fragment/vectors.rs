//! `fragment.json`: envelopes cut into pieces, and pieces that must be refused.

use serde::Serialize;

use super::{Error, Reassembly, split};
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

fn cut<const LENGTH: usize>(room: usize) -> Cut {
    let envelope = counting::<LENGTH>(0x01);
    let pieces = split(&envelope, room);
    let mut reassembly = Reassembly::default();
    let whole: Vec<_> = pieces.iter().filter_map(|piece| reassembly.take(piece).unwrap()).collect();
    assert_eq!(whole, [envelope.to_vec()]);
    Cut { envelope: hex(envelope), room, pieces: pieces.iter().map(hex).collect() }
}

fn refused(what: &'static str, pieces: &[&[u8]]) -> Refused {
    let mut reassembly = Reassembly::default();
    let (last, before) = pieces.split_last().unwrap();
    before.iter().for_each(|piece| assert_eq!(reassembly.take(piece), Ok(None)));
    let error = match reassembly.take(last).unwrap_err() {
        Error::TooLong(_) => "TooLong",
        Error::Misplaced => "Misplaced",
        Error::Length => "Length",
    };
    Refused { what, pieces: pieces.iter().map(hex).collect(), error }
}

#[test]
fn fragments_are_as_in_the_vectors() {
    let too_long = [&[1], &(limits::ENVELOPE as u32 + 1).to_be_bytes()[..], &[0xaa]].concat();
    let refused = vec![
        refused("no piece at all", &[&[]]),
        refused("an unknown first byte", &[&[3, 0xaa]]),
        refused("a further piece of nothing", &[&[2, 0xaa]]),
        refused("a whole envelope inside another", &[&[1, 0, 0, 0, 2, 0xaa], &[0, 0xbb]]),
        refused("a second envelope inside the first", &[&[1, 0, 0, 0, 2, 0xaa], &[1, 0, 0, 0, 1, 0xbb]]),
        refused("a first piece cut inside its length", &[&[1, 0, 0]]),
        refused("an empty first piece", &[&[1, 0, 0, 0, 2]]),
        refused("an empty further piece", &[&[1, 0, 0, 0, 2, 0xaa], &[2]]),
        refused("more than was announced", &[&[1, 0, 0, 0, 2, 0xaa], &[2, 0xbb, 0xcc]]),
        refused("more announced than an envelope may have", &[&too_long]),
    ];
    let what = "Envelopes cut into record plaintexts of at most `room` bytes (16354 in a real session; small here, to be \
                read), and sequences whose last piece must be refused.";
    let cut = vec![cut::<8>(20), cut::<19>(20), cut::<20>(20), cut::<40>(20), cut::<34>(20)];
    check("fragment.json", include_str!("../../../../../tests/vectors/fragment.json"), &Vectors { what, cut, refused });
}
