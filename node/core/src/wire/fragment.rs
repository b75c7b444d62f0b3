//! Envelopes larger than a record travel in pieces, in order and one envelope at a time.
//!
//! ```text
//! whole = 0 ‖ envelope          first = 1 ‖ total length (u32 BE) ‖ piece          further = 2 ‖ piece
//! ```
//! Interleaving several envelopes comes with priorities; the first byte leaves room for it.

use super::limits;

/// Why a piece was refused. Peer's fault; the path closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An announced envelope of more than [`limits::ENVELOPE`] bytes.
    #[error("an envelope of {0} bytes is announced")]
    TooLong(usize),
    /// A piece that doesn't continue what is open, or opens a second envelope inside the first.
    #[error("a fragment out of place")]
    Misplaced,
    /// A piece that overruns the announced length, or is empty.
    #[error("a fragment of the wrong length")]
    Length,
}

const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const FURTHER: u8 = 2;

/// Cuts an envelope into record plaintexts of at most `room` bytes each.
///
/// # Panics
/// If `room` is under 6: there'd be no room for a piece.
pub fn split(envelope: &[u8], room: usize) -> Vec<Vec<u8>> {
    assert!(room > 5, "no room for a piece");
    if envelope.len() < room {
        return vec![[&[WHOLE], envelope].concat()];
    }
    let (head, tail) = envelope.split_at(room - 5);
    let total = (envelope.len() as u32).to_be_bytes();
    let first = [&[FIRST], &total[..], head].concat();
    std::iter::once(first).chain(tail.chunks(room - 1).map(|piece| [&[FURTHER], piece].concat())).collect()
}

/// Puts pieces together again; holds at most one unfinished envelope.
#[derive(Debug, Default)]
pub struct Reassembly {
    open: Option<(usize, Vec<u8>)>,
}

impl Reassembly {
    /// Takes a record's plaintext; gives the envelope when it is complete.
    pub fn take(&mut self, piece: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match (piece, self.open.take()) {
            ([WHOLE, envelope @ ..], None) => Ok(Some(envelope.to_vec())),
            ([FIRST, a, b, c, d, piece @ ..], None) => self.start(u32::from_be_bytes([*a, *b, *c, *d]) as usize, piece),
            ([FURTHER, piece @ ..], Some((total, start))) => self.extend(total, start, piece),
            _ => Err(Error::Misplaced),
        }
    }

    fn start(&mut self, total: usize, piece: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if total > limits::ENVELOPE {
            return Err(Error::TooLong(total));
        }
        // Grows with what arrives, not with what is announced.
        self.extend(total, Vec::new(), piece)
    }

    fn extend(&mut self, total: usize, mut start: Vec<u8>, piece: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if piece.is_empty() || start.len() + piece.len() > total {
            return Err(Error::Length);
        }
        start.extend_from_slice(piece);
        if start.len() == total {
            return Ok(Some(start));
        }
        self.open = Some((total, start));
        Ok(None)
    }
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_split_comes_together(envelope in proptest::collection::vec(any::<u8>(), 0..2000), room in 6usize..300) {
            let mut reassembly = Reassembly::default();
            let pieces = split(&envelope, room);
            let (last, before) = pieces.split_last().unwrap();
            for piece in before {
                prop_assert!(piece.len() <= room);
                prop_assert_eq!(reassembly.take(piece), Ok(None));
            }
            prop_assert_eq!(reassembly.take(last), Ok(Some(envelope)));
        }

        #[test]
        fn no_sequence_of_pieces_panics_or_overfills(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40)) {
            let mut reassembly = Reassembly::default();
            for piece in pieces {
                let _ = reassembly.take(&piece);
                prop_assert!(reassembly.open.as_ref().is_none_or(|(total, bytes)| bytes.len() < *total));
            }
        }
    }

    #[test]
    fn an_envelope_over_the_limit_is_refused_when_announced() {
        let total = limits::ENVELOPE as u32 + 1;
        let first = [&[FIRST], &total.to_be_bytes()[..], &[0; 10]].concat();
        assert_eq!(Reassembly::default().take(&first), Err(Error::TooLong(total as usize)));
    }

    #[test]
    fn a_second_envelope_inside_the_first_is_refused() {
        let mut reassembly = Reassembly::default();
        reassembly.take(&split(&[0; 100], 50)[0]).unwrap();
        assert_eq!(reassembly.take(&[WHOLE, 1]), Err(Error::Misplaced));
        assert_eq!(Reassembly::default().take(&[FURTHER, 1]), Err(Error::Misplaced));
        assert_eq!(Reassembly::default().take(&[9]), Err(Error::Misplaced));
    }

    #[test]
    fn pieces_beyond_the_announced_length_are_refused() {
        let mut reassembly = Reassembly::default();
        reassembly.take(&[FIRST, 0, 0, 0, 3, 1]).unwrap();
        assert_eq!(reassembly.take(&[FURTHER, 2, 3, 4]), Err(Error::Length));
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.take(&[FIRST, 0, 0, 0, 3]), Err(Error::Length));
    }
}
