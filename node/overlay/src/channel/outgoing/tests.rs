//! Which piece goes next.

use farhelm_core::session::flow::PATIENCE;
use farhelm_core::wire::envelope::{CloseReason, Entry, Response};
use farhelm_core::wire::fragment::Reassembly;
use serde_bytes::{ByteArray, ByteBuf};

use super::*;

/// The time as the channel sees it, and the peer that takes what it sends.
struct Path {
    outgoing: Outgoing,
    now: Instant,
    pieces: Reassembly,
    arrived: u64,
}

impl Path {
    fn new() -> Self {
        let now = Instant::now();
        Self { outgoing: Outgoing::new(now), now, pieces: Reassembly::default(), arrived: 0 }
    }

    fn push(&mut self, envelope: Envelope) {
        self.outgoing.push(Parcel::new(envelope).unwrap(), self.now);
    }

    /// The next piece's lane and what it completes; none if the channel waits.
    fn piece(&mut self) -> Option<(Lane, Option<Envelope>)> {
        let (Next::Write(piece) | Next::Last(piece)) = self.outgoing.next(self.now) else { return None };
        let (lane, whole) = self.pieces.take(&piece).unwrap();
        if lane != Lane::Control {
            self.arrived += piece.len() as u64;
        }
        Some((lane, whole.map(|whole| Envelope::decode(&whole).unwrap())))
    }

    fn lanes(&mut self) -> Vec<Lane> {
        std::iter::from_fn(|| self.piece().map(|(lane, _)| lane)).filter(|lane| *lane != Lane::Control).collect()
    }

    fn confirm(&mut self) {
        self.now += Duration::from_millis(40);
        self.outgoing.confirm(Credit { received: self.arrived }, self.now).unwrap();
    }
}

fn bulk(bytes: usize) -> Envelope {
    Envelope::Response(Response { id: ByteArray::new([1; 16]), result: Ok(ByteBuf::from(vec![1; bytes])) })
}

fn urgent(bytes: usize) -> Envelope {
    Envelope::Entry(Entry { seq: 1, body: ByteBuf::from(vec![1; bytes]) })
}

fn streamed(n: usize) -> Envelope {
    let params = ByteBuf::from(format!(r#"{{"threadId":"t","diff":"{}"}}"#, "x".repeat(n)));
    Envelope::Notification(farhelm_core::wire::envelope::Notification { method: "turn/diff/updated".into(), params })
}

#[test]
fn what_is_urgent_goes_between_two_pieces_and_does_not_wait_for_the_window() {
    let mut path = Path::new();
    path.push(bulk(100_000));
    let lanes = path.lanes();
    assert!(!lanes.is_empty() && lanes.iter().all(|lane| *lane == Lane::Bulk));
    path.push(urgent(100));
    assert_eq!(path.lanes(), [Lane::Urgent], "the window is closed");
    path.confirm();
    assert!(path.lanes().contains(&Lane::Bulk));
}

#[test]
fn stream_and_bulk_take_turns() {
    let mut path = Path::new();
    path.push(bulk(100_000));
    path.push(streamed(100_000));
    let mut lanes = Vec::new();
    for _ in 0..10 {
        lanes.extend(path.lanes());
        path.confirm();
    }
    assert!(lanes.len() > 6 && lanes.windows(2).all(|two| two[0] != two[1]), "{lanes:?}");
}

#[test]
fn a_large_urgent_envelope_waits_for_the_window_in_its_place() {
    let mut path = Path::new();
    path.push(urgent(2 * LARGE));
    path.push(urgent(10));
    path.push(bulk(10_000));
    let first = path.lanes();
    assert!(first.len() < 10 && first.iter().all(|lane| *lane == Lane::Urgent), "{first:?}");
    let mut whole = Vec::new();
    while whole.len() < 3 {
        match path.piece() {
            Some((_, envelope)) => whole.extend(envelope.filter(|envelope| !matches!(envelope, Envelope::Ping(_)))),
            None => path.confirm(),
        }
    }
    assert_eq!(whole, [urgent(2 * LARGE), urgent(10), bulk(10_000)]);
}

#[test]
fn the_last_word_goes_behind_what_is_urgent_and_before_all_else() {
    let mut path = Path::new();
    path.push(bulk(100_000));
    path.lanes();
    path.push(urgent(2 * LARGE));
    path.push(Envelope::Closing(Closing { reason: CloseReason::Revoked }));
    assert!(path.outgoing.is_closed());
    let mut whole = Vec::new();
    while let Some((_, envelope)) = path.piece() {
        whole.extend(envelope);
        if matches!(whole.last(), Some(Envelope::Closing(_))) {
            break;
        }
    }
    assert!(matches!(&whole[..], [Envelope::Entry(_), Envelope::Closing(_)]), "without a confirmation in between");
}

#[test]
fn a_peer_that_confirms_nothing_is_given_up_once_something_waits() {
    let mut path = Path::new();
    path.push(bulk(2000));
    path.lanes();
    assert_ne!(path.outgoing.next(path.now + PATIENCE), Next::Overdue);
    path.push(bulk(100_000));
    path.lanes();
    path.now += PATIENCE;
    // Its beats go on all the same.
    while let Next::Write(_) = path.outgoing.next(path.now) {}
    assert_eq!(path.outgoing.next(path.now), Next::Overdue);
}

#[test]
fn nothing_to_do_is_never_until_a_time_that_has_passed() {
    let mut path = Path::new();
    for n in 0..200 {
        if n % 3 == 0 {
            path.push(streamed(n));
            path.push(bulk(n * 20 + 2000));
        }
        while path.piece().is_some() {}
        let Next::Wait(until) = path.outgoing.next(path.now) else { panic!("nothing is left to write") };
        assert!(until > path.now);
        path.now = until.min(path.now + Duration::from_secs(5));
        if n % 2 == 0 {
            path.confirm();
        }
    }
}

#[test]
fn pongs_are_few() {
    let mut path = Path::new();
    (0..100).for_each(|n| path.outgoing.answer(Beat { n }));
    assert_eq!(path.outgoing.control.len(), PONGS);
}
