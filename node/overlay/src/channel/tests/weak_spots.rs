//! Weak spots of peers, on one path: what whoever carries it reads there, and what it gets by meddling.

use std::sync::Mutex;

use farhelm_core::session::handshake::phone;
use farhelm_core::session::log::Position;
use farhelm_core::session::record::HEADER;
use farhelm_core::wire::envelope::{Ack, Attach, Entry};

use super::*;

/// What whoever carries the path sees, both ways.
type Seen = Arc<Mutex<Vec<u8>>>;

/// What they make of the record with this number.
type Meddling = Box<dyn Fn(usize, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// Bytes that a phone sends before its first record: two messages, each behind its length.
async fn length_of_handshake() -> usize {
    let (phone, host) = identities();
    let (a, b) = duplex(64 * 1024);
    let at_phone = async {
        let mut wire = Wire::new(a);
        let (waits, hello) = phone::resume(phone.node_id(), host.node_id(), &secret(), &mut rand::rng());
        wire.send(&hello).await.unwrap();
        let (_, auth) = waits.receive(&wire.receive().await.unwrap(), &phone, "pocket").unwrap();
        wire.send(&auth).await.unwrap();
        (wire, 2 + hello.len() + 2 + auth.len())
    };
    tokio::join!(at_phone, greet(b)).0.1
}

/// Carries a path: what the phone sends passes `meddle` record by record, what the host sends is only looked at.
async fn carry(phone: DuplexStream, host: DuplexStream, seen: Seen, meddle: impl Fn(usize, Vec<u8>) -> Vec<u8>) {
    let ((mut from_phone, mut to_phone), (mut from_host, mut to_host)) =
        (tokio::io::split(phone), tokio::io::split(host));
    let up = async {
        let mut handshake = (&mut from_phone).take(length_of_handshake().await as u64);
        let mut bytes = [0; 4096];
        while let n @ 1.. = handshake.read(&mut bytes).await? {
            seen.lock().unwrap().extend(&bytes[..n]);
            to_host.write_all(&bytes[..n]).await?;
        }
        for n in 0.. {
            let mut record = vec![0; HEADER];
            from_phone.read_exact(&mut record).await?;
            record.resize(HEADER + usize::from(u16::from_be_bytes([record[12], record[13]])), 0);
            from_phone.read_exact(&mut record[HEADER..]).await?;
            seen.lock().unwrap().extend(&record);
            to_host.write_all(&meddle(n, record)).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let down = async {
        let mut bytes = [0; 4096];
        while let n @ 1.. = from_host.read(&mut bytes).await? {
            seen.lock().unwrap().extend(&bytes[..n]);
            to_phone.write_all(&bytes[..n]).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let _ = tokio::join!(up, down);
}

/// A phone and a host with somebody in between.
async fn carried(meddle: impl Fn(usize, Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> (Channel, Channel, Seen) {
    let (phone, host) = identities();
    let ((a, left), (right, b)) = (duplex(64 * 1024), duplex(64 * 1024));
    let (seen, secret) = (Seen::default(), secret());
    tokio::spawn(carry(left, right, seen.clone(), meddle));
    let (at_phone, at_host) = tokio::join!(resume(a, &phone, host.node_id(), &secret, "pocket", Vec::new), admit(b));
    (at_phone.unwrap().0, at_host.unwrap(), seen)
}

/// What tells a position: where each side stands, what is stored, what comes next. No number in it is a common one.
fn positions() -> [Envelope; 3] {
    let position = Position { log: ByteArray::new([0xA5; 16]), first: 0x1122_3344_5566_7788, heard: None };
    [
        Envelope::Attach(Attach { generation: 0x2233_4455_6677_8899, position }),
        Envelope::Ack(Ack { upto: 0x3344_5566_7788_99AA }),
        Envelope::Entry(Entry { seq: 0x4455_6677_8899_AABB, body: ByteBuf::from(b"what was asked".to_vec()) }),
    ]
}

/// Whether the bytes hold any number or text of [`positions`].
fn tells(bytes: &[u8]) -> bool {
    let numbers = [0x1122_3344_5566_7788_u64, 0x2233_4455_6677_8899, 0x3344_5566_7788_99AA, 0x4455_6677_8899_AABB];
    let marks = numbers.map(|number| number.to_be_bytes().to_vec());
    let texts = [vec![0xA5; 16], b"what was asked".to_vec()];
    marks.iter().chain(&texts).any(|mark| bytes.windows(mark.len()).any(|at| at == mark))
}

#[tokio::test]
async fn weak_spot_04_positions_and_acknowledgements_are_never_in_the_clear() {
    let (mut phone, mut host, seen) = carried(|_, record| record).await;
    for envelope in positions() {
        assert!(tells(&envelope.encode()), "the look finds it where it is in the clear");
        phone.sender().send(envelope.clone()).await.unwrap();
        assert_eq!(host.receive().await.unwrap(), envelope);
        host.sender().send(envelope.clone()).await.unwrap();
        assert_eq!(phone.receive().await.unwrap(), envelope);
    }
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 500 && !tells(&seen));
}

#[tokio::test]
async fn weak_spot_04_who_drops_doubles_or_swaps_records_moves_no_position() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let swaps = move |n, record: Vec<u8>| match n {
        0 => {
            held.lock().unwrap().clone_from(&record);
            Vec::new()
        }
        1 => [record, held.lock().unwrap().clone()].concat(),
        _ => record,
    };
    let meddling: [Meddling; 3] = [
        Box::new(|n, record| if n == 0 { Vec::new() } else { record }),
        Box::new(|n, record| if n == 0 { record.repeat(2) } else { record }),
        Box::new(swaps),
    ];
    for (way, meddle) in meddling.into_iter().enumerate() {
        let (phone, mut host, _) = carried(meddle).await;
        for upto in 1..=20 {
            let _ = phone.sender().send(Envelope::Ack(Ack { upto })).await;
        }
        let mut heard = Vec::new();
        let error = loop {
            match host.receive().await {
                Ok(Envelope::Ack(ack)) => heard.push(ack.upto),
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Record(record::Error::Order)), "way {way}: {error}");
        assert!(heard.iter().copied().eq(1..=heard.len() as u64), "way {way}: none is left out, none comes twice");
    }
}

#[tokio::test]
async fn weak_spot_05_a_flip_of_any_bit_of_a_records_header_ends_the_path() {
    for bit in 0..HEADER * 8 {
        let (phone, mut host, _) = carried(move |n, mut record| {
            if n == 0 {
                record[bit / 8] ^= 1 << (bit % 8);
            }
            // A length that says more than there is waits for what never comes; the next records fill it.
            record
        })
        .await;
        let sends = async {
            for _ in 0..10 {
                let _ = phone.sender().send(request(60_000)).await;
            }
        };
        let hears = async {
            let error = host.receive().await.expect_err("nothing is delivered");
            assert!(matches!(error, Error::Record(_)), "bit {bit}: {error}");
            host.close(CloseReason::Stopping).await;
        };
        tokio::join!(sends, hears);
    }
}
