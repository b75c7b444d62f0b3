//! Channels over an in-memory pipe.

use farhelm_core::identity::Identity;
use farhelm_core::session::PairingSecret;
use farhelm_core::session::host::Hello;
use farhelm_core::wire::envelope::{Request, Watch};
use farhelm_core::wire::limits;
use serde_bytes::{ByteArray, ByteBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

mod lanes;
mod rekeying;
mod weak_spots;

fn identities() -> (Identity, Identity) {
    (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]))
}

fn secret() -> PairingSecret {
    PairingSecret::from_bytes([3; 32])
}

/// The host's hands for a phone that resumes.
async fn admit(stream: DuplexStream) -> Result<Channel, Error> {
    let (wire, session) = greet(stream).await?;
    Ok(Channel::start(wire, session))
}

/// The same, up to the session.
async fn greet(stream: DuplexStream) -> Result<(Wire<DuplexStream>, Session), Error> {
    let (phone, host) = identities();
    let mut wire = Wire::new(stream);
    let Hello::Resume(back) = Hello::read(&wire.receive().await?, host.node_id(), phone.node_id())? else {
        panic!("mode resume")
    };
    let (waits, reply) = back.reply(&secret(), &host, &mut rand::rng())?;
    wire.send(&reply).await?;
    let (session, answer) = waits.receive(&wire.receive().await?)?.accept("desk")?;
    wire.send_frame(&answer).await?;
    Ok((wire, session))
}

async fn pair_of(early: &[Envelope]) -> (Channel, Channel) {
    let (phone, host) = identities();
    let (a, b) = duplex(64 * 1024);
    let secret = secret();
    let (at_phone, at_host) =
        tokio::join!(resume(a, &phone, host.node_id(), &secret, "pocket", || early.to_vec()), admit(b));
    (at_phone.unwrap().0, at_host.unwrap())
}

fn request(bytes: usize) -> Envelope {
    let params = ByteBuf::from(vec![b' '; bytes]);
    Envelope::Request(Request { id: ByteArray::new([4; 16]), method: "thread/list".into(), params })
}

#[tokio::test]
async fn envelopes_arrive_whole_and_in_order_in_both_directions() {
    let (mut phone, mut host) = pair_of(&[]).await;
    for bytes in [0, 1, 3, 100_000] {
        phone.sender().send(request(bytes)).await.unwrap();
        host.sender().send(request(bytes + 1)).await.unwrap();
    }
    for bytes in [0, 1, 3, 100_000] {
        assert_eq!(host.receive().await.unwrap(), request(bytes));
        assert_eq!(phone.receive().await.unwrap(), request(bytes + 1));
    }
    assert!(phone.traffic().sent() > 100_000 && host.traffic().received() > 100_000);
}

#[tokio::test]
async fn an_envelope_that_the_peer_would_refuse_is_not_sent_and_ends_nothing() {
    let (phone, mut host) = pair_of(&[]).await;
    phone.sender().send(request(limits::ENVELOPE)).await.unwrap();
    phone.sender().send(request(limits::CODEX_JSON)).await.unwrap();
    assert_eq!(host.receive().await.unwrap(), request(limits::CODEX_JSON));
}

#[tokio::test]
async fn early_requests_arrive_with_the_proof() {
    let watch = Envelope::Watch(Watch { threads: vec!["t".into()] });
    let (_phone, mut host) = pair_of(&[watch.clone(), request(50_000)]).await;
    assert_eq!(host.receive().await.unwrap(), watch);
    assert_eq!(host.receive().await.unwrap(), request(50_000));
}

#[tokio::test]
async fn closing_tells_the_peer_why() {
    let (mut phone, host) = pair_of(&[]).await;
    host.close(CloseReason::Revoked).await;
    assert!(matches!(phone.receive().await, Err(Error::Closed(CloseReason::Revoked))));
}

#[tokio::test]
async fn a_dropped_channel_ends_the_peers() {
    let (mut phone, host) = pair_of(&[]).await;
    drop(host);
    assert!(matches!(phone.receive().await, Err(Error::Io(_))));
}

#[tokio::test]
async fn a_full_queue_refuses_instead_of_waiting() {
    let (phone, _host) = pair_of(&[]).await;
    // Nobody reads at the host, so queues and pipe fill up.
    let refused = (0..100_000).find(|_| phone.sender().offer(request(4096)).is_err());
    assert!(refused.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_noticed() {
    let (phone, host) = identities();
    let (a, b) = duplex(64 * 1024);
    let secret = secret();
    let (at_phone, at_host) = tokio::join!(resume(a, &phone, host.node_id(), &secret, "pocket", Vec::new), admit(b));
    let (mut at_phone, at_host) = (at_phone.unwrap().0, at_host.unwrap());
    at_host.writer.abort();
    at_host.reader.abort();
    let held = &at_host;
    assert!(matches!(at_phone.receive().await, Err(Error::Silent | Error::Io(_))));
    assert!(held.incoming.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_idle_channel_lives_by_its_beats() {
    let (phone, mut host) = pair_of(&[]).await;
    assert!(timeout(10 * SILENCE, host.receive()).await.is_err(), "nothing arrived and nothing ended");
    phone.sender().send(request(1)).await.unwrap();
    assert_eq!(host.receive().await.unwrap(), request(1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_says_hello_is_let_go() {
    let (_a, b) = duplex(1024);
    assert!(matches!(admit(b).await, Err(Error::Silent)));
}

#[tokio::test]
async fn a_handshake_message_that_announces_too_much_is_refused() {
    let (mut a, b) = duplex(1024);
    a.write_all(&[0xff, 0xff]).await.unwrap();
    assert!(matches!(admit(b).await, Err(Error::TooLong(65_535))));
}

/// A pipe that flips one bit of the first byte that passes after `at` bytes from `a` to `b`.
async fn flip(mut a: DuplexStream, mut b: DuplexStream, at: usize) {
    let (mut seen, mut up, mut down) = (0, [0; 4096], [0; 4096]);
    loop {
        tokio::select! {
            n = a.read(&mut up) => match n {
                Ok(n) if n > 0 => {
                    if (seen..seen + n).contains(&at) { up[at - seen] ^= 1; }
                    seen += n;
                    if b.write_all(&up[..n]).await.is_err() { return }
                }
                _ => return,
            },
            n = b.read(&mut down) => match n {
                Ok(n) if n > 0 => if a.write_all(&down[..n]).await.is_err() { return },
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn a_path_that_alters_a_record_ends_and_delivers_nothing() {
    let (phone, host) = identities();
    let ((a, left), (right, b)) = (duplex(64 * 1024), duplex(64 * 1024));
    tokio::spawn(flip(left, right, 1000));
    let secret = secret();
    let (at_phone, at_host) = tokio::join!(resume(a, &phone, host.node_id(), &secret, "pocket", Vec::new), admit(b));
    let (at_phone, mut at_host) = (at_phone.unwrap().0, at_host.unwrap());
    at_phone.sender().send(request(4000)).await.unwrap();
    assert!(matches!(at_host.receive().await, Err(Error::Record(_))));
}
