//! What tickets must do, and what is refused.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::identity::Identity;

fn key(n: u8) -> NodeId {
    Identity::from_seed(&[n; 32]).node_id()
}

fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

fn ticket() -> Ticket {
    let relay = |n, endpoints: &[&str]| Relay { key: key(n), endpoints: addresses(endpoints) };
    Ticket {
        host: key(1),
        secret: TicketSecret::generate(&mut ChaCha20Rng::from_seed([9; 32])),
        expires_at: 1_800_000_000,
        relays: vec![
            relay(2, &["/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4001/quic-v1"]),
            relay(3, &["/dns/relay.example/tcp/443/tls/ws", "/ip6/2001:db8::1/udp/4001/quic-v1"]),
        ],
        direct: addresses(&["/ip4/192.168.1.20/tcp/40111", "/dns/desk.local/tcp/40111"]),
        name: "workshop-desk".into(),
    }
}

#[test]
fn a_ticket_survives_the_trip() {
    let text = ticket().encode();
    assert!(text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b':'), "QR alphanumeric only");
    assert_eq!(Ticket::decode(&text), Ok(ticket()));
    let folded: String = text.to_lowercase().chars().flat_map(|c| [c, '\n']).collect();
    assert_eq!(Ticket::decode(&folded), Ok(ticket()));
}

#[test]
fn a_ticket_for_the_terminal_keeps_one_relay_with_both_transports() {
    let fitted = ticket().fit(limits::TICKET_FOR_TERMINAL);
    assert!(fitted.to_bytes().len() <= limits::TICKET_FOR_TERMINAL);
    assert_eq!(fitted.relays, ticket().relays[..1]);
    assert!(ticket().name.starts_with(&fitted.name));
    assert!(fitted.encode().len() <= 195, "QR version 6, level L, alphanumeric");
    assert_eq!(Ticket::decode(&fitted.encode()), Ok(fitted));
}

#[test]
fn everything_fits_when_there_is_room() {
    assert_eq!(ticket().fit(limits::TICKET), ticket());
}

#[test]
fn it_expands_to_multiaddrs_any_libp2p_tool_can_dial() {
    let expanded: Vec<_> = ticket().addresses_of_host().iter().map(ToString::to_string).collect();
    let (host, relay) = (key(1), key(2));
    assert_eq!(expanded[0], format!("/ip4/203.0.113.7/tcp/4001/p2p/{relay}/p2p-circuit/p2p/{host}"));
    assert_eq!(expanded[1], format!("/ip4/203.0.113.7/udp/4001/quic-v1/p2p/{relay}/p2p-circuit/p2p/{host}"));
    assert_eq!(expanded[4], format!("/ip4/192.168.1.20/tcp/40111/p2p/{host}"));
}

#[test]
fn a_truncated_ticket_is_refused_wherever_it_is_cut() {
    let text = ticket().fit(limits::TICKET_FOR_TERMINAL).encode();
    for length in 0..text.len() {
        let error = Ticket::decode(&text[..length]).unwrap_err();
        assert!(matches!(error, Error::Prefix | Error::Base32(_) | Error::Damaged), "{length}: {error:?}");
    }
}

#[test]
fn bad_base32_is_named_with_its_place() {
    let text = ticket().encode().replacen(|c: char| c.is_ascii_digit(), "1", 1);
    assert!(matches!(Ticket::decode(&text), Err(Error::Base32(_))));
}

#[test]
fn other_texts_are_no_tickets() {
    assert_eq!(Ticket::decode("https://example.org"), Err(Error::Prefix));
    assert_eq!(Ticket::decode(&format!("{PREFIX}{}", "A".repeat(4000))), Err(Error::TooLong));
}

#[test]
fn a_later_version_is_named() {
    let mut bytes = ticket().to_bytes().to_vec();
    bytes[1] = 2;
    assert_eq!(Ticket::from_bytes(&bytes), Err(Error::Version(2)));
}

#[test]
fn a_ticket_without_an_address_is_refused() {
    let empty = Ticket { relays: Vec::new(), direct: Vec::new(), ..ticket() };
    assert_eq!(Ticket::decode(&empty.encode()), Err(Error::NoAddress));
}

#[test]
fn a_key_that_is_no_key_is_refused() {
    let mut bytes = ticket().to_bytes().to_vec();
    bytes[4..36].copy_from_slice(&[0; 32]);
    assert_eq!(Ticket::from_bytes(&bytes), Err(Error::Key));
}

#[test]
fn trailing_bytes_and_further_fields_are_refused() {
    let mut bytes = ticket().to_bytes().to_vec();
    bytes.push(0);
    assert_eq!(Ticket::from_bytes(&bytes), Err(Error::Damaged));
    bytes[0] = 0x88;
    assert_eq!(Ticket::from_bytes(&bytes), Err(Error::Damaged));
}

#[test]
fn debug_never_shows_the_secret() {
    assert!(!format!("{:?}", ticket()).contains("ecret"));
    assert_eq!(format!("{:?}", ticket().secret), "TicketSecret(…)");
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Ticket::decode(&format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes)));
    }

    #[test]
    fn a_flipped_bit_never_panics_nor_grows(at in 0usize..100, bit in 0u8..8) {
        let mut bytes = ticket().fit(limits::TICKET_FOR_TERMINAL).to_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = Ticket::from_bytes(&bytes) {
            proptest::prop_assert!(changed.addresses_of_host().len() <= 4 * limits::TICKET_ADDRESSES);
        }
    }
}
