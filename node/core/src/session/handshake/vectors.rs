//! `handshake-pair.json` and `handshake-resume.json`: whole handshakes with everything that is derived on the way.
//!
//! The messages come from the machines. The values between them are derived here once more, from RFC 5869 and
//! RFC 7748 alone, and must open what the machines sealed.

use hkdf::Hkdf;
use serde::Serialize;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};

use super::message::{self, HelloHost, HelloPhone, Mode, Reply};
use super::*;
use crate::identity::Identity;
use crate::pairing::TicketSecret;
use crate::session::host::{Authenticated, Hello};
use crate::session::record::{HEADER, Header, Opener, Sealer};
use crate::session::{PairingSecret, Session};
use crate::vectors::{Drawn, check, counting, diagnostic, hex, unhex};
use crate::wire::envelope::{Beat, Watch};
use crate::wire::{Envelope, cbor, fragment, lane};

const DEVICE: &str = "pocket";
const HOST: &str = "workshop-desk";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    what: String,
    phone: Party,
    host: Party,
    /// What mixes in: the ticket's secret, or the pairing secret.
    psk: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<TicketValues>,
    hello_phone: Message,
    hello_host: Message,
    hello_host_signed_part: Message,
    th1: String,
    th2: String,
    shared_secret: String,
    prk: String,
    k_auth: String,
    chain: String,
    auth_plaintext: Message,
    auth: String,
    th3: String,
    session_prk: String,
    phone_key: String,
    phone_iv: String,
    host_key: String,
    host_iv: String,
    rekey_root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    paired: Option<PairedValues>,
    answer_plaintext: Message,
    answer: String,
    record_phone: Record,
    record_host: Record,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Party {
    seed: String,
    key: String,
    peer_id: String,
    peer_id_bytes: String,
    name: String,
    ephemeral_secret: String,
    ephemeral_public: String,
    nonce: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TicketValues {
    ticket_id: String,
    gate_key: String,
    gate: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PairedValues {
    words_bytes: String,
    words_numbers: [u16; 4],
    words: [&'static str; 4],
    pairing_secret: String,
}

#[derive(Serialize)]
struct Message {
    cbor: String,
    reads: String,
}

#[derive(Serialize)]
struct Record {
    what: &'static str,
    envelope: Message,
    plaintext: String,
    frame: String,
}

/// One side of the handshake, with what it will draw.
struct Side {
    identity: Identity,
    name: &'static str,
    ephemeral: [u8; 32],
    nonce: [u8; 32],
}

/// What a handshake showed on the wire, and the sessions it ended in.
struct Run {
    hello_phone: Vec<u8>,
    reply: Vec<u8>,
    auth: Vec<u8>,
    answer: Vec<u8>,
    record_phone: Record,
    record_host: Record,
}

/// Everything between the messages, derived from the specification.
struct Derived {
    th: [[u8; 32]; 3],
    shared: [u8; 32],
    prk: [u8; 32],
    session_prk: [u8; 32],
}

impl Side {
    fn phone() -> Self {
        let identity = Identity::from_seed(&counting(0x01));
        Self { identity, name: DEVICE, ephemeral: counting(0x41), nonce: counting(0x81) }
    }

    fn host() -> Self {
        let identity = Identity::from_seed(&counting(0x21));
        Self { identity, name: HOST, ephemeral: counting(0x61), nonce: counting(0xa1) }
    }

    fn rng(&self) -> Drawn {
        Drawn::new(&[&self.ephemeral, &self.nonce])
    }

    fn show(&self) -> Party {
        let id = self.identity.node_id();
        Party {
            seed: hex(*self.identity.seed()),
            key: hex(id.as_bytes()),
            peer_id: id.to_string(),
            peer_id_bytes: hex(id.to_peer_id().to_bytes()),
            name: self.name.into(),
            ephemeral_secret: hex(self.ephemeral),
            ephemeral_public: hex(PublicKey::from(&StaticSecret::from(self.ephemeral))),
            nonce: hex(self.nonce),
        }
    }
}

impl From<Vec<u8>> for Message {
    fn from(cbor: Vec<u8>) -> Self {
        Self { reads: diagnostic(&cbor), cbor: hex(cbor) }
    }
}

fn pair(secret: &TicketSecret) -> Run {
    let (phone, host) = (Side::phone(), Side::host());
    let (us, them) = (phone.identity.node_id(), host.identity.node_id());
    let mut draws = (phone.rng(), host.rng());
    let (waits, hello_phone) = phone::pair(us, them, secret, &mut draws.0);
    let Hello::Pair(claim) = Hello::read(&hello_phone, them, us).unwrap() else { panic!("mode pair") };
    let (awaits_auth, reply) = claim.verify(secret).unwrap().reply(&host.identity, &mut draws.1).unwrap();
    let (waits, auth) = waits.receive(&reply, &phone.identity, DEVICE).unwrap();
    let known = awaits_auth.receive(&auth).unwrap();
    assert!(draws.0.is_used_up() && draws.1.is_used_up());
    let (answer, sessions) = finish(waits, known);
    talk(sessions, None, [hello_phone, reply, auth, answer])
}

fn resume(secret: &PairingSecret) -> Run {
    let (phone, host) = (Side::phone(), Side::host());
    let (us, them) = (phone.identity.node_id(), host.identity.node_id());
    let mut draws = (phone.rng(), host.rng());
    let (waits, hello_phone) = phone::resume(us, them, secret, &mut draws.0);
    let Hello::Resume(back) = Hello::read(&hello_phone, them, us).unwrap() else { panic!("mode resume") };
    let (awaits_auth, reply) = back.reply(secret, &host.identity, &mut draws.1).unwrap();
    let (mut waits, auth) = waits.receive(&reply, &phone.identity, DEVICE).unwrap();
    let watch = Envelope::Watch(Watch { threads: vec!["01a204af-ea0b-78e2-81eb-cb32b6d887c3".into()] });
    let early = seal(waits.early(), "the phone's first record, early: it travels with auth", &watch);
    let known = awaits_auth.receive(&auth).unwrap();
    let (answer, sessions) = finish(waits, known);
    talk(sessions, Some(early), [hello_phone, reply, auth, answer])
}

fn finish<M>(waits: phone::AwaitAnswer<M>, known: Authenticated<M>) -> (Vec<u8>, (Session, Session)) {
    let (at_host, answer) = known.accept(HOST).unwrap();
    let (header, sealed) = answer.split_first_chunk::<HEADER>().unwrap();
    let (at_phone, name) = waits.receive(Header::read(header).unwrap(), sealed).unwrap();
    assert_eq!(name, HOST);
    (answer, (at_phone, at_host))
}

fn talk((mut phone, mut host): (Session, Session), early: Option<Record>, messages: [Vec<u8>; 4]) -> Run {
    let ping = Envelope::Ping(Beat { n: 1 });
    let record_phone = early.unwrap_or_else(|| seal(&mut phone.sealer, "the phone's first record", &ping));
    let record_host = seal(&mut host.sealer, "the host's second record; its first is the answer", &ping);
    host.opener.open_frame(&unhex(&record_phone.frame)).unwrap();
    phone.opener.open_frame(&unhex(&record_host.frame)).unwrap();
    let [hello_phone, reply, auth, answer] = messages;
    Run { hello_phone, reply, auth, answer, record_phone, record_host }
}

fn seal(sealer: &mut Sealer, what: &'static str, envelope: &Envelope) -> Record {
    let encoded = envelope.encode();
    let [plaintext] = &fragment::split(lane::of(envelope), encoded.clone(), record::MAX_PLAINTEXT)[..] else {
        panic!("one piece")
    };
    Record { what, plaintext: hex(plaintext), frame: hex(sealer.seal(plaintext).unwrap()), envelope: encoded.into() }
}

fn expand<const N: usize>(prk: &[u8; 32], label: &str) -> [u8; N] {
    let mut out = [0; N];
    Hkdf::<Sha256>::from_prk(prk).unwrap().expand(label.as_bytes(), &mut out).unwrap();
    out
}

fn extract(salt: &[u8], ikm: &[u8]) -> [u8; 32] {
    Hkdf::<Sha256>::extract(Some(salt), ikm).0.into()
}

fn derive(run: &Run, psk: &[u8]) -> Derived {
    let (phone, host) = (Side::phone(), Side::host());
    let (hello_host, signature) = signed(&run.reply);
    let theirs = PublicKey::from(&StaticSecret::from(host.ephemeral));
    let shared = StaticSecret::from(phone.ephemeral).diffie_hellman(&theirs).to_bytes();
    let th1 = th1(phone.identity.node_id(), host.identity.node_id(), &run.hello_phone, &hello_host);
    let th2 = th2(&th1, &signature, phone.identity.node_id());
    let th3 = th3(&th2, &run.auth);
    let prk = extract(&th1, &[&shared, psk].concat());
    let session_prk = extract(&th3, &expand::<32>(&prk, "farhelm/1 chain"));
    Derived { th: [th1, th2, th3], shared, prk, session_prk }
}

fn signed(reply: &[u8]) -> (Vec<u8>, Signature) {
    match cbor::from_slice(reply, 1024).unwrap() {
        Reply::Hello { hello, signature } => (hello.into_vec(), signature),
        Reply::Tombstone(_) => panic!("a hello"),
    }
}

fn vector(what: &str, run: Run, psk: &[u8], ticket: Option<TicketValues>) -> Vector {
    let Derived { th: [th1, th2, th3], shared, prk, session_prk } = derive(&run, psk);
    let (k_auth, chain) = (expand::<32>(&prk, "farhelm/1 auth"), expand::<32>(&prk, "farhelm/1 chain"));
    let auth_plaintext = message::open_auth(&k_auth, &th2, &run.auth).unwrap();
    let [phone_key, host_key] = ["farhelm/1 phone key", "farhelm/1 host key"].map(|l| expand::<32>(&session_prk, l));
    let [phone_iv, host_iv] = ["farhelm/1 phone iv", "farhelm/1 host iv"].map(|l| expand::<12>(&session_prk, l));
    let answer_plaintext = Opener::new(&host_key, host_iv).open_frame(&run.answer).unwrap();
    let first = unhex(&run.record_phone.frame);
    assert!(Opener::new(&phone_key, phone_iv).open_frame(&first).is_ok());
    let words: [u8; 8] = expand(&session_prk, "farhelm/1 words");
    let words_numbers = [53, 42, 31, 20].map(|shift| (u64::from_be_bytes(words) >> shift & 0x7ff) as u16);
    let paired = ticket.is_some().then(|| PairedValues {
        words_bytes: hex(words),
        words_numbers,
        words: crate::pairing::words(words_numbers),
        pairing_secret: hex(expand::<32>(&session_prk, "farhelm/1 pairing")),
    });
    Vector {
        what: what.into(),
        phone: Side::phone().show(),
        host: Side::host().show(),
        psk: hex(psk),
        ticket,
        hello_phone: run.hello_phone.into(),
        hello_host_signed_part: signed(&run.reply).0.into(),
        hello_host: run.reply.into(),
        th1: hex(th1),
        th2: hex(th2),
        shared_secret: hex(shared),
        prk: hex(prk),
        k_auth: hex(k_auth),
        chain: hex(chain),
        auth_plaintext: auth_plaintext.into(),
        auth: hex(run.auth),
        th3: hex(th3),
        session_prk: hex(session_prk),
        phone_key: hex(phone_key),
        phone_iv: hex(phone_iv),
        host_key: hex(host_key),
        host_iv: hex(host_iv),
        rekey_root: hex(expand::<32>(&session_prk, "farhelm/1 rekey root")),
        paired,
        answer_plaintext: answer_plaintext.into(),
        answer: hex(run.answer),
        record_phone: run.record_phone,
        record_host: run.record_host,
    }
}

#[test]
fn a_pairing_is_as_in_the_vectors() {
    let secret = TicketSecret::from_bytes(counting(0xc1));
    let run = pair(&secret);
    let hello: HelloPhone = cbor::from_slice(&run.hello_phone, 1024).unwrap();
    let Mode::Pair { ticket, gate } = hello.mode else { panic!("mode pair") };
    let values = TicketValues { ticket_id: hex(*ticket), gate_key: hex(*secret.gate_key()), gate: hex(*gate) };
    let what = "A pairing: both identities, what each side draws (in the order ephemeral secret, nonce), every message, \
                every derived value, the answer, and one record each way.";
    check(
        "handshake-pair.json",
        include_str!("../../../../../tests/vectors/handshake-pair.json"),
        &vector(what, run, secret.as_bytes(), Some(values)),
    );
}

#[test]
fn a_resume_is_as_in_the_vectors() {
    let secret = PairingSecret::from_bytes(counting(0xd1));
    let run = resume(&secret);
    let (hello_host, _) = signed(&run.reply);
    assert!(cbor::from_slice::<HelloHost>(&hello_host, 1024).is_ok());
    let what = "A resume of a pairing: as in handshake-pair.json, with an early record in the flight of auth.";
    check(
        "handshake-resume.json",
        include_str!("../../../../../tests/vectors/handshake-resume.json"),
        &vector(what, run, secret.as_bytes(), None),
    );
}
