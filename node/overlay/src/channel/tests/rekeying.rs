//! Keys that change while envelopes flow, and peers that don't take part.

use std::time::Instant;

use farhelm_core::session::record::{Limits, Opener, Sealer};
use farhelm_core::session::rekey::{self, Epoch, Message, Outgoing, Rekey};
use farhelm_core::wire::envelope::Beat;
use farhelm_core::wire::lane::Lane;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
/// Worn every twenty frames; what is sent meanwhile is no concern here.
const SMALL: Limits = Limits { frames: 20, grace: 1_000_000, ..Limits::PROTOCOL };
/// As the protocol's, but for twenty frames.
const STRICT: Limits = Limits { frames: 20, ..Limits::PROTOCOL };

type Ready = (Wire<DuplexStream>, Session);

/// The phone's hands, up to the session.
async fn enter(stream: DuplexStream) -> Ready {
    let (phone, host) = identities();
    let mut wire = Wire::new(stream);
    let (waits, hello) =
        farhelm_core::session::phone::resume(phone.node_id(), host.node_id(), &secret(), &mut rand::rng());
    wire.send(&hello).await.unwrap();
    let (waits, auth) = waits.receive(&wire.receive().await.unwrap(), &phone, "pocket").unwrap();
    wire.send(&auth).await.unwrap();
    let (header, sealed) = wire.receive_frame(STEP).await.unwrap();
    (wire, waits.receive(header, &sealed).unwrap().0)
}

/// Both sides, handshaken, with the same limits.
async fn ready(limits: Limits) -> (Ready, Ready) {
    let (a, b) = duplex(64 * 1024);
    let (phone, host) = tokio::join!(enter(a), greet(b));
    let ((at_phone, phone), (at_host, host)) = (phone, host.unwrap());
    ((at_phone, phone.with_limits(limits)), (at_host, host.with_limits(limits)))
}

async fn channels(limits: Limits) -> (Channel, Channel) {
    let (phone, host) = ready(limits).await;
    (Channel::start(phone.0, phone.1), Channel::start(host.0, host.1))
}

/// A request with a number, small or large.
fn numbered(n: u32, bytes: usize) -> Envelope {
    let (mut id, params) = ([0; 16], ByteBuf::from(vec![b' '; bytes]));
    id[..4].copy_from_slice(&n.to_be_bytes());
    Envelope::Request(Request { id: ByteArray::new(id), method: "thread/list".into(), params })
}

/// Small ones may overtake large ones; among each other they keep their order.
async fn receive_all(channel: &mut Channel, count: u32) {
    let mut next = [0, 1];
    for _ in 0..count {
        let Envelope::Request(request) = channel.receive().await.unwrap() else { panic!("a request") };
        let n = u32::from_be_bytes(*request.id.first_chunk().unwrap());
        let small = usize::from(n % 50 != 0);
        assert_eq!(n, next[small]);
        next[small] += if small == 0 { 50 } else { 1 + u32::from(n % 50 == 49) };
    }
}

#[tokio::test]
async fn envelopes_flow_both_ways_while_the_keys_change() {
    let (mut phone, mut host) = channels(SMALL).await;
    let (to_host, to_phone) = (phone.sender(), host.sender());
    let sending = async {
        for n in 0..600 {
            let bytes = if n % 50 == 0 { 100_000 } else { 10 };
            let (a, b) = tokio::join!(to_host.send(numbered(n, bytes)), to_phone.send(numbered(n, bytes)));
            assert!(a.is_ok() && b.is_ok());
        }
    };
    tokio::join!(sending, receive_all(&mut phone, 600), receive_all(&mut host, 600));
    let epochs = [&phone, &host].map(|channel| channel.shared.rekeying.epoch());
    assert!(epochs.iter().all(|epoch| *epoch >= 5), "{epochs:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_channel_has_new_keys_every_hour() {
    let (phone, mut host) = channels(Limits::PROTOCOL).await;
    assert!(timeout(HOUR * 7 / 2, host.receive()).await.is_err(), "nothing arrived and nothing ended");
    assert_eq!([&phone, &host].map(|channel| channel.shared.rekeying.epoch()), [3, 3]);
}

/// A peer by hand: it opens what arrives, and says only what the test says.
struct Hand {
    wire: Wire<DuplexStream>,
    sealer: Sealer,
    opener: Opener,
    rekey: Rekey,
    pieces: fragment::Reassembly,
}

impl Hand {
    fn new((wire, session): Ready) -> Self {
        let Session { sealer, opener, root, .. } = session;
        Self { wire, sealer, opener, rekey: Rekey::new(root, Instant::now()), pieces: fragment::Reassembly::default() }
    }

    async fn hear(&mut self) -> Result<Option<Envelope>, Error> {
        let (header, sealed) = self.wire.receive_frame(2 * STEP).await?;
        let (_, whole) = self.pieces.take(&self.opener.open(header, &sealed)?)?;
        Ok(whole.map(|whole| Envelope::decode(&whole).unwrap()))
    }

    /// Hears on until the peer says something about keys.
    async fn hear_of_keys(&mut self) -> Message {
        loop {
            if let Some(Envelope::Rekeying(message)) = self.hear().await.unwrap() {
                return message;
            }
        }
    }

    async fn say(&mut self, envelope: Envelope) -> Result<(), Error> {
        let frame = self.sealer.seal(&piece(envelope))?;
        self.wire.send_frame(&frame).await
    }

    /// Takes part in a rekey: what the peer says, and all that is to be said then.
    async fn rekey(&mut self, message: Message) {
        if let Some(keys) = self.rekey.receive(message, Instant::now(), &mut rand::rng()).unwrap() {
            self.opener.switch(&keys).unwrap();
        }
        while let Some(next) = self.rekey.next(false, Instant::now(), &mut rand::rng()).unwrap() {
            let frame = match next {
                Outgoing::Message(message) => self.sealer.seal(&piece(Envelope::Rekeying(message))),
                Outgoing::Last(marker, keys) => self.sealer.seal_last(&piece(Envelope::Rekeying(marker)), &keys),
            };
            self.wire.send_frame(&frame.unwrap()).await.unwrap();
        }
    }
}

fn piece(envelope: Envelope) -> Vec<u8> {
    fragment::split(Lane::Control, envelope.encode(), record::MAX_PLAINTEXT).remove(0)
}

#[tokio::test]
async fn envelopes_go_on_under_the_old_key_until_the_peer_has_answered() {
    let (phone, host) = ready(SMALL).await;
    let (phone, mut hand) = (Channel::start(phone.0, phone.1), Hand::new(host));
    let sender = phone.sender();
    tokio::spawn(async move {
        let mut n = 0;
        while sender.send(numbered(n, 10)).await.is_ok() {
            n += 1;
        }
    });
    let start = hand.hear_of_keys().await;
    for _ in 0..200 {
        assert!(!matches!(hand.hear().await.unwrap(), Some(Envelope::Rekeying(_))));
    }
    hand.rekey(start).await;
    let marker = hand.hear_of_keys().await;
    hand.rekey(marker).await;
    for _ in 0..10 {
        hand.hear().await.unwrap();
    }
    assert_eq!((hand.rekey.epoch(), phone.shared.rekeying.epoch()), (1, 1));
}

#[tokio::test]
async fn a_phone_that_never_starts_is_cut_off_a_tenth_beyond_the_limit() {
    let (phone, host) = ready(STRICT).await;
    let (mut host, mut hand) = (Channel::start(host.0, host.1), Hand::new(phone));
    for n in 0..40 {
        let _ = host.sender().offer(numbered(n, 10));
    }
    let (mut frames, mut asked) = (0, 0);
    while let Ok(envelope) = hand.hear().await {
        frames += 1;
        asked += usize::from(matches!(envelope, Some(Envelope::Rekeying(Message::Ask(_)))));
    }
    // The answer of the handshake was the first of twenty-two.
    assert_eq!((frames, asked), (21, 1));
    assert!(matches!(host.receive().await, Err(Error::Record(record::Error::Exhausted))));
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_keeps_its_keys_for_too_long_is_cut_off() {
    let (phone, host) = ready(Limits::PROTOCOL).await;
    let (mut host, mut hand) = (Channel::start(host.0, host.1), Hand::new(phone));
    let begun = tokio::time::Instant::now();
    tokio::spawn(async move {
        while hand.say(Envelope::Pong(Beat { n: 0 })).await.is_ok() {
            let _ = timeout(Duration::from_secs(5), async { while hand.hear().await.is_ok() {} }).await;
        }
    });
    assert!(matches!(host.receive().await, Err(Error::Rekey(rekey::Error::Overdue))));
    let lived = begun.elapsed();
    assert!(lived >= HOUR * 11 / 10 && lived < HOUR * 11 / 10 + 2 * BEAT, "{lived:?}");
}

#[tokio::test]
async fn a_marker_of_no_rekey_ends_the_channel() {
    let (phone, host) = ready(Limits::PROTOCOL).await;
    let (mut host, mut hand) = (Channel::start(host.0, host.1), Hand::new(phone));
    hand.say(Envelope::Rekeying(Message::Switch(Epoch { epoch: 1 }))).await.unwrap();
    assert!(matches!(host.receive().await, Err(Error::Rekey(rekey::Error::Misplaced))));
}
