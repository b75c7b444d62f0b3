//! Envelopes in pieces, each the plaintext of a record: those of one lane in order and one envelope at a time, those of
//! different lanes between one another.
//!
//! ```text
//! piece = form ‖ [length of the envelope (u32), first only] ‖ [length of the bytes (u16), padded only] ‖ bytes ‖ [zeros]
//! form  = lane << 4 | padded (4 or 0) | whole (0), first (1), further (2)                          all big endian
//! ```
//! # Lengths
//! The control and the urgent lane are padded, so that whoever counts bytes on the way can't tell an accepted approval
//! from a declined one: a piece takes one of a few lengths ([`SIZES`]), whatever it holds. The others aren't: their
//! lengths say how much there is to read, and hiding that would cost as much again.

use super::lane::Lane;
use super::limits;

/// Why a piece was refused. Peer's fault; the path closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An announced envelope of more than [`limits::ENVELOPE`] bytes.
    #[error("an envelope of {0} bytes is announced")]
    TooLong(usize),
    /// A piece that doesn't continue what is open in its lane, or opens a second envelope inside the first.
    #[error("a fragment out of place")]
    Misplaced,
    /// A piece that overruns the announced length, is empty, or is padded with something.
    #[error("a fragment of the wrong length")]
    Length,
}

const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const FURTHER: u8 = 2;
const PADDED: u8 = 4;

/// The longest head of a piece: its form and both lengths.
pub const HEAD: usize = 7;

/// What a padded piece may measure, beside all the room there is. Every decision and acknowledgement fits the first urgent
/// one, and an approval of a command of some 400 bytes; with half of that, approvals of different kinds fell on both sides.
pub const SIZES: [usize; 6] = [64, 1024, 2048, 4096, 8192, 16354];

/// An envelope on its way out, cut as room is found for it.
#[derive(Debug)]
pub struct Cutter {
    lane: Lane,
    envelope: Vec<u8>,
    at: usize,
    begun: bool,
}

impl Cutter {
    /// Begins to cut an envelope.
    pub const fn new(lane: Lane, envelope: Vec<u8>) -> Self {
        Self { lane, envelope, at: 0, begun: false }
    }

    /// Bytes of the envelope that aren't cut yet.
    pub const fn rest(&self) -> usize {
        self.envelope.len() - self.at
    }

    /// Whether the last piece was cut.
    pub const fn is_over(&self) -> bool {
        self.begun && self.rest() == 0
    }

    /// The next piece, of at most `room` bytes; empty when all is cut.
    ///
    /// # Panics
    /// If there is no room behind [`HEAD`].
    pub fn cut(&mut self, room: usize) -> Vec<u8> {
        assert!(room > HEAD, "no room for a piece");
        if self.is_over() {
            return Vec::new();
        }
        let mut piece = self.head(room);
        let taken = self.rest().min(room - piece.len() - 2 * usize::from(self.lane.is_padded()));
        let bytes = &self.envelope[self.at..self.at + taken];
        if self.lane.is_padded() {
            piece.extend((taken as u16).to_be_bytes());
        }
        piece.extend_from_slice(bytes);
        if self.lane.is_padded() {
            piece.resize(size(self.lane, piece.len()).min(room), 0);
        }
        (self.at, self.begun) = (self.at + taken, true);
        piece
    }

    /// The form and, of a first piece, the envelope's length.
    fn head(&self, room: usize) -> Vec<u8> {
        let padded = self.lane.is_padded();
        let fits = 1 + 2 * usize::from(padded) + self.envelope.len() <= room;
        let form = match (self.begun, fits) {
            (true, _) => FURTHER,
            (false, true) => WHOLE,
            (false, false) => FIRST,
        };
        let mut head = vec![(self.lane as u8) << 4 | if padded { PADDED } else { 0 } | form];
        if form == FIRST {
            head.extend((self.envelope.len() as u32).to_be_bytes());
        }
        head
    }
}

/// What a piece of this length is padded to.
fn size(lane: Lane, length: usize) -> usize {
    let least = if lane == Lane::Control { SIZES[0] } else { SIZES[1] };
    SIZES.into_iter().find(|size| *size >= length.max(least)).unwrap_or(length)
}

/// A whole envelope in pieces of at most `room` bytes each.
///
/// # Panics
/// If there is no room behind [`HEAD`].
pub fn split(lane: Lane, envelope: Vec<u8>, room: usize) -> Vec<Vec<u8>> {
    let mut cutter = Cutter::new(lane, envelope);
    let mut pieces = Vec::new();
    while !cutter.is_over() {
        pieces.push(cutter.cut(room));
    }
    pieces
}

/// A piece, read.
struct Piece<'a> {
    lane: Lane,
    form: u8,
    total: usize,
    bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    fn read(piece: &'a [u8]) -> Result<Self, Error> {
        let (head, rest) = piece.split_first().ok_or(Error::Misplaced)?;
        let lane = Lane::from_number(head >> 4).ok_or(Error::Misplaced)?;
        let (form, padded) = (head & 0b1011, head & PADDED != 0);
        let (total, rest) = match form {
            FIRST => rest.split_first_chunk().map(|(total, rest)| (u32::from_be_bytes(*total) as usize, rest)),
            WHOLE | FURTHER => Some((0, rest)),
            _ => None,
        }
        .ok_or(Error::Misplaced)?;
        let bytes = if padded { unpad(rest)? } else { rest };
        Ok(Self { lane, form, total, bytes })
    }
}

/// What stands before the zeros.
fn unpad(rest: &[u8]) -> Result<&[u8], Error> {
    let (length, rest) = rest.split_first_chunk().ok_or(Error::Length)?;
    let (bytes, padding) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(Error::Length)?;
    // Nothing else may stand there: it would be read by nobody, and could say anything.
    if padding.iter().any(|byte| *byte != 0) {
        return Err(Error::Length);
    }
    Ok(bytes)
}

/// Puts pieces together again; holds at most one unfinished envelope of each lane, so at the most three times
/// [`limits::ENVELOPE`] (24 MiB), and as much only from a peer that has sent it.
#[derive(Debug, Default)]
pub struct Reassembly {
    open: [Option<(usize, Vec<u8>)>; Lane::ALL.len()],
}

impl Reassembly {
    /// Takes a record's plaintext; gives the envelope when it is complete, and the piece's lane.
    pub fn take(&mut self, piece: &[u8]) -> Result<(Lane, Option<Vec<u8>>), Error> {
        let piece = Piece::read(piece)?;
        let whole = match (piece.form, self.open[piece.lane as usize].take()) {
            (WHOLE, None) => Some(piece.bytes.to_vec()),
            // What is said on the control lane fits a record.
            (FIRST, None) if piece.lane != Lane::Control => self.start(&piece)?,
            (FURTHER, Some((total, start))) => self.extend(piece.lane, total, start, piece.bytes)?,
            _ => return Err(Error::Misplaced),
        };
        Ok((piece.lane, whole))
    }

    fn start(&mut self, piece: &Piece<'_>) -> Result<Option<Vec<u8>>, Error> {
        if piece.total > limits::ENVELOPE {
            return Err(Error::TooLong(piece.total));
        }
        // Grows with what arrives, not with what is announced.
        self.extend(piece.lane, piece.total, Vec::new(), piece.bytes)
    }

    fn extend(&mut self, lane: Lane, total: usize, mut start: Vec<u8>, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if bytes.is_empty() || start.len() + bytes.len() > total {
            return Err(Error::Length);
        }
        start.extend_from_slice(bytes);
        if start.len() == total {
            return Ok(Some(start));
        }
        self.open[lane as usize] = Some((total, start));
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
