//! Lanes: which envelope may overtake which. Chosen from what an envelope is, in one place; a receiver takes any
//! envelope on any lane.
//!
//! Order holds within a lane only. An approval overtakes a screenshot that is under way, between two of its pieces.

use super::Envelope;

/// A way through a channel, the more urgent first. The number is the one on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What keeps the channel itself going: a few bytes each, before everything.
    Control = 0,
    /// What a person, or the log, waits for.
    Urgent = 1,
    /// What Codex says while it works.
    Stream = 2,
    /// What was asked for and may be large.
    Bulk = 3,
}

impl Lane {
    /// Every lane, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Control, Self::Urgent, Self::Stream, Self::Bulk];

    /// The lane of a number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether its pieces hide how long they are.
    pub const fn is_padded(self) -> bool {
        matches!(self, Self::Control | Self::Urgent)
    }
}

/// Requests and answers up to this size don't wait behind large ones.
const SMALL: usize = 4 * 1024;
/// As [`SMALL`], for answers: sixteen of them may come at once, and they aren't held by the credit window.
const SMALL_ANSWER: usize = 1024;

/// The lane of an envelope.
pub fn of(envelope: &Envelope) -> Lane {
    match envelope {
        Envelope::Ping(_) | Envelope::Pong(_) | Envelope::Credit(_) | Envelope::Closing(_) | Envelope::Rekeying(_) => {
            Lane::Control
        }
        Envelope::Notification(_)
        | Envelope::Snapshot(_)
        | Envelope::Digest(_)
        | Envelope::StreamOpen(_)
        | Envelope::Delta(_)
        | Envelope::Confirm(_) => Lane::Stream,
        Envelope::Request(request) if request.params.len() > SMALL => Lane::Bulk,
        Envelope::Response(response) if response.result.as_ref().is_ok_and(|result| result.len() > SMALL_ANSWER) => {
            Lane::Bulk
        }
        _ => Lane::Urgent,
    }
}

#[cfg(test)]
mod tests;
