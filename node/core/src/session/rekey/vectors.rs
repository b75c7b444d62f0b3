//! `rekey.json`: two rekeys in a row, by every value and frame; and messages that must be refused.

use hkdf::Hkdf;
use serde::Serialize;
use sha2::Sha256;

use super::model::{Peer, peer};
use super::*;
use crate::session::record;
use crate::vectors::{Drawn, check, counting, hex};
use crate::wire::envelope::Beat;
use crate::wire::lane::Lane;
use crate::wire::{Envelope, fragment};

#[derive(Serialize)]
struct Vectors {
    what: &'static str,
    phone_peer_id_bytes: String,
    host_peer_id_bytes: String,
    /// Epoch 0: key, IV.
    phone: [String; 2],
    host: [String; 2],
    root: String,
    rekeys: Vec<Exchange>,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Exchange {
    epoch: u32,
    phone_secret: String,
    host_secret: String,
    /// Each envelope is a whole one in a frame of its own.
    rekey: String,
    rekeyed: String,
    switch: String,
    shared_secret: String,
    hash: String,
    prk: String,
    root: String,
    phone: [String; 2],
    host: [String; 2],
    frames: Vec<Frame>,
}

#[derive(Serialize)]
struct Frame {
    from: &'static str,
    what: &'static str,
    plaintext: String,
    frame: String,
}

#[derive(Serialize)]
struct Refused {
    by: &'static str,
    waits_for: &'static str,
    what: &'static str,
    envelope: String,
    error: String,
}

fn expand(prk: &Hkdf<Sha256>, what: &str, length: usize) -> String {
    let mut out = vec![0; length];
    prk.expand(format!("farhelm/1 rekey {what}").as_bytes(), &mut out).unwrap();
    hex(out)
}

/// The plaintext of a record: one piece on the control lane.
fn piece(envelope: &Envelope) -> Vec<u8> {
    fragment::split(Lane::Control, envelope.encode(), record::MAX_PLAINTEXT).remove(0)
}

fn envelope(message: Message) -> String {
    hex(Envelope::Rekeying(message).encode())
}

/// Says what is due, and the other side takes it; what each draws for it.
fn pass(from: &mut Peer, to: &mut Peer, name: &'static str, draws: [&[u8]; 2], now: Instant) -> Vec<(Message, Frame)> {
    let mut said = Vec::new();
    while let Some(next) = from.rekey.next(false, now, &mut Drawn::new(&draws[..1])).unwrap() {
        let (what, message, last) = match next {
            Outgoing::Message(message) => ("a message", message, None),
            Outgoing::Last(message, keys) => ("the marker", message, Some(keys)),
        };
        let plaintext = piece(&Envelope::Rekeying(message));
        let sealed = match last {
            None => from.sealer.seal(&plaintext),
            Some(keys) => from.sealer.seal_last(&plaintext, &keys),
        };
        let frame = sealed.unwrap();
        assert_eq!(to.opener.open_frame(&frame).as_ref(), Ok(&plaintext));
        if let Some(keys) = to.rekey.receive(message, now, &mut Drawn::new(&draws[1..])).unwrap() {
            to.opener.switch(&keys).unwrap();
        }
        said.push((message, Frame { from: name, what, plaintext: hex(&plaintext), frame: hex(frame) }));
    }
    said
}

fn first(from: &mut Peer, to: &mut Peer, name: &'static str) -> Frame {
    let plaintext = piece(&Envelope::Ping(Beat { n: 1 }));
    let frame = from.sealer.seal(&plaintext).unwrap();
    assert_eq!(to.opener.open_frame(&frame).as_ref(), Ok(&plaintext));
    Frame { from: name, what: "the first under the new key", plaintext: hex(plaintext), frame: hex(frame) }
}

/// One rekey by the machines; its values once more by hand, from the page.
fn exchange(phone: &mut Peer, host: &mut Peer, epoch: u32, secrets: [[u8; 32]; 2], now: Instant) -> Exchange {
    let old = *phone.rekey.root.secret;
    phone.rekey.wear();
    let mut said = pass(phone, host, "phone", secrets.each_ref().map(|secret| &secret[..]), now);
    said.extend(pass(host, phone, "host", [&[], &[]], now));
    said.extend(pass(phone, host, "phone", [&[], &[]], now));
    let [Message::Rekey(theirs), Message::Rekeyed(ours), marker, again] = [0, 1, 2, 3].map(|at| said[at].0) else {
        panic!("a start, an answer and two markers")
    };
    assert_eq!(marker, again);
    let [p, h] = secrets.map(StaticSecret::from);
    assert_eq!(
        (theirs.key.into_array(), ours.key.into_array()),
        (PublicKey::from(&p).to_bytes(), PublicKey::from(&h).to_bytes())
    );
    let shared = p.diffie_hellman(&PublicKey::from(&h)).to_bytes();
    let hash = Transcript::new("farhelm/1 rekey")
        .number(epoch.into())
        .bytes(&phone.rekey.root.phone.to_peer_id().to_bytes())
        .bytes(&phone.rekey.root.host.to_peer_id().to_bytes())
        .bytes(PublicKey::from(&p).as_bytes())
        .bytes(PublicKey::from(&h).as_bytes())
        .finish();
    let (prk, expander) = Hkdf::<Sha256>::extract(Some(&old), &[shared, hash].concat());
    let root = expand(&expander, "root", 32);
    assert_eq!(root, hex(*phone.rekey.root.secret));
    let [up, down] = ["phone", "host"]
        .map(|name| [expand(&expander, &format!("{name} key"), 32), expand(&expander, &format!("{name} iv"), 12)]);
    let mut frames: Vec<_> = said.into_iter().map(|(_, frame)| frame).collect();
    frames.push(first(phone, host, "phone"));
    frames.push(first(host, phone, "host"));
    check_by_hand(&frames, &up, &down, epoch);
    Exchange {
        epoch,
        phone_secret: hex(secrets[0]),
        host_secret: hex(secrets[1]),
        rekey: envelope(Message::Rekey(theirs)),
        rekeyed: envelope(Message::Rekeyed(ours)),
        switch: envelope(marker),
        shared_secret: hex(shared),
        hash: hex(hash),
        prk: hex(prk),
        root,
        phone: up,
        host: down,
        frames,
    }
}

/// The first frames under the new keys open with what was derived by hand.
fn check_by_hand(frames: &[Frame], up: &[String; 2], down: &[String; 2], epoch: u32) {
    use aes_gcm::aead::{Aead, Payload};
    use aes_gcm::{Aes256Gcm, KeyInit};

    use crate::vectors::{unhex, unhex_array};
    for (frame, keys) in frames[4..].iter().zip([up, down]) {
        let bytes = unhex(&frame.frame);
        assert_eq!(bytes[..12], [&epoch.to_be_bytes()[..], &[0; 8]].concat());
        let payload = Payload { msg: &bytes[14..], aad: &bytes[..14] };
        let cipher = Aes256Gcm::new(&unhex_array::<32>(&keys[0]).into());
        let opened = cipher.decrypt(&unhex_array::<12>(&keys[1]).into(), payload);
        assert_eq!(opened.map(hex).as_ref(), Ok(&frame.plaintext));
    }
}

fn refused(by: Role, waits_for: &'static str, what: &'static str, message: Message) -> Refused {
    let now = Instant::now();
    let mut rekey = peer(by, Limits::PROTOCOL, now).rekey;
    let secret = counting::<32>(0x50);
    match waits_for {
        "Rekeyed" => {
            rekey.wear();
            rekey.next(false, now, &mut Drawn::new(&[&secret])).unwrap().unwrap();
        }
        "Switch" => {
            let start = Message::Rekey(Share::new(1, &StaticSecret::from(counting::<32>(0x70))));
            rekey.receive(start, now, &mut Drawn::new(&[&secret])).unwrap();
            while rekey.next(false, now, &mut Drawn::new(&[])).unwrap().is_some() {}
        }
        _ => {}
    }
    let error = rekey.receive(message, now, &mut Drawn::new(&[&secret])).unwrap_err();
    let by = if by == Role::Phone { "phone" } else { "host" };
    Refused { by, waits_for, what, envelope: envelope(message), error: format!("{error:?}") }
}

fn all_refused() -> Vec<Refused> {
    let good = |epoch| Share::new(epoch, &StaticSecret::from(counting::<32>(0x70)));
    let zero = Share { epoch: 1, key: serde_bytes::ByteArray::new([0; 32]) };
    let to = |epoch| Epoch { epoch };
    vec![
        refused(Role::Host, "nothing", "a start of the epoch that is", Message::Rekey(good(0))),
        refused(Role::Host, "nothing", "a start that skips an epoch", Message::Rekey(good(2))),
        refused(Role::Host, "nothing", "a share that contributes nothing", Message::Rekey(zero)),
        refused(Role::Host, "nothing", "a marker of no rekey", Message::Switch(to(1))),
        refused(Role::Host, "nothing", "what only a host sends", Message::Ask(to(0))),
        refused(Role::Host, "Switch", "the start once more", Message::Rekey(good(1))),
        refused(Role::Host, "Switch", "a second start", Message::Rekey(good(2))),
        refused(Role::Host, "Switch", "a marker of another epoch", Message::Switch(to(2))),
        refused(Role::Phone, "nothing", "what only a phone sends", Message::Rekey(good(1))),
        refused(Role::Phone, "nothing", "an answer to nothing", Message::Rekeyed(good(1))),
        refused(Role::Phone, "nothing", "an ask of another epoch", Message::Ask(to(1))),
        refused(Role::Phone, "Rekeyed", "an answer of another epoch", Message::Rekeyed(good(2))),
        refused(Role::Phone, "Rekeyed", "a share that contributes nothing", Message::Rekeyed(zero)),
        refused(Role::Phone, "Rekeyed", "the marker before the answer", Message::Switch(to(1))),
    ]
}

#[test]
fn rekeys_are_as_in_the_vectors() {
    let now = Instant::now();
    let [mut phone, mut host] = [Role::Phone, Role::Host].map(|role| peer(role, Limits::PROTOCOL, now));
    let (ids, root) = ([phone.rekey.root.phone, phone.rekey.root.host], hex(*phone.rekey.root.secret));
    let [phone_peer_id_bytes, host_peer_id_bytes] = ids.map(|id| hex(id.to_peer_id().to_bytes()));
    let rekeys = vec![
        exchange(&mut phone, &mut host, 1, [counting(0x10), counting(0x90)], now),
        exchange(&mut phone, &mut host, 2, [counting(0x30), counting(0xb0)], now),
    ];
    let what = "Two rekeys in a row of a session that has sent nothing before, from the keys and IVs of epoch 0 and the root: \
                what each side draws, both messages, every derived value, all frames. Keys stand beside their IVs. Then \
                messages that a side must refuse, in a session whose keys are of epoch 0 (or, where it waits for a marker, \
                on the way to 1).";
    let [up, down] = [10, 20].map(|byte| [hex([byte; 32]), hex([byte; 12])]);
    let vectors = Vectors {
        what,
        phone_peer_id_bytes,
        host_peer_id_bytes,
        phone: up,
        host: down,
        root,
        rekeys,
        refused: all_refused(),
    };
    check("rekey.json", include_str!("../../../../../tests/vectors/rekey.json"), &vectors);
}
