//! Facts about the handshake, shown on two parties without a network.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::host::Authenticated;
use super::phone::AwaitAnswer;
use super::*;
use crate::identity::{Identity, Label};
use crate::pairing::TicketSecret;
use crate::session::host::Hello;
use crate::session::record::{HEADER, Header};
use crate::session::{PairingSecret, Session};

/// A phone, a host and what they share.
struct World {
    phone: Identity,
    host: Identity,
    ticket: TicketSecret,
    pairing: PairingSecret,
    rng: ChaCha20Rng,
}

/// Which message of a handshake something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    HelloPhone,
    HelloHost,
    Auth,
    Answer,
}

type Tamper<'a> = &'a mut dyn FnMut(Step, Vec<u8>) -> Vec<u8>;

fn honest(_: Step, message: Vec<u8>) -> Vec<u8> {
    message
}

fn parse(frame: &[u8]) -> Result<(Header, &[u8]), record::Error> {
    let (header, sealed) = frame.split_first_chunk::<HEADER>().ok_or(record::Error::Length(frame.len()))?;
    Ok((Header::read(header)?, sealed))
}

impl World {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let (phone, host) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
        let ticket = TicketSecret::generate(&mut rng);
        Self { phone, host, ticket, pairing: PairingSecret::from_bytes([8; 32]), rng }
    }

    /// The host reads a hello as if it came from the connection of `from`.
    fn invite(&mut self, hello: &[u8], from: NodeId) -> Result<(host::AwaitAuth<Pair>, Vec<u8>), Error> {
        let Hello::Pair(claim) = Hello::read(hello, self.host.node_id(), from)? else {
            return Err(Error::Unsupported);
        };
        // A host finds no offer under another id, and closes.
        if claim.ticket() != self.ticket.ticket_id() {
            return Err(Error::Gate);
        }
        claim.verify(&self.ticket)?.reply(&self.host, &mut self.rng)
    }

    fn pair_up_to_answer(&mut self, tamper: Tamper<'_>) -> Result<(AwaitAnswer<Pair>, Authenticated<Pair>), Error> {
        let (us, host) = (self.phone.node_id(), self.host.node_id());
        let (waits, hello) = phone::pair(us, host, &self.ticket, &mut self.rng);
        let (awaits_auth, reply) = self.invite(&tamper(Step::HelloPhone, hello), us)?;
        let (waits, auth) = waits.receive(&tamper(Step::HelloHost, reply), &self.phone, "pocket")?;
        let known = awaits_auth.receive(&tamper(Step::Auth, auth))?;
        Ok((waits, known))
    }

    fn pair(&mut self, tamper: Tamper<'_>) -> Result<(Session, Session), Error> {
        let (waits, known) = self.pair_up_to_answer(tamper)?;
        let (at_host, answer) = known.accept("desk")?;
        let answer = tamper(Step::Answer, answer);
        let (header, sealed) = parse(&answer)?;
        Ok((waits.receive(header, sealed)?.0, at_host))
    }

    fn resume(&mut self, tamper: Tamper<'_>) -> Result<(Session, Session), Error> {
        let (us, host) = (self.phone.node_id(), self.host.node_id());
        let (waits, hello) = phone::resume(us, host, &self.pairing, &mut self.rng);
        let Hello::Resume(back) = Hello::read(&tamper(Step::HelloPhone, hello), host, us)? else {
            return Err(Error::Unsupported);
        };
        let (awaits_auth, reply) = back.reply(&self.pairing, &self.host, &mut self.rng)?;
        let (waits, auth) = waits.receive(&tamper(Step::HelloHost, reply), &self.phone, "pocket")?;
        let (at_host, answer) = awaits_auth.receive(&tamper(Step::Auth, auth))?.accept("desk")?;
        let answer = tamper(Step::Answer, answer);
        let (header, sealed) = parse(&answer)?;
        Ok((waits.receive(header, sealed)?.0, at_host))
    }
}

fn talk((mut a, mut b): (Session, Session)) {
    let frame = a.sealer.seal(b"up").unwrap();
    assert_eq!(b.opener.open_frame(&frame), Ok(b"up".to_vec()));
    let frame = b.sealer.seal(b"down").unwrap();
    assert_eq!(a.opener.open_frame(&frame), Ok(b"down".to_vec()));
}

#[test]
fn pairing_gives_both_sides_the_same_words_and_secret() {
    let mut world = World::new();
    let (at_phone, at_host) = world.pair_up_to_answer(&mut honest).unwrap();
    assert_eq!(at_phone.words(), at_host.words());
    assert_eq!(at_phone.pairing_secret(), at_host.pairing_secret());
    assert_eq!(at_host.device_name(), "pocket");
}

#[test]
fn both_modes_end_in_a_session_that_talks() {
    let mut world = World::new();
    let (phone, host) = (world.phone.node_id(), world.host.node_id());
    let pair = world.pair(&mut honest).unwrap();
    assert_eq!((pair.0.peer(), pair.1.peer()), (host, phone));
    talk(pair);
    talk(world.resume(&mut honest).unwrap());
}

#[test]
fn no_two_handshakes_share_keys() {
    let mut world = World::new();
    let mut first = world.resume(&mut honest).unwrap();
    let mut second = world.resume(&mut honest).unwrap();
    let frame = first.0.sealer.seal(b"old").unwrap();
    assert!(second.1.opener.open_frame(&frame).is_err());
}

#[test]
fn a_flip_of_any_byte_of_any_message_ends_the_handshake() {
    for mode in [World::pair as fn(&mut World, Tamper<'_>) -> _, World::resume] {
        for step in [Step::HelloPhone, Step::HelloHost, Step::Auth, Step::Answer] {
            let mut length = 0;
            mode(&mut World::new(), &mut |s, m| {
                if s == step {
                    length = m.len();
                }
                m
            })
            .unwrap();
            for at in 0..length {
                let result = mode(&mut World::new(), &mut |s, mut m| {
                    if s == step {
                        m[at] ^= 1;
                    }
                    m
                });
                assert!(result.is_err(), "{step:?} byte {at}");
            }
        }
    }
}

#[test]
fn a_cut_or_lengthened_message_ends_the_handshake() {
    for step in [Step::HelloPhone, Step::HelloHost, Step::Auth, Step::Answer] {
        let cut = World::new().pair(&mut |s, mut m| {
            if s == step {
                m.pop();
            }
            m
        });
        let longer = World::new().pair(&mut |s, mut m| {
            if s == step {
                m.push(0);
            }
            m
        });
        assert!(cut.is_err() && longer.is_err(), "{step:?}");
    }
}

#[test]
fn a_message_of_another_handshake_is_refused_at_every_step() {
    for step in [Step::HelloPhone, Step::HelloHost, Step::Auth, Step::Answer] {
        let mut world = World::new();
        let mut recorded = Vec::new();
        world
            .pair(&mut |s, m| {
                if s == step {
                    recorded = m.clone();
                }
                m
            })
            .unwrap();
        let replayed = world.pair(&mut |s, m| if s == step { recorded.clone() } else { m });
        assert!(replayed.is_err(), "{step:?}");
    }
}

#[test]
fn messages_in_the_wrong_role_are_refused() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let (_, hello) = phone::pair(us, host, &world.ticket, &mut world.rng);
    let (_, reply) = world.invite(&hello, us).unwrap();
    assert!(matches!(Hello::read(&reply, host, us), Err(Error::Message(_))));
    let (waits, _) = phone::pair(us, host, &world.ticket, &mut world.rng);
    assert!(matches!(waits.receive(&hello, &world.phone, "pocket"), Err(Error::Message(_))));
    // The phone's own hello, read by a host that thinks it is the phone.
    let Hello::Pair(claim) = Hello::read(&hello, us, host).unwrap() else { panic!("mode pair") };
    assert!(matches!(claim.verify(&world.ticket), Err(Error::Gate)));
}

#[test]
fn a_third_identity_can_not_use_a_phones_hello() {
    let mut world = World::new();
    let third = Identity::generate(&mut world.rng);
    let (_, hello) = phone::pair(world.phone.node_id(), world.host.node_id(), &world.ticket, &mut world.rng);
    assert!(matches!(world.invite(&hello, third.node_id()), Err(Error::Gate)));
}

#[test]
fn a_third_identity_can_not_sign_for_the_phone() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let third = Identity::generate(&mut world.rng);
    let (waits, hello) = phone::pair(us, host, &world.ticket, &mut world.rng);
    let (awaits_auth, reply) = world.invite(&hello, us).unwrap();
    let (_, auth) = waits.receive(&reply, &third, "pocket").unwrap();
    assert!(matches!(awaits_auth.receive(&auth), Err(Error::Unproven)));
}

#[test]
fn without_the_tickets_secret_there_is_no_signature() {
    let mut world = World::new();
    let wrong = TicketSecret::from_bytes([0; 16]);
    let (_, hello) = phone::pair(world.phone.node_id(), world.host.node_id(), &wrong, &mut world.rng);
    let Hello::Pair(claim) = Hello::read(&hello, world.host.node_id(), world.phone.node_id()).unwrap() else {
        panic!("mode pair")
    };
    assert!(matches!(claim.verify(&world.ticket), Err(Error::Gate)));
}

#[test]
fn a_relay_that_answers_in_the_hosts_place_is_found_out() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let relay = Identity::generate(&mut world.rng);
    // It has even stolen the pairing secret; it lacks the host's key.
    let (waits, hello) = phone::resume(us, host, &world.pairing, &mut world.rng);
    let Hello::Resume(back) = Hello::read(&hello, relay.node_id(), us).unwrap() else { panic!("mode resume") };
    let (_, reply) = back.reply(&world.pairing, &relay, &mut world.rng).unwrap();
    assert!(matches!(waits.receive(&reply, &world.phone, "pocket"), Err(Error::OtherHost)));
    // Or it claims the host's key and signs with its own.
    let (waits, hello) = phone::resume(us, host, &world.pairing, &mut world.rng);
    let Hello::Resume(back) = Hello::read(&hello, host, us).unwrap() else { panic!("mode resume") };
    let (_, reply) = back.reply(&world.pairing, &relay, &mut world.rng).unwrap();
    assert!(matches!(waits.receive(&reply, &world.phone, "pocket"), Err(Error::Unproven)));
}

#[test]
fn without_the_pairing_secret_there_is_no_session() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let (waits, hello) = phone::resume(us, host, &PairingSecret::from_bytes([0; 32]), &mut world.rng);
    let Hello::Resume(back) = Hello::read(&hello, host, us).unwrap() else { panic!("mode resume") };
    let (awaits_auth, reply) = back.reply(&world.pairing, &world.host, &mut world.rng).unwrap();
    let (_, auth) = waits.receive(&reply, &world.phone, "pocket").unwrap();
    assert!(matches!(awaits_auth.receive(&auth), Err(Error::Unproven)));
}

#[test]
fn a_refusal_arrives_sealed_with_its_reason() {
    for refusal in [Refusal::Declined, Refusal::Expired, Refusal::Spent, Refusal::Unavailable] {
        let (waits, known) = World::new().pair_up_to_answer(&mut honest).unwrap();
        let frame = known.refuse(refusal).unwrap();
        let (header, sealed) = parse(&frame).unwrap();
        assert_eq!(waits.receive(header, sealed).unwrap_err(), Error::Refused(refusal));
    }
}

#[test]
fn a_revoked_phone_gets_its_tombstone_and_believes_only_the_hosts() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let real = Tombstone::sign(&world.host, us, 1_800_000_000_000);
    let forged = Tombstone::sign(&Identity::generate(&mut world.rng), us, 1_800_000_000_000);
    let other = Tombstone::sign(&world.host, host, 1_800_000_000_000);
    let mut receive = |tombstone: &Tombstone| {
        let (waits, hello) = phone::resume(us, host, &world.pairing, &mut world.rng);
        let Hello::Resume(back) = Hello::read(&hello, host, us).unwrap() else { panic!("mode resume") };
        waits.receive(&back.bury(tombstone), &world.phone, "pocket").err().unwrap()
    };
    assert_eq!(receive(&real), Error::Removed(real.clone()));
    assert_eq!(receive(&forged), Error::Unproven);
    assert_eq!(receive(&other), Error::Unproven);
}

#[test]
fn early_records_open_only_after_auth() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let (waits, hello) = phone::resume(us, host, &world.pairing, &mut world.rng);
    let Hello::Resume(back) = Hello::read(&hello, host, us).unwrap() else { panic!("mode resume") };
    let (awaits_auth, reply) = back.reply(&world.pairing, &world.host, &mut world.rng).unwrap();
    let (mut waits, auth) = waits.receive(&reply, &world.phone, "pocket").unwrap();
    let early = waits.early().seal(b"first request").unwrap();
    let (mut at_host, _) = awaits_auth.receive(&auth).unwrap().accept("desk").unwrap();
    assert_eq!(at_host.opener.open_frame(&early), Ok(b"first request".to_vec()));
}

#[test]
fn other_versions_and_suites_are_refused() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    for (v, suites) in [(2, vec![SUITE]), (VERSION, vec![7]), (VERSION, vec![])] {
        let (_, hello) = phone::resume(us, host, &world.pairing, &mut world.rng);
        let mut read: message::HelloPhone = crate::wire::cbor::from_slice(&hello, 1024).unwrap();
        (read.v, read.suites) = (v, suites);
        let changed = crate::wire::cbor::to_vec(&read);
        assert!(matches!(Hello::read(&changed, host, us), Err(Error::Unsupported)));
    }
}

#[test]
fn a_degenerate_key_is_refused() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let (_, hello) = phone::resume(us, host, &world.pairing, &mut world.rng);
    let mut read: message::HelloPhone = crate::wire::cbor::from_slice(&hello, 1024).unwrap();
    read.e = serde_bytes::ByteArray::new([0; 32]);
    let changed = crate::wire::cbor::to_vec(&read);
    let Hello::Resume(back) = Hello::read(&changed, host, us).unwrap() else { panic!("mode resume") };
    assert!(matches!(back.reply(&world.pairing, &world.host, &mut world.rng), Err(Error::Degenerate)));
}

#[test]
fn a_long_device_name_is_cut_at_a_character_before_it_is_sent() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let (waits, hello) = phone::pair(us, host, &world.ticket, &mut world.rng);
    let (awaits_auth, reply) = world.invite(&hello, us).unwrap();
    let (_, auth) = waits.receive(&reply, &world.phone, &"ü".repeat(40_000)).unwrap();
    assert!(auth.len() <= crate::wire::limits::HANDSHAKE_MESSAGE);
    assert_eq!(awaits_auth.receive(&auth).unwrap().device_name(), "ü".repeat(32));
}

#[test]
fn a_long_device_name_of_another_phone_is_cut_by_the_host() {
    let mut world = World::new();
    let (us, host) = (world.phone.node_id(), world.host.node_id());
    let (waits, hello) = phone::pair(us, host, &world.ticket, &mut world.rng);
    let (awaits_auth, reply) = world.invite(&hello, us).unwrap();
    // What a phone would send that doesn't cut.
    let exchanged = waits.exchange(&reply).unwrap();
    let signature = world.phone.sign(Label::PhoneAuth, &exchanged.th2);
    let auth = message::Auth { signature, name: "ü".repeat(100) };
    let auth = message::seal_auth(&exchanged.early.auth_key(), &exchanged.th2, &crate::wire::cbor::to_vec(&auth));
    assert_eq!(awaits_auth.receive(&auth).unwrap().device_name(), "ü".repeat(32));
}

#[test]
fn the_largest_handshake_messages_fit_the_limit() {
    let mut world = World::new();
    let mut sizes = Vec::new();
    world
        .pair(&mut |_, m| {
            sizes.push(m.len());
            m
        })
        .unwrap();
    assert!(sizes.iter().all(|s| *s <= crate::wire::limits::HANDSHAKE_MESSAGE / 2), "{sizes:?}");
}

#[test]
fn x25519_agrees_with_rfc_7748() {
    let hex = |text: &str| -> [u8; 32] { data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap() };
    let alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a").into();
    let bob: x25519_dalek::StaticSecret =
        hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb").into();
    let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    let (a, b) = (x25519_dalek::PublicKey::from(&alice), x25519_dalek::PublicKey::from(&bob));
    assert_eq!(b.to_bytes(), hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
    assert_eq!(agree(&alice, b.to_bytes()).unwrap().to_bytes(), shared);
    assert_eq!(agree(&bob, a.to_bytes()).unwrap().to_bytes(), shared);
}
